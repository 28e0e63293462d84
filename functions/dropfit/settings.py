# SPDX-License-Identifier: Apache-2.0
"""One frozen Settings, and the only module that reads the environment.

Every field is the environment variable of its name in capitals after `DROPFIT_`; the project is Google's own
`GOOGLE_CLOUD_PROJECT`. On a laptop `dropfit up` writes them to `.dropfit/env`, and people's commands read that
file when the environment names no landing bucket itself.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, get_args, get_type_hints

import msgspec

from .errors import SettingsError

DEFAULT_PROBLEM = "dropfit.problem:problem"
Count = Annotated[int, msgspec.Meta(ge=1)]
Runner = Literal["DirectRunner", "DaskRunner", "DataflowRunner", "PortableRunner", "FlinkRunner", "SparkRunner"]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What differs between a laptop, a test and a project in the cloud.

    Attributes:
        project: Google Cloud project id.
        landing_bucket: where people upload; the only bucket whose events launch anything.
        data_bucket: receipts, accepted rows, quarantine, runs, leases.
        models_bucket: versions and the pointer; the predict function reads nothing else.
        dataset: BigQuery dataset of the static-serving table.
        problem: `module:attribute` of the Problem in force.
        training: `dynamic` trains on every upload; `static` records uploads until `dropfit train`.
        publish: `auto` serves a version that has passed the gate; `hold` lets it wait for `dropfit approve`.
        retrain_job: `projects/P/locations/L/jobs/J` of the Cloud Run job; empty means a local process.
        jobs_dir: where local job processes write their logs.
        predict_url: base URL of the predict function.
        on_upload_url: URL of the on_upload function.
        lease_seconds: a job that has not renewed its lease for so long is taken for dead.
        sweep_grace_seconds: how long an object may wait for its event before the sweeper registers it.
        keep_versions: so many versions that were served last stay ready for `dropfit rollback`.
        refresh_hours: when rows were accepted after the served table was filled, it is filled anew at this age; 0 is
            never.
        gc_grace_seconds: `dropfit gc` leaves alone what is younger.
        max_attempts: how often an upload whose processing crashed is tried before it is recorded as failed.
        max_bad_share: a file with a larger share of rejected rows (0 to 1) is quarantined whole.
        max_drift_share: a file is quarantined when a column is strange beside the accepted files in a larger share of
            its rows (0 to 1); 1 switches the check off.
        max_file_bytes: a larger upload is quarantined without being read.
        max_unpacked_bytes: a compressed upload that unpacks to more is quarantined.
        max_unpack_ratio: an upload that unpacks to more than 256 MB and so many times its size is quarantined.
        max_field_bytes: an upload with a longer cell is quarantined.
        max_columns: an upload with more columns is quarantined.
        max_request_bytes: a larger request body is refused with 413.
        max_instances: more instances than this in one request are refused with 413.
        pointer_seconds: the predict function looks for a new version at most this often.
        mode: `static` answers from the table alone, `dynamic` from the model alone, `hybrid` from the table's head
            and, for the rest, from the model.
        miss: what answers, under mode=static, a key that the table does not hold: `fallback` (the mean of the nearest
            coarser group, else the policy's fallback value, else 404) or `error` (404 at once).
        deadline_ms: milliseconds that a request may take unless its `X-Deadline-Ms` says otherwise.
        max_deadline_ms: the most that `X-Deadline-Ms` may ask for.
        body_seconds: a request whose body has not arrived after so long is refused with 408.
        ready_seconds: `/ready` says no when the pointer has not been readable for so long.
        snapshot_bytes: the head of the table that is shipped beside the model is at most so large (4 KiB to 1 GiB).
        log_share: the share of requests (0 to 1) that is written to the prediction log.
        log_buffer_bytes: log lines that wait for standard output beyond so much are dropped, and counted.
        log_table: `PROJECT.DATASET.TABLE` where Cloud Logging's entries can be queried; the view `prediction_log`
            reads it. Empty: no view.
        runner: what runs batch predictions; DirectRunner is this machine.
        runner_options: more of Beam's own options, as one would type them; they win over ours.
        batch_workers: so many batches at a time on this machine; 0: as many as there are cores for us.
        batch_mode: `threads` of one process, or a `processes` each; `auto` is threads on this machine and, on
            Dataflow, what the service chooses: a process each core.
        region: of Google Cloud, where Dataflow's jobs and workers run.
        worker_account: email of the service account that Dataflow's workers run as.
        worker_image: container image of Dataflow's workers; it holds this very code, problem.py included.
        worker_machine: machine type of Dataflow's workers.
        max_workers: Dataflow scales up to so many.
        subnetwork: `regions/R/subnetworks/S` of Dataflow's workers, which have no public address. Empty: the
            project's default network.
        universe: which keys the table holds: `seen` in accepted rows, all of the declared `domains`, or the most
            `frequent` ones.
        coverage: under `frequent` so large a share of the rows or requests that are counted is to be answered.
        table_rows: the table holds at most so many keys.
        frequency: what `frequent` counts: `accepted` rows, or the `requests` in the prediction log.
        frequency_days: requests of the last so many days are counted.
    """

    project: str
    landing_bucket: str
    data_bucket: str
    models_bucket: str
    dataset: str = "dropfit"
    problem: str = DEFAULT_PROBLEM
    training: Literal["dynamic", "static"] = "dynamic"
    publish: Literal["auto", "hold"] = "auto"
    retrain_job: str = ""
    jobs_dir: str = ".dropfit/logs"
    predict_url: str = ""
    on_upload_url: str = ""
    lease_seconds: Annotated[float, msgspec.Meta(ge=12)] = 60.0
    sweep_grace_seconds: Annotated[float, msgspec.Meta(ge=0)] = 30.0
    keep_versions: Count = 5
    refresh_hours: Annotated[float, msgspec.Meta(ge=0)] = 24.0
    gc_grace_seconds: Annotated[float, msgspec.Meta(ge=0)] = 7 * 86_400.0
    max_attempts: Count = 3
    max_bad_share: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.5
    max_drift_share: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.5
    max_file_bytes: Count = 2 * 1024**3
    max_unpacked_bytes: Count = 8 * 1024**3
    max_unpack_ratio: Annotated[float, msgspec.Meta(gt=1)] = 100.0
    max_field_bytes: Annotated[int, msgspec.Meta(ge=1, le=64 * 1024**2)] = 256 * 1024
    max_columns: Count = 10_000
    max_request_bytes: Count = 8 * 1024**2
    max_instances: Count = 1000
    pointer_seconds: Annotated[float, msgspec.Meta(ge=0)] = 1.0
    mode: Literal["static", "dynamic", "hybrid"] = "hybrid"
    miss: Literal["fallback", "error"] = "fallback"
    deadline_ms: Annotated[float, msgspec.Meta(gt=0)] = 100.0
    max_deadline_ms: Annotated[float, msgspec.Meta(gt=0)] = 60_000.0
    body_seconds: Annotated[float, msgspec.Meta(gt=0)] = 10.0
    ready_seconds: Annotated[float, msgspec.Meta(gt=0)] = 300.0
    snapshot_bytes: Annotated[int, msgspec.Meta(ge=4096, le=1024**3)] = 64 * 1024**2
    log_share: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0
    log_buffer_bytes: Count = 1024**2
    log_table: str = ""
    runner: Runner = "DirectRunner"
    runner_options: str = ""
    batch_workers: Annotated[int, msgspec.Meta(ge=0)] = 0
    batch_mode: Literal["auto", "threads", "processes"] = "auto"
    region: str = ""
    worker_account: str = ""
    worker_image: str = ""
    worker_machine: str = "n2-standard-4"
    max_workers: Count = 10
    subnetwork: str = ""
    universe: Literal["seen", "domains", "frequent"] = "seen"
    coverage: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.9
    table_rows: Count = 10_000_000
    frequency: Literal["accepted", "requests"] = "accepted"
    frequency_days: Count = 28

    @property
    def runs_elsewhere(self) -> bool:
        """Whether batch predictions run on machines that do not see this one's files."""
        return self.runner not in ("DirectRunner", "DaskRunner")


def variable(field: str) -> str:
    """The environment variable that sets a field."""
    return "GOOGLE_CLOUD_PROJECT" if field == "project" else f"DROPFIT_{field.upper()}"


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Settings from the environment (or from the mapping given).

    Raises:
        SettingsError: naming every variable that is missing, or the one that is malformed.
    """
    source = os.environ if environ is None else environ
    names = {field: variable(field) for field in Settings.__struct_fields__}
    given = {field: source[name] for field, name in names.items() if source.get(name)}
    required = (f.name for f in msgspec.structs.fields(Settings) if f.required)
    missing = [names[field] for field in required if field not in given]
    if missing:
        raise SettingsError(
            f"not set: {', '.join(missing)}. For the laptop's cloud run `dropfit up`; for a deployment, say dev, "
            "`set -a; . .dropfit/dev.env; set +a`, a file that `dropfit deploy dev` writes."
        )
    try:
        return msgspec.convert(given, Settings, strict=False)
    except msgspec.ValidationError as error:
        field = str(error).rpartition("$.")[2].rstrip("`")
        said = f"{names[field]}={given[field]!r}" if field in given else "a DROPFIT_ setting"
        allowed = get_args(get_type_hints(Settings)[field]) if field in given else ()
        choice = f"; one of {', '.join(allowed)}" if allowed and all(isinstance(v, str) for v in allowed) else ""
        raise SettingsError(f"{said} is malformed: {str(error).partition(' - at')[0]}{choice}") from error


def problem_reference() -> str:
    """Which problem is in force, also where nothing else is set yet."""
    return os.environ.get(variable("problem")) or DEFAULT_PROBLEM


def job_name() -> str:
    """What this job is called, under which its log is found: set by the launcher, or by Cloud Run."""
    return os.environ.get("DROPFIT_JOB") or os.environ.get("CLOUD_RUN_EXECUTION") or "by-hand"


def on_cloud_run() -> bool:
    """Whether this process is a job or a service of Cloud Run, which says so in its environment."""
    return bool(os.environ.get("CLOUD_RUN_JOB") or os.environ.get("K_SERVICE"))


def home() -> Path:
    """The local cloud's folder: DROPFIT_HOME, or `.dropfit` beside this clone's pyproject.toml."""
    return Path(os.environ.get("DROPFIT_HOME") or Path(__file__).parents[2] / ".dropfit").absolute()


def names_a_deployment() -> bool:
    """Whether the environment itself says where everything is, and means another place than this local cloud."""
    ours = os.environ.get("DROPFIT_JOBS_DIR") == str(home() / "logs")  # somebody sourced its env file
    return bool(os.environ.get("DROPFIT_LANDING_BUCKET")) and not ours


def load_for_person() -> Settings:
    """Settings for a command a person typed: the environment, or what the running local cloud wrote.

    The file is read only when the environment names no landing bucket, and then as a whole, so that a command is
    never half local and half in the cloud.

    Raises:
        SettingsError: when neither names the buckets.
    """
    if not os.environ.get("DROPFIT_LANDING_BUCKET") and (home() / "env").exists():
        from dotenv import load_dotenv

        load_dotenv(home() / "env", override=True)
    return load()


def wait_without_spinning() -> None:
    """Let OpenMP's threads sleep while they wait, unless somebody says otherwise; before scikit-learn is imported."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def let_children_import(places: Sequence[str]) -> None:
    """Python processes started from here on find the same modules as this one, and nothing in their own folder.

    Args:
        places: folders, as in `sys.path`.
    """
    os.environ["PYTHONPATH"] = os.pathsep.join(place for place in places if place)
    os.environ["PYTHONSAFEPATH"] = "1"
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # without bytecode each compiles its imports again


def speaks_to_emulators() -> bool:
    """Whether Google's clients, started here, would speak to a local cloud: somebody sourced its env file."""
    return any(os.environ.get(name) for name in ("STORAGE_EMULATOR_HOST", "BIGQUERY_EMULATOR_HOST"))


def credentials_file() -> str:
    """The file that GOOGLE_APPLICATION_CREDENTIALS names, which wins over everybody's login; empty for none."""
    return os.environ.get("GOOGLE_APPLICATION_CREDENTIALS", "")


def terraform() -> str:
    """The Terraform that is run: TERRAFORM, or the one on the PATH."""
    return os.environ.get("TERRAFORM") or "terraform"


def for_child(without: tuple[str, ...] = (), **more: str) -> dict[str, str]:
    """The environment of a program that is started: this process's own, and more.

    Args:
        without: variables that begin so are kept from it.
        more: set in any case.
    """
    return {name: value for name, value in os.environ.items() if not name.startswith(without)} | more
