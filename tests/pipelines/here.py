# SPDX-License-Identifier: Apache-2.0
"""A machine's own settings for a pipeline, and a version's name: shared by the tests of the runners."""

from __future__ import annotations

from typing import Any

import msgspec

from dropfit.settings import Settings

VERSION = "20130201T101112-deadbeef"
HERE = Settings(project="p-project", landing_bucket="l", data_bucket="d", models_bucket="m")


def here(**changes: Any) -> Settings:
    return msgspec.structs.replace(HERE, **changes)
