# SPDX-License-Identifier: Apache-2.0
# GitHub Actions without keys: GitHub signs what runs, and Google takes its word for deployments alone.

locals {
  federated = var.github_actions ? { github = true } : {}

  # A number stays with its repository; a name goes to whoever registers it next.
  by_id = var.github_repository_id != null
  repository = (
    local.by_id
    ? "assertion.repository_id == '${coalesce(var.github_repository_id, "0")}'"
    : "assertion.repository == '${var.github_repository}'"
  )
  # No other workflow, branch, pull request or GitHub environment gets any token. A pull_request_target runs with
  # main's ref on a stranger's code: events are therefore named.
  condition = join(" && ", [
    local.repository,
    "assertion.ref == 'refs/heads/${var.branch}'",
    "assertion.event_name in ['push', 'workflow_dispatch']",
    "assertion.sub.endsWith(':environment:${var.environment}')",
  ])
  principals = local.by_id ? "attribute.repository_id/${coalesce(var.github_repository_id, "0")}" : "attribute.repository/${var.github_repository}"
}

resource "google_iam_workload_identity_pool" "github" {
  for_each = local.federated

  workload_identity_pool_id = "${var.name}-github"
  display_name              = "${var.name} GitHub Actions"
  description               = "Deployments of ${var.github_repository}"

  depends_on = [google_project_service.apis]
}

resource "google_iam_workload_identity_pool_provider" "github" {
  # checkov:skip=CKV_GCP_125:it knows `assertion.sub ==` alone; ours asks for the repository's number, which sub need not hold, and for ref and event too
  for_each = local.federated

  workload_identity_pool_id          = google_iam_workload_identity_pool.github[each.key].workload_identity_pool_id
  workload_identity_pool_provider_id = "github"
  display_name                       = "GitHub"
  attribute_condition                = local.condition

  attribute_mapping = {
    "google.subject"          = "assertion.sub"
    "attribute.ref"           = "assertion.ref"
    "attribute.repository"    = "assertion.repository"
    "attribute.repository_id" = "assertion.repository_id"
  }

  oidc {
    issuer_uri = "https://token.actions.githubusercontent.com"
  }
}

resource "google_service_account_iam_member" "deploy_federated" {
  for_each = local.federated

  service_account_id = google_service_account.builders["deploy"].name
  role               = "roles/iam.workloadIdentityUser"
  member             = "principalSet://iam.googleapis.com/${google_iam_workload_identity_pool.github[each.key].name}/${local.principals}"
}
