# SPDX-License-Identifier: Apache-2.0
"""A deployment in which jobs run, and what its view shows: shared by the tests of the job."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dropfit.warehouse import Warehouse

House = Any
Make = Callable[..., House]


def shown(house: House) -> list[dict[str, Any]]:
    warehouse = Warehouse(house.settings)
    return [dict(row.items()) for row in warehouse.query(f"SELECT * FROM `{warehouse.name('predictions')}`", {})]
