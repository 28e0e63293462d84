# SPDX-License-Identifier: Apache-2.0
# Cloud Build's triggers. The account of a trigger decides what its build can do, whatever cloudbuild.yaml says in the
# pull request that it builds.

locals {
  triggers = var.connection == null ? {} : {
    deploy = { push = ["^${var.branch}$"], pull_request = [], approval = local.approval }
    plan   = { push = [], pull_request = ["^${var.branch}$"], approval = false }
  }

  # Made of account_id, which is known before the account is there: a plan says who builds what.
  builders = {
    for action, account in google_service_account.builders :
    action => "projects/${var.project}/serviceAccounts/${account.account_id}@${var.project}.iam.gserviceaccount.com"
  }

  # Whoever has never contributed waits for a person's /gcbrun: their code runs in the build.
  comments = "COMMENTS_ENABLED_FOR_EXTERNAL_CONTRIBUTORS_ONLY"
}

resource "google_cloudbuildv2_repository" "source" {
  count = var.connection == null ? 0 : 1

  name              = replace(var.github_repository, "/", "-")
  location          = var.region
  parent_connection = var.connection
  remote_uri        = "https://github.com/${var.github_repository}.git"

  depends_on = [google_project_service.apis]
}

resource "google_cloudbuild_trigger" "builds" {
  for_each = local.triggers

  name            = "${var.name}-${each.key}"
  description     = local.actions[each.key]
  location        = var.region
  service_account = local.builders[each.key]
  filename        = "cloudbuild.yaml"
  ignored_files   = ["docs/**", "*.md"]

  substitutions = {
    _ACTION     = each.key
    _BRANCH     = var.branch
    _ENV        = var.environment
    _NAME       = var.name
    _SMOKE_FILE = var.smoke_file
  }

  repository_event_config {
    repository = google_cloudbuildv2_repository.source[0].id

    dynamic "push" {
      for_each = each.value.push
      content {
        branch = push.value
      }
    }

    dynamic "pull_request" {
      for_each = each.value.pull_request
      content {
        branch          = pull_request.value
        comment_control = local.comments
      }
    }
  }

  approval_config {
    approval_required = each.value.approval
  }

  depends_on = [
    google_project_iam_member.deploy,
    google_project_iam_member.deploy_grants,
    google_project_iam_member.plan,
    google_project_iam_member.plan_source,
    google_service_account_iam_member.deploy_identity,
    google_storage_bucket_iam_member.build_logs,
    google_storage_bucket_iam_member.plan_state,
  ]
}
