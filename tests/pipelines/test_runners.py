# SPDX-License-Identifier: Apache-2.0
"""One pipeline on every runner, by setting; on Dataflow one job for one piece of work, however often started."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import DirectOptions, SetupOptions, StandardOptions
from apache_beam.runners.dataflow.internal import apiclient
from graph import groupings, stages, steps
from standin import Batch, Fail

from beam_pipelines import batch_predict, runners, sources
from dropfit import dataflow, machine, rest, storage
from dropfit.errors import BatchError, DropfitError, LeaseLost, Refused, SettingsError, Unavailable
from dropfit.settings import Settings

sys.path.append(str(Path(__file__).parents[1] / "unit"))
from dataflow_api import FakeDataflow

VERSION = "20130201T101112-deadbeef"
SQUARES = [row * row for row in range(160)]
HERE = Settings(project="p-project", landing_bucket="l", data_bucket="d", models_bucket="m")


def here(**changes: Any) -> Settings:
    return msgspec.structs.replace(HERE, **changes)


def test_two_workers_share_the_work_in_threads_of_this_process(tmp_path: Path) -> None:
    batch = Batch(tmp_path)
    runners.run(batch, here(batch_workers=2), VERSION)
    assert batch.rows() == SQUARES
    processes, threads = batch.workers()
    assert (len(processes), len(threads)) == (1, 2)


@pytest.mark.verify
def test_two_workers_can_be_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONSAFEPATH", "")
    batch = Batch(tmp_path)
    runners.run(batch, here(batch_workers=2, batch_mode="processes"), VERSION)
    assert batch.rows() == SQUARES
    assert len(batch.workers()[0]) == 2
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_without_a_number_there_is_a_worker_for_every_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cores", lambda: 7)
    chosen = runners.options(here(), VERSION)
    assert chosen.view_as(DirectOptions).direct_num_workers == 7
    assert chosen.view_as(DirectOptions).direct_running_mode == "multi_threading"
    assert chosen.view_as(StandardOptions).runner == "FnApiRunner"
    monkeypatch.setattr(machine, "cores", lambda: 1)
    assert runners.options(here(), VERSION).view_as(DirectOptions).direct_running_mode == "in_memory"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_fault_that_passes_on_a_worker_is_one_that_passes_here(tmp_path: Path, workers: int) -> None:
    with pytest.raises(Unavailable, match="storage did not answer"):
        runners.run(Batch(tmp_path, between=Fail(ours=True)), here(batch_workers=workers), VERSION)
    assert not (tmp_path / "manifest").exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_any_other_error_on_a_worker_is_told_with_where_it_was_raised(tmp_path: Path, workers: int) -> None:
    with pytest.raises(DropfitError, match=f"{VERSION} on DirectRunner.*wing") as told:
        runners.run(Batch(tmp_path, between=Fail(ours=False)), here(batch_workers=workers), VERSION)
    assert not isinstance(told.value, Unavailable)


@pytest.mark.parametrize("runner", ["FlinkRunner", "SparkRunner", "PortableRunner", "DaskRunner"])
def test_other_runners_take_their_own_options_from_a_setting(runner: Any) -> None:
    given = "--job_endpoint=localhost:8099 --environment_type=EXTERNAL --environment_config=localhost:50000"
    chosen = runners.options(here(runner=runner, runner_options=given), VERSION).get_all_options()
    assert chosen["runner"].rsplit(".", 1)[-1] == runner
    assert chosen["job_endpoint"] == "localhost:8099"
    assert chosen["environment_config"] == "localhost:50000"
    assert chosen["save_main_session"] is False


@pytest.mark.parametrize("given", ["--job_server_timeout=soon", "--job_endpoint='"])
def test_options_that_beam_does_not_understand_are_refused_with_the_settings_name(given: str) -> None:
    with pytest.raises(SettingsError, match="DROPFIT_RUNNER_OPTIONS="):
        runners.options(here(runner="PortableRunner", runner_options=given), VERSION)


@pytest.mark.verify
def test_the_same_pipeline_gives_the_same_rows_on_two_processes_of_dask(tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address="127.0.0.1:0"
    ) as cluster:
        config = here(runner="DaskRunner", runner_options=f"--dask_client_address={cluster.scheduler_address}")
        batch = Batch(tmp_path)
        runners.run(batch, config, VERSION)
    assert batch.rows() == SQUARES
    assert len(batch.workers()[0]) == 2


@pytest.mark.verify
def test_dask_predicts_what_this_machine_predicts(
    house: Callable[..., Any], penguins: list[Path], tmp_path: Path
) -> None:
    distributed = pytest.importorskip("distributed")
    made = house()
    made.upload("a.csv", penguins[0])
    made.work()
    served = made.registry.current().pointer.version

    def predicted(config: Settings, place: str) -> pa.Table:
        inputs = tuple(sources.expand(config, [str(path) for path in penguins]))
        batch = batch_predict.Batch(served, inputs, str(tmp_path / place), served)
        ledger, _ = batch_predict.run(config, batch)
        names = [shard.name for shard in ledger.manifest().shards]
        rows = pa.concat_tables([pq.read_table(tmp_path / place / name) for name in names]).drop(["predicted_at"])
        return rows.sort_by([(name, "ascending") for name in made.services.problem.key])

    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address="127.0.0.1:0"
    ) as cluster:
        where = f"--dask_client_address={cluster.scheduler_address}"
        there = msgspec.structs.replace(made.settings, runner="DaskRunner", runner_options=where)
        on_dask = predicted(there, "dask")
    assert on_dask.num_rows > 0
    assert on_dask.equals(predicted(made.settings, "here"))


# Dataflow


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
def there(deployment: Callable[..., Settings]) -> Settings:
    """A deployment whose setting says Dataflow."""
    return deployment(
        DROPFIT_RUNNER="DataflowRunner",
        DROPFIT_REGION="us-central1",
        DROPFIT_WORKER_ACCOUNT="worker@p-project.iam.gserviceaccount.com",
        DROPFIT_WORKER_IMAGE="us-docker.pkg.dev/p-project/dropfit/worker:abc",
        DROPFIT_MAX_WORKERS="7",
        DROPFIT_SUBNETWORK="regions/us-central1/subnetworks/batch",
    )


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


@pytest.fixture
def service(there: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDataflow]:
    """Beam's own client, and ours, speak to a Dataflow on this machine."""
    monkeypatch.setattr(dataflow, "SHORTEST", 0.002)
    monkeypatch.setattr(dataflow, "LONGEST", 0.002)
    monkeypatch.setattr(rest, "DELAY", 0.001)
    with FakeDataflow(there.project, there.region) as fake:
        yield fake


@pytest.fixture
def start(service: FakeDataflow, there: Settings, tmp_path: Path) -> Callable[..., Batch]:
    def go(name: str = VERSION, **more: Any) -> Batch:
        batch = Batch(tmp_path)
        runners.run(batch, there, name, extra=[f"--dataflow_endpoint={service.url}", "--no_auth"], **more)
        return batch

    return go


def name(there: Settings) -> str:
    return dataflow.job_name(VERSION, there.data_bucket)


def finish(job: dict[str, Any]) -> None:
    job["currentState"] = "JOB_STATE_DONE"


def test_a_job_is_submitted_and_waited_for(
    service: FakeDataflow, start: Callable[..., Batch], there: Settings
) -> None:
    service.play = finish
    assert start().built == 1
    [submitted] = service.submitted
    assert submitted["name"] == name(there)
    assert submitted["environment"]["serviceAccountEmail"] == there.worker_account
    assert [job["currentState"] for job in service.jobs] == ["JOB_STATE_DONE"]


def test_a_process_started_again_waits_for_the_job_that_is_at_work(
    service: FakeDataflow, start: Callable[..., Batch], there: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    def terminated() -> None:
        raise SystemExit(143)

    with pytest.raises(SystemExit):
        start(check=terminated)
    assert [job["currentState"] for job in service.jobs] == ["JOB_STATE_PENDING"]  # it goes on
    service.play = finish
    with caplog.at_level(logging.INFO):
        assert start().built == 0
    assert len(service.submitted) == 1
    assert f"{name(there)} is at work already" in caplog.text


def test_of_two_that_submit_at_once_the_slower_waits_for_the_others_job(
    service: FakeDataflow, start: Callable[..., Batch], there: Settings
) -> None:
    def quicker(body: dict[str, Any]) -> None:
        service.add(body["name"], request="another's")

    service.on_create = quicker
    service.play = finish
    start()
    assert service.submitted == []
    assert len(service.jobs) == 1


@pytest.mark.parametrize("state", ["DONE", "FAILED", "CANCELLED"])
def test_an_earlier_job_that_has_ended_is_followed_by_a_new_one(
    service: FakeDataflow, start: Callable[..., Batch], there: Settings, state: str
) -> None:
    service.add(name(there), f"JOB_STATE_{state}")
    service.play = finish
    start()
    assert len(service.submitted) == 1


def test_a_job_that_is_being_cancelled_is_waited_out_and_followed_by_a_new_one(
    service: FakeDataflow, start: Callable[..., Batch], there: Settings
) -> None:
    service.add(name(there), "JOB_STATE_CANCELLING")

    def play(job: dict[str, Any]) -> None:
        job["currentState"] = "JOB_STATE_CANCELLED" if job["id"] == "id-0" else "JOB_STATE_DONE"

    service.play = play
    start()
    assert [job["currentState"] for job in service.jobs] == ["JOB_STATE_CANCELLED", "JOB_STATE_DONE"]


@pytest.mark.parametrize(
    ("said", "kind", "match"),
    [
        ("Traceback ...\ndropfit.errors.Unavailable: no answer [while running 'Read-3']", Unavailable, "no answer"),
        ("Traceback ...\nKeyError: 'wing' [while running 'Predict-ptransform-3']", BatchError, "KeyError: 'wing'"),
        ("Workflow failed. Causes: quota", BatchError, "quota"),
        ("", BatchError, "no reason"),
    ],
)
def test_a_job_that_fails_is_told_as_what_a_worker_raised(
    service: FakeDataflow, start: Callable[..., Batch], said: str, kind: type[DropfitError], match: str
) -> None:
    def play(job: dict[str, Any]) -> None:
        if said and job["currentState"] != "JOB_STATE_FAILED":
            service.say(job, said, "JOB_MESSAGE_ERROR")
        job["currentState"] = "JOB_STATE_FAILED"

    service.play = play
    with pytest.raises(kind, match=match):
        start()
    assert len(service.submitted) == 1


def test_a_job_that_a_person_cancels_stays_cancelled(service: FakeDataflow, start: Callable[..., Batch]) -> None:
    service.play = lambda job: job.update(currentState="JOB_STATE_CANCELLED")
    with pytest.raises(Refused, match="cancelled by somebody"):
        start()
    assert len(service.submitted) == 1


@pytest.mark.parametrize("status", [400, 403])
def test_a_job_that_dataflow_will_not_take_is_refused(
    service: FakeDataflow, start: Callable[..., Batch], monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    original = service.reply

    def reply(method: str, *rest: Any) -> Any:
        if method == "POST":
            return status, {"error": {"code": status, "message": "no quota for you"}}
        return original(method, *rest)

    monkeypatch.setattr(service, "reply", reply)
    with pytest.raises(Refused, match=r"could not be submitted: .*no quota for you"):
        start()


def test_who_has_lost_the_lease_leaves_the_job_to_the_next(
    service: FakeDataflow, start: Callable[..., Batch]
) -> None:
    def lost() -> None:
        raise LeaseLost("another job may have taken over")

    with pytest.raises(LeaseLost):
        start(check=lost)
    assert [job["currentState"] for job in service.jobs] == ["JOB_STATE_PENDING"]
