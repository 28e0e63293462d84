# SPDX-License-Identifier: Apache-2.0
# Where people try things out. Change the first two lines; everything else has a default in variables.tf.
project     = "your-project-dev"
region      = "us-central1"
environment = "dev"

operators = []
uploaders = []
invokers  = []
analysts  = []

alert_emails = []
