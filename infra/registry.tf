# SPDX-License-Identifier: Apache-2.0
# Images of both functions and of the job, and the account that builds them.

resource "google_artifact_registry_repository" "images" {
  # checkov:skip=CKV_GCP_84:Google's own keys encrypt it; it holds our code, and no data
  location      = var.region
  repository_id = var.name
  description   = "Dropfit's images: on-upload, predict and job, tagged with the hash of what they are built from."
  format        = "DOCKER"

  # Tags are not immutable, though none ever moves: Google lets no immutable tag be deleted, so nothing would ever be
  # cleaned up. The build account alone writes here, and it builds no tag that is there.

  # Ten of each image stay whatever their age, the one that runs among them.
  cleanup_policies {
    id     = "keep-the-newest"
    action = "KEEP"
    most_recent_versions {
      keep_count = 10
    }
  }
  cleanup_policies {
    id     = "delete-the-old"
    action = "DELETE"
    condition {
      tag_state  = "ANY"
      older_than = "${30 * local.day}s"
    }
  }

  depends_on = [google_project_service.apis]
}

resource "google_service_account" "build" {
  account_id   = "${var.name}-build"
  display_name = "Dropfit ${var.environment}: builds images"

  depends_on = [google_project_service.apis]
}

resource "google_artifact_registry_repository_iam_member" "build" {
  location   = google_artifact_registry_repository.images.location
  repository = google_artifact_registry_repository.images.repository_id
  role       = "roles/artifactregistry.writer"
  member     = local.member.build
}

resource "google_project_iam_member" "build_logs" {
  project = var.project
  role    = "roles/logging.logWriter"
  member  = local.member.build
}
