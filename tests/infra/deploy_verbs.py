# SPDX-License-Identifier: Apache-2.0
"""What `dropfit deploy` starts and writes: shared by its tests."""

from __future__ import annotations

from on_stage import Stage

SHOWN = ["plan", "show"]
PLAN = ["state pull", *SHOWN]
LOOK = ["doctor before", "bundle"]


def written(stage: Stage) -> list[str]:
    """What was changed in Google past Terraform."""
    return [call.id for call in stage.google.written()]
