# SPDX-License-Identifier: Apache-2.0
"""What a runner says of an exception in one of our transforms, as the exception that it was."""

from __future__ import annotations

import re

from dropfit import errors
from dropfit.errors import BadFile, BatchError, DropfitError, legible

RAISED = re.compile(r"^(?:RuntimeError: )?(dropfit\.errors\.\w+|[\w.]+(?:Error|Exception)\w*): ", re.MULTILINE)
RUNNING = " [while running '"
KEPT = "what was finished is kept, run it again to go on"


def of_beam(error: Exception, what: str) -> DropfitError:
    """Ours for whatever a pipeline raised: runners wrap it, or give its text alone, with all of their own frames.

    Args:
        error: as the runner raised it.
        what: which work, on which runner.

    Returns:
        The last error of ours that its text names; else a BatchError with what it names.
    """
    if isinstance(error, DropfitError):
        return error
    text, _, step = str(error).rpartition(RUNNING)
    text, step = (text, step.partition("'")[0]) if text else (str(error), "a step")
    raised = list(RAISED.finditer(text))
    if not raised:
        last = text.strip().splitlines()[-1:] or [type(error).__name__]
        return BatchError(f"{what} broke off: {legible(last[0])}; {KEPT}")
    name, message = raised[-1][1], text[raised[-1].end() :].strip()
    kind = getattr(errors, name.removeprefix("dropfit.errors."), None) if name.startswith("dropfit.errors.") else None
    if kind is BadFile:
        return BadFile(message, "unreadable")
    if kind is not None:
        return kind(message)  # type: ignore[no-any-return]
    return BatchError(f"{what}: {step} raised {name}: {legible(message)}; {KEPT}")
