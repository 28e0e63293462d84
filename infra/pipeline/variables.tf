# SPDX-License-Identifier: Apache-2.0

variable "project" {
  description = "Id of the project that is deployed to; as in infra/ENVIRONMENT.tfvars."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project)) && !startswith(var.project, "your-project")
    error_message = "A project id has 6 to 30 lower-case letters, digits and hyphens, begins with a letter, and is yours."
  }
}

variable "region" {
  description = "As in infra/ENVIRONMENT.tfvars; the triggers and the build logs are there."
  type        = string
}

variable "name" {
  description = "Begins every name of the deployment; as in infra/."
  type        = string
  default     = "dropfit"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,13}[a-z0-9]$", var.name))
    error_message = "name has 3 to 15 lower-case letters, digits and hyphens, and begins with a letter."
  }
}

variable "environment" {
  description = "Which infra/ENVIRONMENT.tfvars is deployed: dev, prod ..."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]*$", var.environment))
    error_message = "It is the name of a tfvars file: lower-case letters, digits and hyphens."
  }
}

variable "labels" {
  description = "On everything that takes labels, beside `app`, `environment` and `deployment`."
  type        = map(string)
  default     = {}
}

variable "github_repository" {
  description = "The repository whose main branch is deployed: OWNER/REPOSITORY."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9-]+/[A-Za-z0-9._-]+$", var.github_repository))
    error_message = "Write OWNER/REPOSITORY, without https://github.com/."
  }
}

variable "github_repository_id" {
  description = "Its number (`gh api repos/OWNER/REPOSITORY --jq .id`): a name can be taken over by somebody else, a number cannot."
  type        = string
  default     = null

  validation {
    condition     = var.github_repository_id == null || can(regex("^[0-9]+$", var.github_repository_id))
    error_message = "It is a number."
  }
}

variable "branch" {
  description = "The branch that is deployed."
  type        = string
  default     = "main"

  validation {
    condition     = can(regex("^[A-Za-z0-9/_-]+$", var.branch))
    error_message = "One branch by its name, no pattern: a pattern could let other branches deploy."
  }
}

variable "connection" {
  description = "Cloud Build's connection to GitHub (2nd gen) in that region, which a person makes in the console; null: no Cloud Build triggers."
  type        = string
  default     = null
}

variable "github_actions" {
  description = "Whether GitHub Actions may deploy, without keys, by Workload Identity Federation."
  type        = bool
  default     = false
}

variable "require_approval" {
  description = "Whether a person approves each build of the main branch before it runs; null: everywhere but in an environment that is called dev."
  type        = bool
  default     = null
}

variable "dataflow" {
  description = "Whether infra/ has settings.runner = DataflowRunner, and so makes a network."
  type        = bool
  default     = false
}

variable "smoke_file" {
  description = "A small data file of your own problem, as seen from the top of the repository, which proves a deployment of dev; empty: the example's flights."
  type        = string
  default     = ""
}

variable "build_log_days" {
  description = "Build logs are deleted after so many days."
  type        = number
  default     = 90
}
