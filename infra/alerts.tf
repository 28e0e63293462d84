# SPDX-License-Identifier: Apache-2.0
# Who is told of what. Each policy says what it means and what to look at; docs/operate.md, "Alerts", says more.

resource "google_monitoring_notification_channel" "email" {
  for_each = var.alert_emails

  display_name = "${var.name}: ${each.key}"
  type         = "email"
  labels       = { email_address = each.key }
  user_labels  = local.labels

  # Google deletes no channel that a policy still names. With this whoever is taken off the list is taken off the policies
  # first. What a resource with this needs is made before it goes too, which nothing with a name of its own bears.
  lifecycle {
    create_before_destroy = true
  }

  depends_on = [google_project_service.apis]
}

locals {
  channels = [for channel in google_monitoring_notification_channel.email : channel.id]
  guide    = "More: docs/operate.md, \"Alerts, and what each one asks of you\"."

  # What PromQL calls our metrics: https://cloud.google.com/monitoring/promql/promql-mapping.
  promql = { for what in ["requests", "latency"] :
    what => "logging_googleapis_com:user_${replace("${var.name}/${what}", "/[^a-zA-Z0-9]/", "_")}"
  }
  promql_service = "monitored_resource=\"cloud_run_revision\""

  deadline_ms = tonumber(lookup(var.settings, "deadline_ms", "100")) # the default of functions/dropfit/settings.py

  # Cloud Monitoring's filter language, which is not Cloud Logging's.
  predict_service = "resource.type=\"cloud_run_revision\" AND resource.labels.service_name=\"${var.name}-predict\""
  job_executions  = "metric.type=\"run.googleapis.com/job/completed_execution_count\" AND resource.type=\"cloud_run_job\""
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
        "sum(increase(${local.promql.requests}{${local.promql_service}, status=~\"5..\"}[10m])) > 1.5",
        join(" / ", [
          "sum(increase(${local.promql.requests}{${local.promql_service}, status=~\"5..\"}[10m]))",
          "sum(increase(${local.promql.requests}{${local.promql_service}}[10m])) > 0.01",
        ]),
      ])
      duration                  = "0s"
      evaluation_interval       = "60s"
      disable_metric_validation = true # Google knows a new metric only after some minutes, and would refuse the policy
    }
  }

  documentation {
    subject   = "[${var.environment}] ${var.name}: predictions fail"
    mime_type = "text/markdown"
    content   = <<-EOT
      Callers get 5xx from `${var.name}-predict`, by its own log. 4xx are theirs and do not count.

      1. `dropfit logs predict`, and in the prediction log `JSON_VALUE(json_payload, '$.response.detail')` of the entries
         with a status of 500 or more.
      2. It came with a new version: `dropfit rollback`, then `dropfit pin`. It came with a deployment: deploy the one
         before.

      ${local.guide}
    EOT
  }
}

# What never reached the function is in no log of ours. A policy of its own: PromQL stands alone in one.
resource "google_monitoring_alert_policy" "unanswered" {
  display_name          = "${var.name}: predict does not answer"
  severity              = "CRITICAL"
  combiner              = "OR"
  notification_channels = local.channels
  user_labels           = local.labels

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
    subject   = "[${var.environment}] ${var.name}: predict does not answer"
    mime_type = "text/markdown"
    content   = <<-EOT
      For half an hour more than a tenth of all requests to `${var.name}-predict` got 5xx, those of the uptime check among
      them. If "predict is not ready" fires too, begin there: it is the same.

      1. Not in our log, but on the dashboard under "Answers by Cloud Run": instances die (memory), do not start, or there
         are too few of them. Cloud Run, `${var.name}-predict`, Logs: what do the requests with 5xx say?
      2. `predict = { memory, max_instances }` in the tfvars, or deploy the version of the code before.

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
        "histogram_quantile(0.99, sum by (le) (increase(${local.promql.latency}_bucket{${local.promql_service}}[5m]))) > ${local.deadline_ms}",
        "sum(increase(${local.promql.latency}_count{${local.promql_service}}[5m])) > 20",
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
