# SPDX-License-Identifier: Apache-2.0
# Whether predict is ready to answer, asked from outside with a token of Cloud Monitoring's own service agent.

resource "google_monitoring_uptime_check_config" "ready" {
  display_name = "${var.name}: predict is ready"
  user_labels  = local.labels
  timeout      = "30s"  # a cold start is a pass
  period       = "900s" # each round wakes an idle instance for some seconds; Google offers no longer period

  # Three places are the least that Google takes, and as far as IAM and the function go one is as good as another.
  selected_regions = ["USA"]

  http_check {
    path           = "/ready"
    port           = 443
    use_ssl        = true
    validate_ssl   = true
    request_method = "GET"

    accepted_response_status_codes {
      status_value = 200
    }

    service_agent_authentication {
      type = "OIDC_TOKEN"
    }
  }

  monitored_resource {
    type = "uptime_url"
    labels = {
      project_id = var.project
      host       = trimprefix(google_cloud_run_v2_service.predict.uri, "https://")
    }
  }

  depends_on = [google_project_service.apis]
}

# Google makes the agent when the first thing needs it, and nobody can be granted anything before: the check comes first.
resource "google_cloud_run_v2_service_iam_member" "uptime" {
  project  = var.project
  location = var.region
  name     = google_cloud_run_v2_service.predict.name
  role     = "roles/run.invoker"
  member   = "serviceAccount:service-${data.google_project.this.number}@gcp-sa-monitoring-notification.iam.gserviceaccount.com"

  depends_on = [google_monitoring_uptime_check_config.ready]
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

  # Google deletes no check that a policy still names: with another check comes another policy, and the old one goes
  # first. To make the check before it goes would have predict made before it goes too, and its name is taken.
  lifecycle {
    replace_triggered_by = [google_monitoring_uptime_check_config.ready.uptime_check_id]
  }
}
