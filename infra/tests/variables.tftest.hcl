# SPDX-License-Identifier: Apache-2.0
# What a tfvars file must not say is refused before anything is made.

mock_provider "google" {
  override_during = plan
}

variables {
  project       = "acme-dev"
  region        = "europe-west1"
  environment   = "dev"
  functions_zip = "../build/functions-0123456789abcdef.zip"
  image_tag     = "0123456789abcdef"
}

run "refuses_a_project_that_is_no_id" {
  command = plan

  variables {
    project = "Acme Dev"
  }

  expect_failures = [var.project]
}

run "refuses_a_multi_region" {
  command = plan

  variables {
    region = "EU"
  }

  expect_failures = [var.region]
}

run "refuses_a_zone" {
  command = plan

  variables {
    region = "europe-west1-b"
  }

  expect_failures = [var.region]
}

run "refuses_a_name_that_buckets_do_not_take" {
  command = plan

  variables {
    name = "Drop_Fit"
  }

  expect_failures = [var.name]
}

run "refuses_a_name_that_leaves_no_room_for_accounts" {
  command = plan

  variables {
    name = "dropfit-of-the-pricing-team"
  }

  expect_failures = [var.name]
}

run "refuses_an_environment_that_is_no_label" {
  command = plan

  variables {
    environment = "Production!"
  }

  expect_failures = [var.environment]
}

run "refuses_a_zip_that_is_not_named_by_its_content" {
  command = plan

  variables {
    functions_zip = "../build/functions.zip"
  }

  expect_failures = [var.functions_zip]
}

run "refuses_a_tag_that_does_not_say_what_runs" {
  command = plan

  variables {
    image_tag = "latest"
  }

  expect_failures = [var.image_tag]
}

run "refuses_a_setting_that_there_is_not" {
  command = plan

  variables {
    settings = { colour = "green" }
  }

  expect_failures = [var.settings]
}

run "refuses_a_setting_that_terraform_makes" {
  command = plan

  variables {
    settings = { data_bucket = "mine" }
  }

  expect_failures = [var.settings]
}

run "refuses_everybody_as_operator" {
  command = plan

  variables {
    operators = ["allUsers"]
  }

  expect_failures = [var.operators]
}

run "refuses_everybody_as_uploader" {
  command = plan

  variables {
    uploaders = ["allAuthenticatedUsers"]
  }

  expect_failures = [var.uploaders]
}

run "refuses_everybody_as_invoker" {
  command = plan

  variables {
    invokers = ["allUsers"]
  }

  expect_failures = [var.invokers]
}

run "refuses_everybody_as_analyst" {
  command = plan

  variables {
    analysts = ["allAuthenticatedUsers"]
  }

  expect_failures = [var.analysts]
}

run "refuses_an_operator_without_kind" {
  command = plan

  variables {
    operators = ["ml@acme.example"]
  }

  expect_failures = [var.operators]
}

run "refuses_an_uploader_without_kind" {
  command = plan

  variables {
    uploaders = ["data@acme.example"]
  }

  expect_failures = [var.uploaders]
}

run "refuses_an_invoker_without_kind" {
  command = plan

  variables {
    invokers = ["shop@acme-shop.iam.gserviceaccount.com"]
  }

  expect_failures = [var.invokers]
}

run "refuses_an_analyst_without_kind" {
  command = plan

  variables {
    analysts = ["analysts@acme.example"]
  }

  expect_failures = [var.analysts]
}

run "refuses_more_instances_at_least_than_at_most" {
  command = plan

  variables {
    predict = { min_instances = 3, max_instances = 2 }
  }

  expect_failures = [var.predict]
}

run "refuses_no_request_at_a_time" {
  command = plan

  variables {
    predict = { concurrency = 0 }
  }

  expect_failures = [var.predict]
}

run "refuses_everybody_by_another_name" {
  command = plan

  variables {
    operators = ["principalSet://goog/public:all"]
  }

  expect_failures = [var.operators]
}

run "refuses_the_principals_of_no_pool" {
  command = plan

  variables {
    invokers = ["principalSet://iam.googleapis.com/everybody"]
  }

  expect_failures = [var.invokers]
}

run "refuses_a_member_without_address" {
  command = plan

  variables {
    uploaders = ["user:ada"]
  }

  expect_failures = [var.uploaders]
}

run "refuses_a_schedule_in_words" {
  command = plan

  variables {
    sweep_schedule = "every day"
  }

  expect_failures = [var.sweep_schedule]
}

run "refuses_a_label_in_capitals" {
  command = plan

  variables {
    labels = { Team = "ada" }
  }

  expect_failures = [var.labels]
}

run "refuses_a_label_with_a_space" {
  command = plan

  variables {
    labels = { team = "Ada O" }
  }

  expect_failures = [var.labels]
}

run "refuses_more_memory_than_its_cpus_carry" {
  command = plan

  variables {
    job = { memory = "16Gi" }
  }

  expect_failures = [var.job]
}

run "refuses_less_memory_than_its_cpus_want" {
  command = plan

  variables {
    job = { cpu = "4", memory = "1Gi" }
  }

  expect_failures = [var.job]
}

run "refuses_memory_that_is_not_in_mi_or_gi" {
  command = plan

  variables {
    job = { memory = "8G" }
  }

  expect_failures = [var.job]
}

run "refuses_less_than_a_cpu" {
  command = plan

  variables {
    predict = { cpu = "0.5" }
  }

  expect_failures = [var.predict]
}

run "refuses_less_memory_than_the_second_generation_wants" {
  command = plan

  variables {
    predict = { memory = "256Mi" }
  }

  expect_failures = [var.predict]
}

run "takes_the_most_memory_that_eight_cpus_carry" {
  command = plan

  variables {
    job     = { cpu = "8", memory = "32Gi" }
    predict = { cpu = "4", memory = "2048Mi" }
  }
}

run "takes_null_for_the_default" {
  command = plan

  variables {
    name           = null
    operators      = null
    labels         = null
    settings       = null
    sweep_schedule = null
    predict        = { min_instances = null }
  }
}

run "takes_members_of_every_kind" {
  command = plan

  variables {
    operators = ["group:ml@acme.example", "user:ada@acme.example"]
    analysts  = ["principal://iam.googleapis.com/locations/global/workforcePools/p/subject/ada", "serviceAccount:acme.svc.id.goog[shop/web]"]
    invokers = [
      "serviceAccount:shop@acme-shop.iam.gserviceaccount.com",
      "domain:acme.example",
      "principalSet://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/attribute.repository/acme/shop",
    ]
  }

  assert {
    condition     = length(google_cloud_run_v2_service_iam_member.predict) == 5
    error_message = "Somebody was left out."
  }
}
