# SPDX-License-Identifier: Apache-2.0
"""One prediction of the table as it lies in the snapshot: a MessagePack array, as short as it can be exactly."""

from __future__ import annotations

import struct

import msgspec

FLOAT = struct.Struct(">f")
encode = msgspec.msgpack.Encoder().encode


class Row(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One prediction of the table.

    Attributes:
        value: number, label, or None where the policy abstains.
        fired: the policy's rules that fired, in order.
        probabilities: of a label target, in the order of the version's classes.
    """

    value: float | str | None
    fired: tuple[str, ...] = ()
    probabilities: tuple[float, ...] = ()


decode = msgspec.msgpack.Decoder(dict[str, Row]).decode
"""A MessagePack map of keys and rows -> a dict; raises DAMAGED."""
DAMAGED = (msgspec.MsgspecError, UnicodeDecodeError)


def packed(row: Row) -> bytes:
    """A row in MessagePack: msgspec would write its empty ends, and every float in eight bytes."""
    value = _number(row.value) if isinstance(row.value, float) else encode(row.value)
    if not row.probabilities:
        return b"\x92" + value + encode(row.fired) if row.fired else b"\x91" + value
    shares = b"".join(map(_number, row.probabilities))
    return b"\x93" + value + encode(row.fired) + head(len(row.probabilities), 0x90, 0xDC) + shares


def _number(value: float) -> bytes:
    try:
        short = FLOAT.pack(value)
    except OverflowError:
        return encode(value)
    return b"\xca" + short if FLOAT.unpack(short)[0] == value else encode(value)


def head(count: int, few: int, many: int) -> bytes:
    """The header of a MessagePack map or array."""
    if count < 16:
        return bytes((few | count,))
    return struct.pack(">BH", many, count) if count < 65536 else struct.pack(">BI", many + 1, count)
