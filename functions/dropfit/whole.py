# SPDX-License-Identifier: Apache-2.0
"""Whether a version can be served: all its files as they were written, its table there, its head for serving."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from .errors import ArtifactError, NotFound, Unavailable
from .pointer import Served
from .registry import Registry

if TYPE_CHECKING:
    from .warehouse import Warehouse

LOG = logging.getLogger(__name__)


def check(registry: Registry, warehouse: Warehouse, target: Served) -> None:
    """Nothing is pointed at before its files are checked and its table is there.

    Args:
        registry: where the files are.
        warehouse: where the table is; when it does not answer, the table is not looked at.
        target: what is to be pointed at. One from before there were snapshots has none, and needs none.

    Raises:
        NotFound: when there is no such version, or it is not complete.
        ArtifactError: when something is broken or gone.
    """
    manifest = registry.manifest(target.version, target.manifest_sha256)
    try:
        registry.completed(target.version)
    except NotFound as error:
        raise NotFound(f"{target.version} has no verified table: it did not pass the gate, or was removed") from error
    # All that loading the version reads.
    for artifact in filter(None, (manifest.model, manifest.encoding, manifest.probe)):
        registry.read_artifact(artifact)
    if target.snapshot is not None:
        registry.prove_artifact(target.snapshot)
    try:
        if not warehouse.exists(target.table):
            raise ArtifactError(f"the table {target.table} of {target.version} is gone")
    except Unavailable as down:
        LOG.warning("BigQuery does not answer, so the table %s was not looked at: %s", target.table, down)
