# SPDX-License-Identifier: Apache-2.0
"""The serving benchmark's own arithmetic: what wrk and hey say, what /proc says, and ratios of rounds."""

from __future__ import annotations

import json
import os

import pytest

from benchmarks.serving import agree, bodies, load, tree
from benchmarks.serving.latency import Swaps, Waits
from benchmarks.serving.rounds import Sample, Spread, ratio
from benchmarks.serving.servers import BY_NAME, ECHO, HYBRID, MODEL, NUMPY, TABLE
from benchmarks.serving.starts import parse_imports
from benchmarks.serving.targets import Results, targets

HEY = """response-time,DNS+dialup,DNS,Request-write,Response-delay,Response-read,status-code,offset
0.0010,0.0003,0.0000,0.0001,0.0020,0.0009,200,0.5000
0.0040,0.0003,0.0000,0.0001,0.0020,0.0009,200,1.0000
0.0020,0.0003,0.0000,0.0001,0.0020,0.0009,503,2.0000
"""
STAT = "{pid} (a (bad) name) S {parent} 1 1 0 -1 4194560 1 2 3 4 {utime} {stime} {cutime} {cstime} 20 0 1 0 99"
KEYS = [("UA", "EWR", "IAH", weekday, hour) for weekday in range(7) for hour in (6, 7)]


def sample(server: str, round_: int, us: float, size: int = 1) -> Sample:
    return Sample(server, size, round_, us, 1e6 / us, 1.0, 1.0)


def test_a_request_that_hey_got_no_answer_to_or_a_bad_one_is_an_error() -> None:
    found = load.parse_hey(HEY, sent=5)
    assert (found.sent, found.errors) == (5, 3)
    assert (found.p50_ms, found.p99_ms) == (2.0, 4.0)
    assert found.rate == 1.5
    with pytest.raises(load.LoadError, match="no answer"):
        load.parse_hey(HEY.splitlines()[0], sent=5)


def test_what_wrk_saw_is_one_line_among_its_own() -> None:
    found = load.parse_wrk("Running 2s test\n  2 threads\nWRK 4000 2000000 7500 3\n")
    assert found == load.Burst(requests=4000, seconds=2.0, p99_ms=7.5, errors=3)
    with pytest.raises(load.LoadError, match="unable to connect"):
        load.parse_wrk("unable to connect to 127.0.0.1")


def test_a_percentile_is_a_value_that_was_measured() -> None:
    values = [float(number) for number in range(1, 201)]
    assert [load.percentile(values, share) for share in (0.5, 0.99, 1.0)] == [100.0, 198.0, 200.0]
    assert load.percentile([7.0], 0.99) == 7.0


def test_the_time_of_children_that_ended_counts_and_a_name_with_brackets_misleads_nobody() -> None:
    stat = STAT.format(pid=7, parent=3, utime=100, stime=20, cutime=3, cstime=4)
    assert tree.cpu_ticks(stat) == 127
    assert tree.parent(stat) == 3


def test_a_family_is_a_process_and_everything_below_it() -> None:
    assert sorted(tree.family(2, {2: 1, 3: 2, 4: 3, 5: 1, 6: 5, 7: 2})) == [2, 3, 4, 7]


def test_a_process_that_works_uses_time_and_holds_memory() -> None:
    meter = tree.Meter(os.getpid())
    while meter.seconds() == 0:
        pass
    assert tree.memory(os.getpid()) > 10e6
    assert tree.pss("Rss: 9 kB\nPss:      12 kB\nPss_Anon: 3 kB\n") == 12 * 1024


def test_ratios_are_taken_within_rounds_so_that_a_slow_round_changes_nothing() -> None:
    samples = [sample(ECHO, turn, 70 * mood) for turn, mood in enumerate((1, 3, 1))]
    samples += [sample(MODEL, turn, 100 * mood) for turn, mood in enumerate((1, 3, 1.4))]
    assert ratio(samples, MODEL, ECHO, 1) == Spread(0.7, 0.5, 0.7)
    assert ratio(samples, MODEL, TABLE, 1) is None


def test_a_promise_is_kept_by_its_median_and_not_by_a_setting_that_is_another() -> None:
    samples = [sample(ECHO, 0, 70), sample(MODEL, 0, 100), sample(TABLE, 0, 90), sample(NUMPY, 0, 5000)]
    wrong = agree.Agreement(TABLE, 10, 0.0, 0.0, "not what it is called")
    found = {target.what: target for target in targets(Results(agreements=[wrong], samples=samples))}
    model, table = found[f"{MODEL}, 1 row: of the echo"], found[f"{TABLE}, 1 row: of the echo"]
    assert model.met
    assert model.measured.median == 0.7
    assert table.measured.median > table.bound
    assert not table.met
    best = next(target for what, target in found.items() if "best scikit-learn" in what)
    assert best.measured.median == 50


def test_swaps_that_the_server_never_served_prove_nothing() -> None:
    steady = Waits(HYBRID, [load.Steady(1000, 1.0, p99, 500.0, 0) for p99 in (4.0, 8.0, 4.0)])
    swapping = Waits(HYBRID, [load.Steady(1000, 1.0, p99, 500.0, 0) for p99 in (5.0, 20.0, 6.0)])
    for seen, kept in ((100, True), (60, False)):
        found = targets(Results(swaps=Swaps(120, seen, steady, swapping)))
        assert [target.measured.median for target in found] == [1.5, 0.0]
        assert [target.met for target in found] == [kept, kept]


def test_the_mix_holds_exactly_its_share_of_keys_that_the_table_has_not() -> None:
    for size in bodies.SIZES:
        requests = bodies.draw(KEYS, size, bodies.MISSES)
        assert [len(request) for request in requests] == [size] * bodies.BODIES[size]
        keys = [tuple(instance.values()) for request in requests for instance in request]
        assert sum(key not in KEYS for key in keys) == round(0.1 * len(keys))
    assert all(tuple(one.values()) in KEYS for (one,) in bodies.draw(KEYS, 1, 0))


def test_both_forms_of_a_reply_hold_the_same_values() -> None:
    ours = json.dumps({"predictions": [{"value": 0.25, "source": "table"}, {"value": 0.5, "source": "model"}]})
    theirs = json.dumps({"outputs": [{"name": "predict_proba", "data": [0.75, 0.25, 0.5, 0.5]}]})
    assert bodies.values("instances", ours.encode()) == bodies.values("v2", theirs.encode()) == [0.25, 0.5]
    assert bodies.sources(ours.encode()) == ["table", "model"]


def test_a_setting_is_named_when_its_answers_come_from_elsewhere() -> None:
    assert agree.complaint(BY_NAME[TABLE], ["table"] * 10) == ""
    assert agree.complaint(BY_NAME[HYBRID], ["table"] * 90 + ["model"] * 10) == ""
    assert "50% model" in agree.complaint(BY_NAME[TABLE], ["table", "model"])
    assert "10% backoff" in agree.complaint(BY_NAME[HYBRID], ["table"] * 90 + ["backoff"] * 10)
    assert agree.complaint(BY_NAME[ECHO], []) == ""


def test_imports_are_summed_by_package_and_heavy_ones_named() -> None:
    text = "import time: self [us] | cumulative | imported package\n"
    text += "import time:       500 |        500 |     numpy.core\nimport time:      1000 |       1500 |   numpy\n"
    text += "import time:       200 |        200 |   google.cloud.storage.blob\nimport time: 50 | 50 | pandas.io\n"
    found = parse_imports(text)
    assert found.dearest == [("numpy", 1.5), ("google.cloud.storage", 0.2), ("pandas", 0.05)]
    assert found.heavy == ["pandas"]
    assert found.modules == 4
