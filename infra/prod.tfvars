# SPDX-License-Identifier: Apache-2.0
# What users depend on. Change the first two lines; everything else has a default in variables.tf.
project     = "your-project-prod"
region      = "us-central1"
environment = "prod"

operators = []
uploaders = []
invokers  = []
analysts  = []

alert_emails = []

settings = {
  publish = "hold"
}

predict = {
  min_instances = 1
}
