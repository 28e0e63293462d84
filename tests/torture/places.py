# SPDX-License-Identifier: Apache-2.0
"""Where the proofs find the tests' problems, fakes and example, with pytest and without: imported for its effect."""

from __future__ import annotations

import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path += [place for name in ("problems", "unit", "example") if (place := str(TESTS / name)) not in sys.path]

import stand_in  # noqa: E402 (found in the folders above)

stand_in.install()
search = stand_in.search
