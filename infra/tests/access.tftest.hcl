# SPDX-License-Identifier: Apache-2.0
# Who may do what. tests/infra/test_promises.py asks the same of every resource of the plan, whatever it is called.

mock_provider "google" {
  override_during = plan
}

variables {
  project       = "acme-dev"
  region        = "europe-west1"
  environment   = "dev"
  functions_zip = "../build/functions-0123456789abcdef.zip"
  image_tag     = "0123456789abcdef"
  operators     = ["group:ml@acme.example"]
  uploaders     = ["group:data@acme.example"]
  invokers      = ["serviceAccount:shop@acme-shop.iam.gserviceaccount.com"]
  analysts      = ["group:analysts@acme.example"]
  settings      = { runner = "DataflowRunner" }
}

run "predict_is_private_unless_somebody_says_otherwise" {
  command = plan

  assert {
    condition     = length(google_cloud_run_v2_service_iam_member.predict_public) == 0
    error_message = "Anybody may call predict."
  }
  assert {
    condition = toset([for granted in google_cloud_run_v2_service_iam_member.predict : granted.member]) == toset([
      "group:ml@acme.example", "serviceAccount:shop@acme-shop.iam.gserviceaccount.com",
    ])
    error_message = "Others than the invokers and operators may call predict."
  }
  assert {
    condition = alltrue([
      for service in [google_cloud_run_v2_service.predict, google_cloud_run_v2_service.on_upload] : !service.invoker_iam_disabled
    ])
    error_message = "A function does not ask IAM who calls."
  }
}

run "predict_is_public_where_a_variable_says_so_and_nothing_else_is" {
  command = plan

  variables {
    predict_public = true
  }

  assert {
    condition     = [for granted in google_cloud_run_v2_service_iam_member.predict_public : granted.member] == ["allUsers"]
    error_message = "predict_public = true does not make predict public."
  }
  assert {
    condition     = google_cloud_run_v2_service_iam_member.predict_public[0].name == "dropfit-predict"
    error_message = "predict_public makes something else public."
  }
}

run "only_the_trigger_calls_on_upload" {
  command = plan

  assert {
    condition     = google_cloud_run_v2_service_iam_member.on_upload.member == "serviceAccount:dropfit-trigger@acme-dev.iam.gserviceaccount.com"
    error_message = "Somebody else may call on_upload."
  }
  assert {
    condition     = google_cloud_run_v2_service.on_upload.ingress == "INGRESS_TRAFFIC_INTERNAL_ONLY"
    error_message = "on_upload can be reached from the internet."
  }
}

run "each_runtime_has_an_account_of_its_own" {
  command = plan

  assert {
    condition = [
      google_cloud_run_v2_service.on_upload.template[0].service_account,
      google_cloud_run_v2_service.predict.template[0].service_account,
      google_cloud_run_v2_job.retrain.template[0].template[0].service_account,
      google_cloud_run_v2_job.sweep.template[0].template[0].service_account,
      google_eventarc_trigger.uploads.service_account,
      google_cloud_scheduler_job.sweep.http_target[0].oauth_token[0].service_account_email,
      ] == [
      for runtime in ["on-upload", "predict", "retrain", "sweep", "trigger", "scheduler"] :
      "dropfit-${runtime}@acme-dev.iam.gserviceaccount.com"
    ]
    error_message = "A runtime does not run as its own account."
  }
}

run "predict_reads_models_and_nothing_else" {
  command = plan

  assert {
    condition = [
      for granted in google_storage_bucket_iam_member.models : granted.role
      if granted.member == "serviceAccount:dropfit-predict@acme-dev.iam.gserviceaccount.com"
    ] == ["roles/storage.objectViewer"]
    error_message = "predict may do more than read models, or not even that."
  }
}

run "only_the_job_and_the_operators_write_models" {
  command = plan

  assert {
    condition = toset([
      for granted in google_storage_bucket_iam_member.models : granted.member if granted.role != "roles/storage.objectViewer"
    ]) == toset(["group:ml@acme.example", "serviceAccount:dropfit-retrain@acme-dev.iam.gserviceaccount.com"])
    error_message = "Others write models."
  }
  assert {
    condition     = strcontains(google_project_iam_member.dataflow_worker[0].condition[0].expression, "startsWith(\"projects/_/buckets/acme-dev-dropfit-data/objects/\")")
    error_message = "Google's role for Dataflow's workers writes objects of the whole project."
  }
}

run "on_upload_touches_receipts_and_the_launch_mark_alone" {
  command = plan

  assert {
    condition     = google_storage_bucket_iam_member.data_part["on_upload writes"].condition[0].expression == "resource.name.startsWith(\"projects/_/buckets/acme-dev-dropfit-data/objects/receipts/\") || resource.name.startsWith(\"projects/_/buckets/acme-dev-dropfit-data/objects/leases/launch.json\")"
    error_message = "on_upload writes other objects of the data bucket."
  }
}

run "on_the_project_there_are_only_the_roles_that_google_grants_nowhere_else" {
  command = plan

  assert {
    condition = setunion(
      [for granted in google_project_iam_member.bigquery_jobs : granted.role],
      google_project_iam_member.dataflow_developer[*].role,
      google_project_iam_member.dataflow_worker[*].role,
      [google_project_iam_member.trigger.role, google_project_iam_member.build_logs.role, google_project_iam_member.storage_agent.role],
      ) == toset([
        "roles/bigquery.jobUser", "roles/dataflow.developer", "roles/dataflow.worker", "roles/eventarc.eventReceiver",
        "roles/logging.logWriter", "roles/pubsub.publisher",
    ])
    error_message = "A role of the whole project is none of the closed list."
  }
}

run "without_dataflow_there_is_nothing_of_it" {
  command = plan

  variables {
    settings = {}
  }

  assert {
    condition = 0 == sum([
      length(google_service_account.dataflow),
      length(google_project_iam_member.dataflow_worker),
      length(google_project_iam_member.dataflow_developer),
      length(google_compute_network.dataflow),
      length(google_compute_subnetwork.dataflow),
      length(google_compute_firewall.dataflow),
    ])
    error_message = "Dataflow's account or network is made although nothing runs there."
  }
  assert {
    condition     = !contains(keys(google_project_service.apis), "dataflow.googleapis.com")
    error_message = "Dataflow's API is switched on although nothing runs there."
  }
}
