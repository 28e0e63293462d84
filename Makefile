# SPDX-License-Identifier: Apache-2.0
# Every command makes what it needs first: git, make and Python 3.11 with pip and venv are enough.
PYTHON ?= python3
UV_VERSION := 0.13.9
BIN := .venv/bin
ARGS ?=
# What `make infra-test` calls; with one that needs no network nothing is downloaded.
export TERRAFORM ?= terraform
# Test processes, each with a local cloud of its own.
WORKERS ?= 2
# Some machines forbid bytecode; without it every process compiles its imports again, which costs seconds each.
unexport PYTHONDONTWRITEBYTECODE
# OpenMP's threads wait by spinning, which costs a busy machine more than it gains.
export OMP_WAIT_POLICY ?= PASSIVE

.DEFAULT_GOAL := help
.PHONY: help env demo up down test unit lint verify torture bench-serving bench-batch bundle infra-test lock clean

help: ## what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

env: .venv/ready ## make .venv with everything in it

.venv/ready: requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14) and "Dropfit needs Python 3.11, 3.12 or 3.13, and $(PYTHON) is " + sys.version.split()[0] + ": make ... PYTHON=python3.13")'
	@echo "Making .venv (the first time takes a minute or two: about 1.5 GB of packages) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@test -x $(BIN)/uv || $(BIN)/python -m pip install -q --disable-pip-version-check uv==$(UV_VERSION)
	@$(BIN)/uv pip install -q -p $(BIN)/python --require-hashes -r requirements/dev.txt
	@$(BIN)/uv pip install -q -p $(BIN)/python --no-deps -e .
	@touch $@

demo: env ## the whole story, on this machine, in under a minute
	@$(BIN)/python -m localcloud.demo $(ARGS)

up: env ## start the local cloud and stay (ARGS=--detach to return)
	@$(BIN)/dropfit up $(ARGS)

down: env ## stop the local cloud
	@$(BIN)/dropfit down

lint: env ## style, format and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

unit: env ## the fast tests alone: no emulator
	@$(BIN)/python -m pytest tests/unit $(ARGS)

test: lint ## lint, types and every test but the longer proofs
	@$(BIN)/python -m pytest -m "not verify and not infra" -n $(WORKERS) --dist loadfile $(ARGS)

verify: env ## the longer proofs
	@$(BIN)/python -m pytest -m verify $(ARGS)

torture: env ## every proof of reliability, over an hour (ARGS='kills --seed 7' for some)
	@$(BIN)/python tests/torture $(ARGS)

bench-serving: env .venv-bench/ready ## how fast it serves beside others, some 9 minutes (ARGS='--only rounds')
	@$(BIN)/python -m benchmarks.serving $(ARGS)

bench-batch: env .venv-bench/batch ## how fast it predicts a file beside others, some 8 minutes (ARGS='--rows 1000000')
	@$(BIN)/python -m benchmarks.batch $(ARGS)

# MLServer and BentoML want older packages than the local cloud: an environment of their own.
# Where they cannot be installed, the others are measured without them. So it is with Spark, beside them there.
.venv-bench/ready: requirements/bench.txt | env
	@echo "Making .venv-bench for MLServer and BentoML (600 MB) ..."
	@test -x .venv-bench/bin/python || $(PYTHON) -m venv .venv-bench
	@if $(BIN)/uv pip install -q -p .venv-bench/bin/python --require-hashes -r requirements/bench.txt; then touch $@; \
	else echo "MLServer and BentoML could not be installed, see above: they are left out"; fi

.venv-bench/batch: requirements/bench-batch.txt | env
	@echo "Making .venv-bench for Spark (700 MB; it wants Java 17 too) ..."
	@test -x .venv-bench/bin/python || $(PYTHON) -m venv .venv-bench
	@if $(BIN)/uv pip install -q -p .venv-bench/bin/python --require-hashes -r requirements/bench-batch.txt; then touch $@; \
	else echo "Spark could not be installed, see above: it is left out"; fi

bundle: env ## the zip of functions/ and the image's tag, both named by their content
	@$(BIN)/python -m infra.deploy.bundle $(ARGS)

infra-test: env .venv-infra/ready ## terraform fmt, validate and test; checkov, hadolint and schemas (TERRAFORM=...)
	@$(BIN)/python -m pytest tests/infra -m infra $(ARGS)

.venv-infra/ready: requirements/infra.txt | env
	@echo "Making .venv-infra for checkov, hadolint and others (300 MB) ..."
	@test -x .venv-infra/bin/python || $(PYTHON) -m venv .venv-infra
	@$(BIN)/uv pip install -q -p .venv-infra/bin/python --require-hashes -r requirements/infra.txt
	@touch $@

lock: env ## resolve pyproject.toml again into requirements/*.txt
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh requirements/lock.sh

clean: ## stop the local cloud, and forget the environment and its state
	@if test -x $(BIN)/dropfit; then $(BIN)/dropfit down; fi
	@rm -rf .venv .venv-bench .venv-infra .dropfit build
