# SPDX-License-Identifier: Apache-2.0
# What differs between two deployments stands in dev.tfvars and prod.tfvars; all else has its default here.

variable "project" {
  description = "Id of the Google Cloud project. Each deployment is best a project of its own."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project))
    error_message = "A project id has 6 to 30 lower-case letters, digits and hyphens, and begins with a letter."
  }
}

variable "region" {
  description = "Where everything is: buckets, functions, jobs and the dataset, so that nothing crosses regions."
  type        = string

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "A region such as europe-west1: no multi-region such as EU, and no zone such as europe-west1-b."
  }
}

variable "name" {
  description = "Begins every name of this deployment."
  type        = string
  default     = "dropfit"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,13}[a-z0-9]$", var.name))
    error_message = "name has 3 to 15 lower-case letters, digits and hyphens, and begins with a letter."
  }
}

variable "labels" {
  description = "On everything that takes labels, beside `app` and `environment`."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for key, value in var.labels : can(regex(local.label_key, key)) && can(regex(local.label_value, value))])
    error_message = "A label is of lower-case letters, digits, _ and -, at most 63 of them, and its name begins with a letter."
  }
}

locals {
  label_key   = "^[a-z][a-z0-9_-]{0,62}$"
  label_value = "^[a-z0-9_-]{0,63}$"
}

variable "environment" {
  description = "dev, prod ...: a label, and what people call it; the name of its tfvars file."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,19}$", var.environment))
    error_message = "environment has up to 20 lower-case letters, digits and hyphens, and begins with a letter."
  }
}

# What runs. `make bundle` writes both into code.auto.tfvars.json; they follow from the files' content alone.

variable "functions_zip" {
  description = "The zip of functions/, named by its hash; a path as seen from infra/."
  type        = string

  validation {
    condition     = can(regex("^functions-[0-9a-f]{16}[.]zip$", basename(var.functions_zip)))
    error_message = "That is not what `make bundle` makes: functions-<16 hex digits>.zip."
  }
}

variable "image_tag" {
  description = "Tag of the job's image: the hash of what it is built from."
  type        = string

  validation {
    condition     = can(regex("^[0-9a-f]{16}$", var.image_tag))
    error_message = "That is not what `make bundle` makes: 16 hex digits. A tag such as latest would not say what runs."
  }
}

variable "settings" {
  description = "Dropfit's settings (docs/operate.md) without DROPFIT_ and in lower case, such as { mode = \"hybrid\" }."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = length(setsubtract(keys(var.settings), local.tunable)) == 0
    error_message = "No such setting, or one that Terraform sets itself: ${join(", ", setsubtract(keys(var.settings), local.tunable))}. There are: ${join(", ", local.tunable)}."
  }
}

# Who may do what: members such as "group:ml@example.com", "user:..." or "serviceAccount:...". Of the principals only
# those of a project's or an organisation's own pools: principalSet://goog/public:all is everybody.

locals {
  kinds = [
    "^(user|group|serviceAccount):[^ :@/]+@[^ :@/]+[.][^ :@/]+$",
    "^domain:[^ :@/]+[.][^ :@/]+$",
    "^serviceAccount:[a-z0-9.:-]+[.]svc[.]id[.]goog.[a-z0-9-]+/[a-z0-9-]+.$", # PROJECT.svc.id.goog[NAMESPACE/NAME]
    "^principal(Set)?://iam[.]googleapis[.]com/projects/[0-9]+/locations/global/workloadIdentityPools/[^ ]+$",
    "^principal(Set)?://iam[.]googleapis[.]com/locations/global/workforcePools/[^ ]+$",
    "^all(Authenticated)?Users$", # refused below, with the reason
  ]
  written = join("|", local.kinds)
}

variable "operators" {
  description = "Roll back, pin, approve, collect garbage: they read everything and write data, models and the table."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for member in var.operators : can(regex(local.written, member))])
    error_message = "Write members as IAM does: group:ml@example.com, user:..., serviceAccount:..., principal(Set)://..."
  }

  validation {
    condition     = !anytrue([for member in var.operators : startswith(member, "all")])
    error_message = "Nobody operates this but people and accounts that have a name."
  }
}

variable "uploaders" {
  description = "Put files into the landing bucket."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for member in var.uploaders : can(regex(local.written, member))])
    error_message = "Write members as IAM does: group:ml@example.com, user:..., serviceAccount:..., principal(Set)://..."
  }

  validation {
    condition     = !anytrue([for member in var.uploaders : startswith(member, "all")])
    error_message = "Whoever uploads decides what is learned: name them."
  }
}

variable "invokers" {
  description = "Call predict."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for member in var.invokers : can(regex(local.written, member))])
    error_message = "Write members as IAM does: group:ml@example.com, user:..., serviceAccount:..., principal(Set)://..."
  }

  validation {
    condition     = !anytrue([for member in var.invokers : startswith(member, "all")])
    error_message = "For a public endpoint set predict_public = true, so that nobody does it by accident."
  }
}

variable "analysts" {
  description = "Read the BigQuery dataset."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for member in var.analysts : can(regex(local.written, member))])
    error_message = "Write members as IAM does: group:ml@example.com, user:..., serviceAccount:..., principal(Set)://..."
  }

  validation {
    condition     = !anytrue([for member in var.analysts : startswith(member, "all")])
    error_message = "The table is not public."
  }
}

variable "predict_public" {
  description = "Whether anybody may call predict without credentials."
  type        = bool
  default     = false
  nullable    = false
}

locals {
  # GiB of memory that Cloud Run gives with so many CPUs, from and to; what is less than one CPU has not the second
  # generation, in which all of this runs: https://cloud.google.com/run/docs/configuring/services/cpu.
  memory = { "1" = [0.5, 4], "2" = [0.5, 8], "4" = [2, 16], "6" = [4, 24], "8" = [4, 32] }
}

variable "predict" {
  description = "The predict function. min_instances = 1 has no cold starts, and costs while nobody calls; billing by instances is cheaper from some 900,000 predictions a day; without request_log Cloud Run's own entry of each request is not kept (docs/deploy.md, What it costs)."
  type = object({
    cpu           = optional(string, "1")
    memory        = optional(string, "1Gi")
    concurrency   = optional(number, 80)
    min_instances = optional(number, 0)
    max_instances = optional(number, 10)
    billing       = optional(string, "requests")
    request_log   = optional(bool, true)
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.predict.min_instances >= 0 && var.predict.min_instances <= var.predict.max_instances
    error_message = "min_instances lies between 0 and max_instances."
  }

  validation {
    condition     = var.predict.concurrency >= 1 && var.predict.concurrency <= 1000
    error_message = "An instance takes 1 to 1000 requests at a time."
  }

  validation {
    condition     = contains(["requests", "instances"], var.predict.billing)
    error_message = "predict.billing is \"requests\" or \"instances\"."
  }

  validation {
    condition = anytrue([
      for gib in try([tonumber(regex("^([0-9]+)[MG]i$", var.predict.memory)[0]) / (endswith(var.predict.memory, "Mi") ? 1024 : 1)], []) :
      try(local.memory[var.predict.cpu][0] <= gib && gib <= local.memory[var.predict.cpu][1], false)
    ])
    error_message = "predict.cpu is 1, 2, 4, 6 or 8, and each has its memory: 512Mi to 4Gi, 512Mi to 8Gi, 2Gi to 16Gi, 4Gi to 24Gi, 4Gi to 32Gi."
  }
}

variable "job" {
  description = "Size of the retraining job."
  type = object({
    cpu    = optional(string, "2")
    memory = optional(string, "8Gi")
  })
  default  = {}
  nullable = false

  validation {
    condition = anytrue([
      for gib in try([tonumber(regex("^([0-9]+)[MG]i$", var.job.memory)[0]) / (endswith(var.job.memory, "Mi") ? 1024 : 1)], []) :
      try(local.memory[var.job.cpu][0] <= gib && gib <= local.memory[var.job.cpu][1], false)
    ])
    error_message = "job.cpu is 1, 2, 4, 6 or 8, and each has its memory: 512Mi to 4Gi, 512Mi to 8Gi, 2Gi to 16Gi, 4Gi to 24Gi, 4Gi to 32Gi."
  }
}

variable "sweep_schedule" {
  description = "When uploads without an event, crashed jobs and an aged table are looked for: cron, UTC."
  type        = string
  default     = "*/15 * * * *"
  nullable    = false

  validation {
    condition     = can(regex("^[0-9*/,-]+( +[0-9*/,-]+){2}( +[0-9A-Za-z*/,-]+){2}$", var.sweep_schedule))
    error_message = "sweep_schedule has the five fields of cron, in UTC, such as */15 * * * *."
  }
}

variable "alert_emails" {
  description = "Who is told when something is wrong."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for email in var.alert_emails : can(regex("^[^@: ]+@[^@: ]+[.][^@: ]+$", email))])
    error_message = "Write addresses as you would to send a mail: you@example.com, with no user: or group: before it."
  }
}

variable "monthly_budget" {
  description = "An alert when the project's bill nears so many units of the billing account's currency; null: none. Needs the right to make budgets on the billing account."
  type        = number
  default     = null
}

variable "log_retention_days" {
  description = "How long the prediction log is kept. Beyond 30 days Google charges for keeping it."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = var.log_retention_days >= 1 && var.log_retention_days <= 3650
    error_message = "Cloud Logging keeps entries for 1 to 3650 days."
  }
}

variable "sweep_silent_hours" {
  description = "An alert when no sweep has ended for so long; more than the pause of sweep_schedule."
  type        = number
  default     = 2
  nullable    = false

  validation {
    condition     = var.sweep_silent_hours >= 1 && var.sweep_silent_hours <= 23
    error_message = "Cloud Monitoring notices a silence of 1 to 23 hours."
  }
}

variable "deletion_protection" {
  description = "Whether Terraform refuses to delete what serves and what holds data. `dropfit destroy` switches it off."
  type        = bool
  default     = true
  nullable    = false
}

variable "delete_data" {
  description = "Whether destroying a bucket or dataset destroys what is in it. Only `dropfit destroy --and-data` sets it."
  type        = bool
  default     = false
  nullable    = false
}
