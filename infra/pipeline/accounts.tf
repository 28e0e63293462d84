# SPDX-License-Identifier: Apache-2.0
# Who builds. No account has a key: Cloud Build runs as them, and GitHub borrows one for minutes.

resource "google_service_account" "builders" {
  for_each = local.actions

  account_id   = "${var.name}-${each.key}"
  display_name = "${var.name} ${each.key}"
  description  = each.value

  depends_on = [google_project_service.apis]
}

locals {
  # For each kind of resource that infra/ has, the role that can make it and grant others a role on it.
  # tests/infra/test_pipeline_root.py holds the two together.
  deploy_roles = concat(
    [
      "roles/artifactregistry.admin",
      "roles/bigquery.dataOwner",
      "roles/bigquery.jobUser", # the smoke test's rollback mends the view
      "roles/cloudbuild.builds.editor",
      "roles/cloudscheduler.admin",
      "roles/eventarc.admin",
      "roles/iam.serviceAccountAdmin",
      "roles/iam.serviceAccountUser",
      "roles/logging.configWriter",
      "roles/monitoring.alertPolicyEditor",
      "roles/monitoring.dashboardEditor",
      "roles/monitoring.notificationChannelEditor",
      "roles/monitoring.uptimeCheckConfigEditor",
      "roles/pubsub.admin",
      "roles/run.admin",
      "roles/run.invoker", # the smoke test calls predict
      "roles/serviceusage.serviceUsageAdmin",
      "roles/storage.admin",
    ],
    # roles/compute.networkAdmin makes networks, but no firewall rule.
    var.dataflow ? ["roles/compute.networkAdmin", "roles/compute.securityAdmin"] : [],
  )

  # What a refresh of the same resources reads. No role of these reads anybody's data.
  plan_roles = concat(
    [
      "roles/artifactregistry.reader",
      "roles/bigquery.metadataViewer",
      "roles/cloudscheduler.viewer",
      "roles/eventarc.viewer",
      "roles/iam.securityReviewer", # the IAM policy of everything
      "roles/iam.serviceAccountViewer",
      "roles/logging.viewer",
      "roles/monitoring.viewer",
      "roles/pubsub.viewer",
      "roles/run.viewer",
      "roles/serviceusage.serviceUsageConsumer", # the provider bills its calls to the project
      "roles/serviceusage.serviceUsageViewer",
      "roles/storage.bucketViewer",
    ],
    var.dataflow ? ["roles/compute.networkViewer"] : [],
  )

  # Roles that Google grants only on a project, and that infra/ therefore grants there: the closed list of its tests.
  grantable = [
    "roles/bigquery.jobUser",
    "roles/dataflow.developer",
    "roles/dataflow.worker",
    "roles/eventarc.eventReceiver",
    "roles/logging.logWriter",
    "roles/pubsub.publisher",
  ]
}

resource "google_project_iam_member" "deploy" {
  # checkov:skip=CKV_GCP_41:it gives the functions and jobs the accounts that infra/ has just made for them
  # checkov:skip=CKV_GCP_49:making those accounts is its work; no other account belongs into this project
  for_each = toset(local.deploy_roles)

  project = var.project
  role    = each.key
  member  = google_service_account.builders["deploy"].member
}

# Without the condition the deployer could make itself owner.
resource "google_project_iam_member" "deploy_grants" {
  project = var.project
  role    = "roles/resourcemanager.projectIamAdmin"
  member  = google_service_account.builders["deploy"].member

  condition {
    title       = "only-what-infra-grants"
    description = "Grants and revokes the closed list of project roles, and no other."
    expression  = "api.getAttribute(\"iam.googleapis.com/modifiedGrantsByRole\", []).hasOnly(${jsonencode(local.grantable)})"
  }
}

# Neither Cloud Build nor a federated account can get an identity token, which the private predict function wants, in
# any other way than by asking for one in its own name.
resource "google_service_account_iam_member" "deploy_identity" {
  service_account_id = google_service_account.builders["deploy"].name
  role               = "roles/iam.serviceAccountOpenIdTokenCreator"
  member             = google_service_account.builders["deploy"].member
}

resource "google_project_iam_member" "plan" {
  for_each = toset(local.plan_roles)

  project = var.project
  role    = each.key
  member  = google_service_account.builders["plan"].member
}

# The zips of the code are objects that a plan compares. The bucket is of infra/, so the condition names it.
resource "google_project_iam_member" "plan_source" {
  project = var.project
  role    = "roles/storage.objectViewer"
  member  = google_service_account.builders["plan"].member

  condition {
    title       = "only-the-code"
    description = "Reads the bucket of the code, and none of data or models."
    expression  = "resource.name.startsWith(\"projects/_/buckets/${var.project}-${var.name}-source/\")"
  }
}

resource "google_storage_bucket_iam_member" "plan_state" {
  bucket = local.state_bucket
  role   = "roles/storage.objectViewer"
  member = google_service_account.builders["plan"].member
}
