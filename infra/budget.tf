# SPDX-License-Identifier: Apache-2.0
# An email when the bill nears what was meant. A budget stops nothing.

resource "google_billing_budget" "monthly" {
  count = var.monthly_budget == null ? 0 : 1

  billing_account = data.google_project.this.billing_account
  display_name    = "${var.name} in ${var.project}"

  budget_filter {
    projects               = ["projects/${data.google_project.this.number}"]
    calendar_period        = "MONTH"
    credit_types_treatment = "INCLUDE_ALL_CREDITS"
  }

  amount {
    specified_amount {
      units = tostring(floor(var.monthly_budget)) # of the billing account's own currency
      nanos = floor((var.monthly_budget - floor(var.monthly_budget)) * 1000000000)
    }
  }

  dynamic "threshold_rules" {
    for_each = [0.5, 0.9, 1.0]
    content {
      threshold_percent = threshold_rules.value
      spend_basis       = "CURRENT_SPEND"
    }
  }

  threshold_rules {
    threshold_percent = 1.0
    spend_basis       = "FORECASTED_SPEND"
  }

  # Billing's own administrators are told as well; a budget takes five channels at most.
  all_updates_rule {
    monitoring_notification_channels = slice(local.channels, 0, min(5, length(local.channels)))
    enable_project_level_recipients  = true
  }

  lifecycle {
    precondition {
      condition     = data.google_project.this.billing_account != ""
      error_message = "No billing account of ${var.project} can be read: link one, switch on cloudbilling.googleapis.com, or leave monthly_budget out."
    }
  }

  depends_on = [google_project_service.apis]
}
