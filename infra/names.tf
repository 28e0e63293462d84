# SPDX-License-Identifier: Apache-2.0
# Names that more than one file needs; infra/deploy/environment.py makes the same ones, and a test compares them.

locals {
  labels = merge(var.labels, { app = "dropfit", environment = var.environment, deployment = var.name })

  buckets = { for what in ["landing", "data", "models", "source"] : what => "${var.project}-${var.name}-${what}" }
  dataset = replace(var.name, "-", "_")

  retrain_job  = "projects/${var.project}/locations/${var.region}/jobs/${var.name}-retrain"
  code         = trimsuffix(basename(var.functions_zip), ".zip") # functions-<hash>
  dead_letters = "${var.name}-dead-letters"

  # Built before Terraform deploys them, by infra/deploy/images.py; a tag is the hash of what the image is built from.
  images = {
    on_upload = "${local.registry}/on-upload:${trimprefix(local.code, "functions-")}"
    predict   = "${local.registry}/predict:${trimprefix(local.code, "functions-")}"
    job       = "${local.registry}/job:${var.image_tag}"
  }
  base_image = "python311" # of the functions, as Google calls it

  # Service accounts by runtime. Made of account_id, which is known before the account is there, so that a plan says who
  # gets which role; and which makes whatever names one of them wait for it.
  email = { for runtime, id in merge(
    {
      build     = google_service_account.build.account_id
      on_upload = google_service_account.on_upload.account_id
      predict   = google_service_account.predict.account_id
      retrain   = google_service_account.retrain.account_id
      scheduler = google_service_account.scheduler.account_id
      sweep     = google_service_account.sweep.account_id
      trigger   = google_service_account.trigger.account_id
    },
    local.dataflow ? { dataflow = google_service_account.dataflow[0].account_id } : {},
  ) : runtime => "${id}@${var.project}.iam.gserviceaccount.com" }
  member = { for runtime, email in local.email : runtime => "serviceAccount:${email}" }
}
