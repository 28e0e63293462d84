#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Resolves pyproject.toml into three locks that agree with each other: what the functions, the jobs and a laptop install.
# The others, of what the benchmarks compare with, share an environment and agree with these only where they must.
set -eu
cd "$(dirname "$0")/.."
compile() {
  uv pip compile -q --universal --generate-hashes --no-header --python-version 3.11 pyproject.toml "$@"
}
compile --extra jobs --extra dask --extra deploy --extra dev -o requirements/dev.txt
compile --extra jobs -c requirements/dev.txt -o requirements/jobs.txt
compile -c requirements/dev.txt -o requirements/functions.txt
cp requirements/functions.txt functions/requirements.txt
grep -E '^(joblib|pandas|pyarrow|scikit-learn)==' requirements/dev.txt | sed 's/ .*//' >requirements/bench-constraints.txt
compile --extra bench -c requirements/bench-constraints.txt -o requirements/bench.txt
compile --extra bench-batch -c requirements/bench.txt -c requirements/bench-constraints.txt -o requirements/bench-batch.txt
compile --extra infra -o requirements/infra.txt
rm requirements/bench-constraints.txt
