# SPDX-License-Identifier: Apache-2.0
"""The head of the table as a file: what was written is what is read, and the file is never larger than allowed."""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropfit import snapshot
from dropfit.errors import ArtifactError
from dropfit.records import Row
from dropfit.snapshot import SMALLEST, Snapshot, Written, write

PLENTY = 10_000_000
texts = st.text(max_size=20) | st.sampled_from(
    ["", "\x00", "UA\tEWR\t\\N\t4", "naïve\tçay\t茶\t🍵", "a\x00b", "ÿ" * 300]
)
values = st.floats() | st.floats(width=32) | st.none() | st.text(max_size=5) | st.sampled_from([-0.0, 0.1, 1e300])
records = st.builds(
    Row,
    values,
    st.lists(st.text(max_size=5), max_size=3).map(tuple),
    st.lists(st.floats(0, 1) | st.floats(0, 1, width=32), max_size=20).map(tuple),
)
tables = st.dictionaries(texts, records, max_size=25)


def bits(row: Row | None) -> str:
    """A row's text tells -0.0 from 0.0, and has one NaN."""
    return repr(row)


def flights(count: int) -> dict[str, Row]:
    return {f"UA\tEWR\tD{n % 300}\t{n // 300}\t17": Row(n / 7) for n in range(count)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / f"table{snapshot.SUFFIX}"


@pytest.fixture(scope="module")
def scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "table"


@given(tables, tables, st.lists(texts))
def test_what_was_written_is_read_exactly_and_nothing_else(
    scratch: Path, rows: dict[str, Row], groups: dict[str, Row], others: list[str]
) -> None:
    written = write(scratch, rows.items(), groups.items(), PLENTY)
    assert written == Written(len(rows), len(groups), 0, scratch.stat().st_size)
    shot = Snapshot(scratch)
    for key in {*rows, *groups, *others}:
        assert bits(shot.get(key)) == bits(rows.get(key))
        assert bits(shot.group(key)) == bits(groups.get(key))
    assert len(shot) == len(rows)
    assert {key: bits(row) for key, row in shot.rows()} == {key: bits(row) for key, row in rows.items()}
    assert {key: bits(row) for key, row in shot.groups()} == {key: bits(row) for key, row in groups.items()}


@given(tables, tables, st.integers(SMALLEST, 2000), st.sampled_from([1, 4, 20, 1000]))
def test_the_file_is_never_larger_than_allowed_and_the_first_stay(
    scratch: Path, rows: dict[str, Row], groups: dict[str, Row], most: int, in_a_bucket: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(snapshot, "KEYS_PER_BUCKET", in_a_bucket)
        written = write(scratch, rows.items(), groups.items(), most)
    assert written.bytes == scratch.stat().st_size <= most
    assert written.rows + written.groups + written.left_out == len(rows) + len(groups)
    shot = Snapshot(scratch)
    assert {key for key, _ in shot.rows()} == set(list(rows)[: written.rows])
    assert {key for key, _ in shot.groups()} == set(list(groups)[: written.groups])


def test_the_bound_holds_with_more_keys_in_one_bucket_than_its_header_usually_counts(path: Path) -> None:
    rows = {f"{n}": Row(None) for n in range(70_000)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(snapshot, "KEYS_PER_BUCKET", 10**6)
        whole = write(path, rows.items(), (), PLENTY)
        assert (whole.rows, dict(Snapshot(path).rows())) == (70_000, rows)
        for most in (whole.bytes, whole.bytes - 1):
            written = write(path, rows.items(), (), most)
            assert written.bytes == path.stat().st_size <= most
            assert written.rows == 70_000 - (most < whole.bytes)


def test_a_file_uses_the_room_it_is_given(path: Path) -> None:
    most = 100_000
    written = write(path, flights(10_000).items(), (), most)
    assert written.left_out > 0
    assert most - 100 < written.bytes <= most


def test_groups_go_in_before_rows_but_take_no_more_than_half(path: Path) -> None:
    groups = {f"1\tcarrier {n}": Row(n / 3) for n in range(10)}
    written = write(path, flights(5000).items(), groups.items(), 2000)
    assert written.groups == 10
    assert 0 < written.rows < 100
    written = write(path, flights(5000).items(), flights(5000).items(), 20_000)
    assert written.rows > 300
    alone = write(path, (), flights(5000).items(), 20_000)
    assert 9_900 < alone.bytes <= 10_000 + SMALLEST
    assert alone.groups == written.groups
    assert Snapshot(path).group(next(iter(flights(1)))) == Row(0.0)


def test_a_row_and_a_group_of_the_same_name_are_two_things(path: Path) -> None:
    write(path, [("1\tUA", Row(1.0))], [("1\tUA", Row(2.0))], PLENTY)
    shot = Snapshot(path)
    assert (shot.get("1\tUA"), shot.group("1\tUA")) == (Row(1.0), Row(2.0))


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 9)), max_size=30))
def test_of_a_key_offered_twice_the_first_stays(scratch: Path, offered: list[tuple[str, int]]) -> None:
    pairs = [(key, Row(float(value))) for key, value in offered]
    first = dict(reversed(pairs))
    written = write(scratch, pairs, (), PLENTY)
    assert dict(Snapshot(scratch).rows()) == first
    assert (written.rows, written.left_out) == (len(first), len(pairs) - len(first))


def test_the_same_content_gives_the_same_bytes_in_any_process(path: Path) -> None:
    program = (
        "import sys; from dropfit.snapshot import Row, write;"
        "groups = [('1\\ta', Row('late', ('floor',), (.1, .9)))];"
        "write(sys.argv[1], [(str(n), Row(n / 7)) for n in range(500)], groups, 5000)"
    )
    files = []
    for seed in ("1", "2"):
        subprocess.run([sys.executable, "-c", program, str(path)], check=True, env={"PYTHONHASHSEED": seed})
        files.append(path.read_bytes())
    assert files[0] == files[1]
    assert len(files[0]) > 4000


def test_reading_imports_neither_numpy_nor_anything_heavy(path: Path) -> None:
    write(path, flights(10).items(), (), PLENTY)
    program = (
        "import sys; from dropfit.snapshot import Snapshot;"
        "assert Snapshot(sys.argv[1]).get('UA\\tEWR\\tD7\\t0\\t17').value == 1.0;"
        "print({'numpy', 'pandas', 'pyarrow', 'sklearn', 'scipy'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", program, str(path)], check=True, capture_output=True, text=True)
    assert ran.stdout.strip() == "set()"


def test_floats_are_kept_to_the_last_bit_and_take_four_bytes_where_that_is_exact(path: Path) -> None:
    single = {str(n): Row(n / 1024) for n in range(1000)}
    double = {str(n): Row(n / 1024 + 1e-12) for n in range(1000)}
    sizes = [write(path, rows.items(), (), PLENTY).bytes for rows in (single, double)]
    assert sizes[1] - sizes[0] == 4 * 1000
    assert all(Snapshot(path).get(key) == row for key, row in double.items())


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"SQLite format 3\x00" + bytes(4096), bytes(100)])
def test_a_foreign_or_empty_file_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match="snapshot"):
        Snapshot(path)


def test_a_file_cut_or_prolonged_anywhere_is_refused(path: Path) -> None:
    write(path, flights(8).items(), [("1\tUA", Row(0.5))], PLENTY)
    whole = path.read_bytes()
    for changed in (*(whole[:size] for size in range(len(whole))), whole + b"\x00"):
        path.write_bytes(changed)
        with pytest.raises(ArtifactError):
            Snapshot(path)


@given(st.data())
def test_a_damaged_file_is_an_artifact_error_or_answers_with_rows_but_never_ends_the_process(
    scratch: Path, data: st.DataObject
) -> None:
    rows = flights(20) | {"label": Row("late", ("floor",), (0.25, 0.75))}
    write(scratch, rows.items(), [("1\tUA", Row(0.5))], PLENTY)
    content = bytearray(scratch.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    scratch.write_bytes(content)
    try:
        shot = Snapshot(scratch)
        answers = [shot.get(key) for key in rows] + [shot.group("1\tUA")]
        answers += [row for _, row in shot.rows()]
    except ArtifactError:
        return
    assert {type(answer) for answer in answers} <= {Row, type(None)}


def test_half_of_a_surrogate_pair_is_a_miss(path: Path) -> None:
    write(path, flights(3).items(), (), PLENTY)
    assert Snapshot(path).get("\ud800") is None


def test_a_bound_that_holds_no_file_at_all_is_refused(path: Path) -> None:
    with pytest.raises(ValueError, match=str(SMALLEST)):
        write(path, (), (), SMALLEST - 1)
    assert write(path, flights(3).items(), (), SMALLEST) == Written(0, 0, 3, SMALLEST)
    assert Snapshot(path).get("UA\tEWR\tD0\t0\t17") is None


def test_an_unlinked_file_is_read_until_it_is_closed(path: Path) -> None:
    rows = flights(100)
    write(path, rows.items(), (), PLENTY)
    shot = Snapshot(path, unlink=True)
    assert not path.exists()
    assert all(shot.get(key) == row for key, row in rows.items())
    shot.close()
    with pytest.raises(ValueError, match="closed"):
        shot.get("UA\tEWR\tD0\t0\t17")


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="the kernel shows no maps here")
def test_the_memory_is_given_back_with_the_last_reference(path: Path) -> None:
    write(path, flights(10).items(), (), PLENTY)
    shot = Snapshot(path, unlink=True)
    assert str(path) in Path("/proc/self/maps").read_text()
    del shot
    assert str(path) not in Path("/proc/self/maps").read_text()


def test_many_threads_read_one_snapshot(path: Path) -> None:
    rows = flights(5000)
    write(path, rows.items(), (), PLENTY)
    shot = Snapshot(path)

    def wrong(turn: int) -> int:
        chosen = list(rows.items())[turn::3]
        return sum(shot.get(key) != row or shot.get(f"{key}x") is not None for key, row in chosen)

    with ThreadPoolExecutor(6) as threads:
        assert list(threads.map(wrong, [0, 1, 2] * 4)) == [0] * 12


def test_fifty_thousand_keys_fill_their_bound_and_are_all_found(path: Path) -> None:
    rows = flights(50_000)
    written = write(path, rows.items(), (), 1_000_000)
    shot = Snapshot(path)
    assert 30_000 < written.rows < 50_000
    assert all(shot.get(key) == row for key, row in list(rows.items())[: written.rows])
    assert all(shot.get(key) is None for key in list(rows)[written.rows :])
    assert math.isclose(written.bytes, 1_000_000, rel_tol=1e-4)
