# SPDX-License-Identifier: Apache-2.0
"""`dropfit batch predict`: any file in, predictions out, nothing lost on bad input."""

from __future__ import annotations

import csv
import gzip
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from google.cloud import bigquery
from typer.testing import CliRunner

from beam_pipelines import outputs, transforms
from dropfit import version
from dropfit.cli import app
from dropfit.errors import DropfitError, Unavailable
from dropfit.ingest import from_table

House = Any
PROBLEMS = str(Path(__file__).parents[1] / "problems")
HEADER = "id,island,sex,culmen_length_mm,culmen_depth_mm,flipper_length_mm,body_mass_g,note"
GOOD = (
    "7,Biscoe,MALE,46.1,13.2,211,4500,first",
    "8,Dream,FEMALE,46.5,17.9,192,3500,",
    "9,Torgersen,,39.1,18.7,181,,=1+1",
)
BAD = (
    "10,Atlantis,MALE,46.1,13.2,211,4500,sunk",
    "11,Dream,MALE,far,17.9,192,3500,",
    "12,Dream,MALE,46,17,1e9,3500,",
)


@pytest.fixture
def served(house: Callable[..., House], penguins: list[Path]) -> House:
    made = house()
    made.upload("a.csv", penguins[0])
    made.work()
    return made


def predict(*arguments: str | Path, status: int = 0) -> str:
    found = CliRunner().invoke(app, ["batch", "predict", *map(str, arguments)])
    assert found.exit_code == status, found.output + repr(found.exception)
    return found.output + (str(found.exception) if isinstance(found.exception, DropfitError) else "")


def test_a_csv_file_keeps_its_columns_and_its_bad_rows_are_set_aside_with_reasons(
    served: House, tmp_path: Path
) -> None:
    file = tmp_path / "in.csv"
    file.write_text("\n".join([HEADER, GOOD[0], BAD[0], GOOD[1], BAD[1], GOOD[2], BAD[2]]) + "\n")
    told = predict(file, "--output", tmp_path / "out.parquet", "--json", status=3)
    assert json.loads(told[told.index("{") :])["reasons"] == {
        "island: not one of Biscoe, Dream, Torgersen": 1,
        "culmen_length_mm: not a number": 1,
        "flipper_length_mm: above 300": 1,
    }
    found = pd.read_parquet(tmp_path / "out.parquet")
    assert found["id"].tolist() == ["7", "8", "9"]
    assert found["note"].tolist()[2] == "=1+1"
    assert set(found["prediction"]) <= {"Adelie", "Gentoo", "Chinstrap"}
    with (tmp_path / "out.rejected.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["row"], row["column"]) for row in rows] == [
        ("2", "island"),
        ("4", "culmen_length_mm"),
        ("6", "flipper_length_mm"),
    ]
    assert json.loads(rows[0]["cells"])["note"] == "sunk"
    assert not list(tmp_path.glob(".*")), "the work is cleared away"


def test_every_form_of_input_and_output_says_the_same(served: House, tmp_path: Path) -> None:
    frame = pd.DataFrame([line.split(",") for line in GOOD], columns=HEADER.split(",")).replace("", None)
    numbers = HEADER.split(",")[3:7]
    frame[numbers] = frame[numbers].astype(float)
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress("\n".join([HEADER, *GOOD]).encode()))
    frame.to_json(tmp_path / "b.jsonl", orient="records", lines=True)
    frame.to_parquet(tmp_path / "c.parquet")
    predict(tmp_path / "a.csv.gz", "-o", tmp_path / "a.parquet")
    predict(tmp_path / "b.jsonl", "-o", tmp_path / "b.csv")
    predict(tmp_path / "c.parquet", "-o", f"{tmp_path}/c/")
    whole = pd.read_parquet(tmp_path / "a.parquet")
    by_label = pd.read_csv(tmp_path / "b.csv")
    listed = json.loads((tmp_path / "c" / "manifest.json").read_text())["shards"]
    (shard,) = [pd.read_parquet(each["name"]) for each in listed]
    assert whole["prediction"].tolist() == by_label["prediction"].tolist() == shard["prediction"].tolist()
    first = {each["label"]: each["probability"] for each in whole["probabilities"][0]}
    assert by_label["probability_Adelie"][0] == pytest.approx(first["Adelie"])
    scorer = version.load(served.registry, served.services.problem, whole["model_version"][0]).scorer
    features = pq.read_table(tmp_path / "a.parquet").select([f.name for f in scorer.contract.features])
    assert whole["prediction"].tolist() == list(scorer.score(from_table(features)).values)


def test_a_bucket_and_a_table_are_outputs_and_inputs(served: House, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("\n".join([HEADER, *GOOD]))
    data, dataset = served.settings.data_bucket, served.settings.dataset
    predict(tmp_path / "a.csv", "-o", f"gs://{data}/out/a.parquet")
    predict(f"gs://{data}/out/*.parquet", "-o", f"bq://{dataset}.scored")
    client = bigquery.Client(project=served.settings.project)
    rows = [dict(row.items()) for row in client.list_rows(f"{dataset}.scored")]
    assert sorted(row["id"] for row in rows) == ["7", "8", "9"]
    predict(f"bq://{dataset}.scored", "-o", tmp_path / "again.csv")
    again = pd.read_csv(tmp_path / "again.csv")
    assert sorted(again["prediction"]) == sorted(row["prediction"] for row in rows)
    assert "already" in predict(f"bq://{dataset}.scored", "-o", f"bq://{dataset}.scored", status=1)
    left = [stored.name for stored in served.buckets.data.list("batch/")]
    assert not left, "the work is cleared away"


def test_what_was_there_is_not_replaced_unasked_and_what_cannot_be_read_says_why(
    served: House, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text("\n".join([HEADER, *GOOD]))
    (tmp_path / "out.csv").write_text("mine")
    assert "--replace" in predict(tmp_path / "a.csv", "-o", tmp_path / "out.csv", status=1)
    assert (tmp_path / "out.csv").read_text() == "mine"
    predict(tmp_path / "a.csv", "-o", tmp_path / "out.csv", "--replace")
    assert (tmp_path / "out.csv").read_text().count("\n") == 4
    (tmp_path / "b.csv").write_text("id,sex\n1,MALE\n")
    told = predict(tmp_path / "b.csv", "-o", tmp_path / "b.parquet", status=1)
    assert "b.csv" in told
    assert "columns are missing" in told
    assert not (tmp_path / "b.parquet").exists()
    assert "no such file" in predict(tmp_path / "gone.csv", "-o", tmp_path / "b.parquet", status=1)
    assert "FILE.parquet" in predict(tmp_path / "a.csv", "-o", tmp_path / "out.xlsx", status=1)


KILLED = """
import os, sys, time
sys.path.append({problems!r})
from beam_pipelines import outputs, transforms
real, wrote = transforms.Write.process, []
def slowly(self, predicted):
    yield from real(self, predicted)
    os.write(1, b"wrote\\n")
    wrote.append(predicted)
    time.sleep(0.2 if len(wrote) < 4 else 300)  # then it is killed
transforms.Write.process = slowly
from dropfit.cli import main
sys.argv = ["dropfit", "batch", "predict", *sys.argv[1:]]
main()
"""


@pytest.mark.verify
def test_a_run_that_was_killed_goes_on_without_repeating_a_finished_shard(
    served: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(12):
        rows = [f"{number * 3 + place},{line.partition(',')[2]}" for place, line in enumerate(GOOD)]
        (tmp_path / f"{number:02}.csv").write_text("\n".join([HEADER, *rows]))
    arguments = [str(tmp_path / "*.csv"), "-o", str(tmp_path / "all.parquet")]
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED.format(problems=PROBLEMS), *arguments], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    for _ in range(4):
        assert child.stdout.readline() == "wrote\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    work = next(tmp_path.glob(".all.parquet.*"))
    noted = {int(path.name[:7]) for path in (work / "done").rglob("*.json")}
    assert len(noted) >= 4
    real, again = transforms.Write.process, set()

    def spy(self: Any, predicted: Any) -> Any:
        again.add(predicted.piece.split)
        yield from real(self, predicted)

    monkeypatch.setattr(transforms.Write, "process", spy)
    predict(*arguments)
    assert again == set(range(12)) - noted
    assert pd.read_parquet(tmp_path / "all.parquet")["id"].astype(int).tolist() == list(range(36))
    assert not work.exists()


def test_nothing_of_anybodys_is_overwritten_or_removed_unasked(
    served: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_text("\n".join([HEADER, GOOD[0], BAD[0]]))
    mine = [tmp_path / "mine" / name for name in ("plan.json", "done/a.txt", "shards/b.txt")]
    for path in mine:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    assert "holds other things" in predict("a.csv", "-o", "mine", "--replace", status=1)
    assert all(path.read_text() == "mine" for path in mine)
    assert "is one of the inputs" in predict("a.csv", "-o", "a.csv", "--replace", status=1)
    assert "is one of the inputs" in predict("a.csv", "-o", "b.csv", "--rejected", "a.csv", "--replace", status=1)
    assert "is the output" in predict("a.csv", "-o", "b.csv", "--rejected", "b.csv", status=1)
    (tmp_path / "b.rejected.csv").write_text("mine")
    assert "is there already" in predict("a.csv", "-o", "b.csv", status=1)
    assert "names nothing" in predict("a.csv", "-o", "", status=1)
    assert "say FILE.parquet" in predict("a.csv", "-o", "out.xlsx", status=1), "which is no table DATASET.TABLE"
    assert "cannot be written" in predict("a.csv", "-o", "/proc/nope/b.csv", status=1)
    assert (tmp_path / "a.csv").read_text().startswith("id,")
    assert (tmp_path / "b.rejected.csv").read_text() == "mine"


def test_files_without_a_row_that_can_be_predicted_end_well_and_those_that_cannot_be_read_leave_nothing(
    served: House, tmp_path: Path
) -> None:
    (tmp_path / "header.csv").write_text(f"{HEADER}\n")
    predict(tmp_path / "header.csv", "-o", tmp_path / "none.parquet")
    assert pq.read_table(tmp_path / "none.parquet").num_rows == 0
    (tmp_path / "bad.csv").write_text("\n".join([HEADER, *BAD]))
    predict(tmp_path / "bad.csv", "-o", tmp_path / "bad.parquet", status=3)
    assert len(pd.read_csv(tmp_path / "bad.rejected.csv")) == len(BAD)
    (tmp_path / "torn.csv.gz").write_bytes(gzip.compress("\n".join([HEADER, *GOOD]).encode())[:-9])
    predict(tmp_path / "torn.csv.gz", "-o", tmp_path / "torn.csv", status=1)
    assert not list(tmp_path.glob(".*")), "no second run mends it"


def test_a_replacement_that_cannot_be_read_leaves_what_was_there(served: House, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("\n".join([HEADER, *GOOD]))
    (tmp_path / "bad.csv").write_bytes(b"")
    predict(tmp_path / "a.csv", "-o", f"{tmp_path}/out/")
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    predict(tmp_path / "bad.csv", "-o", f"{tmp_path}/out/", "--replace", status=1)
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == before
    assert before


def test_workers_on_other_machines_are_not_given_files_and_folders_of_this_one(
    served: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DROPFIT_RUNNER", "DataflowRunner")
    (tmp_path / "a.csv").write_text("\n".join([HEADER, *GOOD]))
    bucket = f"gs://{served.settings.data_bucket}"
    served.buckets.data.put("a.csv", (tmp_path / "a.csv").read_bytes())
    assert "cannot read" in predict(tmp_path / "a.csv", "-o", f"{bucket}/out.csv", status=1)
    assert "cannot write here" in predict(f"{bucket}/a.csv", "-o", f"{tmp_path}/out/", status=1)
    told = predict(f"{bucket}/a.csv", "-o", tmp_path / "out.csv", status=1)
    assert "DROPFIT_REGION" in told, (
        "a file is put together here, out of a bucket: only Dataflow's settings are missing"
    )
    assert not list(tmp_path.glob(".*"))


def test_a_run_that_ended_between_its_sheet_and_its_output_goes_on(
    served: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.csv").write_text("\n".join([HEADER, *GOOD, *BAD]))

    def breaks(*given: Any) -> None:
        raise Unavailable("the disk is full (injected)")

    with monkeypatch.context() as patch:
        patch.setattr(outputs.FileOutput, "finish", breaks)
        predict(tmp_path / "a.csv", "-o", tmp_path / "out.csv", status=1)
    assert (tmp_path / "out.rejected.csv").exists()
    predict(tmp_path / "a.csv", "-o", tmp_path / "out.csv", status=3)
    assert len(pd.read_csv(tmp_path / "out.csv")) == len(GOOD)
    assert "is there already" in predict(tmp_path / "a.csv", "-o", tmp_path / "out.csv", status=1)
