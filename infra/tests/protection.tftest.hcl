# SPDX-License-Identifier: Apache-2.0
# What keeps data and services from being made public, lost or deleted by mistake.

mock_provider "google" {
  override_during = plan
}

variables {
  project       = "acme-dev"
  region        = "europe-west1"
  environment   = "dev"
  functions_zip = "../build/functions-0123456789abcdef.zip"
  image_tag     = "0123456789abcdef"
  labels        = { team = "pricing", app = "theirs" } # ours cannot be hidden
}

run "no_bucket_can_be_made_public" {
  command = plan

  assert {
    condition = alltrue([
      for bucket in [
        google_storage_bucket.landing, google_storage_bucket.data, google_storage_bucket.models,
        google_storage_bucket.source,
      ] : bucket.public_access_prevention == "enforced" && bucket.uniform_bucket_level_access
    ])
    error_message = "A bucket can be made public, or has access lists beside IAM."
  }
}

run "what_is_lost_by_mistake_comes_back" {
  command = plan

  assert {
    condition     = google_storage_bucket.landing.soft_delete_policy[0].retention_duration_seconds == 30 * 24 * 60 * 60
    error_message = "A deleted upload is gone within the month."
  }
  assert {
    condition = alltrue([
      for bucket in [google_storage_bucket.data, google_storage_bucket.models] :
      bucket.soft_delete_policy[0].retention_duration_seconds >= 7 * 24 * 60 * 60
    ])
    error_message = "Deleted data or models are gone within the week."
  }
  assert {
    condition     = google_storage_bucket.models.versioning[0].enabled
    error_message = "A pointer that was overwritten is gone."
  }
  assert {
    condition = alltrue(flatten([
      for rule in google_storage_bucket.models.lifecycle_rule : [for asked in rule.condition : asked.with_state == "ARCHIVED" && asked.days_since_noncurrent_time == 90]
    ]))
    error_message = "A rule removes models that are there."
  }
  assert {
    condition     = length(google_storage_bucket.landing.lifecycle_rule) == 0
    error_message = "A rule removes uploads."
  }
}

run "only_what_nobody_needs_any_more_is_cleared_away" {
  command = plan

  assert {
    condition = [
      for rule in google_storage_bucket.data.lifecycle_rule : [for asked in rule.condition : [asked.age, asked.matches_prefix]][0]
    ] == [[14, tolist(["beam/", "batch/"])]]
    error_message = "The data bucket's rule removes something else, or at another time."
  }
}

run "nothing_is_deleted_unasked" {
  command = plan

  assert {
    condition = alltrue([
      google_cloud_run_v2_service.on_upload.deletion_protection,
      google_cloud_run_v2_service.predict.deletion_protection,
      google_cloud_run_v2_job.retrain.deletion_protection,
      google_cloud_run_v2_job.sweep.deletion_protection,
    ])
    error_message = "Terraform deletes a runtime unasked."
  }
  assert {
    condition = alltrue([
      for holder in [
        google_storage_bucket.landing, google_storage_bucket.data, google_storage_bucket.models,
      ] : !holder.force_destroy && holder.deletion_policy == "PREVENT"
    ])
    error_message = "Terraform deletes a bucket with somebody's data in it."
  }
  assert {
    condition = (
      !google_bigquery_dataset.predictions.delete_contents_on_destroy
      && google_bigquery_dataset.predictions.deletion_policy == "PREVENT"
    )
    error_message = "Terraform deletes the dataset."
  }
  assert {
    condition     = alltrue([for api in google_project_service.apis : !api.disable_on_destroy])
    error_message = "Destroying a deployment switches off APIs that others may use."
  }
}

run "a_person_can_have_all_of_it_deleted" {
  command = plan

  variables {
    deletion_protection = false
    delete_data         = true
  }

  assert {
    condition = alltrue([
      !google_cloud_run_v2_service.on_upload.deletion_protection,
      !google_cloud_run_v2_service.predict.deletion_protection,
      !google_cloud_run_v2_job.retrain.deletion_protection,
      !google_cloud_run_v2_job.sweep.deletion_protection,
    ])
    error_message = "deletion_protection = false leaves something protected."
  }
  assert {
    condition = alltrue([
      for holder in [
        google_storage_bucket.landing, google_storage_bucket.data, google_storage_bucket.models,
      ] : holder.force_destroy && holder.deletion_policy == "DELETE"
    ]) && google_bigquery_dataset.predictions.delete_contents_on_destroy && google_bigquery_dataset.predictions.deletion_policy == "DELETE"
    error_message = "delete_data = true leaves data."
  }
}

run "services_go_without_their_data" {
  command = plan

  variables {
    deletion_protection = false
  }

  assert {
    condition = alltrue([
      for holder in [
        google_storage_bucket.landing, google_storage_bucket.data, google_storage_bucket.models,
      ] : !holder.force_destroy && holder.deletion_policy == "PREVENT"
    ])
    error_message = "Without delete_data, data can be deleted."
  }
}

run "everything_is_labelled" {
  command = plan

  assert {
    condition     = local.labels == { app = "dropfit", environment = "dev", deployment = "dropfit", team = "pricing" }
    error_message = "The labels do not say whose this is."
  }
}

run "images_are_named_by_what_they_are_built_from" {
  command = plan

  assert {
    condition = [
      google_cloud_run_v2_service.on_upload.template[0].containers[0].image,
      google_cloud_run_v2_service.predict.template[0].containers[0].image,
      google_cloud_run_v2_job.retrain.template[0].template[0].containers[0].image,
      google_cloud_run_v2_job.sweep.template[0].template[0].containers[0].image,
      ] == [
      for image in ["on-upload", "predict", "job", "job"] :
      "europe-west1-docker.pkg.dev/acme-dev/dropfit/${image}:0123456789abcdef"
    ]
    error_message = "A runtime runs another image."
  }
  assert {
    condition     = length(google_artifact_registry_repository.images.docker_config) == 0
    error_message = "Immutable tags cannot be deleted, so that nothing would be cleaned up."
  }
  assert {
    condition = anytrue(flatten([
      for policy in google_artifact_registry_repository.images.cleanup_policies :
      [for newest in policy.most_recent_versions : newest.keep_count == 10 && policy.action == "KEEP"]
    ]))
    error_message = "The image that runs may be cleaned up."
  }
}
