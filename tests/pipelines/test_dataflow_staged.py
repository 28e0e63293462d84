# SPDX-License-Identifier: Apache-2.0
"""A job for Dataflow is built and staged as the settings say, as one stage between its shuffle and its commit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import apache_beam as beam
import msgspec
import pytest
from apache_beam.options.pipeline_options import SetupOptions
from apache_beam.runners.dataflow.internal import apiclient
from graph import groupings, stages, steps
from here import VERSION, here
from standin import Batch

from beam_pipelines import batch_predict, runners, sources
from dropfit import dataflow, storage
from dropfit.errors import SettingsError
from dropfit.settings import Settings


def test_what_dataflow_needs_and_has_not_is_named_before_anything_is_built(tmp_path: Path) -> None:
    batch = Batch(tmp_path)
    with pytest.raises(SettingsError, match="DROPFIT_REGION, DROPFIT_WORKER_ACCOUNT, DROPFIT_WORKER_IMAGE"):
        runners.run(batch, here(runner="DataflowRunner"), VERSION)
    with pytest.raises(SettingsError, match="needs it: DROPFIT_WORKER_IMAGE"):
        runners.run(batch, here(runner="DataflowRunner", region="r", worker_account="w"), VERSION)
    assert batch.built == 0


def test_threads_are_counted_for_machines_that_say_their_cores() -> None:
    config = here(runner="DataflowRunner", region="r", worker_account="w", worker_image="i", batch_mode="threads")
    with pytest.raises(SettingsError, match="DROPFIT_WORKER_MACHINE: 'f1-micro'"):
        runners.options(msgspec.structs.replace(config, worker_machine="f1-micro"), VERSION)


@pytest.fixture
def job(there: Settings, tmp_path: Path) -> Any:
    """The whole job, built and staged, and not submitted."""
    extra = ["--dry_run=True", "--no_auth"]
    chosen = runners.options(there, VERSION, {"dropfit_version": VERSION, "dropfit_problem": there.problem}, extra)
    pipeline = beam.Pipeline(options=chosen)
    Batch(tmp_path)(pipeline)
    made = pipeline.run().job
    apiclient.DataflowApplicationClient(made.options, made.root_staging_location).create_job_description(made)
    return made


def test_the_whole_job_is_built_and_staged_as_the_settings_say(job: Any, there: Settings) -> None:
    said = msgspec.json.decode(job.json())
    assert said["name"] == dataflow.job_name(VERSION, there.data_bucket)
    assert said["type"] == "JOB_TYPE_BATCH"
    assert said["labels"] == {"dropfit_version": VERSION.lower(), "dropfit_problem": "dropfit-problem-problem"}
    environment = said["environment"]
    assert environment["serviceAccountEmail"] == there.worker_account
    assert environment["tempStoragePrefix"].startswith(f"storage.googleapis.com/{there.data_bucket}/beam/temp/")
    [pool] = environment["workerPools"]
    assert pool["machineType"] == "n2-standard-4"
    assert pool["autoscalingSettings"] == {"algorithm": "AUTOSCALING_ALGORITHM_BASIC", "maxNumWorkers": 7}
    assert pool["ipConfiguration"] == "WORKER_IP_PRIVATE"
    assert pool["subnetwork"] == there.subnetwork
    assert [image["containerImage"] for image in pool["sdkHarnessContainerImages"]] == [there.worker_image]
    assert pool["workerHarnessContainerImage"] == there.worker_image


def test_nothing_of_the_submitting_process_is_sent_along(job: Any, there: Settings) -> None:
    [pool] = msgspec.json.decode(job.json())["environment"]["workerPools"]
    assert pool.get("packages", []) == []
    assert job.options.view_as(SetupOptions).save_main_session is False
    staged = [found.name for found in storage.connect(there).data.list("beam/")]
    assert [name.rsplit("/", 1)[1] for name in staged] == ["pipeline.pb"]
    for environment in job.proto_pipeline.components.environments.values():
        assert not environment.dependencies


def test_a_worker_is_a_process_each_core_unless_threads_are_asked_for(job: Any, there: Settings) -> None:
    [pool] = msgspec.json.decode(job.json())["environment"]["workerPools"]
    assert "numThreadsPerWorker" not in pool
    assert "use_multiple_sdk_containers" in job.proto.environment.experiments
    chosen = runners.options(msgspec.structs.replace(there, batch_mode="threads"), VERSION).get_all_options()
    assert chosen["number_of_worker_harness_threads"] == 8
    assert "no_use_multiple_sdk_containers" in chosen["experiments"]


def test_what_reads_predicts_and_writes_is_one_stage_between_one_shuffle_and_the_commit(job: Any) -> None:
    assert len(groupings(job)) == 2  # the shuffle, and the list for the commit
    [stage] = [stage for stage in stages(job) if "Predict" in stage]
    assert stage[0] == "Spread/ReshufflePerKey/GroupByKey"
    at = stage.index("Read")
    assert stage[at : at + 4] == ["Read", "Predict", "Write", "List/List/KeyWithVoid"]
    assert not [step for step in steps(job) if step.sides and step.name in stage]
    assert len({step.environment for step in steps(job) if step.environment}) == 1


@pytest.mark.verify
def test_the_batch_prediction_itself_is_one_stage_between_its_one_shuffle_and_its_commit(
    house: Callable[..., Any], penguins: list[Path], tmp_path: Path
) -> None:
    """The whole job of a served version, built and staged for Dataflow."""
    made = house(DROPFIT_REGION="r", DROPFIT_WORKER_ACCOUNT="w@p", DROPFIT_WORKER_IMAGE="host/worker:1")
    made.upload("a.csv", penguins[0])
    made.work()
    served = made.registry.current().pointer.version
    made.buckets.data.put("score/in.csv", penguins[1].read_bytes())
    inputs = tuple(sources.expand(made.settings, [made.buckets.data.uri("score/in.csv")]))
    batch = batch_predict.Batch(served, inputs, made.buckets.data.uri("score/out"), served)
    _, plan, todo = batch_predict.prepare(made.settings, batch)
    config = msgspec.structs.replace(made.settings, runner="DataflowRunner")
    pipeline = beam.Pipeline(options=runners.options(config, served, extra=["--dry_run=True", "--no_auth"]))
    batch_predict.build(pipeline, config, batch, plan, todo)
    job = pipeline.run().job
    apiclient.DataflowApplicationClient(job.options, job.root_staging_location).create_job_description(job)
    [pool] = msgspec.json.decode(job.json())["environment"]["workerPools"]
    assert pool.get("packages", []) == []
    assert len(groupings(job)) == 2
    [stage] = [stage for stage in stages(job) if "Predict" in stage]
    assert stage[0] == "Hand out/ReshufflePerKey/GroupByKey"
    at = stage.index("Read")
    assert stage[at : at + 3] == ["Read", "Predict", "Write"]
    assert not [step for step in steps(job) if step.sides and step.name in stage]
    assert stages(job)[-1][-1] == "Commit"


def test_a_step_that_would_break_the_stage_is_seen() -> None:
    pipeline = beam.Pipeline()
    numbers = pipeline | beam.Create([1], reshuffle=False)
    worked = numbers | beam.Reshuffle() | "Read" >> beam.Map(lambda n: n)
    worked | "Predict" >> beam.Map(lambda n, _: n, beam.pvalue.AsList(numbers))
    found = stages(pipeline.to_runner_api())
    assert [stage for stage in found if "Read" in stage] != [stage for stage in found if "Predict" in stage]
