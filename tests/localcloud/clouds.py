# SPDX-License-Identifier: Apache-2.0
"""What the tests of the local cloud share: a recorder in the function's place, clients, waiting."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
import psutil
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from google.pubsub_v1.types import pubsub

from localcloud.cloud import LocalCloud, Options

# Starts a local cloud of the services named; see the fixture `start`.
Start = Callable[..., LocalCloud]
# Retries fit for a test, and no sweep.
QUICK = Options(backoff_min=0.02, backoff_max=0.2, sweep="")


def clean_environ(**more: str) -> dict[str, str]:
    """The environment without settings of the person who runs the tests."""
    mine = ("DROPFIT_", "GOOGLE_", "STORAGE_", "BIGQUERY_", "PUBSUB_")
    return {name: value for name, value in os.environ.items() if not name.startswith(mine)} | more


def eventually(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Wait for a condition and return what it gave."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)
    return found


def ended(processes: list[psutil.Process]) -> bool:
    """Whether none of them runs; one that nobody has reaped has ended too."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):  # it may end between the two questions
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                return False
    return True


@functools.cache
def storage_client(cloud: LocalCloud) -> storage.Client:
    """An official client of a cloud that is not this process's environment."""
    return storage.Client(
        project="dropfit-local",
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": cloud.env["STORAGE_EMULATOR_HOST"]},
    )


def upload(cloud: LocalCloud, name: str, content: bytes = b"a,b\n", bucket: str = "dropfit-landing") -> storage.Blob:
    blob = storage_client(cloud).bucket(bucket).blob(name)
    blob.upload_from_string(content, content_type="text/csv")
    return blob


def publish(cloud: LocalCloud, *messages: pubsub.PubsubMessage) -> list[str]:
    """Send notifications as the storage emulator does; returns the ids they were given."""
    with grpc.insecure_channel(f"127.0.0.1:{cloud.ports['eventarc_grpc']}") as channel:
        call = channel.unary_unary(
            "/google.pubsub.v1.Publisher/Publish",
            pubsub.PublishRequest.serialize,
            pubsub.PublishResponse.deserialize,
        )
        answer = call(pubsub.PublishRequest(topic="projects/p/topics/t", messages=messages), timeout=60)
    return list(answer.message_ids)


@dataclass
class Recorder:
    """Stands where the function would be: notes every request and answers with the statuses it is given."""

    port: int = 0
    statuses: list[int] = field(default_factory=list)
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    otherwise: int = 204
    under_way: int = 0
    most_under_way: int = 0
    hold: threading.Event = field(default_factory=threading.Event)

    def names(self) -> list[str]:
        """Of the objects that were announced, in the order of their arrival."""
        return [json.loads(body)["name"] for _, body in self.requests]

    def serve(self) -> ThreadingHTTPServer:
        recorder, lock = self, threading.Lock()
        self.hold.set()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                with lock:
                    recorder.requests.append(({k.lower(): v for k, v in self.headers.items()}, body))
                    status = recorder.statuses.pop(0) if recorder.statuses else recorder.otherwise
                    recorder.under_way += 1
                    recorder.most_under_way = max(recorder.most_under_way, recorder.under_way)
                recorder.hold.wait(120)
                with lock:
                    recorder.under_way -= 1
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        self.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return server
