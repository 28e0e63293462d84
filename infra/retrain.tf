# SPDX-License-Identifier: Apache-2.0
# The job that an upload starts: it reads the upload, trains, judges, fills the table and promotes.

resource "google_service_account" "retrain" {
  account_id   = "${var.name}-retrain"
  display_name = "Dropfit ${var.environment}: trains and promotes"
  description  = "Reads uploads; writes data, models and the dataset."

  depends_on = [google_project_service.apis]
}

resource "google_cloud_run_v2_job" "retrain" {
  name                = "${var.name}-retrain"
  location            = var.region
  deletion_protection = var.deletion_protection

  template {
    template {
      service_account       = local.email.retrain
      timeout               = "${local.day}s" # on Dataflow it waits for as long as the table takes
      max_retries           = 1
      execution_environment = "EXECUTION_ENVIRONMENT_GEN2"

      containers {
        image   = local.images.job
        command = ["python", "-m", "beam_pipelines.retrain"]

        resources {
          limits = { cpu = var.job.cpu, memory = var.job.memory }
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
    google_project_iam_member.bigquery_jobs,
    google_project_iam_member.dataflow_developer,
    google_service_account_iam_member.dataflow,
    google_storage_bucket_iam_member.data,
    google_storage_bucket_iam_member.landing,
    google_storage_bucket_iam_member.models,
  ]
}

# Who may start it, with the arguments that it has and no others.
resource "google_cloud_run_v2_job_iam_member" "retrain" {
  for_each = merge(
    {
      on_upload = local.member.on_upload
      sweep     = local.member.sweep
    },
    { for member in var.operators : "operator ${member}" => member },
  )

  name     = google_cloud_run_v2_job.retrain.name
  location = google_cloud_run_v2_job.retrain.location
  role     = "roles/run.invoker"
  member   = each.value
}
