# SPDX-License-Identifier: Apache-2.0
# What the accounts that redeploy may do, and what lets them do it.

mock_provider "google" {
  override_during = plan

  mock_resource "google_service_account" {
    defaults = {
      id     = "projects/acme-prod/serviceAccounts/dropfit-x@acme-prod.iam.gserviceaccount.com"
      name   = "projects/acme-prod/serviceAccounts/dropfit-x@acme-prod.iam.gserviceaccount.com"
      member = "serviceAccount:dropfit-x@acme-prod.iam.gserviceaccount.com"
    }
  }

  mock_resource "google_iam_workload_identity_pool" {
    defaults = { name = "projects/7/locations/global/workloadIdentityPools/dropfit-github" }
  }
}

variables {
  project              = "acme-prod"
  region               = "europe-west1"
  environment          = "prod"
  github_repository    = "acme/late-flights"
  github_repository_id = "123456"
  connection           = "acme-github"
  github_actions       = true
  dataflow             = true
}

run "no_account_has_a_basic_role_or_may_grant_one" {
  command = plan

  assert {
    condition = length(setintersection(
      toset(concat(local.deploy_roles, local.plan_roles, local.grantable)),
      ["roles/owner", "roles/editor", "roles/viewer", "roles/browser"],
    )) == 0
    error_message = "Basic roles hold thousands of permissions: name the roles that are needed."
  }

  assert {
    condition     = google_project_iam_member.deploy_grants.condition[0].expression == "api.getAttribute(\"iam.googleapis.com/modifiedGrantsByRole\", []).hasOnly([\"roles/bigquery.jobUser\",\"roles/dataflow.developer\",\"roles/dataflow.worker\",\"roles/eventarc.eventReceiver\",\"roles/logging.logWriter\",\"roles/pubsub.publisher\"])"
    error_message = "The deployer grants the closed list of project roles and no other."
  }

  assert {
    condition     = !contains(local.deploy_roles, "roles/resourcemanager.projectIamAdmin") && !contains(local.deploy_roles, "roles/iam.securityAdmin")
    error_message = "The right to grant project roles is there only under its condition."
  }
}

run "a_pull_request_reads" {
  command = plan

  assert {
    condition = alltrue([
      for role in local.plan_roles :
      can(regex("([vV]iewer|[rR]eader|Reviewer|roles/serviceusage.serviceUsageConsumer)$", role))
    ])
    error_message = "The account that builds pull requests has a role that changes something."
  }

  assert {
    condition     = google_project_iam_member.plan_source.condition[0].expression == "resource.name.startsWith(\"projects/_/buckets/acme-prod-dropfit-source/\")"
    error_message = "It reads the bucket of the code, and not the data."
  }

  assert {
    condition     = google_storage_bucket_iam_member.plan_state.bucket == "acme-prod-dropfit-state" && google_storage_bucket_iam_member.plan_state.role == "roles/storage.objectViewer"
    error_message = "It reads the state, and cannot write it."
  }
}

run "only_main_deploys" {
  command = plan

  assert {
    condition     = google_cloudbuild_trigger.builds["deploy"].repository_event_config[0].push[0].branch == "^main$" && length(google_cloudbuild_trigger.builds["deploy"].repository_event_config[0].pull_request) == 0
    error_message = "The deploying trigger answers pushes to main, whole name, and nothing else."
  }

  assert {
    condition     = length(google_cloudbuild_trigger.builds["plan"].repository_event_config[0].push) == 0 && google_cloudbuild_trigger.builds["plan"].repository_event_config[0].pull_request[0].comment_control == "COMMENTS_ENABLED_FOR_EXTERNAL_CONTRIBUTORS_ONLY"
    error_message = "Pull requests are planned, a stranger's only after /gcbrun."
  }

  assert {
    condition     = { for action, trigger in google_cloudbuild_trigger.builds : action => trigger.substitutions["_ACTION"] } == { deploy = "deploy", plan = "plan" }
    error_message = "Each trigger says what its build does."
  }

  assert {
    condition     = google_cloudbuild_trigger.builds["deploy"].approval_config[0].approval_required
    error_message = "A person approves what goes to prod."
  }
}

run "each_trigger_builds_as_its_own_account" {
  command = plan

  assert {
    condition     = { for action, trigger in google_cloudbuild_trigger.builds : action => trigger.service_account } == { for action in ["deploy", "plan"] : action => "projects/acme-prod/serviceAccounts/dropfit-${action}@acme-prod.iam.gserviceaccount.com" }
    error_message = "Pull requests build as the account that reads, and the main branch as the one that deploys."
  }

  assert {
    condition     = length(google_cloudbuild_trigger.builds["plan"].repository_event_config[0].pull_request) == 1 && length(google_cloudbuild_trigger.builds["deploy"].repository_event_config[0].push) == 1
    error_message = "Pull requests are planned, and pushes deployed."
  }
}

run "whatever_is_not_called_dev_is_approved" {
  command = plan

  variables {
    environment = "production"
  }

  assert {
    condition     = google_cloudbuild_trigger.builds["deploy"].approval_config[0].approval_required
    error_message = "A person approves what goes to production, whatever it is called."
  }
}

run "staging_is_approved_too" {
  command = plan

  variables {
    environment = "staging"
  }

  assert {
    condition     = google_cloudbuild_trigger.builds["deploy"].approval_config[0].approval_required
    error_message = "Only dev is deployed unasked."
  }
}

run "staging_is_not_asked_where_somebody_says_so" {
  command = plan

  variables {
    environment      = "staging"
    require_approval = false
  }

  assert {
    condition     = !google_cloudbuild_trigger.builds["deploy"].approval_config[0].approval_required
    error_message = "require_approval decides."
  }
}

run "dev_deploys_without_asking" {
  command = plan

  variables {
    environment = "dev"
  }

  assert {
    condition     = !google_cloudbuild_trigger.builds["deploy"].approval_config[0].approval_required
    error_message = "Dev needs nobody's approval."
  }
}

run "github_gets_a_token_for_deployments_of_main_alone" {
  command = plan

  assert {
    condition     = google_iam_workload_identity_pool_provider.github["github"].attribute_condition == "assertion.repository_id == '123456' && assertion.ref == 'refs/heads/main' && assertion.event_name in ['push', 'workflow_dispatch'] && assertion.sub.endsWith(':environment:prod')"
    error_message = "Repository, branch, event and GitHub environment are all required."
  }

  assert {
    condition     = google_service_account_iam_member.deploy_federated["github"].member == "principalSet://iam.googleapis.com/projects/7/locations/global/workloadIdentityPools/dropfit-github/attribute.repository_id/123456"
    error_message = "The deployer is lent to that repository, and not to the whole pool."
  }
}

run "without_its_number_the_repository_is_told_by_its_name" {
  command = plan

  variables {
    github_repository_id = null
  }

  assert {
    condition     = startswith(google_iam_workload_identity_pool_provider.github["github"].attribute_condition, "assertion.repository == 'acme/late-flights' && ")
    error_message = "The condition names the repository."
  }
}

run "what_is_not_asked_for_is_not_there" {
  command = plan

  variables {
    connection     = null
    github_actions = false
    dataflow       = false
  }

  assert {
    condition     = length(google_cloudbuild_trigger.builds) == 0 && length(google_cloudbuildv2_repository.source) == 0
    error_message = "Without a connection there are no triggers."
  }

  assert {
    condition     = length(google_iam_workload_identity_pool.github) == 0 && length(google_service_account_iam_member.deploy_federated) == 0
    error_message = "Without GitHub Actions nobody outside Google is trusted."
  }

  assert {
    condition     = length([for role in concat(local.deploy_roles, local.plan_roles) : role if startswith(role, "roles/compute.")]) == 0
    error_message = "Without Dataflow there is no network to make."
  }
}

run "build_logs_are_private_and_end" {
  command = plan

  assert {
    condition = alltrue([
      for bucket in google_storage_bucket.build_logs :
      bucket.uniform_bucket_level_access && bucket.public_access_prevention == "enforced" && one([for condition in one(bucket.lifecycle_rule).condition : condition.age]) == 90
    ])
    error_message = "Build logs are private, and deleted after 90 days."
  }

  assert {
    condition = alltrue([
      for grant in google_storage_bucket_iam_member.build_logs : contains(["roles/storage.legacyBucketReader", "roles/storage.objectUser"], grant.role)
    ])
    error_message = "A build writes its log, and does not administer the bucket."
  }
}

run "a_pattern_is_no_branch" {
  command = plan

  variables {
    branch = "main|feature.*"
  }

  expect_failures = [var.branch]
}

run "a_web_address_is_no_repository" {
  command = plan

  variables {
    github_repository = "https://github.com/acme/late-flights"
  }

  expect_failures = [var.github_repository]
}
