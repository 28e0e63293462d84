# SPDX-License-Identifier: Apache-2.0
"""As much of Cloud Build, its logs and the registry as building images asks of, by Google's own definitions."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import requests

# Of Google's own definitions, run/v2 and logging/v2: another field than these does not exist.
SUBMIT = {"buildpackBuild", "dockerBuild", "imageUri", "machineType", "serviceAccount", "storageSource", "tags"}
SUBMIT |= {"workerPool"}
BUILDPACK = {"baseImage", "cacheImageUri", "enableAutomaticUpdates", "environmentVariables", "functionTarget"}
BUILDPACK |= {"projectDescriptor", "runtime"}
STORAGE = {"bucket", "generation", "object"}
ENTRIES = {"filter", "orderBy", "pageSize", "pageToken", "projectIds", "resourceNames"}
BASE = "projects/acme-dev/locations/europe-west1"


class Google:
    """Cloud Run's builds:submit, Cloud Build, Artifact Registry and Cloud Logging behind one session.

    Attributes:
        tags: what the registry has.
        bodies: of the builds that were submitted, by image.
        play: advances a build before it is told about; by default it succeeds at once.
        faults: statuses that the next requests are answered with instead.
    """

    def __init__(self) -> None:
        self.tags: set[str] = set()
        self.bodies: dict[str, list[dict[str, Any]]] = {}
        self.builds: dict[str, dict[str, Any]] = {}
        self.play: Callable[[str, dict[str, Any]], None] = lambda image, build: build.update(status="SUCCESS")
        self.submitted_as: Callable[[str], int] = lambda image: 200
        self.faults: list[int] = []
        self.log = ["Step 4/9 : RUN pip install", "ERROR: no matching distribution"]

    def request(self, method: str, url: str, timeout: float, **more: Any) -> requests.Response:
        status, told = (self.faults.pop(0), {}) if self.faults else self._answer(method, url, more.get("json"))
        reply = requests.Response()
        reply.status_code, reply.url = status, url
        reply._content = json.dumps(told).encode()
        return reply

    def _answer(self, method: str, url: str, body: dict[str, Any] | None) -> tuple[int, dict[str, Any]]:
        if method == "POST" and url == f"https://run.googleapis.com/v2/{BASE}/builds:submit":
            assert body is not None
            return self._submit(body)
        if method == "POST" and url == "https://logging.googleapis.com/v2/entries:list":
            assert body is not None
            assert set(body) <= ENTRIES
            assert body["resourceNames"] == ["projects/acme-dev"]
            lines = reversed(self.log) if body["orderBy"] == "timestamp desc" else self.log
            known = re.search('resource.labels.build_id="id-[^"]+"', body["filter"])
            return 200, {"entries": [{"textPayload": line} for line in lines]} if known else {}
        build = re.fullmatch(f"https://cloudbuild.googleapis.com/v1/({BASE}/builds/.+)", url)
        if method == "GET" and build and build[1] in self.builds:
            found = self.builds[build[1]]
            self.play(found["images"][0], found)
            return 200, found
        registry = f"https://artifactregistry.googleapis.com/v1/{BASE}/repositories/dropfit/packages"
        tag = re.fullmatch(f"{registry}/([^/]+)/tags/([^/]+)", url)
        if method == "GET" and tag and f"{tag[1]}:{tag[2]}" in self.tags:
            return 200, {"name": url, "version": "sha256:0"}
        return 404, {"error": {"code": 404, "message": f"no {url}"}}

    def _submit(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        assert set(body) <= SUBMIT
        assert set(body["storageSource"]) <= STORAGE
        assert set(body.get("buildpackBuild", {})) <= BUILDPACK
        assert ("buildpackBuild" in body) != ("dockerBuild" in body)
        image = body["imageUri"].removeprefix("europe-west1-docker.pkg.dev/acme-dev/dropfit/")
        status = self.submitted_as(image)
        if status != 200:
            return status, {"error": {"code": status, "message": f"as the test wants it for {image}"}}
        self.bodies.setdefault(image, []).append(body)
        name = f"{BASE}/builds/id-{len(self.builds)}"
        build = {"name": name, "id": name.rpartition("/")[2], "status": "QUEUED", "logUrl": f"https://log/{image}"}
        self.builds[name] = build | {"images": [image], "steps": [], "projectId": "acme-dev", "timing": {}}
        operation = {"name": "operations/build/1", "metadata": {"build": self.builds[name]}}
        return 200, {"buildOperation": operation, "baseImageUri": "base"}


class Hours:
    """Time that passes at once."""

    def __init__(self) -> None:
        self.now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def clock(self) -> float:
        return self.now
