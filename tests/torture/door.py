# SPDX-License-Identifier: Apache-2.0
"""The predict function as it runs: predict.py in a web server of its own, and a deployment for it to serve."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import msgspec
import psutil
from places import search

from dropfit import settings, storage
from dropfit.contract import load_problem
from dropfit.receipts import Receipts, UploadedObject
from dropfit.registry import Registry
from dropfit.settings import Settings
from localcloud import services
from localcloud.ports import choose_ports
from localcloud.supervisor import FUNCTIONS

UNIT = Path(__file__).parents[1] / "unit"
PROBLEMS = Path(__file__).parents[1] / "problems"


@dataclass(frozen=True)
class Deployment:
    """Buckets and a dataset of its own in a local cloud.

    Attributes:
        environ: what names them to a process.
        settings: the same, parsed.
        registry: of its models bucket.
    """

    environ: Mapping[str, str]
    settings: Settings
    registry: Registry

    def upload(self, *files: Path) -> list[str]:
        """Upload and train in this process, one file after the other; the versions that were promoted."""
        from beam_pipelines import retrain
        from beam_pipelines.intake import Services

        buckets, versions = storage.connect(self.settings), []
        receipts = Receipts(buckets.data)
        for file in files:
            stored = buckets.landing.put(file.name, file.read_bytes())
            receipts.register(UploadedObject(stored.bucket, stored.name, stored.generation))
            wired = Services(self.settings, load_problem(self.settings.problem), buckets, receipts, self.registry)
            retrain.work(wired, "torture")
            pointer = self.registry.current().pointer
            assert pointer is not None, [(r.state, r.reason) for r in receipts.all()]
            versions.append(pointer.version)
        assert len(set(versions)) == len(files), f"not every file made a version: {versions}"
        return versions


def deploy(cloud_env: Mapping[str, str], **more: str) -> Deployment:
    """A fresh deployment in a cloud that this process talks to."""
    from google.cloud import bigquery
    from google.cloud import storage as official

    unique = secrets.token_hex(5)
    given = {f"DROPFIT_{role.upper()}_BUCKET": f"{role}-{unique}" for role in ("landing", "data", "models")}
    environ = {**cloud_env, **given, "DROPFIT_DATASET": f"set_{unique}", **more}
    parsed = settings.load(environ)
    client = official.Client(project=parsed.project)
    for bucket in given.values():
        client.create_bucket(bucket)
    with contextlib.suppress(Exception):  # a cloud without BigQuery is enough for what only serves
        bigquery.Client(project=parsed.project).create_dataset(parsed.dataset, timeout=60)
    return Deployment(environ, parsed, Registry(storage.connect(parsed).models))


@dataclass
class Reply:
    """What came back.

    Attributes:
        status: HTTP status.
        headers: by lower-case name.
        body: its bytes.
        seconds: from the first byte sent to the last byte read.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float = 0.0

    def json(self) -> Any:
        """The body, decoded."""
        return msgspec.json.decode(self.body)


@dataclass
class Door:
    """A running server.

    Attributes:
        port: on 127.0.0.1.
        process: gunicorn's first process.
        log: what it prints.
        folder: its temporary folder.
    """

    port: int
    process: subprocess.Popen[bytes]
    log: Path
    folder: Path
    _line: HTTPConnection | None = field(default=None, repr=False)
    _used: float = 0.0

    def ask(
        self, path: str = "/predict", body: Any = None, method: str = "", headers: Mapping[str, str] | None = None
    ) -> Reply:
        """One request on this door's own connection; a body that is no bytes is sent as JSON."""
        if self._line is None or time.monotonic() - self._used > 0.5:  # the server ends a silent one after 2 s
            self._line = self.line()
        self._used = time.monotonic()
        payload = body if body is None or isinstance(body, bytes) else msgspec.json.encode(body)
        return asked(self._line, method or ("GET" if body is None else "POST"), path, payload, headers or {})

    def line(self, seconds: float = 120.0) -> HTTPConnection:
        """A connection of its own, for a thread."""
        return HTTPConnection("127.0.0.1", self.port, timeout=seconds)

    def _tree(self) -> list[psutil.Process]:
        first = psutil.Process(self.process.pid)
        return [first, *first.children(recursive=True)]

    def memory(self) -> int:
        """Bytes that the server holds: what is resident, of all its processes."""
        return sum(process.memory_info().rss for process in self._tree())

    def descriptors(self) -> int:
        """Open files and sockets of all its processes."""
        return sum(process.num_fds() for process in self._tree())

    def files(self) -> list[str]:
        """What lies in its temporary folder."""
        return [str(path.relative_to(self.folder)) for path in self.folder.rglob("*")]

    def said(self) -> str:
        """Its log."""
        return self.log.read_text(errors="replace")


def asked(
    line: HTTPConnection, method: str, path: str, body: bytes | None, headers: Mapping[str, str] | None = None
) -> Reply:
    """One request on a connection that is kept."""
    begun = time.perf_counter()
    usual = {"Content-Type": "application/json"} if body is not None else {}
    try:
        line.request(method, path, body, {**usual, **(headers or {})})
        reply = line.getresponse()
        payload = reply.read()
    except BaseException:
        line.close()
        raise
    told = {name.lower(): value for name, value in reply.getheaders()}
    return Reply(reply.status, told, payload, time.perf_counter() - begun)


@contextlib.contextmanager
def opened(deployment: Deployment, folder: Path, **more: str) -> Iterator[Door]:
    """Serve a deployment, as the local cloud would start it, until the block ends.

    Args:
        deployment: what is served.
        folder: of its log and its temporary files.
        more: settings of this server alone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    holds = contextlib.ExitStack()
    port = choose_ports({}, {}, ["predict"], holds)["predict"]
    service = services._function("predict", "http", FUNCTIONS, port)
    known = {**deployment.environ, "PYTHONPATH": search(PROBLEMS, UNIT), "TMPDIR": str(temporary)}
    environ = services.child_environment(os.environ, {**known, **service.environ, **more})
    log = folder / "predict.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            service.command, env=environ, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    door = Door(port, process, log, temporary)
    try:
        _wait(door)
        yield door
    finally:
        holds.close()
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(door: Door) -> None:
    deadline = time.monotonic() + 300
    while True:
        with contextlib.suppress(OSError):
            if door.ask("/ready").status == 200:
                return
        assert door.process.poll() is None, door.said()[-2000:]
        assert time.monotonic() < deadline, f"not ready: {door.ask('/ready').body!r} {door.said()[-2000:]}"
        time.sleep(0.05)
