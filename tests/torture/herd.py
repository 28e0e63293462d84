# SPDX-License-Identifier: Apache-2.0
"""The zygote's other end: start runs, wait for them, and read what they told."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Ended:
    """How a run ended.

    Attributes:
        status: its exit status, negative for a signal.
        told: what it told: `begin STEP`, `end STEP`, `call METHOD URL`, `status HTTP`, `died`.
        log: where its output is.
    """

    status: int
    told: tuple[str, ...]
    log: Path

    @property
    def places(self) -> tuple[str, ...]:
        """The steps it was in when it ended, the innermost last."""
        open_ones: list[str] = []
        for line in self.told:
            what, _, place = line.partition(" ")
            if what == "begin":
                open_ones.append(place)
            elif what == "end":
                open_ones.remove(place)
        return tuple(open_ones)

    @property
    def calls(self) -> tuple[str, ...]:
        """The HTTP calls it made to storage and BigQuery."""
        return tuple(line.removeprefix("call ") for line in self.told if line.startswith("call "))


class Herd:
    """One zygote and the runs it forks, several at once.

    Args:
        folder: for logs and traces.
        environ: of every run, less what an order adds.
        abreast: how many runs may be alive at a time.
    """

    def __init__(self, folder: Path, environ: Mapping[str, str], abreast: int = 3) -> None:
        self._folder = folder
        self._environ = dict(environ)
        self._room = threading.Semaphore(abreast)
        self._numbers = itertools.count()
        self._waiting: dict[int, Future[int]] = {}
        self._writing = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)
        self._zygote = subprocess.Popen(
            [sys.executable, str(HERE / "zygote.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=self._environ,
        )
        assert self._zygote.stdout is not None
        assert json.loads(self._zygote.stdout.readline() or b"{}").get("ready"), "the zygote did not start"
        threading.Thread(target=self._listen, name="herd", daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._zygote.stdin is not None
        self._zygote.stdin.close()
        self._zygote.wait(timeout=120)

    def run(
        self, environ: Mapping[str, str], action: str = "job", plan: Mapping[str, Any] | None = None, **more: Any
    ) -> Ended:
        """Run one and wait for its end."""
        number = next(self._numbers)
        log, trace = self._folder / f"{number:04}.log", self._folder / f"{number:04}.trace"
        order = {
            "id": number,
            "environ": {**self._environ, **environ, "DROPFIT_JOB": f"torture-{number:04}"},
            "action": action,
            "plan": dict(plan or {}),
            "log": str(log),
            "trace": str(trace),
            **more,
        }
        with self._room:
            ended: Future[int] = Future()
            self._waiting[number] = ended
            with self._writing:
                assert self._zygote.stdin is not None
                self._zygote.stdin.write(json.dumps(order).encode() + b"\n")
                self._zygote.stdin.flush()
            status = ended.result(timeout=600)
        return Ended(status, tuple(trace.read_text().splitlines()), log)

    def _listen(self) -> None:
        assert self._zygote.stdout is not None
        for line in self._zygote.stdout:
            reply = json.loads(line)
            self._waiting.pop(reply["id"]).set_result(reply["status"])
        for left in self._waiting.values():
            left.set_exception(RuntimeError("the zygote ended"))
