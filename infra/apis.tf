# SPDX-License-Identifier: Apache-2.0
# The APIs that the deployment calls, each named. They stay on when it is destroyed: others in the project may use them.

locals {
  apis = setunion(
    [
      "artifactregistry.googleapis.com",
      "bigquery.googleapis.com",
      "cloudbilling.googleapis.com",
      "cloudbuild.googleapis.com",
      "cloudresourcemanager.googleapis.com",
      "cloudscheduler.googleapis.com",
      "eventarc.googleapis.com",
      "iam.googleapis.com",
      "logging.googleapis.com",
      "monitoring.googleapis.com",
      "pubsub.googleapis.com",
      "run.googleapis.com",
      "serviceusage.googleapis.com",
      "storage.googleapis.com",
    ],
    local.dataflow ? ["compute.googleapis.com", "dataflow.googleapis.com"] : [],
    var.monthly_budget == null ? [] : ["billingbudgets.googleapis.com"],
  )
}

resource "google_project_service" "apis" {
  for_each = local.apis

  project            = var.project
  service            = each.value
  disable_on_destroy = false
}
