# SPDX-License-Identifier: Apache-2.0

output "accounts" {
  description = "Who builds: action -> email. For a budget alert, deploy needs roles/billing.costsManager and plan roles/billing.viewer on the billing account."
  value       = { for action, account in google_service_account.builders : action => account.email }
}

output "build_logs" {
  description = "Where each action's build logs are."
  value       = { for action, bucket in google_storage_bucket.build_logs : action => bucket.url }
}

output "triggers" {
  description = "Cloud Build's triggers, none without a connection."
  value       = { for action, trigger in google_cloudbuild_trigger.builds : action => trigger.id }
}

output "workload_identity_provider" {
  description = "For the GitHub environment's variable WORKLOAD_IDENTITY_PROVIDER; empty unless github_actions."
  value       = try(google_iam_workload_identity_pool_provider.github["github"].name, "")

  # GitHub must not be told to come before it is let in.
  depends_on = [google_service_account_iam_member.deploy_federated]
}
