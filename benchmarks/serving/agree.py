# SPDX-License-Identifier: Apache-2.0
"""Before anything is measured: every server gives the same answers, and Dropfit's from where they should come."""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Sequence
from dataclasses import dataclass

from . import bodies
from .prepare import Prepared
from .servers import Server, ServerError, Spec, post

CLOSE = 1e-5
CHECKED = {1: 300, 64: 20}


@dataclass(frozen=True)
class Agreement:
    """What a server's answers were found to be.

    Attributes:
        server: its name.
        answers: how many were compared with scikit-learn's.
        largest: the largest difference.
        from_table: share of them that Dropfit says are from the table; None for the others.
        complaint: why this setting is not what it is called; empty when it is.
    """

    server: str
    answers: int
    largest: float
    from_table: float | None
    complaint: str


def check(server: Server, prepared: Prepared) -> Agreement:
    """Compare a server's answers with scikit-learn's.

    Raises:
        ServerError: when it answers something else, or an error.
    """
    spec, largest, answers, told = server.spec, 0.0, 0, []
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.ports[0], timeout=30)) as connection:
        for size in bodies.SIZES:
            kind = bodies.kind(spec.mix, size)
            requests = zip(prepared.requests[kind], prepared.matrices[kind], prepared.expected[kind], strict=True)
            for _, (instances, matrix, expected) in zip(range(CHECKED[size]), requests, strict=False):
                body = bodies.body(spec.form, instances, matrix)
                status, reply = post(connection, spec.path, body)
                if status != 200 or (spec.form == "echo" and reply != body):
                    raise ServerError(f"{spec.name} answers {status}: {reply[:500]!r}\n{server.last_words()}")
                if spec.form == "echo":
                    continue
                got = bodies.values(spec.form, reply)
                largest = max(largest, difference(got, expected))
                answers += len(got)
                told += bodies.sources(reply) if spec.meant is not None else []
    if largest > CLOSE:
        raise ServerError(f"{spec.name} differs from scikit-learn by {largest:.2g} on {answers:,} answers")
    share = told.count("table") / len(told) if told else None
    return Agreement(spec.name, answers, largest, share, complaint(spec, told))


def difference(got: Sequence[float], expected: Sequence[float]) -> float:
    """The largest difference of two lists of the same length, infinite when one is longer."""
    if len(got) != len(expected):
        return float("inf")
    return max(abs(a - b) for a, b in zip(got, expected, strict=True))


def complaint(spec: Spec, told: Sequence[str]) -> str:
    """Why Dropfit's sources are not those that the setting is for; empty when they are."""
    if spec.meant is None:
        return ""
    share, others = told.count("table") / len(told), sorted(set(told) - {"table", "model"})
    if abs(share - spec.meant) <= (0.03 if 0 < spec.meant < 1 else 0) and not others:
        return ""
    seen = ", ".join(f"{told.count(source) / len(told):.0%} {source}" for source in sorted(set(told)))
    return f"not what it is called: meant {spec.meant:.0%} table, the rest model; the replies say {seen}"
