# SPDX-License-Identifier: Apache-2.0
# Numbers made of log lines. The fields are those that functions/dropfit/predictionlog.py and joblog.py write, and a
# test holds real lines of theirs against every filter and extractor here. Excluded entries count as well.

locals {
  # The sweep settles outcomes too: of what a person approved on a laptop that was closed.
  job_entries = "resource.type=\"cloud_run_job\" AND resource.labels.job_name=(\"${var.name}-retrain\" OR \"${var.name}-sweep\")"

  # As functions/dropfit/answers.py has them.
  sources = toset(["table", "model", "backoff", "fallback", "none"])
}

resource "google_logging_metric" "requests" {
  name        = "${var.name}/requests"
  description = "Prediction requests by HTTP status."
  filter      = local.prediction_entries

  label_extractors = { status = "EXTRACT(jsonPayload.status)" }

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"

    labels {
      key         = "status"
      description = "HTTP status."
    }
  }

  depends_on = [google_project_service.apis]
}

resource "google_logging_metric" "latency" {
  name            = "${var.name}/latency"
  description     = "Milliseconds that the function took for a prediction request."
  filter          = local.prediction_entries
  value_extractor = "EXTRACT(jsonPayload.latency_ms)"

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "DISTRIBUTION"
    unit        = "ms"
  }

  # From 0.1 ms to two minutes; a percentile is right to a quarter of itself.
  bucket_options {
    exponential_buckets {
      scale              = 0.1
      growth_factor      = 1.25
      num_finite_buckets = 63
    }
  }

  depends_on = [google_project_service.apis]
}

# A request has a prediction for each instance, from several sources maybe: it counts once for each of them.
resource "google_logging_metric" "answers" {
  for_each = local.sources

  name        = "${var.name}/answers/${each.key}"
  description = "Prediction requests with a value from: ${each.key}."
  filter      = "${local.prediction_entries} AND jsonPayload.response.predictions.source=\"${each.key}\""

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"
  }

  depends_on = [google_project_service.apis]
}

resource "google_logging_metric" "uploads" {
  name        = "${var.name}/uploads"
  description = "Uploads by what became of them, and why."
  filter      = "${local.job_entries} AND jsonPayload.kind=\"upload\""

  label_extractors = {
    outcome = "EXTRACT(jsonPayload.outcome)"
    code    = "EXTRACT(jsonPayload.code)"
  }

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"

    labels {
      key         = "outcome"
      description = "promoted, kept, held, recorded, quarantined, superseded, deleted or failed."
    }
    labels {
      key         = "code"
      description = "Why it is quarantined or failed."
    }
  }

  depends_on = [google_project_service.apis]
}

resource "google_logging_metric" "runs" {
  name        = "${var.name}/runs"
  description = "Runs of the retraining job by how they ended."
  filter      = "${local.job_entries} AND jsonPayload.kind=\"run\""

  label_extractors = { outcome = "EXTRACT(jsonPayload.outcome)" }

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"

    labels {
      key         = "outcome"
      description = "promoted, held, kept, recorded, refreshed, nothing, failed or interrupted."
    }
  }

  depends_on = [google_project_service.apis]
}

resource "google_logging_metric" "run_seconds" {
  name            = "${var.name}/run_seconds"
  description     = "Seconds that a run of the retraining job took."
  filter          = "${local.job_entries} AND jsonPayload.kind=\"run\""
  value_extractor = "EXTRACT(jsonPayload.seconds)"

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "DISTRIBUTION"
    unit        = "s"
  }

  # From a second to a day.
  bucket_options {
    exponential_buckets {
      scale              = 1
      growth_factor      = 1.25
      num_finite_buckets = 52
    }
  }

  depends_on = [google_project_service.apis]
}
