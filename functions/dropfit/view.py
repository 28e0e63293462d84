# SPDX-License-Identifier: Apache-2.0
"""The views: `predictions`, re-pointed by whoever finds that it shows something else than the pointer says, and
`prediction_log`, which shows the log's entries as one row per instance.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from .errors import DropfitError, NotFound, Unavailable
from .registry import Registry

if TYPE_CHECKING:
    from .warehouse import Warehouse

LOG = logging.getLogger(__name__)
TRIES = 5
LOG_VIEW = "prediction_log"
# Entries are as Cloud Logging's linked datasets hold them: cloud.google.com/logging/docs/analyze/examples. An array
# is joined with another by their places, since the emulator counts [OFFSET()] otherwise than BigQuery.
LOG_SQL = """
    SELECT
      entry.timestamp AS timestamp,
      entry.trace AS trace,
      entry.span_id AS span_id,
      JSON_VALUE(entry.json_payload, '$.model_version') AS model_version,
      JSON_VALUE(entry.json_payload, '$.mode') AS mode,
      SAFE_CAST(JSON_VALUE(entry.json_payload, '$.status') AS INT64) AS status,
      SAFE_CAST(JSON_VALUE(entry.json_payload, '$.latency_ms') AS FLOAT64) AS latency_ms,
      SAFE_CAST(JSON_VALUE(entry.json_payload, '$.log_share') AS FLOAT64) AS log_share,
      place AS row_in_request,
      SAFE_CAST(JSON_VALUE(entry.json_payload, '$.instance_count') AS INT64) AS instance_count,
      instance AS instance,
      JSON_VALUE(prediction, '$.value') AS value,
      JSON_VALUE(prediction, '$.source') AS source,
      JSON_VALUE_ARRAY(prediction, '$.policy') AS policy,
      JSON_VALUE_ARRAY(prediction, '$.steps') AS steps,
      JSON_VALUE(prediction, '$.error.status') AS error
    FROM `{entries}` AS entry,
      UNNEST(JSON_QUERY_ARRAY(entry.json_payload, '$.request.instances')) AS instance WITH OFFSET AS asked_as,
      UNNEST(JSON_QUERY_ARRAY(entry.json_payload, '$.response.predictions')) AS prediction WITH OFFSET AS place
    WHERE JSON_VALUE(entry.json_payload, '$.kind') = 'prediction' AND place = asked_as"""


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


def show_log(entries: str, warehouse: Warehouse) -> bool:
    """Make the view `prediction_log` over the table of log entries; whether there is one now.

    No training fails for want of it: what is amiss is logged, and the next job tries again.

    Args:
        entries: `PROJECT.DATASET.TABLE`; empty for no view.
        warehouse: where the view is made.
    """
    if not entries:
        return False
    try:
        warehouse.make_view(LOG_VIEW, LOG_SQL, entries)
    except NotFound:
        LOG.warning("no view %s: %s (DROPFIT_LOG_TABLE) does not exist yet", LOG_VIEW, entries)
        return False
    except DropfitError as error:
        LOG.warning("no view %s: %s", LOG_VIEW, error)
        return False
    return True
