# SPDX-License-Identifier: Apache-2.0
# The prediction log: a log bucket of its own, with its own retention and readers, that BigQuery can query.

locals {
  # What functions/dropfit/predictionlog.py prints, as Cloud Logging has it; a test holds real lines against it.
  prediction_entries = join(" AND ", [
    "resource.type=\"cloud_run_revision\"",
    "resource.labels.service_name=\"${var.name}-predict\"",
    "jsonPayload.kind=\"prediction\"",
  ])
  counts_requests = lookup(var.settings, "frequency", "accepted") == "requests"
}

resource "google_logging_project_bucket_config" "predictions" {
  project          = var.project
  location         = var.region # a linked dataset is where its bucket is, and a view reads one place alone
  bucket_id        = var.name
  description      = "A line per prediction request: what was asked, and what was answered."
  retention_days   = var.log_retention_days
  enable_analytics = true # for good: Google cannot switch it off again
  deletion_policy  = local.keep

  lifecycle {
    precondition {
      condition     = !local.counts_requests || var.log_retention_days >= tonumber(lookup(var.settings, "frequency_days", "28"))
      error_message = "frequency = requests counts frequency_days of the prediction log, which log_retention_days does not keep."
    }
  }

  depends_on = [google_project_service.apis]
}

# Within a project a sink needs no right to write into a log bucket.
resource "google_logging_project_sink" "predictions" {
  name                   = "${var.name}-predictions"
  description            = "The prediction log, into its own bucket."
  destination            = "logging.googleapis.com/${google_logging_project_bucket_config.predictions.id}"
  filter                 = local.prediction_entries
  unique_writer_identity = true
}

# This API excludes from the _Default sink. What is stored there too is paid for twice; metrics count it all the same.
resource "google_logging_project_exclusion" "predictions" {
  name        = "${var.name}-predictions"
  description = "The prediction log has a bucket of its own."
  filter      = local.prediction_entries

  depends_on = [google_logging_project_sink.predictions] # the other way round lines would be lost
}

# What Cloud Run itself says of each request: our own line says more, and at millions a day this costs as much.
resource "google_logging_project_exclusion" "requests" {
  count = var.predict.request_log ? 0 : 1

  name        = "${var.name}-predict-requests"
  description = "Cloud Run's own entries of predict's requests."
  filter = join(" AND ", [
    "resource.type=\"cloud_run_revision\"",
    "resource.labels.service_name=\"${var.name}-predict\"",
    "log_id(\"run.googleapis.com/requests\")",
    "httpRequest.status<500",
  ])
}

# Its view _AllLogs is DROPFIT_LOG_TABLE, see settings.tf.
resource "google_logging_linked_dataset" "predictions" {
  link_id     = "${local.dataset}_logs"
  bucket      = google_logging_project_bucket_config.predictions.id
  description = "The prediction log of ${var.name}, for SQL; it holds no copy."

  depends_on = [google_project_service.apis]
}

# BigQuery's roles on the linked dataset decide who reads it there; Cloud Logging's viewAccessor opens Cloud Logging's
# own doors. The job makes the view prediction_log over it and counts in that; whoever reads the view reads this too.
# It holds what clients sent, so that analysts do not: who shall, becomes an operator, or is named here.
resource "google_bigquery_dataset_iam_member" "prediction_log" {
  for_each = merge(
    { retrain = local.member.retrain },
    { for member in var.operators : member => local.on_datasets[member] },
  )

  dataset_id = google_logging_linked_dataset.predictions.link_id
  role       = "roles/bigquery.dataViewer"
  member     = each.value
}
