# SPDX-License-Identifier: Apache-2.0
# A bucket of build logs for each account: a pull request's build must not write into those of a deployment.

resource "google_storage_bucket" "build_logs" {
  # checkov:skip=CKV_GCP_62:access logs of build logs would be logs of logs
  # checkov:skip=CKV_GCP_63:it writes no access log at all; the scanner takes the empty block of a plan for one
  # checkov:skip=CKV_GCP_78:a build log is written once
  for_each = local.actions

  name                        = "${var.project}-${var.name}-${each.key}-logs"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"

  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      age = var.build_log_days
    }
  }

  depends_on = [google_project_service.apis]
}

locals {
  log_grants = {
    for pair in setproduct(keys(local.actions), ["roles/storage.legacyBucketReader", "roles/storage.objectUser"]) :
    join(" ", pair) => { action = pair[0], role = pair[1] }
  }
}

# Cloud Build looks at the bucket, and writes and goes on writing the log.
resource "google_storage_bucket_iam_member" "build_logs" {
  for_each = local.log_grants

  bucket = google_storage_bucket.build_logs[each.value.action].name
  role   = each.value.role
  member = google_service_account.builders[each.value.action].member
}
