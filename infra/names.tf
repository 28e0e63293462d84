# SPDX-License-Identifier: Apache-2.0
# Names that more than one file needs; infra/deploy/environment.py makes the same ones, and a test compares them.

locals {
  labels = merge(var.labels, { app = "dropfit", environment = var.environment, deployment = var.name })

  buckets = { for what in ["landing", "data", "models", "source", "logs"] : what => "${var.project}-${var.name}-${what}" }
  dataset = replace(var.name, "-", "_")

  retrain_job  = "projects/${var.project}/locations/${var.region}/jobs/${var.name}-retrain"
  code         = trimsuffix(basename(var.functions_zip), ".zip") # functions-<hash>
  dead_letters = "${var.name}-dead-letters"
}
