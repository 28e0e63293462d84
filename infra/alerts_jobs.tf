# SPDX-License-Identifier: Apache-2.0
# Who is told when uploads, the jobs that work on them or the way to them are in trouble.

resource "google_monitoring_alert_policy" "quarantined" {
  display_name          = "${var.name}: an upload is quarantined"
  severity              = "WARNING"
  combiner              = "OR"
  notification_channels = local.channels
  user_labels           = local.labels

  conditions {
    display_name = "An upload cannot be used"

    condition_matched_log {
      filter = "${local.job_entries} AND jsonPayload.kind=\"upload\" AND jsonPayload.outcome=\"quarantined\""

      label_extractors = {
        object = "EXTRACT(jsonPayload.object)"
        code   = "EXTRACT(jsonPayload.code)"
      }
    }
  }

  alert_strategy {
    auto_close = "86400s"
    notification_rate_limit { period = "3600s" }
  }

  documentation {
    subject   = "[${var.environment}] ${var.name}: quarantined: $${log.extracted_label.object}"
    mime_type = "text/markdown"
    content   = <<-EOT
      `$${log.extracted_label.object}` cannot be used: `$${log.extracted_label.code}`. Nothing was trained on it, and the
      served model is what it was.

      1. `dropfit quarantine show NAME`: the reason in full, the first bad rows, and what to do next.
      2. Correct the file and upload it again; or, when it is what was meant, `dropfit quarantine release NAME`.

      ${local.guide}
    EOT
  }
}

resource "google_monitoring_alert_policy" "failed_uploads" {
  display_name          = "${var.name}: an upload has failed"
  severity              = "ERROR"
  combiner              = "OR"
  notification_channels = local.channels
  user_labels           = local.labels

  conditions {
    display_name = "Dropfit failed at an upload"

    condition_matched_log {
      filter = "${local.job_entries} AND jsonPayload.kind=\"upload\" AND jsonPayload.outcome=\"failed\""

      label_extractors = { object = "EXTRACT(jsonPayload.object)" }
    }
  }

  alert_strategy {
    auto_close = "86400s"
    notification_rate_limit { period = "3600s" }
  }

  documentation {
    subject   = "[${var.environment}] ${var.name}: failed: $${log.extracted_label.object}"
    mime_type = "text/markdown"
    content   = <<-EOT
      Nothing became of `$${log.extracted_label.object}`, and it is not the file's fault. It is left out of trainings until
      somebody tries again; the served model is what it was.

      1. `dropfit runs`, then `dropfit logs retrain`: the traceback, or that the job was killed (memory: `job = { cpu, memory }` in the tfvars).
      2. Mend it, then `dropfit train`.

      ${local.guide}
    EOT
  }
}

# A round that fails is a failure, though the execution it is in goes on and ends well.
resource "google_monitoring_alert_policy" "failed_runs" {
  display_name          = "${var.name}: a run has failed"
  severity              = "ERROR"
  combiner              = "OR"
  notification_channels = local.channels
  user_labels           = local.labels

  conditions {
    display_name = "A run of the retraining job ended as failed"

    condition_matched_log {
      filter           = "${local.job_entries} AND jsonPayload.kind=\"run\" AND jsonPayload.outcome=\"failed\""
      label_extractors = { run = "EXTRACT(jsonPayload.run)" }
    }
  }

  alert_strategy {
    auto_close = "86400s"
    notification_rate_limit { period = "3600s" }
  }

  documentation {
    subject   = "[${var.environment}] ${var.name}: a run has failed"
    mime_type = "text/markdown"
    content   = <<-EOT
      Run `$${log.extracted_label.run}` found something that trying again does not mend: rights, a table that fails its
      check, or our own fault. What was served is served on.

      1. `dropfit runs` has the reason, `dropfit logs retrain` the traceback.
      2. Mend it, then `dropfit train`, or `dropfit batch refresh` if it was a refresh.

      ${local.guide}
    EOT
  }
}

resource "google_monitoring_alert_policy" "failed_executions" {
  display_name          = "${var.name}: a job broke off"
  severity              = "ERROR"
  combiner              = "OR"
  notification_channels = local.channels
  user_labels           = local.labels

  conditions {
    display_name = "An execution of the retraining job or of the sweep failed"

    condition_threshold {
      filter = join(" AND ", [
        local.job_executions,
        "resource.labels.job_name=one_of(\"${var.name}-retrain\", \"${var.name}-sweep\")",
        "metric.labels.result=\"failed\"",
      ])
      comparison      = "COMPARISON_GT"
      threshold_value = 0
      duration        = "0s"

      aggregations {
        alignment_period     = "300s"
        per_series_aligner   = "ALIGN_DELTA"
        cross_series_reducer = "REDUCE_SUM"
        group_by_fields      = ["resource.label.job_name"]
      }
    }
  }

  alert_strategy {
    auto_close = "86400s" # nothing more may come for a long time
  }

  documentation {
    subject   = "[${var.environment}] ${var.name}: $${resource.label.job_name} broke off"
    mime_type = "text/markdown"
    content   = <<-EOT
      An execution of `$${resource.label.job_name}` ended without success: a service did not answer, it was killed
      (memory, time), or it does not start. Nothing is lost: what waits is taken up by the next one.

      1. Once, and well since: nothing to do. `dropfit status` says whether uploads still wait.
      2. Again and again: `dropfit logs retrain`, or `dropfit logs sweep`. "problem.py" in it: mend that and deploy. Killed
         for want of memory: `job = { cpu, memory }` in the tfvars; more than 8Gi wants more than 2 CPU.

      ${local.guide}
    EOT
  }
}

resource "google_monitoring_alert_policy" "silent_sweep" {
  display_name          = "${var.name}: nobody sweeps"
  severity              = "WARNING"
  combiner              = "OR"
  notification_channels = local.channels
  user_labels           = local.labels

  conditions {
    display_name = "No sweep has ended for ${var.sweep_silent_hours} hours"

    condition_absent {
      filter   = "${local.job_executions} AND resource.labels.job_name=\"${var.name}-sweep\""
      duration = "${var.sweep_silent_hours * 3600}s"

      aggregations {
        alignment_period     = "300s"
        per_series_aligner   = "ALIGN_DELTA"
        cross_series_reducer = "REDUCE_SUM"
      }
    }
  }

  documentation {
    subject   = "[${var.environment}] ${var.name}: nobody sweeps"
    mime_type = "text/markdown"
    content   = <<-EOT
      No sweep has ended for ${var.sweep_silent_hours} hours. Uploads go on; what a crash or a lost event leaves behind
      waits, and the table is not refreshed.

      1. Cloud Scheduler, `${var.name}-sweep`: is it paused, and what does its last attempt say?
      2. `dropfit replay` does once what a sweep does. A rarer `sweep_schedule` wants a larger `sweep_silent_hours`.

      ${local.guide}
    EOT
  }
}

# Fires until the subscription is empty, that is, until somebody has looked.
resource "google_monitoring_alert_policy" "dead_letters" {
  display_name          = "${var.name}: dead letters"
  severity              = "ERROR"
  combiner              = "OR"
  notification_channels = local.channels
  user_labels           = local.labels

  conditions {
    display_name = "Events that could not be delivered"

    condition_threshold {
      filter = join(" AND ", [
        "metric.type=\"pubsub.googleapis.com/subscription/num_undelivered_messages\"",
        "resource.type=\"pubsub_subscription\"",
        "resource.labels.subscription_id=\"${google_pubsub_subscription.dead_letters.name}\"",
      ])
      comparison      = "COMPARISON_GT"
      threshold_value = 0
      duration        = "0s"

      aggregations {
        alignment_period   = "300s"
        per_series_aligner = "ALIGN_MAX"
      }
    }
  }

  documentation {
    subject   = "[${var.environment}] ${var.name}: dead letters"
    mime_type = "text/markdown"
    content   = <<-EOT
      `${var.name}-on-upload` did not take in an upload's event, however often it came. The uploads are there, and the
      sweep takes them in without their events; the events wait in `${google_pubsub_subscription.dead_letters.name}`.

      1. `dropfit logs on_upload`: why? Rights, storage that does not answer, a function that does not start.
      2. Look into them: `gcloud pubsub subscriptions pull ${google_pubsub_subscription.dead_letters.name} --project=${var.project} --limit=10`
      3. Mend the cause, then `dropfit replay`. `dropfit status` says what became of the uploads.
      4. Acknowledge them: the same command with `--auto-ack`, until it says that there are none. The alert ends with the last.

      ${local.guide}
    EOT
  }
}
