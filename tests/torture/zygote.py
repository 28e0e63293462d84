# SPDX-License-Identifier: Apache-2.0
"""Forks real runs that can be killed at a moment of our choosing: `python tests/torture/zygote.py`.

It has imported what a job imports, but holds no client and no thread, so that a run costs a fork and not eight
seconds of imports. It reads one order a line and answers, when the run has ended, with one line.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).parents[2]
PRELOADED = (
    "beam_pipelines.batch_predict",
    "beam_pipelines.retrain",
    "beam_pipelines.steps",
    "apache_beam.runners.direct.direct_runner",
    "apache_beam.io.gcp.gcsio",
    "dropfit.export",
    "dropfit.ingest",
    "dropfit.training",
    "dropfit.version",
    "dropfit.warehouse",
    "functions_framework",
    "google.oauth2.service_account",
    "onnx",
    "penguins",
    "skl2onnx",
    "sklearn.impute",
    "sklearn.linear_model",
    "sklearn.metrics",
    "sklearn.pipeline",
    "sklearn.preprocessing",
)
DIED = 77
"""Exit status of a run that ended itself where its plan said."""


class Watch:
    """Counts the HTTP calls of a run, tells where it is, and ends it where the plan says.

    A plan is a mapping: `call` n (0: the first) ends the run at the n-th call to storage or BigQuery, of the whole
    run or, with `step`, since that step began; `when` is before or after it took effect; `how` is exit (os._exit),
    kill (SIGKILL) or raise (the client's own error once its retries are exhausted). Or `enters`: SIGKILL as the run
    enters that step.
    """

    def __init__(self, pipe: int, plan: dict[str, Any], hosts: tuple[str, ...]) -> None:
        self._pipe = pipe
        self._plan = plan
        self._hosts = hosts
        self._place = ""
        self._calls = 0

    def tell(self, line: str) -> None:
        """One line for the one who watches."""
        os.write(self._pipe, f"{line}\n".encode())

    @contextlib.contextmanager
    def inside(self, place: str) -> Iterator[None]:
        """The run is in a step."""
        self.tell(f"begin {place}")
        if place == self._plan.get("step"):
            self._place, self._calls = place, 0
        if place == self._plan.get("enters"):
            self.tell("died")
            os.kill(os.getpid(), signal.SIGKILL)
        try:
            yield
        finally:
            if place == self._place:
                self._place = ""
            self.tell(f"end {place}")

    def send(self, real: Callable[..., Any], session: Any, request: Any, **named: Any) -> Any:
        """In place of requests.Session.send, through which both official clients speak."""
        if not request.url.startswith(self._hosts):
            return real(session, request, **named)
        number, self._calls = self._calls, self._calls + 1
        self.tell(f"call {request.method} {request.url.split('?')[0]}")
        self._perhaps_die(number, "before")
        reply = real(session, request, **named)
        self._perhaps_die(number, "after")
        return reply

    def _perhaps_die(self, number: int, when: str) -> None:
        plan = self._plan
        if plan.get("call") != number or plan["when"] != when or plan.get("step", "") != self._place:
            return
        self.tell("died")
        if plan["how"] == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if plan["how"] == "exit":
            os._exit(DIED)
        from google.api_core.exceptions import RetryError

        raise RetryError("the deadline of the retries was exceeded (injected)", cause=ConnectionError())


def install(watch: Watch) -> None:
    """Put the watch around what a run does."""
    import requests

    from beam_pipelines import steps
    from dropfit import runs
    from dropfit.registry import Registry
    from dropfit.warehouse import Warehouse

    send, step, judge = requests.Session.send, runs.RunLog.step, steps.judge
    promote, point_view = Registry.promote, Warehouse.point_view
    gap = contextlib.ExitStack()

    @contextlib.contextmanager
    def watched_step(log: Any, name: str) -> Iterator[Any]:
        with step(log, name) as detail, watch.inside(name):
            yield detail

    def watched_judge(*given: Any, **named: Any) -> Any:
        with watch.inside("judge"):
            return judge(*given, **named)

    def watched_promote(*given: Any, **named: Any) -> Any:
        pointer = promote(*given, **named)
        gap.enter_context(watch.inside("gap"))  # between the pointer and the view
        return pointer

    def watched_point_view(*given: Any, **named: Any) -> Any:
        point_view(*given, **named)
        gap.close()

    requests.Session.send = lambda session, request, **named: watch.send(  # type: ignore[method-assign]
        send, session, request, **named
    )
    runs.RunLog.step = watched_step  # type: ignore[method-assign,assignment]
    steps.judge = watched_judge
    Registry.promote = watched_promote  # type: ignore[method-assign]
    Warehouse.point_view = watched_point_view  # type: ignore[method-assign]


def job(order: dict[str, Any], watch: Watch) -> int:
    """The retraining job."""
    from beam_pipelines import retrain

    return retrain.main()


def event(order: dict[str, Any], watch: Watch) -> int:
    """The function on_upload, through the framework's door; its launch is told and then lost."""
    import functions_framework

    from dropfit import launch

    class Lost:
        def launch(self) -> str:
            with watch.inside("launch"):
                if order["plan"].get("step") == "launch" and order["plan"].get("call") is None:
                    watch.tell("died")
                    os.kill(os.getpid(), signal.SIGKILL)
            return "lost"

    launch.launcher = lambda settings: Lost()  # type: ignore[assignment]
    app = functions_framework.create_app("on_upload", str(ROOT / "functions" / "on_upload.py"), "cloudevent")
    status = app.test_client().post("/", data=json.dumps(order["body"]), headers=order["headers"]).status_code
    watch.tell(f"status {status}")
    return 0 if status // 100 == 2 else 1


def perform(order: dict[str, Any], pipe: int) -> NoReturn:
    """Be the run: this environment, this log, this plan."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(order["environ"])
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    code = 70
    try:
        hosts = (os.environ["STORAGE_EMULATOR_HOST"], os.environ["BIGQUERY_EMULATOR_HOST"])
        watch = Watch(pipe, order["plan"], hosts)
        install(watch)
        code = {"job": job, "event": event}[order["action"]](order, watch)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        traceback.print_exc()
    sys.stderr.flush()
    os._exit(code)


def supervise(order: dict[str, Any]) -> dict[str, Any]:
    """Fork the run, follow what it tells, kill it where the order says; returns how it ended.

    `kill` in an order is {"after": line, "delay": seconds, "until": line}: SIGKILL that long after the first line was
    told, unless the second one came before.
    """
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        perform(order, write)
    os.close(write)
    kill, told, rest, due = order.get("kill"), [], b"", None
    while True:
        if not select.select([read], [], [], None if due is None else max(0.0, due - time.monotonic()))[0]:
            os.kill(pid, signal.SIGKILL)
            due = None
            continue
        chunk = os.read(read, 65536)
        if not chunk:
            break
        *lines, rest = (rest + chunk).split(b"\n")
        for line in (raw.decode() for raw in lines):
            told.append(line)
            if kill and line == kill["after"]:
                due = time.monotonic() + kill["delay"]
            elif kill and line == kill["until"]:
                due = None
    _, status = os.waitpid(pid, 0)
    Path(order["trace"]).write_text("\n".join(told))
    return {"id": order["id"], "status": os.waitstatus_to_exitcode(status)}


def main() -> None:
    """Read orders until the input ends."""
    for name in PRELOADED:
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    os.write(1, b'{"ready": true}\n')
    for line in sys.stdin:
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            reply = supervise(json.loads(line))
            os.write(1, json.dumps(reply).encode() + b"\n")
            os._exit(0)


if __name__ == "__main__":
    main()
