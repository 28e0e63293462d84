#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Resolves pyproject.toml into three locks that agree with each other: what the functions, the jobs and a laptop install.
# The fourth, of the servers that benchmarks/serving compares with, agrees with them only where it must.
set -eu
cd "$(dirname "$0")/.."
compile() {
  uv pip compile -q --universal --generate-hashes --no-header --python-version 3.11 pyproject.toml "$@"
}
compile --extra jobs --extra dask --extra dev -o requirements/dev.txt
compile --extra jobs -c requirements/dev.txt -o requirements/jobs.txt
compile -c requirements/dev.txt -o requirements/functions.txt
cp requirements/functions.txt functions/requirements.txt
grep -E '^(scikit-learn|joblib)==' requirements/dev.txt | sed 's/ .*//' >requirements/bench-constraints.txt
compile --extra bench -c requirements/bench-constraints.txt -o requirements/bench.txt
rm requirements/bench-constraints.txt
