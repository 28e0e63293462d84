# SPDX-License-Identifier: Apache-2.0
# The environment of functions and jobs. Every variable is a field of functions/dropfit/settings.py, and a test
# compares the two: neither may have one that the other lacks.

locals {
  # Terraform knows these, because it makes what they name.
  made = {
    project        = var.project
    region         = var.region
    landing_bucket = local.buckets.landing
    data_bucket    = local.buckets.data
    models_bucket  = local.buckets.models
    dataset        = local.dataset
    retrain_job    = local.retrain_job
    log_table      = "${var.project}.${local.dataset}_logs._AllLogs"
    worker_account = "${var.name}-dataflow@${var.project}.iam.gserviceaccount.com"
    worker_image   = local.images.job
    subnetwork     = local.dataflow ? "regions/${var.region}/subnetworks/${var.name}" : ""
  }

  # The rest is the adopter's, by var.settings; what is not set there has Settings' own default.
  tunable = [
    "batch_mode", "batch_workers", "body_seconds", "coverage", "deadline_ms", "frequency", "frequency_days",
    "gc_grace_seconds", "keep_versions", "lease_seconds", "log_buffer_bytes", "log_share", "max_attempts",
    "max_bad_share", "max_columns", "max_deadline_ms", "max_drift_share", "max_field_bytes", "max_file_bytes",
    "max_instances", "max_request_bytes", "max_unpack_ratio", "max_unpacked_bytes", "max_workers", "miss", "mode",
    "pointer_seconds", "problem", "publish", "ready_seconds", "refresh_hours", "runner", "runner_options",
    "snapshot_bytes", "sweep_grace_seconds", "table_rows", "training", "universe", "worker_machine",
  ]

  # Functions and jobs have these; addresses of the functions are for people alone, see outputs.tf.
  environment = merge(
    { for field, value in merge(local.made, var.settings) : "DROPFIT_${upper(field)}" => value if field != "project" && value != "" },
    { GOOGLE_CLOUD_PROJECT = var.project },
  )

  registry = "${var.region}-docker.pkg.dev/${var.project}/${var.name}"
  dataflow = lookup(var.settings, "runner", "DirectRunner") == "DataflowRunner"
}
