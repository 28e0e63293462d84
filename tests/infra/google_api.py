# SPDX-License-Identifier: Apache-2.0
"""A little Google for what deploys: a session that answers REST calls from a world that tests fill and make sick.

It knows the methods and messages of google_shapes.json, Google's own definitions. A path, query parameter or field
that is not among them ends the test, in requests and in what the world itself holds. To teach it a method, add the
method's id to google_shapes.py; one that reads `things` needs no more, for others put a function into `on`.
"""

from __future__ import annotations

import json
import re
import threading
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import requests

SHAPES = json.loads(Path(__file__).with_name("google_shapes.json").read_text())
USERINFO = "https://openidconnect.googleapis.com/v1/userinfo"
READS_BY_POST = ("testIamPermissions", "getIamPolicy")
"""The last words of methods that are a POST and change nothing."""
MULTIPART = ("https://storage.googleapis.com/upload/", "https://storage.googleapis.com/")


class NotGoogle(BaseException):
    """Google has no such method, parameter or field. No Exception, so that no code under test can swallow it."""


class Call(NamedTuple):
    """A request, understood.

    Attributes:
        id: the method's, such as `pubsub.v1.projects.topics.get`.
        url: without what stands behind the question mark.
        query: that.
        body: as JSON, {} when there is none.
    """

    id: str
    url: str
    query: dict[str, Any]
    body: dict[str, Any]


class Fault(Exception):
    """What Google answers instead of a document."""

    def __init__(self, status: int, message: str, reason: str = "") -> None:
        super().__init__(message)
        details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason}] if reason else []
        self.status = status
        self.body = {"error": {"code": status, "message": message, "details": details}}


class Reply:
    """As much of a requests.Response as dropfit.rest uses."""

    def __init__(self, status: int, document: dict[str, Any], url: str) -> None:
        self.status_code, self._document, self.url = status, document, url

    def json(self) -> dict[str, Any]:
        return self._document

    def raise_for_status(self) -> None:
        if self.status_code >= 400:
            raise requests.HTTPError(f"{self.status_code} Client Error for url: {self.url}", response=self)  # type: ignore[arg-type]


class Google:
    """Takes the place of an authorised requests session: `Api("...", Google())`.

    Attributes:
        things: what there is, by the URL that GET reads it at.
        policies: IAM policies by the URL of what they are on; each gets an etag.
        granted: permissions that the caller has; None: all.
        off: APIs that are switched off, such as `run`.
        denied: ids of methods that the caller may not call.
        faults: id of a method -> what its next calls are answered with instead, the first first.
        on: id of a method -> what answers it, for those that do more than read `things`.
        calls: every request, understood.
        headers: of every request, in the same order.
        email: whose credentials these are; empty: they do not tell.
    """

    def __init__(self, project: str = "acme-dev", number: str = "123456789012") -> None:
        self.project, self.number, self.email = project, number, "ada@acme.example"
        self.things: dict[str, dict[str, Any]] = {}
        self.policies: dict[str, dict[str, Any]] = {}
        self.granted: set[str] | None = None
        self.off: set[str] = set()
        self.denied: set[str] = set()
        self.faults: dict[str, list[Fault]] = {}
        self.on: dict[str, Callable[[Call], dict[str, Any]]] = {}
        self.calls: list[Call] = []
        self.headers: list[dict[str, str]] = []
        self._lock = threading.RLock()
        self.on["serviceusage.v1.services.batchGet"] = self._services
        self.on["serviceusage.v1.services.enable"] = self._enable
        self.on["serviceusage.v1.services.batchEnable"] = self._enable_many
        self.on["serviceusage.v1beta1.services.generateServiceIdentity"] = lambda call: {"name": "operations/agent"}
        self.on["pubsub.v1.projects.subscriptions.patch"] = self._patch_subscription

    def request(self, method: str, url: str, **more: Any) -> Reply:
        """One request, as requests.Session has it."""
        with self._lock:
            if url == USERINFO:
                return Reply(200, {"sub": "1"} | ({"email": self.email} if self.email else {}), url)
            call = understood(method, url, more.get("params"), more.get("json"))
            self.calls.append(call)
            self.headers.append(dict(more.get("headers") or {}))
            try:
                document = self._answered(call)
            except Fault as fault:
                return Reply(fault.status, fault.body, url)
            checked(document, SHAPES["methods"][call.id]["answer"], call.id, "answer")
            return Reply(200, json.loads(json.dumps(document)), url)

    def written(self) -> list[Call]:
        """The requests that were no mere look."""
        return [call for call in self.calls if not _only_looks(call)]

    def _answered(self, call: Call) -> dict[str, Any]:
        api = call.id.split(".")[0]
        if self.faults.get(call.id):
            raise self.faults[call.id].pop(0)
        if api in self.off:
            raise disabled(api, self.number)
        if call.id in self.denied:
            raise Fault(403, f"Permission denied on {call.url}", "IAM_PERMISSION_DENIED")
        if call.id in self.on:
            return self.on[call.id](call)
        word = call.id.rpartition(".")[2]
        general = {"testIamPermissions": self._test, "getIamPolicy": self._policy, "setIamPolicy": self._set_policy}
        return general.get(word, self._thing)(call)

    def _thing(self, call: Call) -> dict[str, Any]:
        if SHAPES["methods"][call.id]["method"] != "GET":
            raise NotGoogle(f"the stand-in does not do {call.id}: put a function into `on`")
        if call.id.endswith(".list"):
            return _page(self.things.get(call.url, {}), int(call.query.get("pageToken") or 0))
        if call.url not in self.things:
            raise Fault(404, f"Resource not found: {call.url}")
        return self.things[call.url]

    def _test(self, call: Call) -> dict[str, Any]:
        asked = call.body["permissions"]
        return {"permissions": [one for one in asked if self.granted is None or one in self.granted]}

    def _policy(self, call: Call) -> dict[str, Any]:
        on = call.url.rpartition(":")[0]
        if on not in self.things:
            raise Fault(404, f"Resource not found: {on}")
        return self.policies.setdefault(on, {"etag": "BwX0"})

    def _set_policy(self, call: Call) -> dict[str, Any]:
        on, new = call.url.rpartition(":")[0], call.body["policy"]
        old = self.policies.setdefault(on, {"etag": "BwX0"})
        if new.get("etag", old["etag"]) != old["etag"]:
            raise Fault(409, "There were concurrent policy changes. Please retry the whole read-modify-write.")
        self.policies[on] = {**new, "etag": f"{old['etag']}1"}
        return self.policies[on]

    def _services(self, call: Call) -> dict[str, Any]:
        names = call.query["names"]
        if len(names) > 30:
            raise Fault(400, "A single request can get a maximum of 30 services at a time.")
        states = {name: "DISABLED" if name.split("/")[-1].split(".")[0] in self.off else "ENABLED" for name in names}
        return {"services": [{"name": name, "state": state} for name, state in states.items()]}

    def _enable(self, call: Call) -> dict[str, Any]:
        self.off.discard(call.url.rpartition("/")[2].partition(".")[0])
        return {"name": "operations/1"}

    def _enable_many(self, call: Call) -> dict[str, Any]:
        names = call.body["serviceIds"]
        if not 2 <= len(names) <= 20:
            raise Fault(400, "Request must contain between 2 and 20 services.")
        self.off -= {name.partition(".")[0] for name in names}
        return {"name": "operations/1"}

    def _patch_subscription(self, call: Call) -> dict[str, Any]:
        there = self._thing(call._replace(id="pubsub.v1.projects.subscriptions.get"))
        for field in call.body["updateMask"].split(","):
            if field not in SHAPES["messages"]["pubsub.v1.Subscription"]:
                raise Fault(400, f"Invalid update_mask {field}")
            there[field] = call.body["subscription"][field]
        return there


def _page(listed: dict[str, Any], at: int) -> dict[str, Any]:
    """One thing a page, so that whoever does not turn pages misses some."""
    page = {key: things[at : at + 1] for key, things in listed.items()}
    more = any(len(things) > at + 1 for things in listed.values())
    return page | ({"nextPageToken": str(at + 1)} if more else {})


def disabled(api: str, number: str) -> Fault:
    """What an API answers that is not switched on."""
    return Fault(
        403,
        f"{api} API has not been used in project {number} before or it is disabled. Enable it by visiting "
        f"https://console.developers.google.com/apis/api/{api}.googleapis.com/overview?project={number} then retry.",
        "SERVICE_DISABLED",
    )


def _only_looks(call: Call) -> bool:
    return SHAPES["methods"][call.id]["method"] == "GET" or call.id.endswith(READS_BY_POST)


def _pattern(template: str) -> re.Pattern[str]:
    """A URL with {names} as a regular expression; a name takes all but slashes and colons."""
    parts = re.split(r"\{\+?\w+\}", template)
    return re.compile("[^/:?]+".join(re.escape(part) for part in parts))


PATTERNS = [(key, told["method"], _pattern(told["url"])) for key, told in SHAPES["methods"].items()]


def understood(method: str, url: str, params: Any, body: Any) -> Call:
    """The request as one of Google's methods."""
    bare, _, behind = url.replace(*MULTIPART).partition("?")
    query: dict[str, Any] = dict(urllib.parse.parse_qsl(behind)) | dict(params or {})
    found = [key for key, verb, pattern in PATTERNS if verb == method and pattern.fullmatch(bare)]
    if len(found) != 1:
        raise NotGoogle(f"{method} {bare} is {' and '.join(found) or 'no method that the stand-in knows'}")
    told = SHAPES["methods"][found[0]]
    unknown = set(query) - {*told["query"], "fields", "uploadType"}
    if unknown:
        raise NotGoogle(f"{found[0]} has no parameter {', '.join(sorted(unknown))}: {told['query']}")
    if body is not None:
        if not told["body"]:
            raise NotGoogle(f"{found[0]} takes no body")
        checked(body, told["body"], found[0], "body")
    return Call(found[0], bare, query, body or {})


def checked(value: Any, kind: Any, method: str, where: str) -> None:
    """Whether a value is what Google's definition says.

    Raises:
        NotGoogle: naming the place.
    """
    if isinstance(kind, list):
        if not isinstance(value, list):
            raise NotGoogle(f"{method}: {where} is a list")
        for at, one in enumerate(value):
            checked(one, kind[0], method, f"{where}[{at}]")
        return
    fields = SHAPES["messages"].get(f"{'.'.join(method.split('.')[:2])}.{kind}")
    if fields is None:
        _leaf(value, kind, f"{method}: {where}")
        return
    if not isinstance(value, dict):
        raise NotGoogle(f"{method}: {where} is a {kind}")
    for name, one in value.items():
        if name not in fields and "*" not in fields:
            raise NotGoogle(f"{method}: {where} has no field {name}; it has {', '.join(sorted(fields))}")
        checked(one, fields.get(name, "any"), method, f"{where}.{name}")


def _leaf(value: Any, kind: str, where: str) -> None:
    wanted: Any = {"string": str, "boolean": bool, "integer": (int, str), "float": (int, float)}.get(kind)
    if wanted is not None and not isinstance(value, wanted):
        raise NotGoogle(f"{where} is a {kind}, and no {type(value).__name__}")
    if "|" in kind and value not in kind.split("|"):
        raise NotGoogle(f"{where} is one of {kind}, and not {value}")
