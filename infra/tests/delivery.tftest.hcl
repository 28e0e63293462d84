# SPDX-License-Identifier: Apache-2.0
# From an upload to the job: one source of events, retries, dead letters, and a sweep for what got lost all the same.

mock_provider "google" {
  override_during = plan
}

variables {
  project       = "acme-dev"
  region        = "europe-west1"
  environment   = "dev"
  functions_zip = "../build/functions-0123456789abcdef.zip"
  image_tag     = "0123456789abcdef"
  operators     = ["group:ml@acme.example"]
}

run "the_landing_bucket_is_the_only_source_of_events" {
  command = plan

  assert {
    condition = { for asked in google_eventarc_trigger.uploads.matching_criteria : asked.attribute => asked.value } == {
      type   = "google.cloud.storage.object.v1.finalized"
      bucket = "acme-dev-dropfit-landing"
    }
    error_message = "The trigger listens to something else."
  }
  assert {
    condition     = lower(google_eventarc_trigger.uploads.location) == lower(google_storage_bucket.landing.location)
    error_message = "Eventarc refuses a trigger that is not where its bucket is."
  }
  assert {
    condition     = google_eventarc_trigger.uploads.destination[0].cloud_run_service[0].service == google_cloud_run_v2_service.on_upload.name
    error_message = "The trigger calls something else."
  }
}

run "deliveries_are_retried" {
  command = plan

  assert {
    condition     = length(google_eventarc_trigger.uploads.retry_policy) == 0
    error_message = "The only value that retry_policy takes switches retries off."
  }
  assert {
    condition     = google_cloud_scheduler_job.sweep.retry_config[0].retry_count >= 1
    error_message = "A sweep that could not be started is not tried again."
  }
  assert {
    condition     = google_cloud_run_v2_job.retrain.template[0].template[0].max_retries == 1
    error_message = "A job that was killed is not started again, or for ever."
  }
}

run "what_cannot_be_delivered_is_kept" {
  command = plan

  assert {
    condition     = google_pubsub_subscription.dead_letters.topic == "projects/acme-dev/topics/${google_pubsub_topic.dead_letters.name}"
    error_message = "Nothing keeps the dead letters."
  }
  assert {
    condition     = tonumber(trimsuffix(google_pubsub_subscription.dead_letters.message_retention_duration, "s")) >= 7 * 24 * 60 * 60
    error_message = "Dead letters are gone within a week."
  }
  assert {
    condition     = google_pubsub_subscription.dead_letters.expiration_policy[0].ttl == ""
    error_message = "A subscription that nobody reads from removes itself after a month."
  }
  assert {
    condition = (
      google_pubsub_topic_iam_member.dead_letters.role == "roles/pubsub.publisher"
      && google_pubsub_topic_iam_member.dead_letters.topic == google_pubsub_topic.dead_letters.name
      && endswith(google_pubsub_topic_iam_member.dead_letters.member, "@gcp-sa-pubsub.iam.gserviceaccount.com")
    )
    error_message = "Pub/Sub's agent may not publish what it could not deliver."
  }
}

run "the_trigger_may_receive_and_storage_may_publish" {
  command = plan

  assert {
    condition = (
      google_project_iam_member.trigger.role == "roles/eventarc.eventReceiver"
      && google_project_iam_member.trigger.member == "serviceAccount:dropfit-trigger@acme-dev.iam.gserviceaccount.com"
    )
    error_message = "The trigger's account receives no events."
  }
  assert {
    condition = (
      google_project_iam_member.storage_agent.role == "roles/pubsub.publisher"
      && endswith(google_project_iam_member.storage_agent.member, "@gs-project-accounts.iam.gserviceaccount.com")
    )
    error_message = "Cloud Storage's agent may not publish its events."
  }
}

run "what_no_event_announced_is_looked_for" {
  command = plan

  assert {
    condition     = google_cloud_scheduler_job.sweep.schedule == "*/15 * * * *" && google_cloud_scheduler_job.sweep.time_zone == "Etc/UTC"
    error_message = "The sweep is not started every 15 minutes."
  }
  assert {
    condition = (
      google_cloud_scheduler_job.sweep.http_target[0].uri
      == "https://run.googleapis.com/v2/projects/acme-dev/locations/europe-west1/jobs/dropfit-sweep:run"
    )
    error_message = "The schedule starts something else."
  }
  assert {
    condition     = google_cloud_run_v2_job_iam_member.sweep.member == "serviceAccount:dropfit-scheduler@acme-dev.iam.gserviceaccount.com"
    error_message = "The schedule may not start the sweep."
  }
  assert {
    condition = 0 == length(setsubtract(
      ["serviceAccount:dropfit-on-upload@acme-dev.iam.gserviceaccount.com", "serviceAccount:dropfit-sweep@acme-dev.iam.gserviceaccount.com", "group:ml@acme.example"],
      [for granted in google_cloud_run_v2_job_iam_member.retrain : granted.member if granted.role == "roles/run.invoker"],
    ))
    error_message = "on_upload, the sweep or the operators may not start the retraining job."
  }
}

run "predict_is_probed_and_scales_to_nothing" {
  command = plan

  assert {
    condition = (
      google_cloud_run_v2_service.predict.template[0].containers[0].startup_probe[0].http_get[0].path == "/health"
      && google_cloud_run_v2_service.predict.template[0].containers[0].liveness_probe[0].http_get[0].path == "/health"
    )
    error_message = "Nobody asks predict whether it lives."
  }
  assert {
    condition = alltrue([
      for service in [google_cloud_run_v2_service.predict, google_cloud_run_v2_service.on_upload] : (
        service.template[0].containers[0].resources[0].cpu_idle
        && service.template[0].containers[0].resources[0].startup_cpu_boost
        && service.template[0].scaling[0].min_instance_count == 0
      )
    ])
    error_message = "A function that nobody calls costs something, or starts without the boost."
  }
}

run "predicts_size_is_the_adopters" {
  command = plan

  variables {
    predict = { cpu = "2", memory = "4Gi", concurrency = 20, min_instances = 1, max_instances = 7 }
  }

  assert {
    condition = (
      google_cloud_run_v2_service.predict.template[0].max_instance_request_concurrency == 20
      && google_cloud_run_v2_service.predict.template[0].scaling[0].min_instance_count == 1
      && google_cloud_run_v2_service.predict.template[0].scaling[0].max_instance_count == 7
      && google_cloud_run_v2_service.predict.template[0].containers[0].resources[0].limits == tomap({ cpu = "2", memory = "4Gi" })
    )
    error_message = "predict has another size than var.predict says."
  }
  assert {
    condition     = google_cloud_run_v2_service.on_upload.template[0].scaling[0].max_instance_count == 7
    error_message = "What a small quota lets predict have, on_upload would still be refused."
  }
}

run "the_jobs_size_is_the_adopters" {
  command = plan

  variables {
    job = { cpu = "4", memory = "16Gi" }
  }

  assert {
    condition     = google_cloud_run_v2_job.retrain.template[0].template[0].containers[0].resources[0].limits == tomap({ cpu = "4", memory = "16Gi" })
    error_message = "The job has another size than var.job says."
  }
}
