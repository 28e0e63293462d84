# SPDX-License-Identifier: Apache-2.0

locals {
  labels = merge(var.labels, { app = "dropfit", environment = var.environment, deployment = var.name })

  # The two things a build can do. cloudbuild.yaml makes the names of account and log bucket from them.
  actions = {
    plan   = "Tests a pull request and plans what it would change; reads alone"
    deploy = "Applies infra/ after a push to ${var.branch}"
  }

  state_bucket = "${var.project}-${var.name}-state"

  # What is not called dev is what somebody depends on, whatever it is called. infra/deploy/smoke.py has the same rule.
  approval = coalesce(var.require_approval, var.environment != "dev")
}
