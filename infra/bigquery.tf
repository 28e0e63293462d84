# SPDX-License-Identifier: Apache-2.0
# The dataset of the static-serving tables. The job makes what is in it: a table for each version, and the views.

resource "google_bigquery_dataset" "predictions" {
  # checkov:skip=CKV_GCP_15:it has no access block but IAM members; tests/infra/test_promises.py looks at those
  # checkov:skip=CKV_GCP_81:Google's own keys encrypt it, as they do the buckets that it is loaded from
  dataset_id                 = local.dataset
  location                   = var.region
  description                = "Dropfit's predictions: the view `predictions`, and a table for each version behind it."
  delete_contents_on_destroy = var.delete_data
  deletion_policy            = local.keep

  depends_on = [google_project_service.apis]
}

locals {
  # A dataset takes who has no address, federated identities and Kubernetes' accounts, by another name than all else does.
  # The provider would send them as addresses, or not know what they are (hashicorp/terraform-provider-google 26255).
  without_address = "^principal|[.]svc[.]id[.]goog\\["
  on_datasets = {
    for member in setunion(var.operators, var.analysts) :
    member => can(regex(local.without_address, member)) ? "iamMember:${member}" : member
  }
}

resource "google_bigquery_dataset_iam_member" "predictions" {
  for_each = merge(
    {
      retrain = { role = "dataEditor", member = local.member.retrain }
      # It mends the view. No role replaces a view and leaves tables alone.
      sweep = { role = "dataEditor", member = local.member.sweep }
    },
    { for member in var.operators : "operator ${member}" => { role = "dataEditor", member = local.on_datasets[member] } },
    { for member in var.analysts : "analyst ${member}" => { role = "dataViewer", member = local.on_datasets[member] } },
  )

  dataset_id = google_bigquery_dataset.predictions.dataset_id
  role       = "roles/bigquery.${each.value.role}"
  member     = each.value.member
}

# The right to start a query or a load is the project's; what it may read and write is not.
resource "google_project_iam_member" "bigquery_jobs" {
  for_each = merge(
    {
      retrain = local.member.retrain
      sweep   = local.member.sweep
    },
    { for member in setunion(var.operators, var.analysts) : member => member },
  )

  project = var.project
  role    = "roles/bigquery.jobUser"
  member  = each.value
}
