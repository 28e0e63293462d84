# SPDX-License-Identifier: Apache-2.0
# Four buckets. Nobody reaches them but by IAM, and none can be made public, not even by its owner.
#
# What may be lost by mistake, and what brings it back:
#   landing  uploads, which nobody can make again    soft delete, 30 days, of what was overwritten or deleted
#   models   versions, and the pointer to one        versioning: every pointer of the last 90 days; then soft delete
#   data     receipts, accepted rows, quarantine     soft delete, 7 days. No versioning: a lease is rewritten every few
#                                                    seconds, and what matters lies under a name of its content
#   source   zips that images were built from        versioning: those of earlier deployments, for 30 days
#
# Landing has no versioning either: an object's generation is the upload's identity (functions/dropfit/receipts.py),
# only the live one is read, and one that was restored is a new generation, hence taken in anew.

locals {
  day = 24 * 60 * 60
  # While a bucket may hold somebody's data, Terraform refuses to delete it, even when it is empty.
  keep = var.delete_data ? "DELETE" : "PREVENT"

  # An account's objects in the data bucket, for IAM conditions. Listing is asked of the bucket itself, which no such
  # condition covers: roles/storage.legacyBucketReader stands beside. Without it a missing object would answer 403.
  data_objects = "projects/_/buckets/${local.buckets.data}/objects"
}

resource "google_storage_bucket" "landing" {
  # checkov:skip=CKV_GCP_78:soft delete keeps what was overwritten or deleted, see above
  # checkov:skip=CKV_GCP_62:who read or wrote what is told by Cloud Audit Logs' data access logs, where they are wanted
  # checkov:skip=CKV_GCP_63:it writes no access log at all; the scanner takes the empty block of a plan for one
  name                        = local.buckets.landing
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = var.delete_data
  deletion_policy             = local.keep

  soft_delete_policy {
    retention_duration_seconds = 30 * local.day
  }

  depends_on = [google_project_service.apis]
}

resource "google_storage_bucket_iam_member" "landing" {
  for_each = merge(
    {
      retrain = { role = "objectViewer", member = local.member.retrain }
      # It lists, and reads nothing.
      sweep = { role = "legacyBucketReader", member = local.member.sweep }
    },
    { for member in var.operators : "operator ${member}" => { role = "objectViewer", member = member } },
    # A corrected file comes under the same name, which overwrites: more than roles/storage.objectCreator may.
    { for member in var.uploaders : "uploader ${member}" => { role = "objectUser", member = member } },
  )

  bucket = google_storage_bucket.landing.name
  role   = "roles/storage.${each.value.role}"
  member = each.value.member
}

resource "google_storage_bucket" "data" {
  # checkov:skip=CKV_GCP_78:a lease is rewritten every few seconds, see above
  # checkov:skip=CKV_GCP_62:who read or wrote what is told by Cloud Audit Logs' data access logs, where they are wanted
  # checkov:skip=CKV_GCP_63:it writes no access log at all; the scanner takes the empty block of a plan for one
  name                        = local.buckets.data
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = var.delete_data
  deletion_policy             = local.keep

  soft_delete_policy {
    retention_duration_seconds = 7 * local.day
  }

  # What Beam staged, and what a batch that never came to its end has left.
  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      age            = 14
      matches_prefix = ["beam/", "batch/"]
    }
  }

  depends_on = [google_project_service.apis]
}

resource "google_storage_bucket_iam_member" "data" {
  for_each = merge(
    {
      "retrain writes" = { role = "objectUser", member = local.member.retrain }
      # BigQuery's load jobs and Beam look at the bucket itself.
      "retrain lists"   = { role = "legacyBucketReader", member = local.member.retrain }
      "on_upload lists" = { role = "legacyBucketReader", member = local.member.on_upload }
      "sweep lists"     = { role = "legacyBucketReader", member = local.member.sweep }
    },
    local.dataflow ? {
      "dataflow writes" = { role = "objectUser", member = local.member.dataflow }
    } : {},
    { for member in var.operators : "operator ${member} writes" => { role = "objectUser", member = member } },
    { for member in var.operators : "operator ${member} lists" => { role = "legacyBucketReader", member = member } },
    { for member in var.uploaders : "uploader ${member} lists" => { role = "legacyBucketReader", member = member } },
  )

  bucket = google_storage_bucket.data.name
  role   = "roles/storage.${each.value.role}"
  member = each.value.member
}

# The same bucket, name by name: `on_upload` cannot read a row, nor `sweep` change one.
resource "google_storage_bucket_iam_member" "data_part" {
  for_each = merge(
    {
      "on_upload writes" = {
        role   = "objectUser"
        member = local.member.on_upload
        begins = ["receipts/", "leases/launch.json"]
      }
      "on_upload reads" = {
        role   = "objectViewer"
        member = local.member.on_upload
        begins = ["leases/retrain.json"]
      }
      "sweep writes" = {
        role   = "objectUser"
        member = local.member.sweep
        begins = ["receipts/", "refreshes/", "leases/clock"]
      }
      "sweep reads" = {
        role   = "objectViewer"
        member = local.member.sweep
        begins = ["leases/retrain.json"]
      }
    },
    # `dropfit upload --wait` tells what became of it.
    { for member in var.uploaders : "uploader ${member} reads" => { role = "objectViewer", member = member, begins = ["receipts/", "runs/"] } },
  )

  bucket = google_storage_bucket.data.name
  role   = "roles/storage.${each.value.role}"
  member = each.value.member

  condition {
    title       = "some-names-alone"
    description = "Only ${join(", ", each.value.begins)}"
    expression  = join(" || ", [for begin in each.value.begins : "resource.name.startsWith(\"${local.data_objects}/${begin}\")"])
  }
}

resource "google_storage_bucket" "models" {
  # checkov:skip=CKV_GCP_62:who read or wrote what is told by Cloud Audit Logs' data access logs, where they are wanted
  # checkov:skip=CKV_GCP_63:it writes no access log at all; the scanner takes the empty block of a plan for one
  name                        = local.buckets.models
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = var.delete_data
  deletion_policy             = local.keep

  versioning {
    enabled = true
  }

  soft_delete_policy {
    retention_duration_seconds = 7 * local.day
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      days_since_noncurrent_time = 90
      with_state                 = "ARCHIVED"
    }
  }

  depends_on = [google_project_service.apis]
}

resource "google_storage_bucket_iam_member" "models" {
  for_each = merge(
    {
      predict = { role = "objectViewer", member = local.member.predict }
      sweep   = { role = "objectViewer", member = local.member.sweep }
      retrain = { role = "objectUser", member = local.member.retrain }
    },
    local.dataflow ? {
      dataflow = { role = "objectViewer", member = local.member.dataflow }
    } : {},
    { for member in var.operators : "operator ${member}" => { role = "objectUser", member = member } },
  )

  bucket = google_storage_bucket.models.name
  role   = "roles/storage.${each.value.role}"
  member = each.value.member
}

resource "google_storage_bucket" "source" {
  # checkov:skip=CKV_GCP_62:it holds what is in git
  # checkov:skip=CKV_GCP_63:it writes no access log at all; the scanner takes the empty block of a plan for one
  name                        = local.buckets.source
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = true # what is in it is made of the working copy

  versioning {
    enabled = true
  }

  soft_delete_policy {
    retention_duration_seconds = 7 * local.day
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      days_since_noncurrent_time = 30
      with_state                 = "ARCHIVED"
    }
  }

  depends_on = [google_project_service.apis]
}

# Named by their content: changed code, and only changed code, is another object, another image, another revision.
resource "google_storage_bucket_object" "functions" {
  bucket = google_storage_bucket.source.name
  name   = basename(var.functions_zip)
  source = var.functions_zip
}

resource "google_storage_bucket_object" "job" {
  bucket = google_storage_bucket.source.name
  name   = "job-${var.image_tag}.zip"
  source = "${dirname(var.functions_zip)}/job-${var.image_tag}.zip"
}

resource "google_storage_bucket_iam_member" "source" {
  bucket = google_storage_bucket.source.name
  role   = "roles/storage.objectViewer"
  member = local.member.build
}
