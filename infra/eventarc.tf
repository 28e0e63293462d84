# SPDX-License-Identifier: Apache-2.0
# The way from the landing bucket to on_upload: Cloud Storage publishes, Eventarc's subscription delivers, and what it
# cannot deliver goes to the dead letters.

locals {
  pubsub_agent = "serviceAccount:service-${data.google_project.this.number}@gcp-sa-pubsub.iam.gserviceaccount.com"
}

resource "google_service_account" "trigger" {
  account_id   = "${var.name}-trigger"
  display_name = "Dropfit ${var.environment}: delivers events to on_upload"

  depends_on = [google_project_service.apis]
}

# Google grants these two on the project only.

resource "google_project_iam_member" "trigger" {
  project = var.project
  role    = "roles/eventarc.eventReceiver"
  member  = local.member.trigger
}

# Reading it makes it, in a project that has had no bucket yet.
data "google_storage_project_service_account" "this" {
  project = var.project

  depends_on = [google_project_service.apis]
}

resource "google_project_iam_member" "storage_agent" {
  project = var.project
  role    = "roles/pubsub.publisher"
  member  = "serviceAccount:service-${data.google_project.this.number}@gs-project-accounts.iam.gserviceaccount.com"

  depends_on = [data.google_storage_project_service_account.this]
}

# The roles above take some minutes until they hold everywhere, and a trigger that is made before fails with a permission
# that everybody can see is there. Waited for once, never again. Eventarc's and Pub/Sub's own agents are another matter:
# Google makes them, with their roles, when the first trigger is asked for, which may fail for want of them. Asked
# again it succeeds: `dropfit deploy` does.
resource "terraform_data" "service_agents" {
  provisioner "local-exec" {
    command = "sleep 180"
  }

  depends_on = [
    google_project_iam_member.storage_agent,
    google_project_iam_member.trigger,
    google_project_service.apis,
  ]
}

# There is no `retry_policy` here on purpose: the only value that it takes for this destination, max_attempts = 1,
# switches retries off. Without it Pub/Sub delivers for 24 hours, with back-off.
resource "google_eventarc_trigger" "uploads" {
  name            = "${var.name}-uploads"
  location        = var.region # that of the bucket, else Eventarc refuses it
  service_account = local.email.trigger

  matching_criteria {
    attribute = "type"
    value     = "google.cloud.storage.object.v1.finalized"
  }

  # The landing bucket's events and no other's: what we write ourselves triggers nothing.
  matching_criteria {
    attribute = "bucket"
    value     = google_storage_bucket.landing.name
  }

  destination {
    cloud_run_service {
      service = google_cloud_run_v2_service.on_upload.name
      region  = google_cloud_run_v2_service.on_upload.location
    }
  }

  depends_on = [
    google_cloud_run_v2_service_iam_member.on_upload,
    terraform_data.service_agents,
  ]
}

# Neither the trigger nor its transport has an argument for the dead letters: infra/deploy/dead_letter.py points the
# trigger's own subscription here after each apply, and `dropfit doctor` looks whether it does.
resource "google_pubsub_topic" "dead_letters" {
  # checkov:skip=CKV_GCP_83:Google's own keys encrypt it; an event names an object, and holds nothing of it
  name = local.dead_letters

  message_storage_policy {
    allowed_persistence_regions = [var.region]
  }

  # Google may answer true though nobody asked for it, which would be a change with every plan
  # (GoogleCloudPlatform/cloud-foundation-fabric 3738).
  lifecycle {
    ignore_changes = [message_storage_policy[0].enforce_in_transit]
  }

  depends_on = [google_project_service.apis]
}

resource "google_pubsub_topic_iam_member" "dead_letters" {
  topic  = google_pubsub_topic.dead_letters.name
  role   = "roles/pubsub.publisher"
  member = local.pubsub_agent

  depends_on = [google_eventarc_trigger.uploads] # which makes the agent, and before nothing can be granted to it
}

# A topic keeps nothing by itself. Nobody takes these but a person, and they wait as long as Pub/Sub lets them.
resource "google_pubsub_subscription" "dead_letters" {
  name                       = local.dead_letters
  topic                      = "projects/${var.project}/topics/${google_pubsub_topic.dead_letters.name}"
  message_retention_duration = "${31 * local.day}s"
  ack_deadline_seconds       = 60

  expiration_policy {
    ttl = "" # never
  }
}

resource "google_pubsub_subscription_iam_member" "dead_letters" {
  for_each = var.operators

  subscription = google_pubsub_subscription.dead_letters.name
  role         = "roles/pubsub.subscriber"
  member       = each.value
}
