# SPDX-License-Identifier: Apache-2.0
"""The images of a deployment: what Google is asked to build, what is left alone, and what people are told."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from build_api import Google, Hours

from dropfit import rest
from dropfit.errors import Refused, Unavailable
from dropfit.rest import CLOUD, Api
from infra.deploy import images
from infra.deploy.bundle import Code
from infra.deploy.environment import Environment

ROOT = Path(__file__).parents[2]
ENVIRONMENT = Environment(key="dev", project="acme-dev", region="europe-west1")
FUNCTIONS, JOB = "0123456789abcdef", "fedcba9876543210"
CODE = Code(Path(f"build/functions-{FUNCTIONS}.zip"), Path(f"build/job-{JOB}.zip"))
ALL = {f"on-upload:{FUNCTIONS}", f"predict:{FUNCTIONS}", f"job:{JOB}"}


@pytest.fixture
def google(monkeypatch: pytest.MonkeyPatch) -> Google:
    monkeypatch.setattr(rest, "DELAY", 0.001)
    monkeypatch.setattr(rest, "PATIENCE", 0.05)
    return Google()


def built(google: Google, hours: Hours | None = None) -> list[str]:
    """What was told while the images were built."""
    told, time = list[str](), hours or Hours()
    api = Api(CLOUD, google)
    images.build(ENVIRONMENT, CODE, api, told.append, sleep=time.sleep, clock=time.clock)
    return told


def test_all_three_are_built_from_the_zips_by_the_build_account(google: Google) -> None:
    told = "\n".join(built(google))
    assert set(google.bodies) == ALL
    for image, (body,) in google.bodies.items():
        assert (
            body["serviceAccount"]
            == "projects/acme-dev/serviceAccounts/dropfit-build@acme-dev.iam.gserviceaccount.com"
        )
        zipped = CODE.job.name if image.startswith("job:") else CODE.functions.name
        assert body["storageSource"] == {"bucket": "acme-dev-dropfit-source", "object": zipped}
        assert f"{image} is built" in told
        assert f"https://log/{image}" in told


def test_each_function_is_built_of_a_file_and_a_target_that_exist(google: Google) -> None:
    built(google)
    for name in ("on-upload", "predict"):
        (body,) = google.bodies[f"{name}:{FUNCTIONS}"]
        pack = body["buildpackBuild"]
        source = (ROOT / "functions" / pack["environmentVariables"]["GOOGLE_FUNCTION_SOURCE"]).read_text()
        assert re.search(rf"^(async )?def {pack['functionTarget']}\(", source, re.MULTILINE)
        assert pack["baseImage"] == "python311"


def test_the_job_is_built_by_its_dockerfile(google: Google) -> None:
    built(google)
    (body,) = google.bodies[f"job:{JOB}"]
    assert body["dockerBuild"] == {}


def test_a_tag_that_is_there_is_not_built_again(google: Google) -> None:
    google.tags = {f"predict:{FUNCTIONS}", f"on-upload:{FUNCTIONS}"}
    told = built(google)
    assert set(google.bodies) == {f"job:{JOB}"}
    assert f"predict:{FUNCTIONS} is there already" in told


def test_with_all_tags_there_nothing_is_built_and_no_time_passes(google: Google) -> None:
    google.tags, hours = set(ALL), Hours()
    built(google, hours)
    assert google.bodies == {}
    assert hours.now == 0


def test_they_are_built_at_the_same_time(google: Google) -> None:
    looks = list[tuple[str, int]]()

    def play(image: str, build: dict[str, Any]) -> None:
        looks.append((image, len(google.builds)))
        ended = len([one for one, _ in looks if one == image]) == 40
        build["status"] = "SUCCESS" if ended else "WORKING"

    google.play, hours = play, Hours()
    built(google, hours)
    assert {number for _, number in looks} == {3}
    assert hours.now == pytest.approx(40 * images.LOOK)


def test_a_failure_is_told_with_the_logs_address_and_its_last_words_after_the_others_have_ended(
    google: Google,
) -> None:
    def play(image: str, build: dict[str, Any]) -> None:
        lost = {"status": "FAILURE", "statusDetail": "step 0 failed", "failureInfo": {"type": "USER_BUILD_STEP"}}
        build.update(lost if image.startswith("job:") else {"status": "SUCCESS"})

    google.play = play
    with pytest.raises(Refused) as failed:
        built(google)
    said = str(failed.value)
    assert f"job:{JOB} ended as FAILURE: step 0 failed" in said
    assert f"https://log/job:{JOB}" in said
    assert said.index("Step 4/9") < said.index("ERROR: no matching distribution")
    assert "predict" not in said


@pytest.mark.parametrize("status", ["CANCELLED", "TIMEOUT", "EXPIRED", "INTERNAL_ERROR"])
def test_every_other_end_is_a_failure_too(google: Google, status: str) -> None:
    google.play = lambda image, build: build.update(status=status)
    with pytest.raises(Refused, match=status):
        built(google)


def test_a_tag_that_somebody_pushed_meanwhile_is_as_good(google: Google) -> None:
    def play(image: str, build: dict[str, Any]) -> None:
        google.tags.add(image)
        build.update(status="FAILURE", failureInfo={"type": "PUSH_FAILED", "detail": "the tag is there"})

    google.play = play
    assert any(line.startswith(f"job:{JOB} is built") for line in built(google))


def test_rights_that_were_granted_a_moment_ago_are_waited_for(google: Google) -> None:
    answers = {image: [403, 404] for image in ALL}
    google.submitted_as = lambda image: answers[image].pop() if answers[image] else 200
    fetched = dict.fromkeys(ALL, 0)

    def play(image: str, build: dict[str, Any]) -> None:
        fetched[image] += 1
        bad = {"status": "FAILURE", "failureInfo": {"type": "FETCH_SOURCE_FAILED", "detail": "403"}}
        build.update(bad if fetched[image] == 1 else {"status": "SUCCESS"})

    google.play, hours = play, Hours()
    built(google, hours)
    assert {len(bodies) for bodies in google.bodies.values()} == {2}
    assert hours.now >= 3 * images.PAUSE


@pytest.mark.parametrize(("status", "says"), [(403, "as the test wants it"), (404, "does not exist")])
def test_rights_that_never_come_end_it_with_googles_reason_and_the_roles(
    google: Google, status: int, says: str
) -> None:
    google.submitted_as, hours = lambda image: status, Hours()
    with pytest.raises(Refused, match=says) as end:
        built(google, hours)
    assert google.bodies == {}
    assert hours.now == (images.ATTEMPTS - 1) * images.PAUSE
    assert "roles/run.sourceDeveloper on acme-dev" in str(end.value)
    assert "dropfit-build@acme-dev.iam.gserviceaccount.com" in str(end.value)


def test_a_request_that_is_wrong_is_not_repeated(google: Google) -> None:
    google.submitted_as, hours = lambda image: 400, Hours()
    with pytest.raises(Refused, match="400"):
        built(google, hours)
    assert hours.now == 0


def test_silence_of_google_while_it_builds_is_waited_out(google: Google) -> None:
    looks = list[str]()

    def play(image: str, build: dict[str, Any]) -> None:
        looks.append(image)
        if len(looks) == 1:
            google.faults = [503] * 100
        build["status"] = "SUCCESS" if len(looks) > 3 else "WORKING"

    google.play, time = play, Hours()

    def sleep(seconds: float) -> None:
        if len(looks) > 1 or time.now > 30:
            google.faults = []
        time.sleep(seconds)

    told = list[str]()
    images.build(ENVIRONMENT, CODE, Api(CLOUD, google), told.append, sleep=sleep, clock=time.clock)
    assert any("asking again" in line for line in told)
    assert sum("is built" in line for line in told) == 3


def test_builds_that_do_not_end_are_given_up_with_the_addresses_of_their_logs(google: Google) -> None:
    google.play, hours = lambda image, build: build.update(status="WORKING"), Hours()
    with pytest.raises(Unavailable, match=f"job:{JOB} is at work: https://log/job:{JOB}"):
        built(google, hours)
    assert images.PATIENCE < hours.now < images.PATIENCE + 60


def test_what_is_at_work_is_told_at_every_look(google: Google) -> None:
    seen, hours = list[str](), Hours()
    api = Api(CLOUD, google)
    images.build(ENVIRONMENT, CODE, api, lambda line: None, seen.append, hours.sleep, hours.clock)
    assert seen[0].startswith("on-upload, predict, job: at work")


@pytest.mark.parametrize("arguments", [[], ["dev", "prod"], ["--help"]])
def test_the_command_says_how_it_is_called(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert images.main(arguments) == 2
    assert "ENVIRONMENT" in capsys.readouterr().err


def test_the_command_names_the_environments_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert images.main(["nowhere"]) == 1
    assert "there is no infra/nowhere.tfvars" in capsys.readouterr().err
