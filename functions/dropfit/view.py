# SPDX-License-Identifier: Apache-2.0
"""The view `predictions` is derived from the pointer: re-pointed by whoever finds that it shows something else."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from .errors import Unavailable
from .registry import Registry

if TYPE_CHECKING:
    from .warehouse import Warehouse

LOG = logging.getLogger(__name__)
TRIES = 5


def repair(registry: Registry, warehouse: Warehouse) -> str:
    """Make the view show what the pointer says; returns the table that it had to be pointed at, or nothing.

    Looks again afterwards: whoever moved the pointer meanwhile may have pointed the view before we did.

    Raises:
        ArtifactError: when the pointer is not readable.
        Unavailable: when BigQuery does not answer, or the pointer does not hold still.
    """
    repaired = ""
    for _ in range(TRIES):
        pointer = registry.current().pointer
        if pointer is None or warehouse.shown() == pointer.table:
            return repaired
        warehouse.point_view(pointer.table)
        LOG.info("the view shows %s now", pointer.table)
        repaired = pointer.table
    raise Unavailable("the pointer moves quicker than the view can follow; the next sweep looks again")
