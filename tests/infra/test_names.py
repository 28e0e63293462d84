# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.infra


def test_a_plan_can_be_made(plan: dict[str, Any]) -> None:
    assert plan["planned_values"]["root_module"] is not None
