# SPDX-License-Identifier: Apache-2.0
# Remote state: `terraform init` is told the bucket, see docs/deploy.md; `dropfit deploy` makes it.

terraform {
  required_version = ">= 1.11"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 8.0"
    }
  }

  backend "gcs" {}
}

provider "google" {
  project        = var.project
  region         = var.region
  default_labels = local.labels

  # Budgets and quotas are asked for in the deployment's own project, whoever's credentials they are.
  billing_project       = var.project
  user_project_override = true
}

data "google_project" "this" {
  project_id = var.project
}
