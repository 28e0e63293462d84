# SPDX-License-Identifier: Apache-2.0
"""One pipeline on every runner, by setting."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import DirectOptions, StandardOptions
from here import VERSION, here
from standin import Batch, Fail

from beam_pipelines import batch_predict, runners, sources
from dropfit import machine
from dropfit.errors import DropfitError, SettingsError, Unavailable
from dropfit.settings import Settings

SQUARES = [row * row for row in range(160)]


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
