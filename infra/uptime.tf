# SPDX-License-Identifier: Apache-2.0
# Whether predict is ready to answer, asked from outside with a token of Cloud Monitoring's own service agent.

resource "google_monitoring_uptime_check_config" "ready" {
  display_name = "${var.name}: predict is ready"
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
