# SPDX-License-Identifier: Apache-2.0
# Somebody is told, and asked for nothing that nobody promised. Against a provider that only knows the schemas.

mock_provider "google" {
  override_during = plan
}

variables {
  project       = "acme-dev"
  region        = "europe-west1"
  environment   = "dev"
  functions_zip = "../build/functions-0123456789abcdef.zip"
  image_tag     = "0123456789abcdef"
  alert_emails  = ["oncall@acme.example", "lead@acme.example"]
  analysts      = ["group:analysts@acme.example"]
}

run "readiness_is_asked_by_an_agent_with_a_token" {
  command = plan

  assert {
    condition     = google_monitoring_uptime_check_config.ready.http_check[0].service_agent_authentication[0].type == "OIDC_TOKEN"
    error_message = "predict is private: the uptime check has to show a token."
  }
  assert {
    condition     = endswith(google_cloud_run_v2_service_iam_member.uptime.member, "@gcp-sa-monitoring-notification.iam.gserviceaccount.com")
    error_message = "Cloud Monitoring's own agent calls, and no account of ours."
  }
  assert {
    condition     = google_monitoring_uptime_check_config.ready.period == "900s"
    error_message = "A shorter period keeps instances awake, and the bill with them."
  }
}

run "everybody_is_told_of_everything" {
  command = plan

  assert {
    condition     = length(google_monitoring_notification_channel.email) == 2
    error_message = "A channel for each address."
  }
  assert {
    condition = alltrue([for alert in [
      google_monitoring_alert_policy.not_ready, google_monitoring_alert_policy.errors,
      google_monitoring_alert_policy.unanswered, google_monitoring_alert_policy.slow,
      google_monitoring_alert_policy.quarantined, google_monitoring_alert_policy.failed_uploads,
      google_monitoring_alert_policy.failed_runs, google_monitoring_alert_policy.failed_executions,
      google_monitoring_alert_policy.silent_sweep, google_monitoring_alert_policy.dead_letters,
    ] : length(alert.notification_channels) == 2 && length(alert.documentation) == 1])
    error_message = "Each alert reaches both, and says what it means."
  }
}

run "dead_letters_wait_for_a_person" {
  command = plan

  assert {
    condition = strcontains(
      google_monitoring_alert_policy.dead_letters.conditions[0].condition_threshold[0].filter,
      google_pubsub_subscription.dead_letters.name,
    )
    error_message = "The alert is on the subscription that keeps them."
  }
  assert {
    condition     = google_monitoring_alert_policy.dead_letters.conditions[0].condition_threshold[0].threshold_value == 0
    error_message = "One is enough."
  }
}

run "without_a_number_there_is_no_budget" {
  command = plan

  assert {
    condition     = length(google_billing_budget.monthly) == 0
    error_message = "A budget needs rights that not everybody has: only who asks gets one."
  }
}

run "a_budget_warns_before_it_is_spent" {
  command = plan

  variables {
    monthly_budget = 12.5
  }

  assert {
    condition     = [for rule in google_billing_budget.monthly[0].threshold_rules : rule.threshold_percent] == [0.5, 0.9, 1, 1]
    error_message = "At half, at nine tenths, at all of it, and when it is foreseen."
  }
  assert {
    condition     = google_billing_budget.monthly[0].amount[0].specified_amount[0].units == "12" && google_billing_budget.monthly[0].amount[0].specified_amount[0].nanos == 500000000
    error_message = "What was asked for, to the cent."
  }
}

run "the_log_is_kept_once" {
  command = plan

  assert {
    condition     = google_logging_project_exclusion.predictions.filter == google_logging_project_sink.predictions.filter
    error_message = "What the sink takes is excluded from _Default, and nothing else is."
  }
  assert {
    condition     = google_logging_project_bucket_config.predictions.enable_analytics && google_logging_linked_dataset.predictions.link_id == "dropfit_logs"
    error_message = "BigQuery reads it."
  }
}

run "a_log_that_is_kept_too_shortly_to_count_in_is_refused" {
  command = plan

  variables {
    log_retention_days = 7
    settings           = { frequency = "requests" }
  }

  expect_failures = [google_logging_project_bucket_config.predictions]
}

run "an_alert_to_no_address_is_refused" {
  command = plan

  variables {
    alert_emails = ["user:oncall@acme.example"]
  }

  expect_failures = [var.alert_emails]
}
