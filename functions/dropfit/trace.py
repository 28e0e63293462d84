# SPDX-License-Identifier: Apache-2.0
"""Which trace a request belongs to, from the headers that Google's load balancers and OpenTelemetry send.

`traceparent` is W3C's (https://www.w3.org/TR/trace-context/); `X-Cloud-Trace-Context: TRACE/SPAN;o=1` is Google's
older form, with the span as a decimal number. What is malformed is ignored, as both ask.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from typing import NamedTuple

_W3C = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]([0-9a-f])(?:-.*)?\Z")
_GOOGLE = re.compile(rb"(?!0{32})([0-9A-Fa-f]{32})(?:/([0-9]{1,20}))?(?:;o=([0-9]))?\Z")


class Trace(NamedTuple):
    """A trace, and the span in it that called.

    Attributes:
        id: 32 hexadecimal digits.
        span: 16 hexadecimal digits, empty when the header named none.
        sampled: whether the caller records it.
    """

    id: bytes
    span: bytes
    sampled: bool

    @property
    def chance(self) -> float:
        """A number from 0 up to 1 that is the same for all requests of the trace.

        A checksum, not the digits themselves: whether a tracer samples depends on those.
        """
        return zlib.crc32(self.id) / 2**32

    def fields(self, project: bytes) -> bytes:
        """The three fields of a log line by which Cloud Logging finds the trace."""
        return (
            b',"logging.googleapis.com/trace":"projects/%b/traces/%b"%b,"logging.googleapis.com/trace_sampled":%b'
            % (
                project,
                self.id,
                b',"logging.googleapis.com/spanId":"%b"' % self.span if self.span else b"",
                b"true" if self.sampled else b"false",
            )
        )


def parse(headers: Mapping[bytes, bytes]) -> Trace | None:
    """The request's trace, or None.

    Args:
        headers: names in lower case.
    """
    given = headers.get(b"traceparent", b"")
    # Version 00 ends after the flags; a later one may add fields.
    if given and (found := _W3C.match(given)) and (given[:2] != b"00" or len(given) == 55):
        trace, span, flags = found.groups()
        return Trace(trace, span, flags in b"13579bdf")
    given = headers.get(b"x-cloud-trace-context", b"")
    if given and (found := _GOOGLE.match(given)) and (number := int(found[2] or 0)) < 2**64:
        return Trace(found[1].lower(), b"%016x" % number if number else b"", found[3] == b"1")
    return None
