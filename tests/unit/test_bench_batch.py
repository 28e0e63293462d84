# SPDX-License-Identifier: Apache-2.0
"""The batch benchmark's own arithmetic: what it reads from others' words, and which promises it calls kept."""

from __future__ import annotations

import math
import os
from io import StringIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from benchmarks.batch import agree, contest, endtoend, report
from benchmarks.batch.__main__ import turns
from benchmarks.batch.contest import CONTENDERS, DROPFIT, PANDAS, PROCESSES, SPARK, THREADS, Sample
from benchmarks.batch.endtoend import FITTING, LOADING, OTHER, PREDICTING, Part, Span, Upload
from benchmarks.batch.results import Results, faster, targets

LOG = """\
import time: self [us] | cumulative | imported package
import time:    300000 |     300000 | numpy
2026-11-24 18:07:22,300 INFO begun: 0.31 s after this module's import
import time:     50000 |      50000 | pyarrow
2026-11-24 18:07:22,847 INFO ingest: 0.49 s {'rows': 3}
import time:    200000 |     200000 |   sklearn
2026-11-24 18:07:23,847 INFO imports: 0.90 s
2026-11-24 18:07:26,100 INFO train: 2.00 s {'rows': 3}
import time:    100000 |     100000 | onnx
2026-11-24 18:07:26,508 INFO export: 0.40 s {}
"""


def sample(name: str, turn: int, seconds: float, rows: int = 1000, peak: float = 400.0) -> Sample:
    return Sample(name, rows, turn, seconds, 2 * seconds, peak, 1.0, 0.0)


def results() -> Results:
    found = Results(rows=1000, small=100)
    found.samples = [sample(DROPFIT, turn, 1.0 * mood) for turn, mood in enumerate((1, 3, 1))]
    found.samples += [sample(DROPFIT, turn, 0.125 * mood, 100, 380) for turn, mood in enumerate((1, 3, 1))]
    found.samples += [sample(THREADS, turn, 0.5 * mood) for turn, mood in enumerate((1, 3, 1))]
    found.samples += [sample(PROCESSES, turn, 0.8 * mood) for turn, mood in enumerate((1, 3, 1))]
    return found


def test_ratios_are_taken_within_rounds_and_a_slow_contender_may_have_fewer_rows() -> None:
    found = results()
    found.samples += [sample(SPARK, 1, 9.0), sample(PANDAS, 2, 0.6, rows=100)]
    assert faster(found, THREADS) == (0.5, 0.5, 0.5)
    assert faster(found, SPARK) == pytest.approx((3.0, 3.0, 3.0))
    assert faster(found, PANDAS) == pytest.approx((6.0, 6.0, 6.0))
    assert faster(found, "nobody") is None


def test_the_faster_of_the_bare_loops_counts_and_what_was_not_measured_promises_nothing() -> None:
    found = {target.what: target for target in targets(results())}
    bare = found[f"Dropfit, rows a second: times {THREADS}'s"]
    assert not any(name in what for what in found for name in (PROCESSES, SPARK, PANDAS, "upload"))
    assert (bare.met, bare.measured.median, bare.bound) == (False, 0.5, 0.7)
    assert found["Dropfit, 10 times the rows: times the time"].measured.median == 8.0
    assert found["Dropfit, 10 times the rows: times the time"].bound == 10.5
    assert found["Dropfit, 10 times the rows: times the memory"].met
    assert found["Dropfit, most resident memory"].met


def test_quick_ones_come_every_round_and_slow_ones_once_right_after_dropfit() -> None:
    plan = turns(list(CONTENDERS), rounds=3, slow=1)
    names = [[one.name for one in order] for order in plan]
    assert all(quick in order for order in names for quick in (DROPFIT, THREADS, PROCESSES))
    for slow in (one.name for one in CONTENDERS if one.slow):
        assert sum(order.count(slow) for order in names) == 1
    assert all(order[order.index(SPARK) - 1] == DROPFIT for order in names if SPARK in order)
    assert len({order[0] for order in names}) == 3


def test_imports_are_told_by_the_step_that_follows_them() -> None:
    assert endtoend.imports(LOG) == pytest.approx({"begun": 0.3, "ingest": 0.05, "train": 0.9, "export": 0.1})


def test_an_uploads_way_is_split_by_what_its_record_tells_and_imports_are_taken_out() -> None:
    steps = [Span("ingest", 0.5, "ingest", {}), Span("train", 2.0, "train", {"read": 0.2, "fit": 1.5})]
    whole = endtoend.spans(steps, began=100.0, started=[100.4, 102.0])
    assert [(span.name, pytest.approx(span.seconds)) for span in whole] == [
        ("before ingest", 0.4),
        ("ingest", 0.5),
        ("before train", 1.1),
        ("train", 2.0),
    ]
    found = endtoend.parts(whole, {"begun": 0.3, "ingest": 0.1, "train": 0.9})
    assert [(part.name, part.kind, pytest.approx(part.seconds)) for part in found] == [
        ("before ingest", OTHER, 0.1),
        ("ingest", LOADING, 0.4),
        ("before train", OTHER, 0.2),
        ("train: read", LOADING, 0.2),
        ("train: fit", FITTING, 1.5),
        ("train: the rest", OTHER, 0.3),
    ]
    upload = Upload("january", 4.0, 1.3, tuple(found))
    assert upload.share(OTHER) == pytest.approx(0.6 / 2.7)
    assert upload.share(PREDICTING) == 0.0


def test_memory_and_time_are_those_of_a_process_and_of_all_below_it() -> None:
    stat = "{pid} (a (bad) name) S {parent} 1 1 0 -1 0 1 2 3 4 100 20 3 4 20 0 1 0 99 500 {pages} 0"
    stats = {pid: stat.format(pid=pid, parent=of, pages=10) for pid, of in {2: 1, 3: 2, 4: 3, 5: 1}.items()}
    assert contest.look(2, stats) == (30 * os.sysconf("SC_PAGE_SIZE"), 3 * 127)
    with contest.Watch(os.getpid()) as watch:
        pass
    assert watch.peak > 10e6


def test_what_a_contender_wrote_is_counted_and_compared_by_key(tmp_path: Path) -> None:
    rows = {
        "carrier": ["UA", "B6"],
        "origin": ["EWR", "JFK"],
        "dest": ["IAH", "BOS"],
        "weekday": [0, 1],
        "hour": [6, 7],
    }
    pq.write_table(pa.table(rows | {"prediction": [0.25, 0.5]}), tmp_path / "expected.parquet")
    (tmp_path / "out").mkdir()
    pq.write_table(pa.table(rows | {"prediction": [0.25, 0.50005]}), tmp_path / "out" / "part.parquet")
    assert agree.check(tmp_path, tmp_path / "out", 2) == pytest.approx(5e-5)
    with pytest.raises(ValueError, match="2 rows of 3"):
        agree.check(tmp_path, tmp_path / "out", 3)
    pq.write_table(pa.table(rows | {"prediction": [0.25, 0.6]}), tmp_path / "out" / "part.parquet")
    with pytest.raises(ValueError, match=r"differs from scikit-learn's by 0\.1"):
        agree.check(tmp_path, tmp_path / "out", 2)
    assert math.isinf(agree.apart({}, [(("UA",), 0.25)]))


def test_the_tables_tell_every_contender_and_every_part(tmp_path: Path) -> None:
    found = results()
    found.samples.append(sample(SPARK, 1, 9.0))
    found.uploads = [Upload("january", 4.0, 1.5, (Part("train: fit", FITTING, 2.0), Part("promote", OTHER, 0.5)))]
    found.missing = ["Spark is not installed"]
    text = StringIO()
    report.show(Console(file=text, width=200), found)
    for told in (DROPFIT, THREADS, SPARK, "train: fit", "0.50 (20%)", "Spark is not installed", "≥ 2.5"):
        assert told in text.getvalue()
    report.write(tmp_path / "found.json", found)
    assert '"met": true' in (tmp_path / "found.json").read_text()
