# SPDX-License-Identifier: Apache-2.0
# One image for all that runs in the background: the retraining job, the sweep, and Dataflow's workers.
# `dropfit deploy` has Cloud Build make it from build/job-<hash>.zip, which holds this file and what it copies.

# By boot, a program of Beam's own image, Dataflow starts its workers. The version is that of requirements/jobs.txt.
FROM apache/beam_python3.11_sdk:2.77.0 AS beam

FROM python:3.11.16-slim-bookworm

# OMP_WAIT_POLICY: OpenMP's threads would wait by spinning.
# RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT: boot would make an environment of its own, where we may not write.
# HOME, USER, MPLCONFIGDIR: a user by number alone has neither a home nor a name.
ENV HOME=/tmp \
    MPLCONFIGDIR=/tmp/matplotlib \
    OMP_WAIT_POLICY=PASSIVE \
    PYTHONPATH=/app/functions:/app \
    PYTHONUNBUFFERED=1 \
    RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1 \
    USER=dropfit

WORKDIR /app

COPY --from=beam /opt/apache/beam/boot /opt/apache/beam/LICENSE /opt/apache/beam/NOTICE /opt/apache/beam/

# Before the code, which changes more often. --no-deps: the lock names everything; pip check says whether it does.
# apache-beam[gcp] brings Vertex AI's client for transforms that are not used here: a seventh of the image.
# The base image has no bytecode, its standard library included, and its user may write none: every start would
# compile all it imports. A file that is no Python for this version is nothing to stop at.
COPY requirements/jobs.txt requirements/jobs.txt
RUN pip install --no-cache-dir --no-compile --no-deps --require-hashes -r requirements/jobs.txt \
    && pip uninstall --yes google-cloud-aiplatform \
    && pip check \
    && { python -m compileall -q -j 0 --invalidation-mode unchecked-hash "$(python -c 'import sys; print(sys.prefix)')/lib" || true; }

# Of functions/ the zip has what the job can use: dropfit, and modules of your own beside it.
COPY functions functions
COPY beam_pipelines beam_pipelines
RUN python -m compileall -q --invalidation-mode unchecked-hash functions beam_pipelines

USER 65532:65532

# checkov:skip=CKV_DOCKER_2:nobody asks a job for its health: it ends by itself, and its time-out is Cloud Run's
# Dataflow gives boot its arguments; the Cloud Run jobs have a command of their own instead.
ENTRYPOINT ["/bin/sh", "/app/beam_pipelines/worker.sh"]
