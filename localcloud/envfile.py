# SPDX-License-Identifier: Apache-2.0
"""The dotenv file that lets any program talk to the local cloud."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from dropfit.errors import LocalCloudError
from dropfit.settings import Settings, variable

from . import log_entries
from .home import Home

PROJECT = "dropfit-local"
DATASET = "dropfit"
BUCKETS = {"landing": "dropfit-landing", "data": "dropfit-data", "models": "dropfit-models"}


def environment(home: Home, ports: Mapping[str, int], environ: Mapping[str, str]) -> dict[str, str]:
    """What the file says: where the local cloud is, and the settings `up` itself was given.

    Args:
        home: the local cloud's folder.
        ports: name -> port.
        environ: the environment of `up`.
    """
    ours = {
        "STORAGE_EMULATOR_HOST": _url(ports["storage"]),
        "BIGQUERY_EMULATOR_HOST": _url(ports["bigquery"]),
        variable("project"): PROJECT,
        **{variable(f"{role}_bucket"): bucket for role, bucket in BUCKETS.items()},
        variable("dataset"): DATASET,
        variable("predict_url"): _url(ports["predict"]),
        variable("on_upload_url"): _url(ports["on_upload"]),
        variable("jobs_dir"): str(home.logs),
        variable("log_table"): f"{PROJECT}.{log_entries.DATASET}.{log_entries.TABLE}",
        "GOOGLE_APPLICATION_CREDENTIALS": str(home.credentials),
    }
    # A job in the cloud launched by a laptop's upload would surprise everybody: locally, jobs are processes.
    passed = {variable(field.name) for field in msgspec.structs.fields(Settings)} - {variable("retrain_job")}
    return ours | {name: environ[name] for name in sorted(passed - set(ours)) if environ.get(name)}


def render(values: Mapping[str, str]) -> str:
    """The file's text, which both `sh` and python-dotenv read as the same values.

    Raises:
        LocalCloudError: for a value that the two cannot be made to agree on.
    """
    lines = ["# Written by `dropfit up`, removed by `dropfit down`. Use: set -a; . .dropfit/env; set +a"]
    lines += [f"{name}={quoted(name, value)}" for name, value in values.items()]
    return "\n".join(lines) + "\n"


def quoted(name: str, value: str) -> str:
    """A value that both `sh` and python-dotenv read as it is.

    Raises:
        LocalCloudError: when the two cannot be made to agree on it.
    """
    # sh takes everything between single quotes as it stands; python-dotenv unescapes \' and \\ there, and
    # replaces ${...} in any quotes. Between double quotes both unescape \" and \\, but sh expands $ and `.
    if not any(mark in value for mark in ("'", "\\", "${")):
        return f"'{value}'"
    if not any(mark in value for mark in ("$", "`")):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    raise LocalCloudError(
        f"{name}={value} cannot be written so that both sh and python-dotenv read it: "
        "avoid $ and ` together with quotes or backslashes (a folder's name, perhaps)."
    )


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}"
