# SPDX-License-Identifier: Apache-2.0
"""The servers: how each is started, with one worker, on this machine alone, and how it is ended again."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from localcloud import processes

ROOT = Path(__file__).parents[2]
RIVALS = Path(__file__).with_name("rivals")
BENCH_BIN = ROOT / ".venv-bench/bin"
START_SECONDS = 90.0


class ServerError(RuntimeError):
    """A server did not start, or answers what it should not."""


@dataclass(frozen=True)
class Spec:
    """A server as it is started.

    Attributes:
        name: what the table calls it.
        command: program and arguments; PORT stands for its port.
        environ: variables of its own.
        path: where predictions are asked for.
        form: of its requests and replies: `instances`, `v2` (MLServer's) or `echo`.
        mix: which requests it is sent: `hits` or `mix`.
        meant: for Dropfit, which share of its answers should come from the table; None for the others.
        sklearn: whether scikit-learn answers.
        needs: a file without which it is left out.
    """

    name: str
    command: tuple[str, ...]
    environ: Mapping[str, str] = field(default_factory=dict)
    path: str = "/predict"
    form: str = "instances"
    mix: str = "hits"
    meant: float | None = None
    sklearn: bool = False
    needs: Path | None = None


def functions_framework(source: Path, target: str) -> tuple[str, ...]:
    """As Cloud Run starts it."""
    door = (sys.executable, "-P", "-m", "functions_framework", "--source", str(source), "--target", target)
    return (*door, "--signature-type", "http", "--host", "127.0.0.1", "--port", "PORT")


def fastapi(module: str) -> tuple[str, ...]:
    """Uvicorn with uvloop and httptools, and without its access log."""
    app = f"benchmarks.serving.rivals.{module}:app"
    loops = ("--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning")
    return (sys.executable, "-m", "uvicorn", app, "--host", "127.0.0.1", "--port", "PORT", "--workers", "1", *loops)


DROPFIT = functions_framework(ROOT / "functions/predict.py", "predict")
MODEL, TABLE, HYBRID = "Dropfit, model", "Dropfit, table hit", "Dropfit, hybrid 90/10"
ECHO, BY_HAND = "functions-framework echo", "FastAPI + onnxruntime"
PANDAS, NUMPY = "FastAPI + scikit-learn", "FastAPI + scikit-learn, numpy"
SPECS = (
    Spec(ECHO, functions_framework(RIVALS / "echo.py", "echo"), form="echo"),
    Spec(MODEL, DROPFIT, {"DROPFIT_MODE": "dynamic"}, meant=0.0),
    Spec(TABLE, DROPFIT, {"DROPFIT_MODE": "static"}, meant=1.0),
    Spec(HYBRID, DROPFIT, {"DROPFIT_MODE": "hybrid"}, mix="mix", meant=0.9),
    Spec(BY_HAND, fastapi("fastapi_onnx")),
    Spec(PANDAS, fastapi("fastapi_sklearn"), sklearn=True),
    Spec(NUMPY, fastapi("fastapi_sklearn_numpy"), sklearn=True),
    Spec(
        "MLServer, scikit-learn",
        (str(BENCH_BIN / "mlserver"), "start", "FOLDER"),
        {"MLSERVER_HTTP_PORT": "PORT", "MLSERVER_GRPC_PORT": "PORT2", "MLSERVER_METRICS_PORT": "PORT3"},
        path="/v2/models/flights/infer",
        form="v2",
        sklearn=True,
        needs=BENCH_BIN / "mlserver",
    ),
    Spec(
        "BentoML, scikit-learn",
        (
            *(str(BENCH_BIN / "bentoml"), "serve", "benchmarks.serving.rivals.bento:Flights"),
            *("--host", "127.0.0.1", "--port", "PORT"),
        ),
        {"BENCH_FOLDER": "FOLDER", "BENTOML_HOME": "FOLDER/bentoml", "BENTOML_DO_NOT_TRACK": "True"},
        sklearn=True,
        needs=BENCH_BIN / "bentoml",
    ),
)
BY_NAME = {spec.name: spec for spec in SPECS}


class Server:
    """A running server.

    Its standard output goes through a pipe to `wc -l`, which drains it and counts the log's lines.

    Args:
        spec: what to start.
        environ: the local cloud's environment.
        folder: for its logs, and where MLServer and BentoML find the model.
        more: variables of this start alone.
    """

    def __init__(self, spec: Spec, environ: Mapping[str, str], folder: Path, more: Mapping[str, str] = {}) -> None:
        self.spec = spec
        self.ports = free_ports(3)
        self.url = f"http://127.0.0.1:{self.ports[0]}{spec.path}"
        self.errors = folder / f"{''.join(filter(str.isalnum, spec.name))}-{self.ports[0]}.log"
        told = {name: self._filled(value, folder) for name, value in spec.environ.items()}
        command = [self._filled(word, folder) for word in spec.command]
        self.began = time.perf_counter()
        with open(self.errors, "wb") as errors:
            self._process = subprocess.Popen(
                command,
                env={**environ, **told, **more, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )
        self._drain = subprocess.Popen(
            ["/usr/bin/env", "wc", "-l"], stdin=self._process.stdout, stdout=subprocess.PIPE, start_new_session=True
        )
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _filled(self, word: str, folder: Path) -> str:
        for number, name in ((2, "PORT3"), (1, "PORT2"), (0, "PORT")):
            word = str(self.ports[number]) if word == name else word
        return word.replace("FOLDER", str(folder))

    @property
    def pid(self) -> int:
        """The tree's first process."""
        return self._process.pid

    def await_answer(self, body: bytes) -> float:
        """Ask until it predicts; returns seconds from its start.

        Raises:
            ServerError: when it ends, or takes more than 90 s.
        """
        while (passed := time.perf_counter() - self.began) < START_SECONDS:
            if self._process.poll() is not None:
                raise ServerError(f"{self.spec.name} ended with {self._process.returncode}:\n{self.last_words()}")
            with contextlib.suppress(OSError, http.client.HTTPException):
                status, _ = self.ask(body)
                if status == 200:
                    return time.perf_counter() - self.began
            time.sleep(0.005)
        raise ServerError(f"{self.spec.name} did not predict within {passed:.0f} s:\n{self.last_words()}")

    def ask(self, body: bytes) -> tuple[int, bytes]:
        """One prediction over a connection of its own; status and body."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.ports[0], timeout=30)) as connection:
            return post(connection, self.spec.path, body)

    def model(self) -> dict[str, Any]:
        """Dropfit's model card."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.ports[0], timeout=30)) as connection:
            connection.request("GET", "/model")
            card: dict[str, Any] = json.loads(connection.getresponse().read())
            return card

    def last_words(self) -> str:
        """The end of what it wrote to standard error."""
        return self.errors.read_text(errors="replace")[-1500:]

    def end(self) -> int:
        """End it and all that it started; returns how many lines it logged."""
        with contextlib.suppress(psutil.Error):
            processes.end([psutil.Process(self.pid)], 8.0)
        self._process.wait()
        lines, _ = self._drain.communicate(timeout=10)
        return int(lines or 0)


def post(connection: http.client.HTTPConnection, path: str, body: bytes) -> tuple[int, bytes]:
    """Status and body of a POST."""
    connection.request("POST", path, body, {"Content-Type": "application/json"})
    reply = connection.getresponse()
    return reply.status, reply.read()


def free_ports(number: int) -> list[int]:
    """Ports that nobody listens on now."""
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in held]


@contextlib.contextmanager
def running(
    spec: Spec, environ: Mapping[str, str], folder: Path, more: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """A server for as long as the block lasts."""
    server = Server(spec, environ, folder, more or {})
    try:
        yield server
    finally:
        server.end()


def base_environment(cloud: Mapping[str, str]) -> dict[str, str]:
    """What every server inherits: this environment with the local cloud's addresses, and with bytecode."""
    dropped = ("PYTHONDONTWRITEBYTECODE", "GUNICORN_CMD_ARGS", "WORKERS", "THREADS", "DEBUG", "PORT", "HOST")
    kept = {n: v for n, v in os.environ.items() if n not in dropped and not n.startswith("DROPFIT_")}
    return kept | dict(cloud)
