# SPDX-License-Identifier: Apache-2.0
# What redeploys by itself: a root of its own, because the accounts that apply infra/ must be there before, and have
# less than whoever made them. An owner of the project applies it once, see docs/deploy.md.

terraform {
  required_version = ">= 1.11"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 8.0"
    }
  }

  # Its state lies beside that of infra/: bucket PROJECT-NAME-state, which `terraform init` is told.
  backend "gcs" {
    prefix = "pipeline"
  }
}

provider "google" {
  project               = var.project
  region                = var.region
  default_labels        = local.labels
  billing_project       = var.project
  user_project_override = true
}
