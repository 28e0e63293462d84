# SPDX-License-Identifier: Apache-2.0
# What people need to use it. Each waits for the rights without which it would be of no use.

output "predict_url" {
  description = "Base URL of the predict function."
  value       = google_cloud_run_v2_service.predict.uri
  depends_on  = [google_cloud_run_v2_service_iam_member.predict]
}

output "on_upload_url" {
  description = "URL of the on_upload function, which the trigger alone may call."
  value       = google_cloud_run_v2_service.on_upload.uri
  depends_on  = [google_cloud_run_v2_service_iam_member.on_upload]
}

output "buckets" {
  description = "Every bucket by what it holds."
  value = {
    landing = google_storage_bucket.landing.name
    data    = google_storage_bucket.data.name
    models  = google_storage_bucket.models.name
    source  = google_storage_bucket.source.name
  }
}

output "trigger" {
  description = "Full name of the Eventarc trigger."
  value       = "projects/${var.project}/locations/${var.region}/triggers/${google_eventarc_trigger.uploads.name}"
}

output "dead_letters" {
  description = "Full names of the topic of undelivered events and of the subscription that keeps them."
  value = {
    topic        = "projects/${var.project}/topics/${google_pubsub_topic.dead_letters.name}"
    subscription = "projects/${var.project}/subscriptions/${google_pubsub_subscription.dead_letters.name}"
  }
}

output "env" {
  description = "The environment for `dropfit ...` from anywhere, against this deployment."
  value = merge(local.environment, {
    DROPFIT_PREDICT_URL   = google_cloud_run_v2_service.predict.uri
    DROPFIT_ON_UPLOAD_URL = google_cloud_run_v2_service.on_upload.uri
  })
}
