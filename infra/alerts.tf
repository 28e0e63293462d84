# SPDX-License-Identifier: Apache-2.0
# Who is told of what. Each policy says what it means and what to look at; docs/operate.md, "Alerts", says more.

resource "google_monitoring_notification_channel" "email" {
  for_each = var.alert_emails

  display_name = "${var.name}: ${each.key}"
  type         = "email"
  labels       = { email_address = each.key }

  depends_on = [google_project_service.apis]
}

locals {
  channels = [for channel in google_monitoring_notification_channel.email : channel.id]
  guide    = "More: docs/operate.md, \"Alerts, and what each one asks of you\"."

  # PromQL's name of a metric: https://cloud.google.com/monitoring/promql/promql-mapping.
  requests_promql = "logging_googleapis_com:user_${replace("${var.name}/requests", "/[^a-zA-Z0-9]/", "_")}"
  latency_promql  = "logging_googleapis_com:user_${replace("${var.name}/latency", "/[^a-zA-Z0-9]/", "_")}"
  deadline_ms     = tonumber(lookup(var.settings, "deadline_ms", "100")) # the default of functions/dropfit/settings.py

  # Cloud Monitoring's filter language, which is not Cloud Logging's.
  predict_service = "resource.type=\"cloud_run_revision\" AND resource.labels.service_name=\"${var.name}-predict\""
  job_executions  = "metric.type=\"run.googleapis.com/job/completed_execution_count\" AND resource.type=\"cloud_run_job\""
}

resource "google_monitoring_alert_policy" "not_ready" {
  display_name          = "${var.name}: predict is not ready"
  severity              = "CRITICAL"
  combiner              = "OR"
  notification_channels = local.channels
  user_labels           = local.labels

  conditions {
    display_name = "/ready did not answer 200 in two places or more"

    condition_threshold {
      filter = join(" AND ", [
        "metric.type=\"monitoring.googleapis.com/uptime_check/check_passed\"",
        "metric.labels.check_id=\"${google_monitoring_uptime_check_config.ready.uptime_check_id}\"",
        "resource.type=\"uptime_url\"",
      ])
      comparison      = "COMPARISON_GT"
      threshold_value = 1
      duration        = "60s"

      aggregations {
        alignment_period     = "1200s" # longer than the pause between two rounds
        per_series_aligner   = "ALIGN_NEXT_OLDER"
        cross_series_reducer = "REDUCE_COUNT_FALSE"
        group_by_fields      = ["resource.label.host"]
      }

      trigger { count = 1 }
    }
  }

  documentation {
    subject   = "[${var.environment}] ${var.name}: predict is not ready"
    mime_type = "text/markdown"
    content   = <<-EOT
      `GET /ready` of `${var.name}-predict` was not answered with 200: there is no version to serve, the pointer cannot
      be read, or the function does not start. Before the first version is promoted this is as it should be.

      1. `dropfit status`: is a version served? `dropfit logs predict`: why does it not load?
      2. It came with a new version: `dropfit rollback`. It came with a deployment: deploy the one before.
      3. "the pointer has not been readable": predictions go on from memory. Mend storage or the rights, restart nothing.

      ${local.guide}
    EOT
  }
}

resource "google_monitoring_alert_policy" "errors" {
  display_name          = "${var.name}: predictions fail"
  severity              = "CRITICAL"
  combiner              = "OR"
  notification_channels = local.channels
  user_labels           = local.labels

  conditions {
    display_name = "More than 1% of the logged requests, and more than one, had an error of ours"

    condition_prometheus_query_language {
      query = join(" and ", [
        "sum(increase({\"${local.requests_promql}\", monitored_resource=\"cloud_run_revision\", status=~\"5..\"}[10m])) > 1.5",
        join(" / ", [
          "sum(increase({\"${local.requests_promql}\", monitored_resource=\"cloud_run_revision\", status=~\"5..\"}[10m]))",
          "sum(increase({\"${local.requests_promql}\", monitored_resource=\"cloud_run_revision\"}[10m])) > 0.01",
        ]),
      ])
      duration                  = "0s"
      evaluation_interval       = "60s"
      disable_metric_validation = true # Google knows a new metric only after some minutes, and would refuse the policy
    }
  }

  # What never reached the function is in no log of ours: instances that died, or that there were not enough of.
  conditions {
    display_name = "Cloud Run answered more than 10% of all requests with 5xx for half an hour"

    condition_threshold {
      filter = join(" AND ", [
        "metric.type=\"run.googleapis.com/request_count\"", local.predict_service, "metric.labels.response_code_class=\"5xx\"",
      ])
      denominator_filter      = "metric.type=\"run.googleapis.com/request_count\" AND ${local.predict_service}"
      comparison              = "COMPARISON_GT"
      threshold_value         = 0.1
      duration                = "1800s"
      evaluation_missing_data = "EVALUATION_MISSING_DATA_INACTIVE"

      aggregations {
        alignment_period     = "900s" # the uptime check alone brings requests into each
        per_series_aligner   = "ALIGN_RATE"
        cross_series_reducer = "REDUCE_SUM"
      }

      denominator_aggregations {
        alignment_period     = "900s"
        per_series_aligner   = "ALIGN_RATE"
        cross_series_reducer = "REDUCE_SUM"
      }
    }
  }

  documentation {
    subject   = "[${var.environment}] ${var.name}: predictions fail"
    mime_type = "text/markdown"
    content   = <<-EOT
      Callers get 5xx from `${var.name}-predict`. 4xx are theirs and do not count.

      1. `dropfit logs predict`, and in the prediction log `JSON_VALUE(json_payload, '$.response.detail')` of the rows
         with `status` 500 or more.
      2. It came with a new version: `dropfit rollback`, then `dropfit pin`. It came with a deployment: deploy the one
         before.
      3. Nothing in our log, but 5xx on the dashboard: Cloud Run answers in our place. Instances die (memory), or there
         are too few of them: `predict = { memory, max_instances }` in the deployment's tfvars.

      ${local.guide}
    EOT
  }
}

resource "google_monitoring_alert_policy" "slow" {
  display_name          = "${var.name}: predictions are slow"
  severity              = "WARNING"
  combiner              = "OR"
  notification_channels = local.channels
  user_labels           = local.labels

  conditions {
    display_name = "The 99th percentile is beyond the deadline of ${local.deadline_ms} ms for a quarter of an hour"

    # Among a handful of requests the slowest is a cold start, and says nothing.
    condition_prometheus_query_language {
      query = join(" and ", [
        "histogram_quantile(0.99, sum by (le) (increase({\"${local.latency_promql}_bucket\", monitored_resource=\"cloud_run_revision\"}[5m]))) > ${local.deadline_ms}",
        "on() sum(increase({\"${local.latency_promql}_count\", monitored_resource=\"cloud_run_revision\"}[5m])) > 20",
      ])
      duration                  = "900s"
      evaluation_interval       = "60s"
      disable_metric_validation = true
    }
  }

  documentation {
    subject   = "[${var.environment}] ${var.name}: predictions are slow"
    mime_type = "text/markdown"
    content   = <<-EOT
      One in a hundred predictions takes longer than the deadline, ${local.deadline_ms} ms (`deadline_ms`), in the function
      itself. Answers are right, and coarser than they could be: what does not fit comes from further down the ladder.

      1. Since a version came: `dropfit show VERSION` says what a row costs; `dropfit rollback`.
      2. Since traffic grew: the dashboard's instances. More of them, or more CPU: `predict` in the tfvars.
      3. Callers that ask for more with `X-Deadline-Ms`, or that send more rows at once: their choice; then set
         `deadline_ms` to what is meant.

      ${local.guide}
    EOT
  }
}

resource "google_monitoring_alert_policy" "quarantined" {
  display_name          = "${var.name}: an upload is quarantined"
  severity              = "WARNING"
  combiner              = "OR"
  notification_channels = local.channels
  user_labels           = local.labels

  conditions {
    display_name = "An upload cannot be used"

    condition_matched_log {
      filter = "${local.job_entries} AND jsonPayload.kind=\"upload\" AND jsonPayload.outcome=\"quarantined\""

      label_extractors = {
        object = "EXTRACT(jsonPayload.object)"
        code   = "EXTRACT(jsonPayload.code)"
      }
    }
  }

  alert_strategy {
    auto_close = "86400s"
    notification_rate_limit { period = "3600s" }
  }

  documentation {
    subject   = "[${var.environment}] ${var.name}: quarantined: $${log.extracted_label.object}"
    mime_type = "text/markdown"
    content   = <<-EOT
      `$${log.extracted_label.object}` cannot be used: `$${log.extracted_label.code}`. Nothing was trained on it, and the
      served model is what it was.

      1. `dropfit quarantine show NAME`: the reason in full, the first bad rows, and what to do next.
      2. Correct the file and upload it again; or, when it is what was meant, `dropfit quarantine release NAME`.

      ${local.guide}
    EOT
  }
}

resource "google_monitoring_alert_policy" "failed_uploads" {
  display_name          = "${var.name}: an upload has failed"
  severity              = "ERROR"
  combiner              = "OR"
  notification_channels = local.channels
  user_labels           = local.labels

  conditions {
    display_name = "Dropfit failed at an upload"

    condition_matched_log {
      filter = "${local.job_entries} AND jsonPayload.kind=\"upload\" AND jsonPayload.outcome=\"failed\""

      label_extractors = {
        object = "EXTRACT(jsonPayload.object)"
        code   = "EXTRACT(jsonPayload.code)"
      }
    }
  }

  alert_strategy {
    auto_close = "86400s"
    notification_rate_limit { period = "3600s" }
  }

  documentation {
    subject   = "[${var.environment}] ${var.name}: failed: $${log.extracted_label.object}"
    mime_type = "text/markdown"
    content   = <<-EOT
      Nothing became of `$${log.extracted_label.object}`, and it is not the file's fault. It is left out of trainings until
      somebody tries again; the served model is what it was.

      1. `dropfit runs`, then `dropfit logs retrain`: the traceback, or that the job was killed (memory: `job` in the tfvars).
      2. Mend it, then `dropfit train`.

      ${local.guide}
    EOT
  }
}
