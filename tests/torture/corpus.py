# SPDX-License-Identifier: Apache-2.0
"""Bad and odd files, made from the real flights, each with the verdict that it must get.

    .venv/bin/python tests/torture/corpus.py FOLDER [SEED]      writes them there, to be looked at

Every file holds flights of its own, so that none repeats another's rows.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from deck import UNPACKED, Deck, Verdict
from odd_forms import bombs, json_files, parquet_files, strangers
from odd_texts import columns, dialects, encodings, names, odd_cells, torn

from dropfit.batches import Caps
from dropfit.errors import BadFile
from dropfit.ingest import ingest
from dropfit.problem import problem


class Case(NamedTuple):
    """A file.

    Attributes:
        name: of the object.
        payload: its bytes.
        verdict: what must become of it.
    """

    name: str
    payload: bytes
    verdict: Verdict


CHAPTERS = (dialects, columns, encodings, odd_cells, torn, strangers, json_files, parquet_files, bombs, names)


def corpus(seed: int) -> list[Case]:
    """All the files.

    Args:
        seed: decides which flights they hold.
    """
    deck = Deck(seed)
    return [Case(*each) for chapter in CHAPTERS for each in chapter(deck)]


def judged(payload: bytes) -> tuple[Verdict, str]:
    """The ingest step's verdict, without a cloud, and its reason."""
    caps = Caps(max_unpacked_bytes=UNPACKED)
    try:
        found = ingest(problem, io.BytesIO(payload), io.BytesIO(), io.StringIO(newline=""), caps)
    except BadFile as bad:
        return Verdict(code=bad.code), bad.reason
    return Verdict(accepted=found.rows, rejected=found.rejected), ""


class Figure(NamedTuple):
    """How many files got the verdict that they must get.

    Attributes:
        seed: of the flights in them.
        files: how many there are.
        right: how many got their verdict.
        served: whether the pointer and the model's hash stayed what they were.
        wrong: the others, each in a line.
    """

    seed: int
    files: int
    right: int
    served: bool
    wrong: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether all is as it must be."""
        return self.right == self.files and self.served

    @property
    def sentence(self) -> str:
        """The figure in words."""
        served = "unchanged" if self.served else "CHANGED"
        return f"{self.right} of {self.files} the expected verdict, served pointer and model hash {served}"


def run(
    seed: int,
    upload: Callable[[str, bytes], Any],
    work: Callable[[], None],
    outcome: Callable[[Any], Any],
    served: Callable[[], object],
) -> Figure:
    """Upload the corpus to a deployment that records uploads, and compare.

    Args:
        seed: of the flights in it.
        upload: an object's name and bytes -> its receipt.
        work: lets the job run until nothing waits.
        outcome: a receipt -> the receipt as it is now.
        served: what is served, with its hashes.
    """
    before = served()
    cases = corpus(seed)
    uploaded = [upload(case.name, case.payload) for case in cases]
    work()
    wrong = []
    for case, receipt in zip(cases, map(outcome, uploaded), strict=True):
        rows = receipt.accepted
        found = Verdict(accepted=rows.rows, rejected=rows.rejected) if rows else Verdict(code=receipt.code or "?")
        expected = "quarantined" if case.verdict.code else "recorded"
        if (found, receipt.state) != (case.verdict, expected):
            wrong.append(
                f"{case.name}: {receipt.state} {found}, {receipt.reason}; expected {expected} {case.verdict}"
            )
    return Figure(seed, len(cases), len(cases) - len(wrong), served() == before, tuple(wrong))


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    for number, case in enumerate(corpus(int((sys.argv[2:] or ["1"])[0]))):
        Path(sys.argv[1], f"{number:03}-{case.name.replace('/', '_')[:100]}").write_bytes(case.payload)
