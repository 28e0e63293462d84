# SPDX-License-Identifier: Apache-2.0
"""Texts of others on a terminal."""

from __future__ import annotations

from rich.control import strip_control_codes
from rich.markup import escape


def plain(text: str) -> str:
    """A name, a reason or a log line that can neither move the cursor nor colour the rest."""
    visible = "".join(mark if mark.isprintable() or mark == "\n" else "?" for mark in strip_control_codes(text))
    return escape(visible)
