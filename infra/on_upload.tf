# SPDX-License-Identifier: Apache-2.0
# The function that an upload calls: it leaves a receipt, starts the job and returns.

resource "google_service_account" "on_upload" {
  account_id   = "${var.name}-on-upload"
  display_name = "Dropfit ${var.environment}: takes in uploads"
  description  = "Writes receipts and starts the retraining job."

  depends_on = [google_project_service.apis]
}

resource "google_cloud_run_v2_service" "on_upload" {
  name                 = "${var.name}-on-upload"
  location             = var.region
  description          = "Takes in what is uploaded to ${local.buckets.landing}."
  ingress              = "INGRESS_TRAFFIC_INTERNAL_ONLY" # Eventarc's deliveries count as internal
  invoker_iam_disabled = false
  deletion_protection  = var.deletion_protection

  # It starts no build: the image is built before Terraform deploys it. With this the console shows a function, its
  # target and its source.
  build_config {
    source_location = "gs://${google_storage_bucket_object.functions.bucket}/${google_storage_bucket_object.functions.name}"
    function_target = "on_upload"
    image_uri       = local.images.on_upload
    base_image      = local.base_image
    service_account = "projects/${var.project}/serviceAccounts/${local.email.build}"
    environment_variables = {
      GOOGLE_FUNCTION_SOURCE = "on_upload.py"
    }
  }

  template {
    service_account                  = local.email.on_upload
    timeout                          = "60s"
    max_instance_request_concurrency = 8
    execution_environment            = "EXECUTION_ENVIRONMENT_GEN2"

    # A quota of CPUs is held against each service's most instances, so what predict may have in a new project fits here.
    scaling {
      min_instance_count = 0
      max_instance_count = min(10, var.predict.max_instances)
    }

    containers {
      image = local.images.on_upload

      resources {
        limits            = { cpu = "1", memory = "512Mi" }
        cpu_idle          = true
        startup_cpu_boost = true
      }

      # As many threads of functions-framework's server as there may be events at a time.
      dynamic "env" {
        for_each = merge(local.environment, { THREADS = "8" })
        content {
          name  = env.key
          value = env.value
        }
      }

      # Of its port alone: a function of CloudEvents answers no GET. Its settings and its problem are looked at before
      # anything is deployed (infra/deploy/checks_tfvars.py).
      startup_probe {
        period_seconds    = 2
        timeout_seconds   = 2
        failure_threshold = 60
        tcp_socket {
          port = 8080
        }
      }
    }
  }

  # Google may answer the base image's full address for its short name, and a scaling of the service's own, all zeros,
  # which nobody asked for (GoogleCloudPlatform/terraform-dynamic-python-webapp 433). Either would be a change with every
  # plan.
  lifecycle {
    ignore_changes = [build_config[0].base_image, scaling]
  }

  depends_on = [
    google_cloud_run_v2_job_iam_member.retrain,
    google_storage_bucket_iam_member.data,
    google_storage_bucket_iam_member.data_part,
  ]
}

# Nobody but the trigger calls it.
resource "google_cloud_run_v2_service_iam_member" "on_upload" {
  name     = google_cloud_run_v2_service.on_upload.name
  location = google_cloud_run_v2_service.on_upload.location
  role     = "roles/run.invoker"
  member   = local.member.trigger
}
