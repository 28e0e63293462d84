# SPDX-License-Identifier: Apache-2.0
"""Whatever a runner makes of an exception, a person reads the one that was raised."""

from __future__ import annotations

import pytest

from beam_pipelines.faults import of_beam
from dropfit.errors import BadFile, BatchError, Unavailable

FRAMES = 'Traceback (most recent call last):\n  File "apache_beam/runners/common.py", line 1512, in process\n'
AGAIN = "\n\nDuring handling of the above exception, another exception occurred:\n\n"


@pytest.mark.parametrize(
    ("said", "kind", "told"),
    [
        ("dropfit.errors.BadFile: a.csv: it is torn [while running 'Read']", BadFile, "a.csv: it is torn"),
        (
            f"{FRAMES}dropfit.errors.BadFile: it is torn{AGAIN}{FRAMES}"
            "RuntimeError: dropfit.errors.BadFile: it is torn [while running 'Read']\n",
            BadFile,
            "it is torn",
        ),
        (f"{FRAMES}dropfit.errors.Unavailable: gs://x: no [while running 'Write']\n", Unavailable, "gs://x: no"),
        (
            f"{FRAMES}ValueError: boo\nsecond [while running 'Predict']\n",
            BatchError,
            "v1: Predict raised ValueError: boo?second; what was finished is kept, run it again to go on",
        ),
        ("something else", BatchError, "v1 broke off: something else; what was finished is kept"),
        ("", BatchError, "v1 broke off: RuntimeError"),
    ],
)
def test_the_error_that_was_raised_is_told_and_not_the_runners_frames(said: str, kind: type, told: str) -> None:
    found = of_beam(RuntimeError(said), "v1")
    assert type(found) is kind
    assert str(found).startswith(told)


def test_an_error_of_ours_stays_what_it_is() -> None:
    error = Unavailable("no")
    assert of_beam(error, "v1") is error
