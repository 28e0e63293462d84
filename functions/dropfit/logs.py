# SPDX-License-Identifier: Apache-2.0
"""The logs of a deployment: files on a laptop, Cloud Logging in the cloud."""

from __future__ import annotations

import re
from collections import deque
from pathlib import Path
from typing import Any, NamedTuple

from .errors import NotFound
from .rest import Api
from .settings import Settings

SCOPE = "https://www.googleapis.com/auth/logging.read"
ENTRIES = "https://logging.googleapis.com/v2/entries:list"
NAMES = ("retrain", "sweep", "on_upload", "predict")
NAME = re.compile(r"[\w.-]{1,100}\Z")


class LogFile(NamedTuple):
    """A log of the local cloud.

    Attributes:
        name: what `dropfit logs NAME` takes.
        path: the file.
        size: bytes.
        changed: seconds since 1970.
    """

    name: str
    path: Path
    size: int
    changed: float


def files(folder: Path) -> list[LogFile]:
    """The logs in a folder, the one written last at the end."""
    found = [(p, p.stat()) for p in folder.glob("*.log")] if folder.is_dir() else []
    return sorted((LogFile(p.stem, p, s.st_size, s.st_mtime) for p, s in found), key=lambda f: f.changed)


def tail(folder: Path, name: str, lines: int) -> tuple[LogFile, list[str]]:
    """The last lines of the newest log whose name begins so.

    Raises:
        NotFound: when there is none, naming those there are.
    """
    known = files(folder)
    matching = [f for f in known if f.name == name] or [f for f in known if f.name.startswith(name)]
    if not matching:
        raise NotFound(f"no log begins with {name!r}; there are: {', '.join(f.name for f in known) or 'none'}")
    with matching[-1].path.open(errors="replace") as stream:
        return matching[-1], [line.rstrip("\n") for line in deque(stream, maxlen=lines)]


def entries(settings: Settings, name: str, lines: int, session: Any = None) -> list[str]:
    """The newest log entries of the job or a function in the cloud, oldest first.

    Args:
        settings: the project, and the job's name.
        name: retrain, sweep, on_upload or predict.
        lines: at most so many.
        session: an authorised requests session; made from the default credentials when not given.

    Raises:
        NotFound: when the name is none of these.
        Unavailable: when Cloud Logging does not answer.
    """
    body = {
        "resourceNames": [f"projects/{settings.project}"],
        "filter": _filter(settings, name),
        "orderBy": "timestamp desc",
        "pageSize": min(lines, 1000),  # the API takes no more
    }
    found = Api(SCOPE, session).post(ENTRIES, body).get("entries", [])
    return [_line(entry) for entry in reversed(found)]


def _filter(settings: Settings, name: str) -> str:
    if name not in NAMES:
        raise NotFound(f"no logs of {name!r}; there are: {', '.join(NAMES)}")
    if name in ("retrain", "sweep"):
        job = settings.retrain_job.rsplit("/", 1)[-1]
        job = job if name == "retrain" else f"{job.removesuffix('-retrain')}-sweep"
        return f'resource.type="cloud_run_job" AND resource.labels.job_name="{job if NAME.match(job) else ""}"'
    service = name.replace("_", "-")
    return f'resource.type="cloud_run_revision" AND resource.labels.service_name:"{service}"'


def _line(entry: dict[str, Any]) -> str:
    structured = entry.get("jsonPayload", {})
    payload = entry.get("textPayload") or structured.get("message") or structured or entry.get("httpRequest") or ""
    return f"{entry.get('timestamp', '')} {entry.get('severity', '')} {payload}"
