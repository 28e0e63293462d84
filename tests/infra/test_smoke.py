# SPDX-License-Identifier: Apache-2.0
"""The trial of a deployment, tried on the local cloud; its choices alone where nothing has to run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dropfit import settings as config
from dropfit.contract import load_problem
from dropfit.errors import BadFile, BadRequest, NotFound, SettingsError, Unavailable
from dropfit.problem import problem as flights_problem
from dropfit.rest import Api
from dropfit.settings import Settings
from dropfit.storage import connect
from infra.deploy import smoke, trial
from infra.deploy.environment import Environment
from localcloud.cloud import LocalCloud

DEV = Environment(
    key="dev",
    project="acme-dev",
    region="europe-west1",
    name="late-flights",
    settings={"publish": "hold", "refresh_hours": 6},
)
FLIGHT = "year,month,day,sched_dep_time,arr_delay,carrier,flight,origin,dest,distance\n"


class Session:
    """Answers as Google's REST would."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document, self.asked = document, []

    def request(self, method: str, url: str, **more: Any) -> Any:
        self.asked.append((method, url))
        return SimpleNamespace(raise_for_status=lambda: None, json=lambda: self.document)


@pytest.mark.parametrize(
    ("key", "asked", "trains"),
    [
        ("dev", None, True),
        ("dev", False, False),
        ("prod", None, False),
        ("staging", None, False),
        ("production", None, False),
        ("live", None, False),
        ("staging", True, True),
    ],
)
def test_test_data_is_learned_in_dev_or_where_somebody_says_so(key: str, asked: bool | None, trains: bool) -> None:
    assert smoke.may_train(key, asked) is trains


@pytest.mark.parametrize("key", ["prod", "prod-eu", "production"])
def test_nobody_can_have_prod_trained_on_test_data(key: str) -> None:
    with pytest.raises(BadRequest, match="never trained on test data"):
        smoke.may_train(key, True)


@pytest.mark.parametrize(
    ("key", "more", "tried"),
    [
        ("dev", {}, ["trains"]),
        ("dev", {"train": False}, ["serves"]),
        ("prod", {}, ["serves"]),
        ("live", {}, ["serves"]),
    ],
)
def test_prod_is_asked_and_dev_is_trained(
    key: str, more: dict[str, Any], tried: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    class Tried:
        proof = trial.Proof()

        def __init__(self, *given: Any) -> None:
            """Of whatever."""

        def trains(self, file: Path) -> None:
            done.append("trains")

        def serves(self, file: Path | None) -> None:
            done.append("serves")

    monkeypatch.setattr(smoke, "read", lambda key: DEV)
    monkeypatch.setattr(smoke, "settings_of", lambda *given: SimpleNamespace(problem="x"))
    monkeypatch.setattr(smoke, "Trial", Tried)
    smoke.run(key, file=Path("small.csv"), **more)
    assert done == tried


def test_settings_are_those_of_the_tfvars_with_the_address_that_cloud_run_says() -> None:
    session = Session({"uri": "https://late-flights-predict-xyz.a.run.app"})
    settings = smoke.settings_of(DEV, Api("scope", session))
    assert session.asked == [
        (
            "GET",
            "https://run.googleapis.com/v2/projects/acme-dev/locations/europe-west1/services/late-flights-predict",
        )
    ]
    assert (settings.predict_url, settings.landing_bucket, settings.dataset, settings.retrain_job) == (
        "https://late-flights-predict-xyz.a.run.app",
        "acme-dev-late-flights-landing",
        "late_flights",
        "projects/acme-dev/locations/europe-west1/jobs/late-flights-retrain",
    )
    assert (settings.publish, settings.refresh_hours) == ("hold", 6)


def test_a_function_without_an_address_is_not_deployed_yet() -> None:
    with pytest.raises(NotFound, match="late-flights-predict has no address yet"):
        smoke.settings_of(DEV, Api("scope", Session({})))


def test_instances_are_the_first_rows_that_a_request_could_hold(tmp_path: Path) -> None:
    file = tmp_path / "flights.csv"
    no_time, no_delay = "2013,1,1,2500,5,UA,1,EWR,IAH,1400\n", "2013,1,2,1715,NA,UA,2,EWR,IAH,1400\n"
    file.write_text(FLIGHT + no_time + no_delay + "2013,1,3,905,3,B6,3,JFK,BOS,187\n")
    assert trial.instances(file, flights_problem, flights_problem.contract) == [
        {"carrier": "UA", "origin": "EWR", "dest": "IAH", "weekday": 2, "hour": 17, "distance": 1400.0},
        {"carrier": "B6", "origin": "JFK", "dest": "BOS", "weekday": 3, "hour": 9, "distance": 187.0},
    ]


def test_a_file_without_a_usable_row_is_told(tmp_path: Path) -> None:
    file = tmp_path / "flights.csv"
    file.write_text(FLIGHT + "2013,1,1,2500,5,UA,1,EWR,IAH,1400\n")
    with pytest.raises(BadFile, match=r"flights\.csv holds no row that could be predicted"):
        trial.instances(file, flights_problem, flights_problem.contract)


def test_instances_of_another_problem_come_from_its_own_file(penguins: list[Path]) -> None:
    problem = load_problem("penguins:problem")
    wanted = trial.instances(penguins[0], problem, problem.contract)
    assert len(wanted) == trial.MOST
    assert all(set(instance) <= {f.name for f in problem.features} for instance in wanted)


def test_the_examples_data_are_for_the_examples_problem_alone(tmp_path: Path) -> None:
    assert trial.example(flights_problem, tmp_path).name == "flights-2013-01.csv"
    with pytest.raises(SettingsError, match="--file FILE"):
        trial.example(load_problem("penguins:problem"), tmp_path)


def test_the_command_refuses_before_it_looks_at_anything(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["smoke", "prod", "--train"])
    assert smoke.main() == 1
    assert "prod is what users depend on" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--file", "nothere.csv"], "'nothere.csv' does not exist"),
        (["--file", "."], "'.' is a directory"),
        (["--minutes", "-3"], "a number above 0"),
        (["--minutes", "0"], "a number above 0"),
        (["--minutes", "nan"], "a number above 0"),
    ],
)
def test_what_cannot_be_meant_is_told_in_a_sentence_before_anything_is_asked_of_google(
    given: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = list[str]()
    monkeypatch.setattr(smoke, "Api", asked.append)
    monkeypatch.setattr("sys.argv", ["smoke", "dev", *given])
    with pytest.raises(SystemExit) as ended:
        smoke.main()
    assert (ended.value.code, asked) == (2, [])
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("Error: ")
    assert said in last


@pytest.fixture
def fresh(
    tmp_path: Path, clean: dict[str, str], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Settings]:
    """A cloud of its own, in which nothing has been served yet."""
    with LocalCloud(tmp_path / "cloud", environ=clean | {"DROPFIT_PROBLEM": request.param}) as cloud:
        for name, value in cloud.env.items():
            monkeypatch.setenv(name, value)
        yield config.load()


@pytest.mark.verify
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("fresh", ["dropfit.problem:problem"], indirect=True)
def test_a_deployment_is_proven_by_an_upload_a_training_a_prediction_and_the_way_back(
    fresh: Settings, months: list[Path], tmp_path: Path
) -> None:
    def tried() -> trial.Trial:
        return trial.Trial(fresh, print)

    empty = tried()
    empty.serves()
    assert empty.proof.proven == ["predict answers: 503, it waits for its first version"]
    assert "no version is served yet" in empty.proof.open[0]

    first = tried()
    first.trains(months[0])
    assert first.proof.open == ["the way back: this is the first version"]
    january = first.served()

    again = tried()
    again.trains(months[0])
    assert "an upload is noticed and taken in: recorded" in again.proof.proven
    assert any(each.startswith("a training came to its end: ") for each in again.proof.proven)
    assert again.served() == january

    newer = tried()
    newer.trains(months[1])
    assert f"the way back: {january} is served again" in newer.proof.proven
    assert (newer.proof.open, newer.served()) == ([], january)

    uploads = {stored.name for stored in connect(fresh).landing.list()}
    for file in (None, months[2]):
        prod = tried()
        prod.serves(file)
        assert [each.split()[0] for each in prod.proof.proven] == ["/ready", january]
    assert {stored.name for stored in connect(fresh).landing.list()} == uploads

    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(Unavailable, match="was quarantined: columns are missing"):
        tried().trains(tmp_path / "other.csv")


@pytest.mark.verify
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("fresh", ["penguins:problem"], indirect=True)
def test_a_deployment_of_another_problem_is_proven_by_its_own_file(fresh: Settings, penguins: list[Path]) -> None:
    tried = trial.Trial(fresh, print)
    tried.trains(penguins[0])
    assert [each.split()[0] for each in tried.proof.proven] == ["an", "a", "/ready", tried.served()]
