# SPDX-License-Identifier: Apache-2.0
"""Requests as nobody should send them, from a seed: what the schema allows, and what no schema would make.

They are made from the OpenAPI document alone, as a stranger would.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

CANARY = "cAnArY"
"""Stands in values, and must never stand in an error; names of fields do without it."""
TYPES = (
    "text/plain",
    "application/xml",
    "multipart/form-data; boundary=x",
    "application/jsonx",
    "*/*",
    "json",
    ";",
    " ",
)
JSONS = ("application/json", "application/json; charset=utf-8", "APPLICATION/JSON", "application/json;", "")
DEADLINES = (
    "1",
    "5",
    "250",
    "60000",
    "1e3",
    "0",
    "-1",
    "60001",
    "nan",
    "inf",
    "1e999",
    "",
    "1_000",
    "ten",
    "0x10",
    " 7 ",
)
TRACES = (
    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "00-00000000000000000000000000000000-0000000000000000-00",
    "00-xyz-b7ad-01",
    "",
    "-" * 4000,
    '00-"}\\n{"severity":"EMERGENCY"-b7ad6b7169203331-01',
)
NUMBERS = (
    *(
        "NaN",
        "Infinity",
        "-Infinity",
        "1e999",
        "-1e999",
        "1e-999",
        "-0",
        "0.0",
        "1.0",
        "1E2",
        "01",
        "+1",
        ".5",
        "1.",
        "0x1",
    ),
    *(
        "9007199254740993",
        "-9223372036854775809",
        "18446744073709551616",
        "1" * 400,
        "9" * 5000,
        "3.4028236e38",
        "true",
    ),
)
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE")
PATHS = (
    *(
        "/",
        "/predict",
        "/model",
        "/health",
        "/ready",
        "/metrics",
        "/openapi.json",
        "/predict/",
        "//predict",
        "/PREDICT",
    ),
    *(
        "/predict?x=1",
        "/health#x",
        "/../predict",
        "/..%2f..%2fetc/passwd",
        "/%00",
        "/%ff%fe",
        "/predict;a=b",
        "/model%0d%0aX:1",
    ),
    *("/" + "a" * 4000, "/favicon.ico", "/robots.txt", "/docs", "*", "/?", "/predict%2F", "/%E2%82%AC"),
)


@dataclass
class Mutant:
    """One request.

    Attributes:
        kind: what is odd about it.
        method: HTTP method.
        path: as it is sent.
        headers: as they are sent, beside those that carry the body.
        body: None for none.
        pieces: lengths of the chunks that the body is sent in; empty: it is sent with its length.
    """

    kind: str
    method: str = "POST"
    path: str = "/predict"
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    pieces: tuple[int, ...] = ()

    def __str__(self) -> str:
        start = f"{self.method} {self.path[:60]} { ({k: v[:40] for k, v in self.headers.items()}) }"
        return f"{self.kind}: {start} {(self.body or b'')[:400]!r} in {len(self.pieces)} pieces"


class Mutants:
    """A source of them.

    Args:
        document: what GET /openapi.json says.
        seed: which ones.
        most_bytes: the server's limit of a body.
        deadlines: whether a request may ask for an answer within a millisecond.
    """

    def __init__(self, document: dict[str, Any], seed: int, most_bytes: int, deadlines: bool = True) -> None:
        schemas = document["components"]["schemas"]
        self._fields: dict[str, dict[str, Any]] = {
            name: self._plain(schema) for name, schema in schemas["Instance"]["properties"].items()
        }
        self._required = schemas["Instance"]["required"]
        self._example = schemas["Instance"]["examples"][0]
        self._most = schemas["Request"]["properties"]["instances"]["maxItems"]
        self._most_bytes = most_bytes
        self._deadlines = DEADLINES if deadlines else DEADLINES[2:]
        self._dice = random.Random(seed)  # noqa: S311 (a seed is what replays it)
        self._kinds: list[tuple[int, Callable[[], Mutant]]] = [
            (20, self._valid),
            (10, self._extreme),
            (10, self._unseen),
            (12, self._wrong),
            (6, self._names),
            (8, self._number),
            (8, self._torn),
            (6, self._bytes),
            (3, self._deep),
            (4, self._types),
            (6, self._headers),
            (6, self._elsewhere),
            (4, self._pieces),
            (2, self._many),
        ]
        self._weights = [weight for weight, _ in self._kinds]

    def next(self) -> Mutant:
        """The next one."""
        ((_, make),) = self._dice.choices(self._kinds, self._weights)
        return make()

    def large(self) -> Mutant:
        """A body at the limit, or just beyond it: rare, because it is 8 MB."""
        spare = self._dice.choice([0, 1, -1])
        payload = _dump({"instances": [self._instance()]})
        return Mutant("large", body=payload + b" " * (self._most_bytes - len(payload) + spare))

    @staticmethod
    def _plain(schema: dict[str, Any]) -> dict[str, Any]:
        """A property without its alternative of null."""
        kinds = [kind for kind in schema.get("anyOf", [schema]) if kind.get("type") != "null"]
        return {**kinds[0], "null": "anyOf" in schema}

    def _value(self, schema: dict[str, Any]) -> Any:
        dice = self._dice
        if schema["null"] and dice.random() < 0.15:
            return None
        if "enum" in schema:
            return dice.choice([value for value in schema["enum"] if value is not None])
        if schema["type"] == "string":
            return "".join(dice.choices("ABCDEUW", k=dice.randint(1, min(3, schema["maxLength"]))))
        low, high = schema["minimum"], schema["maximum"]
        return (
            dice.randint(math.ceil(low), math.floor(high)) if schema["type"] == "integer" else dice.uniform(low, high)
        )

    def _instance(self) -> dict[str, Any]:
        if self._dice.random() < 0.3:
            return dict(self._example)
        kept = [name for name in self._fields if name in self._required or self._dice.random() < 0.8]
        return {name: self._value(self._fields[name]) for name in kept}

    def _body(self, most: int = 4) -> dict[str, Any]:
        return {"instances": [self._instance() for _ in range(self._dice.randint(1, most))]}

    def _valid(self) -> Mutant:
        body = self._body(self._dice.choice([1, 1, 1, 4, 64]))
        return Mutant("valid", path=self._dice.choice(["/", "/predict"]), body=_dump(body))

    def _many(self) -> Mutant:
        count = self._dice.choice([self._most - 1, self._most, self._most + 1, 3 * self._most])
        return Mutant("many", body=_dump({"instances": [self._instance()] * count}))

    def _extreme(self) -> Mutant:
        body = self._body()
        for instance in body["instances"]:
            name, schema = self._dice.choice([*self._fields.items()])
            if schema.get("type") == "string":
                letters = self._dice.choice(["x", "\U0001f375", "\u0000", "\u202e", '"', "\\", "\x1f", " ", "\u00e9"])
                instance[name] = letters * schema["maxLength"]
            elif "enum" not in schema:
                instance[name] = self._dice.choice([schema["minimum"], schema["maximum"], 0, 5e-324, -5e-324, 1e38])
        return Mutant("extreme", body=_dump(body))

    def _unseen(self) -> Mutant:
        body = self._body()
        for instance in body["instances"]:
            names = [
                name for name, schema in self._fields.items() if schema.get("type") == "string" or "enum" in schema
            ]
            instance[self._dice.choice(names)] = self._dice.choice(
                [CANARY[:6], CANARY[:2], f"{CANARY}{self._dice.random()}"]
            )
        return Mutant("unseen", body=_dump(body))

    def _wrong(self) -> Mutant:
        body = self._body()
        odd: list[Any] = [
            CANARY,
            f"{CANARY}\n{CANARY}",
            True,
            [CANARY],
            {CANARY[:3]: CANARY},
            1e300,
            -7.5,
            "",
            [],
            {},
            None,
        ]
        odd += ["<script>" + CANARY, f"${{{CANARY}}}", f"'; DROP TABLE {CANARY}", CANARY * 1000]
        for _ in range(self._dice.randint(1, 5)):
            instance = self._dice.choice(body["instances"])
            if isinstance(instance, dict):
                instance[self._dice.choice([*self._fields])] = self._dice.choice(odd)
        shape = self._dice.random()
        if shape < 0.1:
            body["instances"].append(self._dice.choice(odd))
        elif shape < 0.15:
            body = {"instances": self._dice.choice(odd)}
        elif shape < 0.2:
            return Mutant("wrong", body=_dump(self._dice.choice(odd)))
        return Mutant("wrong", body=_dump(body))

    def _names(self) -> Mutant:
        """Names that nobody knows, names given twice, names left out."""
        body = self._body()
        instance = self._dice.choice(body["instances"])
        chosen = self._dice.random()
        if chosen < 0.3:
            instance["".join(self._dice.choices('abc\u00e9\u0000\n"<', k=self._dice.choice([0, 1, 9, 3000])))] = (
                CANARY
            )
        elif chosen < 0.4:
            body["parameters"] = {"key": CANARY}
        elif chosen < 0.7:
            instance.pop(self._dice.choice([*instance]), None)
        else:
            name = self._dice.choice([*self._fields])
            twice = json.dumps(self._dice.choice([CANARY, None, 1, self._value(self._fields[name])]))
            text = json.dumps({"instances": [instance]})
            return Mutant("names", body=text.replace("[{", f'[{{"{name}": {twice}, ', 1).encode())
        return Mutant("names", body=_dump(body))

    def _number(self) -> Mutant:
        instance = self._instance()
        numbers = [name for name, schema in self._fields.items() if schema.get("type") in ("number", "integer")]
        instance[self._dice.choice(numbers)] = "HERE"
        text = json.dumps({"instances": [instance]}).replace('"HERE"', self._dice.choice(NUMBERS))
        return Mutant("number", body=text.encode())

    def _torn(self) -> Mutant:
        """A right body with some bytes gone, doubled or changed."""
        body = bytearray(_dump(self._body()))
        for _ in range(self._dice.randint(1, 3)):
            place = self._dice.randrange(len(body) or 1)
            match self._dice.randrange(4):
                case 0:
                    del body[place:]
                case 1:
                    del body[place : place + self._dice.randint(1, 9)]
                case 2:
                    body[place:place] = bytes(self._dice.choices(range(256), k=self._dice.randint(1, 9)))
                case 3 if body:
                    body[place] ^= 1 << self._dice.randrange(8)
        return Mutant("torn", body=bytes(body))

    def _bytes(self) -> Mutant:
        """Encodings that JSON does not have, and bytes that are none."""
        instance = self._instance()
        text = [name for name, schema in self._fields.items() if schema.get("type") == "string" or "enum" in schema]
        instance[self._dice.choice(text)] = "HERE"
        body = json.dumps({"instances": [instance]})
        surrogate = self._dice.choice(
            [r"\ud800", r"\udc00\ud800", r"\ud83c", r"\uD83C\uD83C", r"\u00", r"\x41", r"\u{41}"]
        )
        choices = [
            body.encode("utf-16"),
            body.encode("utf-32"),
            b"\xef\xbb\xbf" + body.encode(),
            body.replace("HERE", "\u00e9").encode("latin-1", "replace"),
            body.replace("HERE", surrogate).encode(),
            body.encode().replace(b"HERE", b"\xc0\xaf"),
            body.encode().replace(b"HERE", b"\xed\xa0\x80"),
            body.encode().replace(b"HERE", b"\x00\x01\x02"),
            bytes(self._dice.choices(range(256), k=self._dice.randint(0, 300))),
            b"",
            b"\x1f\x8b" + bytes(50),
        ]
        return Mutant("bytes", body=self._dice.choice(choices))

    def _deep(self) -> Mutant:
        depth = self._dice.choice([10, 900, 1100, 20_000, 100_000])
        opening, closing = self._dice.choice([(b"[", b"]"), (b'{"a":', b"}"), (b'{"instances":[', b"]}")])
        inside = opening * depth + b"1" + closing * depth if self._dice.random() < 0.7 else opening * depth
        return Mutant("deep", body=self._dice.choice([inside, b'{"instances": ' + inside + b"}"]))

    def _types(self) -> Mutant:
        named = self._dice.choice(TYPES + JSONS)
        return Mutant("types", headers={"Content-Type": named}, body=_dump(self._body()))

    def _headers(self) -> Mutant:
        headers = {"Content-Type": "application/json"}
        if self._dice.random() < 0.6:
            headers["X-Deadline-Ms"] = self._dice.choice(self._deadlines)
        if self._dice.random() < 0.4:
            headers["traceparent"] = self._dice.choice(TRACES)
        if self._dice.random() < 0.3:
            headers["X-Cloud-Trace-Context"] = self._dice.choice(
                ["105445aa7843bc8bf206b12000100000/1;o=1", "/", "\xff" * 9]
            )
        if self._dice.random() < 0.2:
            headers["Content-Encoding"] = self._dice.choice(["gzip", "br", "identity"])
        if self._dice.random() < 0.2:
            headers["X-" + "y" * 50] = CANARY * self._dice.choice([1, 500])
        if self._dice.random() < 0.1:
            headers["Expect"] = "100-continue"
        return Mutant("headers", headers=headers, body=_dump(self._body()))

    def _elsewhere(self) -> Mutant:
        """Any method on any path."""
        body = self._dice.choice([None, b"", b"{}", _dump(self._body())])
        method = self._dice.choice(METHODS)
        headers = {} if body is None or self._dice.random() < 0.5 else {"Content-Type": "application/json"}
        return Mutant("elsewhere", method, self._dice.choice(PATHS), headers, body)

    def _pieces(self) -> Mutant:
        body = _dump(self._body(64))
        pieces = []
        while sum(pieces) < len(body):
            pieces.append(self._dice.choice([1, 2, 3, 77, 1000, 65_536]))
            if len(pieces) > 200:
                pieces.append(len(body))
        return Mutant("pieces", headers={"Content-Type": "application/json"}, body=body, pieces=tuple(pieces))


def _dump(document: Any) -> bytes:
    return json.dumps(document).encode()
