# SPDX-License-Identifier: Apache-2.0
"""Where a pipeline runs, by setting: this machine, Dask, Dataflow, or what Beam's portable runner reaches.

The pipeline is the same; only its options differ. On Dataflow the job's name says what the work is, so that a process
that is started again waits for the job that is at work, instead of submitting a second.
"""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import apache_beam as beam
import requests
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions

from beam_pipelines.faults import of_beam
from dropfit import costs, dataflow, errors, machine, settings
from dropfit.errors import DropfitError, Refused, SettingsError, Unavailable, of_google
from dropfit.settings import Settings

LOCAL = "FnApiRunner"
"""The DirectRunner's own engine. By that name it would first try Prism, and download it (docs/adr/0007)."""
DASK = "apache_beam.runners.dask.dask_runner.DaskRunner"
"""Beam does not know it by its short name."""
NEEDED = ("region", "worker_account", "worker_image")
"""Settings that Dataflow cannot do without."""
Build = Callable[[Any], None]
LOG = logging.getLogger(__name__)


def run(
    build: Build,
    config: Settings,
    job_name: str,
    labels: Mapping[str, str] | None = None,
    extra: Sequence[str] = (),
    check: Callable[[], None] = lambda: None,
) -> None:
    """Launch what `build` puts into a pipeline, and wait until it has ended well.

    Args:
        build: takes the empty pipeline; called only if no job of that name is at work.
        config: which runner, and its settings.
        job_name: what the work is, such as a version: the same name is the same work.
        labels: of the Dataflow job, by which its cost is told apart.
        extra: more of Beam's options, the last word.
        check: called now and then while Dataflow works; what it raises ends the waiting, and not the job.

    Raises:
        SettingsError: when the runner needs a setting that is not there.
        Unavailable: when a service did not answer, here or on a worker; done again, it goes on.
        DropfitError: when the work failed for good.
    """
    chosen = options(config, job_name, labels, extra)
    if config.runner == "DataflowRunner":
        _on_dataflow(build, chosen, check)
        return
    pipeline = beam.Pipeline(options=chosen)
    build(pipeline)
    result: Any = None
    try:
        result = pipeline.run()
        result.wait_until_finish()
    except Exception as error:
        raise of_beam(error, f"{job_name} on {config.runner}") from error
    finally:
        if hasattr(result, "client"):  # Dask's, which would look for its cluster until this process ends
            result.client.close()


def options(
    config: Settings, job_name: str, labels: Mapping[str, str] | None = None, extra: Sequence[str] = ()
) -> PipelineOptions:
    """Beam's options for the runner that the settings ask for.

    Args:
        config: which runner, and its settings.
        job_name: what the work is.
        labels: of the Dataflow job.
        extra: more options, the last word.

    Raises:
        SettingsError: when the runner needs a setting that is not there.
    """
    if config.runner == "DirectRunner":
        own = _local(config)
    elif config.runner == "DataflowRunner":
        own = _dataflow(config, job_name, labels or {})
    else:
        own = _elsewhere(config, job_name)
    try:
        # Our code is in modules that workers import; nothing of the process that submits is worth sending.
        chosen = PipelineOptions([*own, "--no_save_main_session", *shlex.split(config.runner_options), *extra])
        chosen.get_all_options()  # parses them, which it would put off
    except (ValueError, SystemExit) as error:  # of argparse, which has said more on standard error
        raise SettingsError(f"DROPFIT_RUNNER_OPTIONS={config.runner_options!r} is malformed: {error}") from error
    return chosen


def _local(config: Settings) -> list[str]:
    """As many batches at a time as there are cores; their kernels release the GIL, so threads are enough for them."""
    workers = config.batch_workers or machine.cores()
    if workers == 1:
        return [f"--runner={LOCAL}", "--direct_running_mode=in_memory"]
    mode = "multi_processing" if config.batch_mode == "processes" else "multi_threading"
    if config.batch_mode == "processes":
        settings.let_children_import(sys.path)
        logging.getLogger("apache_beam.runners.portability.local_job_service").addFilter(_is_news)
    return [f"--runner={LOCAL}", f"--direct_running_mode={mode}", f"--direct_num_workers={workers}"]


def _is_news(record: logging.LogRecord) -> bool:
    """Each worker process says that it has no folder for registries that we do not use."""
    return "No semi_persistent_directory" not in record.getMessage()


def _elsewhere(config: Settings, job_name: str) -> list[str]:
    own = [f"--runner={config.runner}", f"--job_name={dataflow.job_name(job_name, config.data_bucket)}"]
    if config.runner == "DaskRunner":
        own[0] = f"--runner={DASK}"
        if "--dask_npartitions" not in config.runner_options:  # Beam's 128 elements a task would be one task for us
            own.append("--dask_partition_size=1")
    return own


def _dataflow(config: Settings, job_name: str, labels: Mapping[str, str]) -> list[str]:
    missing = [settings.variable(name) for name in NEEDED if not getattr(config, name)]
    if missing:
        raise SettingsError(
            f"not set, and DROPFIT_RUNNER=DataflowRunner needs it: {', '.join(missing)}. Terraform sets them; "
            "DROPFIT_RUNNER=DirectRunner needs none"
        )
    place = f"gs://{config.data_bucket}/beam"
    given = {
        "runner": config.runner,
        "project": config.project,
        "region": config.region,
        "job_name": dataflow.job_name(job_name, config.data_bucket),
        "temp_location": f"{place}/temp",
        "staging_location": f"{place}/staging",
        "service_account_email": config.worker_account,
        "sdk_container_image": config.worker_image,
        "worker_machine_type": config.worker_machine,
        "autoscaling_algorithm": "THROUGHPUT_BASED",
        "max_num_workers": str(config.max_workers),
        "subnetwork": config.subnetwork,
        # What is installed here is in the image; a list of this process's packages is of no use to a worker.
        "experiments": "disable_logging_submission_environment",
    }
    said = [f"--{name}={value}" for name, value in given.items() if value]
    said += [f"--labels={key}={dataflow.label(value)}" for key, value in labels.items()]
    return [*said, "--no_use_public_ips", *_harness(config)]


def _harness(config: Settings) -> list[str]:
    """One process a worker, when threads are asked for: two a core, as half of them wait for storage.

    Otherwise the service's choice for Python, a process each core, which no `derive` can hold up by the GIL.
    """
    if config.batch_mode != "threads":
        return []
    try:
        vcpus, _ = costs.shape(config.worker_machine)
    except errors.BadRequest as error:
        raise SettingsError(f"DROPFIT_BATCH_MODE=threads counts cores of DROPFIT_WORKER_MACHINE: {error}") from error
    return ["--experiments=no_use_multiple_sdk_containers", f"--number_of_worker_harness_threads={2 * vcpus}"]


def _on_dataflow(build: Build, chosen: PipelineOptions, check: Callable[[], None]) -> None:
    google = chosen.view_as(GoogleCloudOptions)
    session = requests.Session() if google.no_auth else None
    jobs = dataflow.Jobs(google.project, google.region, google.dataflow_endpoint, session)
    job = jobs.active(google.job_name)
    if job is not None and job.state in dataflow.ENDING:
        dataflow.wait(jobs, job, check)
        job = None
    if job is None:
        job = _submit(build, chosen, jobs)
    else:
        LOG.info("Dataflow job %s is at work already: waiting for it", job.name)
    ended = dataflow.wait(jobs, job, check)
    if ended.state == "FAILED":
        what = f"Dataflow job {ended.name} ({jobs.console(ended)})"
        raise of_beam(RuntimeError(ended.reason or "it failed and gave no reason"), what)
    if ended.state != "DONE":
        raise Refused(f"Dataflow job {ended.name} was {ended.state.lower()} by somebody: {jobs.console(ended)}")


def _submit(build: Build, chosen: PipelineOptions, jobs: dataflow.Jobs) -> dataflow.Job:
    """A new job; or that of somebody who was quicker, under the same name."""
    name = chosen.view_as(GoogleCloudOptions).job_name
    pipeline = beam.Pipeline(options=chosen)
    build(pipeline)
    try:
        return dataflow.Job(pipeline.run().job_id(), name, "PENDING")
    except Exception as error:
        if type(error).__name__ != "DataflowJobAlreadyExistsError" and getattr(error, "code", None) != 409:
            raise _refused(f"Dataflow job {name} could not be submitted", error) from error
    quicker = jobs.active(name)
    if quicker is None:
        raise Unavailable(f"Dataflow job {name} was submitted by another process, and has ended meanwhile")
    return quicker


def _refused(what: str, error: Exception) -> DropfitError:
    """Google's error, also where Beam has put another around it; any other is our own fault, and stays."""
    cause = error if hasattr(error, "code") else error.__cause__ or error.__context__
    if isinstance(cause, Exception) and (hasattr(cause, "code") or errors.is_transient(cause)):
        return of_google(what, cause)
    return of_google(what, error) if errors.is_transient(error) else of_beam(error, what)
