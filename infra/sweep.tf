# SPDX-License-Identifier: Apache-2.0
# After a 2xx no event comes again: every so often somebody looks for uploads without a receipt, for jobs that died and
# for a table that has aged, and starts the job or mends the view.

resource "google_service_account" "sweep" {
  account_id   = "${var.name}-sweep"
  display_name = "Dropfit ${var.environment}: finds what was left behind"
  description  = "Compares uploads with receipts, orders refreshes, mends the view, starts the retraining job."

  depends_on = [google_project_service.apis]
}

resource "google_cloud_run_v2_job" "sweep" {
  name                = "${var.name}-sweep"
  location            = var.region
  deletion_protection = var.deletion_protection

  template {
    template {
      service_account       = local.email.sweep
      timeout               = "600s"
      max_retries           = 0 # the next one comes soon enough
      execution_environment = "EXECUTION_ENVIRONMENT_GEN2"

      containers {
        image   = local.images.job
        command = ["python", "-m", "dropfit.sweep"]

        resources {
          limits = { cpu = "1", memory = "1Gi" }
        }

        dynamic "env" {
          for_each = local.environment
          content {
            name  = env.key
            value = env.value
          }
        }
      }
    }
  }

  depends_on = [
    google_bigquery_dataset_iam_member.predictions,
    google_cloud_run_v2_job_iam_member.retrain,
    google_project_iam_member.bigquery_jobs,
    google_storage_bucket_iam_member.data,
    google_storage_bucket_iam_member.data_part,
    google_storage_bucket_iam_member.landing,
    google_storage_bucket_iam_member.models,
  ]
}

resource "google_service_account" "scheduler" {
  account_id   = "${var.name}-scheduler"
  display_name = "Dropfit ${var.environment}: starts the sweep"

  depends_on = [google_project_service.apis]
}

resource "google_cloud_run_v2_job_iam_member" "sweep" {
  name     = google_cloud_run_v2_job.sweep.name
  location = google_cloud_run_v2_job.sweep.location
  role     = "roles/run.invoker"
  member   = local.member.scheduler
}

resource "google_cloud_scheduler_job" "sweep" {
  name             = "${var.name}-sweep"
  region           = var.region
  description      = "Looks for uploads without a receipt, for jobs that died and for a table that has aged."
  schedule         = var.sweep_schedule
  time_zone        = "Etc/UTC"
  attempt_deadline = "30s"

  retry_config {
    retry_count          = 3
    min_backoff_duration = "10s"
    max_backoff_duration = "120s"
  }

  http_target {
    http_method = "POST"
    uri         = "https://run.googleapis.com/v2/projects/${var.project}/locations/${var.region}/jobs/${google_cloud_run_v2_job.sweep.name}:run"

    oauth_token {
      service_account_email = local.email.scheduler
    }
  }

  depends_on = [google_cloud_run_v2_job_iam_member.sweep]
}
