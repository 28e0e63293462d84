# SPDX-License-Identifier: Apache-2.0
"""A few lines of Cloud Storage over HTTP that can be told to fail, and every call that a bucket knows."""

from __future__ import annotations

import base64
import io
import itertools
import json
import sys
import threading
from email import message_from_bytes
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import google_crc32c

PAGE = 2


class Server(ThreadingHTTPServer):
    """A client that is done may break its connections off."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Gcs:
    """Objects with generations over HTTP, as the JSON API has them.

    `faults` holds statuses for the next requests; a fault "lost" does what was asked and then answers 503.
    """

    def __init__(self) -> None:
        self.objects: dict[str, tuple[bytes, dict[str, Any]]] = {}
        self.faults: list[int | str] = []
        self.generations = itertools.count(100)
        self.uploads: dict[str, dict[str, Any]] = {}
        gcs = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                fault = gcs.faults.pop(0) if gcs.faults else None
                status, headers, reply = (fault, {}, b"{}") if isinstance(fault, int) else gcs.answer(self, body)
                if fault == "lost":
                    status, headers, reply = 503, {}, b"{}"
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(reply)))
                self.end_headers()
                self.wfile.write(reply)

            do_GET = do_POST = do_PUT = do_DELETE = handle_any  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def answer(self, request: BaseHTTPRequestHandler, body: bytes) -> tuple[int, dict[str, str], bytes]:
        url = urlsplit(request.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if url.path.startswith("/upload/"):
            return self.upload(request, query, body)
        _, _, name = url.path.partition("/o/")
        if not name:
            return self.listing(query)
        found = self.objects.get(unquote(name))
        if found is None or query.get("generation", found[1]["generation"]) != found[1]["generation"]:
            return 404, {}, b"{}"
        if request.command == "DELETE":
            del self.objects[unquote(name)]
            return 204, {}, b""
        return (
            self.media(request, *found) if query.get("alt") == "media" else (200, {}, json.dumps(found[1]).encode())
        )

    def media(
        self, request: BaseHTTPRequestHandler, payload: bytes, resource: dict[str, Any]
    ) -> tuple[int, dict[str, str], bytes]:
        headers = {"x-goog-generation": resource["generation"], "x-goog-hash": f"crc32c={resource['crc32c']}"}
        if (wanted := request.headers.get("range")) is None:
            return 200, headers, payload
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        if int(first) >= len(payload):
            return 416, {}, b""
        end = min(int(last or len(payload)), len(payload) - 1)
        headers["content-range"] = f"bytes {first}-{end}/{len(payload)}"
        return 206, headers, payload[int(first) : end + 1]

    def listing(self, query: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        names = sorted(n for n in self.objects if n.startswith(query.get("prefix", "")))
        start = int(query.get("pageToken", "0"))
        page: dict[str, Any] = {"items": [self.objects[n][1] for n in names[start : start + PAGE]]}
        if start + PAGE < len(names):
            page["nextPageToken"] = str(start + PAGE)
        return 200, {}, json.dumps(page).encode()

    def upload(
        self, request: BaseHTTPRequestHandler, query: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        if query.get("uploadType") == "resumable" and "upload_id" not in query:
            resource = json.loads(body or b"{}")
            self.uploads[str(len(self.uploads))] = {**query, **resource}
            where = f"{self.url}/upload/x?uploadType=resumable&upload_id={len(self.uploads) - 1}"
            return 200, {"location": where}, b"{}"
        if "upload_id" in query:
            resource = self.uploads[query["upload_id"]]
            return self.store(resource, body, resource)
        head = f"content-type: {request.headers['content-type']}\r\n\r\n".encode()
        parts = list(message_from_bytes(head + body, policy=HTTP).iter_parts())  # type: ignore[attr-defined]
        return self.store(json.loads(parts[0].get_content()), parts[1].get_payload(decode=True), query)

    def store(
        self, resource: dict[str, Any], payload: bytes, query: dict[str, Any]
    ) -> tuple[int, dict[str, str], bytes]:
        name = resource["name"]
        live = self.objects[name][1]["generation"] if name in self.objects else "0"
        if query.get("ifGenerationMatch", live) != live:
            return 412, {}, b"{}"
        checksum = base64.b64encode(google_crc32c.Checksum(payload).digest()).decode()
        stored = {
            "bucket": "b",
            "name": name,
            "generation": str(next(self.generations)),
            "size": str(len(payload)),
            "updated": "2013-01-01T00:00:00.000Z",
            "metadata": resource.get("metadata") or {},
            "contentType": resource.get("contentType", ""),
            "crc32c": checksum,
        }
        self.objects[name] = payload, stored
        return 200, {}, json.dumps(stored).encode()


def calls(name: str, generation: int) -> dict[str, Any]:
    """Every method of a bucket, each as one call."""

    def open_(bucket: Any) -> bytes:
        with bucket.open(name, generation) as stream:
            return bytes(stream.read())

    return {
        "stat": lambda bucket: bucket.stat(name),
        "read": lambda bucket: bucket.read(name),
        "fetch": lambda bucket: bucket.fetch(name),
        "fetch_all": lambda bucket: bucket.fetch_all([name]),
        "open": open_,
        "download": lambda bucket: bucket.download(name, generation, io.BytesIO()),
        "create": lambda bucket: bucket.create(name + "new", b"x"),
        "replace": lambda bucket: bucket.replace(name, b"x", generation),
        "put": lambda bucket: bucket.put(name, b"x"),
        "put a stream": lambda bucket: bucket.put(name, io.BytesIO(b"x")),
        "list": lambda bucket: list(bucket.list()),
        "delete": lambda bucket: bucket.delete(name),
    }


METHODS = list(calls("", 0))
