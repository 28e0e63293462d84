# SPDX-License-Identifier: Apache-2.0
"""The ingest step alone stays within bounded memory, whatever the file; benchmarks/ingest.py does it in full size."""

from __future__ import annotations

import pytest

from benchmarks import ingest

FACTOR = 0.1
LARGE = {ingest.bomb_of_rows: 0.2, ingest.large_page: 0.2}
"""What is no bomb when it is smaller."""


@pytest.mark.verify
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("case", ingest.CASES, ids=[case.make.__name__ for case in ingest.CASES])
def test_a_file_made_to_exhaust_memory_gets_its_verdict_under_600_mb(case: ingest.Case) -> None:
    found = ingest.measure(case, LARGE.get(case.make, FACTOR))
    assert found.code == found.expected
    assert found.peak < ingest.PEAK
