# SPDX-License-Identifier: Apache-2.0
"""The proofs share the unit tests' fakes."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "unit"))
