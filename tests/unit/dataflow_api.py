# SPDX-License-Identifier: Apache-2.0
"""A small Dataflow on 127.0.0.1: jobs by name, one active of each, their states and messages as a test tells them."""

from __future__ import annotations

import json
import threading
import urllib.parse
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ENDED = ("JOB_STATE_DONE", "JOB_STATE_FAILED", "JOB_STATE_CANCELLED")


class FakeDataflow:
    """Serves `v1b3/projects/P/locations/R/jobs`, as JSON over HTTP, also to Google's own client.

    Args:
        project: whose jobs, and
        region: where; others do not exist.

    Attributes:
        jobs: what the service knows, oldest first.
        submitted: bodies of the jobs that were created.
        asked: every request: method, path, query.
        play: called before a job is told about; advances it.
        faults: statuses that the next requests are answered with instead; 0 breaks the connection.
        on_create: called with a job's body before it is created.
    """

    def __init__(self, project: str = "p-project", region: str = "r") -> None:
        self.project, self.region = project, region
        self.jobs: list[dict[str, Any]] = []
        self.log: dict[str, list[dict[str, str]]] = {}
        self.submitted: list[dict[str, Any]] = []
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.play: Callable[[dict[str, Any]], None] = lambda job: None
        self.on_create: Callable[[dict[str, Any]], None] = lambda body: None
        self.faults: list[int] = []
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 65_536  # headers and body in one packet, or the client waits 40 ms for the second

            def log_message(self, *_: Any) -> None:
                pass

            def do_GET(self) -> None:
                self.answer("GET", {})

            def do_POST(self) -> None:
                self.answer("POST", json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def answer(self, method: str, body: dict[str, Any]) -> None:
                url = urllib.parse.urlsplit(self.path)
                status, told = fake.reply(method, url.path, dict(urllib.parse.parse_qsl(url.query)), body)
                if status == 0:
                    self.close_connection = True
                    return
                payload = json.dumps(told).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://localhost:{self._server.server_port}"  # Beam takes `localhost` for: no TLS, REST
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> FakeDataflow:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def add(self, name: str, state: str = "JOB_STATE_RUNNING", request: str = "") -> dict[str, Any]:
        """A job that is there."""
        job = {"id": f"id-{len(self.jobs)}", "name": name, "currentState": state, "clientRequestId": request}
        self.jobs.append(job)
        return job

    def say(self, job: dict[str, Any], text: str, importance: str = "JOB_MESSAGE_BASIC") -> None:
        """A line in a job's log."""
        log = self.log.setdefault(job["id"], [])
        time = f"2026-11-24T10:00:{len(log):02d}Z"
        log.append({"id": f"m{len(log)}", "time": time, "messageText": text, "messageImportance": importance})

    def active(self, name: str) -> dict[str, Any] | None:
        return next((j for j in self.jobs if j["name"] == name and j["currentState"] not in ENDED), None)

    def reply(
        self, method: str, path: str, query: dict[str, str], body: dict[str, Any]
    ) -> tuple[int, dict[str, Any]]:
        self.asked.append((method, path, query))
        if self.faults:
            status = self.faults.pop(0)
            return status, {"error": {"code": status, "message": "as the test wants it"}}
        base = f"/v1b3/projects/{self.project}/locations/{self.region}/jobs"
        rest = path.removeprefix(base).strip("/").split("/")
        if not path.startswith(base):
            return 404, {"error": {"code": 404, "message": f"no {path}"}}
        if method == "POST":
            return 200, self._create(body)
        if rest == [""]:
            return 200, self._page(query)
        job = next((j for j in self.jobs if j["id"] == rest[0]), None)
        if job is None:
            return 404, {"error": {"code": 404, "message": f"no job {rest[0]}"}}
        if rest[1:] == ["messages"]:
            since = query.get("startTime", "")
            return 200, {"jobMessages": [m for m in self.log.get(job["id"], []) if m["time"] >= since]}
        self.play(job)
        return 200, job

    def _create(self, body: dict[str, Any]) -> dict[str, Any]:
        """As the API is documented: a name that an active job has returns that job."""
        self.on_create(body)
        there = self.active(body["name"])
        if there is not None:
            return there
        self.submitted.append(body)
        return self.add(body["name"], "JOB_STATE_PENDING", body.get("clientRequestId", ""))

    def _page(self, query: dict[str, str]) -> dict[str, Any]:
        """One job a page, so that whoever does not turn pages misses jobs; `name` is not heeded."""
        found = [j for j in self.jobs if query.get("filter") != "ACTIVE" or j["currentState"] not in ENDED]
        at = int(query.get("pageToken") or 0)
        more = {"nextPageToken": str(at + 1)} if at + 1 < len(found) else {}
        return {"jobs": found[at : at + 1]} | more
