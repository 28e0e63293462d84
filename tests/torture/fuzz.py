# SPDX-License-Identifier: Apache-2.0
"""Whatever is asked, the predict function answers as its OpenAPI document says: no 5xx, no trace, no echo, no growth.

.venv/bin/python tests/torture fuzz --seed 7

Half of the requests are Schemathesis's, made from the document, half are `mutants`, which no schema would make.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from door import Deployment, Door, Reply, deploy, opened
from jsonschema import Draft202012Validator
from mutants import CANARY, Mutant, Mutants
from worlds import Figure, as_csv, quiet_cloud, seasons

from localcloud import flights

MOST_BYTES = 8 * 1024**2
GROWTH = 50 * 1024**2
PATIENT = {"DROPFIT_DEADLINE_MS": "30000"}
"""A problem without back-off or fallback value answers 504 when it must answer at once, as its document says."""
FRAMEWORKS_OWN = ("/robots.txt", "/favicon.ico")
"""functions-framework answers these itself, and TRACE, and paths with a line break or without a slash."""
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
    "response_schema_conformance,unsupported_method,negative_data_rejection"
)
TOO_MANY = '[checks.negative_data_rejection]\nexpected-statuses = ["400", "404", "405", "413", "415"]\n'


class Judge:
    """Holds replies to the document.

    Args:
        document: what GET /openapi.json says.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._paths = document["paths"]
        self._components = document["components"]
        self._compiled: dict[str, Draft202012Validator] = {}
        self.statuses: Counter[int] = Counter()

    def wrong(self, asked: Mutant, reply: Reply) -> str:
        """What is wrong with a reply; nothing when it is as it must be."""
        self.statuses[reply.status] += 1
        if reply.status >= 500:
            return f"{reply.status} {reply.body[:200]!r}"
        if b"Traceback" in reply.body:
            return f"a stack trace: {reply.body[:200]!r}"
        if asked.method == "HEAD":
            return "HEAD with a body" if reply.body else ""
        if reply.status >= 400 and self._echoes(reply):
            return f"what was sent comes back in the error: {reply.body[:300]!r}"
        path = asked.path.partition("?")[0].partition("#")[0]
        odd = "%0a" in path or not path.startswith("/") or (path in FRAMEWORKS_OWN and asked.method == "GET")
        if asked.method == "TRACE" or odd:
            return "" if reply.status in (404, 405) else f"{reply.status} for what the framework answers itself"
        operation = self._paths.get(path, {}).get(asked.method.lower())
        if operation is not None:
            return self._against(operation, reply)
        return self._refused(path in self._paths, reply)

    @staticmethod
    def _echoes(reply: Reply) -> bool:
        """Whether a value of the request stands in an error, also in an escaped form."""
        text = reply.body.decode(errors="replace")
        with contextlib.suppress(ValueError):
            text += json.dumps(json.loads(text), ensure_ascii=False)
        return CANARY.lower() in text.lower()

    def _against(self, operation: Mapping[str, Any], reply: Reply) -> str:
        declared = operation["responses"].get(str(reply.status))
        if declared is None:
            return f"{reply.status} is not in the document"
        content = reply.headers.get("content-type", "").partition(";")[0]
        if content not in declared["content"]:
            return f"{reply.status} as {content!r}, not {[*declared['content']]}"
        if content == "text/plain":
            return ""
        return self._broken(declared["content"][content]["schema"], reply)

    def _refused(self, known: bool, reply: Reply) -> str:
        """A method or a path that the document does not have."""
        if reply.status != (405 if known else 404):
            return f"{reply.status}, not {405 if known else 404}"
        if known and not reply.headers.get("allow"):
            return "405 without Allow"
        if reply.headers.get("content-type") != "application/problem+json":
            return f"no problem+json but {reply.headers.get('content-type')}"
        return self._broken({"$ref": "#/components/schemas/Problem"}, reply)

    def _broken(self, schema: Mapping[str, Any], reply: Reply) -> str:
        name = json.dumps(schema)
        if name not in self._compiled:
            self._compiled[name] = Draft202012Validator({**schema, "components": self._components})
        try:
            body = json.loads(reply.body)
        except ValueError:
            return f"{reply.status} whose body is no JSON: {reply.body[:200]!r}"
        if json.loads(reply.body, parse_constant=str) != body:
            return f"{reply.status} with NaN or infinity: {reply.body[:200]!r}"
        for error in self._compiled[name].iter_errors(body):
            return f"{reply.status} breaks the schema at {error.json_path}: {error.message[:200]}"
        return ""


def send(line: HTTPConnection, mutant: Mutant) -> Reply:
    """A mutant as it is, with nothing put right on its way.

    Raises:
        OSError: when there is no reply.
        HTTPException: when it is none.
    """
    line.putrequest(mutant.method, mutant.path, skip_accept_encoding=True)
    headers = dict(mutant.headers)
    body = mutant.body
    if body is not None:
        headers.setdefault("Content-Type", "application/json")
        headers |= {"Transfer-Encoding": "chunked"} if mutant.pieces else {"Content-Length": str(len(body))}
    for name, value in headers.items():
        line.putheader(name, value.encode("latin-1", "replace"))
    line.endheaders()
    if body is not None:
        for piece in _chunks(body, mutant.pieces):
            line.send(piece)
    reply = line.getresponse()
    payload = reply.read()
    return Reply(reply.status, {name.lower(): value for name, value in reply.getheaders()}, payload)


def _chunks(body: bytes, pieces: tuple[int, ...]) -> Iterator[bytes]:
    if not pieces:
        yield body
        return
    place = 0
    for size in pieces:
        piece, place = body[place : place + size], place + size
        if piece:
            yield b"%x\r\n%s\r\n" % (len(piece), piece)
    yield b"0\r\n\r\n"


def fuzz(
    door: Door,
    judge: Judge,
    mutants: Mutants,
    count: int,
    tick: Callable[[], None] = lambda: None,
    every_large: int = 500,
) -> list[str]:
    """Send so many mutants; what was wrong with the replies."""
    failures, line = [], door.line()
    for number in range(count):
        mutant = mutants.large() if number % every_large == every_large - 1 else mutants.next()
        try:
            found = judge.wrong(mutant, send(line, mutant))
        except ConnectionError as error:
            # A 413 comes before the body was read, and closes the connection: what is still being sent finds it shut.
            early = len(mutant.body or b"") > MOST_BYTES
            found = "" if early else f"no reply: {error!r}"
            line.close()
        except (OSError, HTTPException) as error:
            found = f"no reply: {error!r}"
            line.close()
        if found:
            failures.append(f"{found} to {mutant}")
        tick()
    return failures


def schemathesis(door: Door, examples: int, seed: int, folder: Path) -> tuple[int, list[str]]:
    """Let Schemathesis ask; returns how many replies it judged, and what it found."""
    report = folder / "schemathesis.ndjson"
    config = folder / "schemathesis.toml"
    config.write_text(TOO_MANY)
    command = [
        str(Path(sys.executable).with_name("st")),
        "--config-file",
        str(config),
        "run",
        f"http://127.0.0.1:{door.port}/openapi.json",
    ]
    command += ["--phases", "examples,coverage,fuzzing", "--checks", CHECKS, "--seed", str(seed)]
    command += ["--max-examples", str(examples), "--continue-on-failure", "--no-color", "--no-shrink"]
    command += ["--generation-database", "none", "--warnings", "off", "--suppress-health-check", "all"]
    command += ["--report-ndjson-path", str(report)]
    environ = {**os.environ, "NO_PROXY": "127.0.0.1", "COLUMNS": "200"}
    ended = subprocess.run(command, capture_output=True, text=True, env=environ, cwd=folder, timeout=1800)
    judged = report.read_text().count('"response":{') if report.exists() else 0
    failures = [] if ended.returncode == 0 else [f"Schemathesis: {ended.stdout[-3000:]}{ended.stderr[-500:]}"]
    return judged, failures


def prove(
    door: Door,
    count: int,
    share: float,
    seed: int,
    folder: Path,
    deadlines: bool = True,
    tick: Callable[[], None] = lambda: None,
) -> tuple[dict[str, float], list[str]]:
    """So many requests to one server; the numbers, and what was wrong.

    Args:
        door: the server.
        count: of all requests.
        share: about so many of them are Schemathesis's.
        seed: of both.
        folder: for Schemathesis's report.
        deadlines: whether a request may ask for an answer within a millisecond.
        tick: called after each mutant.
    """
    document = door.ask("/openapi.json").json()
    judge = Judge(document)
    warm = Mutants(document, seed + 1, MOST_BYTES, deadlines)
    failures = fuzz(door, judge, warm, count // 10, tick, every_large=count // 20)
    before = door.memory()
    examples = int(count * share / 3)  # only the two paths that predict take that many
    judged, found = schemathesis(door, examples, seed, folder) if examples else (0, [])
    failures += found
    rest = count - count // 10 - judged
    failures += fuzz(door, judge, Mutants(document, seed, MOST_BYTES, deadlines), rest, tick)
    grown = door.memory() - before
    if grown > GROWTH:
        failures.append(f"the server's memory grew by {grown / 1024**2:.0f} MB")
    if "Traceback" in door.said():
        failures.append(f"a trace in the log: {door.said().partition('Traceback')[2][:1500]}")
    numbers = {"requests": count, "schemathesis": judged, "grown_mb": grown / 1024**2}
    return numbers | {f"status_{status}": many for status, many in sorted(judge.statuses.items())}, failures


def run(count: int, seed: int, tick: Callable[..., None] = lambda: None) -> Figure:
    """So many requests in all, half of them by Schemathesis: three quarters for flights, the rest for penguins."""
    totals: Counter[str] = Counter()
    failures: list[str] = []
    with quiet_cloud() as cloud, tempfile.TemporaryDirectory(prefix="dropfit-torture-") as place:
        folder = Path(place)
        for name, share, deployment in _problems(cloud.env, folder):
            settings = PATIENT if name == "penguins" else {}
            with opened(deployment, folder / name, **settings) as door:
                numbers, found = prove(door, int(count * share), 0.5, seed, folder / name, name == "flights", tick)
            failures += [f"{name}: {failure}" for failure in found]
            grown = max(totals["grown_mb"], numbers["grown_mb"])
            totals.update(numbers)
            totals["grown_mb"] = grown
    told = ", ".join(f"{totals[key]:,} {key[7:]}" for key in sorted(totals) if key.startswith("status_"))
    sentence = (
        f"{totals['requests']:,} requests ({totals['schemathesis']:,} by Schemathesis; the others got {told}): "
        f"{len(failures)} replies of 5xx, against the document or with what was sent; memory grew by "
        f"{totals['grown_mb']:.0f} MB"
    )
    return Figure("fuzz", sentence, not failures, seed, dict(totals), tuple(failures[:50]))


def _problems(cloud_env: Mapping[str, str], folder: Path) -> Iterator[tuple[str, float, Deployment]]:
    january = deploy(cloud_env)
    january.upload(*flights.months(folder / "files", (1,)))
    yield "flights", 0.75, january
    season = folder / "files" / "penguins.csv"
    season.write_bytes(as_csv(next(iter(seasons().values()))))
    birds = deploy(cloud_env, DROPFIT_PROBLEM="penguins:problem")
    birds.upload(season)
    yield "penguins", 0.25, birds
