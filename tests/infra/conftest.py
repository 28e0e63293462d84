# SPDX-License-Identifier: Apache-2.0
"""What the tests of infra/ share. Test modules import from planning.py: there is a conftest in every folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from planning import INFRA, PIPELINE_VARIABLES, VARIABLES, copied, planned


@pytest.fixture(scope="session")
def infra(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of infra/ in which Terraform can plan."""
    return copied(INFRA, tmp_path_factory.mktemp("terraform") / "infra")


@pytest.fixture(scope="session")
def plan(infra: Path) -> dict[str, Any]:
    """The plan of a deployment that has everything."""
    return planned(infra, VARIABLES)


@pytest.fixture(scope="session")
def pipeline_plan(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The plan of infra/pipeline/, which has a state of its own."""
    return planned(copied(INFRA / "pipeline", tmp_path_factory.mktemp("terraform") / "pipeline"), PIPELINE_VARIABLES)


@pytest.fixture(scope="session")
def resources(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """Every resource of the plan: type, name, address, values."""
    return list(plan["planned_values"]["root_module"]["resources"])


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The command line before a little Google and a little Terraform."""
    from on_stage import Stage

    return Stage(tmp_path, monkeypatch)
