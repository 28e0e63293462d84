#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What cloudbuild.yaml and .github/workflows/deploy.yml do with Terraform in infra/: init, foundation, plan, apply.
# What is applied is always a plan's file, which Terraform refuses when the state has changed since. For the same reason
# nothing is tried again here: after a fault that passes, as a first deployment meets them, start the pipeline again.
set -eu
cd "$(dirname "$0")/.."
mkdir -p ../build

plan() { # OUT [ARGUMENT...]
  out=$1
  shift
  terraform plan -input=false -no-color -var-file="$_ENV.tfvars" -out="../build/$out.tfplan" "$@"
}

apply() { # OUT
  terraform apply -input=false -no-color -lock-timeout=10m "../build/$1.tfplan"
}

release() { # functions and jobs that never became ready: they are protected, and Terraform has to replace them
  terraform state pull >../build/state.json
  if awk -f pipeline/stillborn.awk ../build/state.json >../build/released.json; then
    echo "Some functions or jobs never became ready: the plan makes them anew."
    terraform state push -lock-timeout=10m ../build/released.json
  fi
  rm -f ../build/state.json ../build/released.json
}

case $1 in
init)
  terraform init -input=false -no-color \
    -backend-config="bucket=${PROJECT_ID}-${_NAME}-state" -backend-config="prefix=dropfit"
  ;;
foundation) # what images are built with, before what runs them can be planned to the end
  plan foundation -lock-timeout=10m \
    -target=google_project_service.apis \
    -target=google_artifact_registry_repository.images \
    -target=google_artifact_registry_repository_iam_member.build \
    -target=google_storage_bucket.source \
    -target=google_storage_bucket_iam_member.source \
    -target=google_storage_bucket_object.functions \
    -target=google_storage_bucket_object.job \
    -target=google_service_account.build \
    -target=google_project_iam_member.build_logs
  apply foundation
  ;;
look) # a plan by somebody who may not write, not even a lock
  plan look -lock=false
  ;;
plan)
  release
  plan deploy -lock-timeout=10m
  ;;
apply)
  apply deploy
  ;;
*)
  echo "usage: terraform.sh init|foundation|look|plan|apply" >&2
  exit 2
  ;;
esac
