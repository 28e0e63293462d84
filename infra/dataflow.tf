# SPDX-License-Identifier: Apache-2.0
# Dataflow's workers, only where settings = { runner = "DataflowRunner" }.

resource "google_service_account" "dataflow" {
  count = local.dataflow ? 1 : 0

  account_id   = "${var.name}-dataflow"
  display_name = "Dropfit ${var.environment}: Dataflow's workers"
  description  = "Reads models; reads and writes the data bucket."

  depends_on = [google_project_service.apis]
}

# Google's role for workers holds storage.objects.create and .get of the whole project: the condition takes the other
# buckets out of it, so that no worker writes models or reads uploads. What is no bucket and no object stays as it is.
resource "google_project_iam_member" "dataflow_worker" {
  count = local.dataflow ? 1 : 0

  project = var.project
  role    = "roles/dataflow.worker"
  member  = local.member.dataflow

  condition {
    title       = "no-bucket-but-data"
    description = "Of buckets, the data bucket alone."
    expression = join(" || ", [
      "(resource.type != \"storage.googleapis.com/Bucket\" && resource.type != \"storage.googleapis.com/Object\")",
      "resource.name == \"projects/_/buckets/${local.buckets.data}\"",
      "resource.name.startsWith(\"${local.data_objects}/\")",
    ])
  }
}

# Workers pull the job's image, which holds this very code.
resource "google_artifact_registry_repository_iam_member" "dataflow" {
  count = local.dataflow ? 1 : 0

  location   = google_artifact_registry_repository.images.location
  repository = google_artifact_registry_repository.images.repository_id
  role       = "roles/artifactregistry.reader"
  member     = local.member.dataflow
}

# The retraining job submits, and only with that account's workers.

resource "google_project_iam_member" "dataflow_developer" {
  # checkov:skip=CKV_GCP_49:Google grants it on projects alone; jobs run as the one account that is named below
  count = local.dataflow ? 1 : 0

  project = var.project
  role    = "roles/dataflow.developer"
  member  = local.member.retrain
}

resource "google_service_account_iam_member" "dataflow" {
  count = local.dataflow ? 1 : 0

  service_account_id = "projects/${var.project}/serviceAccounts/${local.email.dataflow}"
  role               = "roles/iam.serviceAccountUser"
  member             = local.member.retrain
}

# Workers have no public address: they reach Google by the subnetwork's private access, and each other.

resource "google_compute_network" "dataflow" {
  count = local.dataflow ? 1 : 0

  name                    = var.name
  auto_create_subnetworks = false

  depends_on = [google_project_service.apis]
}

resource "google_compute_subnetwork" "dataflow" {
  # checkov:skip=CKV_GCP_26:flow logs cost more than the workers' traffic, which goes to Google and to each other alone
  count = local.dataflow ? 1 : 0

  name                     = var.name
  region                   = var.region
  network                  = google_compute_network.dataflow[0].id
  ip_cidr_range            = "10.128.0.0/22"
  private_ip_google_access = true
}

resource "google_compute_firewall" "dataflow" {
  count = local.dataflow ? 1 : 0

  name        = "${var.name}-dataflow"
  network     = google_compute_network.dataflow[0].id
  description = "Workers shuffle among themselves; Dataflow tags them."
  direction   = "INGRESS"
  source_tags = ["dataflow"]
  target_tags = ["dataflow"]

  allow {
    protocol = "tcp"
    ports    = ["12345-12346"]
  }
}
