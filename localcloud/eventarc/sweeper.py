# SPDX-License-Identifier: Apache-2.0
"""The laptop's Cloud Scheduler: calls the sweep again and again, whatever it raises."""

from __future__ import annotations

import importlib
import logging
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)

Stop = Callable[[], None]


def start(sweep: Callable[[], None], seconds: float) -> Stop:
    """Call `sweep` every so many seconds in a thread of its own; returns what stops that.

    A sweep that hangs holds up neither deliveries nor the end of the process.
    """
    stopped = threading.Event()

    def loop() -> None:
        while not stopped.wait(seconds):
            try:
                sweep()
            except Exception:
                log.exception("the sweep failed; the next one is in %.0f s", seconds)

    threading.Thread(target=loop, name="sweeper", daemon=True).start()
    return stopped.set


def dropfit_sweep(reference: str) -> None:
    """Run `module:attribute`, a function of Settings, with the settings of this process's environment.

    Imported at the first call: it brings the storage client, whose import must not hold up the start.

    Raises:
        Exception: whatever the import, the settings or the sweep raise.
    """
    from dropfit import settings

    module, _, attribute = reference.partition(":")
    getattr(importlib.import_module(module), attribute)(settings.load())
