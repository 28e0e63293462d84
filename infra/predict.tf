# SPDX-License-Identifier: Apache-2.0
# The serving endpoint. Its account reads models and nothing else: what a container prints, Cloud Run writes to Cloud
# Logging by an account of its own, so the prediction log needs no role.

resource "google_service_account" "predict" {
  account_id   = "${var.name}-predict"
  display_name = "Dropfit ${var.environment}: answers predictions"
  description  = "Reads the models bucket."

  depends_on = [google_project_service.apis]
}

resource "google_cloud_run_v2_service" "predict" {
  name                 = "${var.name}-predict"
  location             = var.region
  description          = "Answers predictions of the served version."
  ingress              = "INGRESS_TRAFFIC_ALL"
  invoker_iam_disabled = false
  deletion_protection  = var.deletion_protection

  # It starts no build, see on_upload.tf.
  build_config {
    source_location = "gs://${google_storage_bucket_object.functions.bucket}/${google_storage_bucket_object.functions.name}"
    function_target = "predict"
    image_uri       = local.images.predict
    base_image      = local.base_image
    service_account = "projects/${var.project}/serviceAccounts/${local.email.build}"
    environment_variables = {
      GOOGLE_FUNCTION_SOURCE = "predict.py"
    }
  }

  template {
    service_account                  = local.email.predict
    timeout                          = "75s" # the longest body and the longest deadline together: Settings' 10 s and 60 s
    max_instance_request_concurrency = var.predict.concurrency
    execution_environment            = "EXECUTION_ENVIRONMENT_GEN2"

    scaling {
      min_instance_count = var.predict.min_instances
      max_instance_count = var.predict.max_instances
    }

    containers {
      image = local.images.predict

      resources {
        limits            = { cpu = var.predict.cpu, memory = var.predict.memory }
        cpu_idle          = var.predict.billing == "requests"
        startup_cpu_boost = true
      }

      # The model runs on one thread: many requests share the machine.
      dynamic "env" {
        for_each = merge(local.environment, { OMP_NUM_THREADS = "1" })
        content {
          name  = env.key
          value = env.value
        }
      }

      # /health never looks at a model: an instance without one still says why, at /ready.
      startup_probe {
        period_seconds    = 2
        timeout_seconds   = 2
        failure_threshold = 60
        http_get {
          path = "/health"
        }
      }

      liveness_probe {
        period_seconds    = 30
        timeout_seconds   = 5
        failure_threshold = 4
        http_get {
          path = "/health"
        }
      }
    }
  }

  # What Google answers unasked, see on_upload.tf.
  lifecycle {
    ignore_changes = [build_config[0].base_image, scaling]
  }

  depends_on = [google_storage_bucket_iam_member.models]
}

# Operators too: `dropfit status` asks the function what it serves.
resource "google_cloud_run_v2_service_iam_member" "predict" {
  for_each = setunion(var.invokers, var.operators)

  name     = google_cloud_run_v2_service.predict.name
  location = google_cloud_run_v2_service.predict.location
  role     = "roles/run.invoker"
  member   = each.value
}

resource "google_cloud_run_v2_service_iam_member" "predict_public" {
  count = var.predict_public ? 1 : 0

  name     = google_cloud_run_v2_service.predict.name
  location = google_cloud_run_v2_service.predict.location
  role     = "roles/run.invoker"
  member   = "allUsers"
}
