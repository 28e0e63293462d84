# SPDX-License-Identifier: Apache-2.0
"""`dropfit deploy`, as a person types it: before a little Google and a little Terraform.

Those that start many processes are left to `make infra-test`.
"""

from __future__ import annotations

import stat

import pytest
from deploy_verbs import LOOK, PLAN, written
from on_stage import BAD, FINE, OUTPUTS, WANTED, Stage

from dropfit import settings
from infra.deploy import bundle, deploy, doctor, images

AFTER = ["dead letters", "output", "doctor after"]
IMAGES = "images 00000000000000aa"
AGENT = "serviceusage.v1beta1.services.generateServiceIdentity"


def test_an_empty_project_is_deployed_in_one_go(stage: Stage) -> None:
    stage.google.off = {"cloudresourcemanager", "iam"}
    told = stage.type("deploy", "dev", "--yes")
    assert told.code == 0, told.text
    assert set(stage.terraform.state) == set(WANTED)
    assert written(stage) == [
        "serviceusage.v1.services.batchEnable",
        "storage.v1.buckets.insert",
        AGENT,
    ]
    assert stage.terraform.verbs == [*LOOK, "init", *PLAN, *PLAN, "apply", *PLAN, IMAGES, "apply", *AFTER]


def test_clouds_own_account_for_uptime_checks_is_made_before_it_is_granted_anything(stage: Stage) -> None:
    there: list[set[str]] = []
    ask = stage.google.on[AGENT]
    stage.google.on[AGENT] = lambda call: there.append(set(stage.terraform.state)) or ask(call)
    assert stage.type("deploy", "--yes").code == 0
    (before,) = there
    assert "google_project_service.apis" in {address.partition("[")[0] for address in before}
    assert before < set(stage.terraform.state)
    assert stage.type("deploy", "--yes").code == 0
    assert len(there) == 1  # the second time there was nothing to make


def test_a_refusal_of_that_account_is_lived_with_because_it_may_be_there(stage: Stage) -> None:
    stage.google.denied = {AGENT}
    told = stage.type("deploy", "--yes")
    assert told.code == 0, told.text
    assert "could not be asked for" in told.text


def test_the_foundation_is_there_before_images_are_built_and_nothing_else_is(stage: Stage) -> None:
    stage.terraform.tell(breaks={})
    there: list[set[str]] = []
    stage.on_images(lambda: there.append(set(stage.terraform.state)))
    assert stage.type("deploy", "--yes").code == 0
    assert {address.partition("[")[0] for address in there[0]} == set(deploy.FOUNDATION) & {
        address.partition("[")[0] for address in WANTED
    }


def test_each_stage_is_told_with_its_time(stage: Stage) -> None:
    lines = stage.type("deploy", "--yes").text.splitlines()
    stages = [line for line in lines if line[:1].isdigit()]
    assert [line.partition(".")[0] for line in stages] == [str(n) for n in range(1, len(stages) + 1)]
    assert len([line for line in lines if line.startswith("   ") and line.endswith(" s")]) >= len(stages) == 12


def test_a_second_time_only_looks_and_says_that_nothing_changed(stage: Stage) -> None:
    stage.deployed()
    told = stage.type("deploy", "dev")
    assert told.code == 0, told.text
    assert "nothing to change" in told.text
    assert stage.terraform.verbs == [*LOOK, "init", *PLAN, *AFTER]
    assert written(stage) == []


def test_a_changed_setting_builds_no_foundation_and_plans_once(stage: Stage) -> None:
    stage.deployed()
    stage.terraform.tell(changed=["google_cloud_run_v2_service.predict"])
    assert stage.type("deploy", "--yes").code == 0
    assert stage.terraform.verbs == [*LOOK, "init", *PLAN, IMAGES, "apply", *AFTER]


def test_what_is_replaced_or_destroyed_is_named_before_a_person_agrees(stage: Stage) -> None:
    stage.deployed()
    stage.terraform.tell(state=WANTED | {"google_pubsub_topic.old": {}})
    told = stage.type("deploy", keyboard="n\n")
    assert told.code == 1
    assert "0 to add, 0 to change, 0 to replace, 1 to destroy" in told.text
    assert "destroyed: google_pubsub_topic.old" in told.text
    assert "google_pubsub_topic.old" in stage.terraform.state
    assert "apply" not in stage.terraform.verbs
    assert stage.type("deploy", keyboard="y\n").code == 0
    assert "google_pubsub_topic.old" not in stage.terraform.state


@pytest.mark.infra
def test_what_nobody_has_agreed_to_is_asked_about_again(stage: Stage) -> None:
    stage.deployed()
    stage.terraform.tell(
        changed=["google_cloud_run_v2_service.predict", "google_eventarc_trigger.uploads"],
        breaks={"apply": ["Permission denied while using the Eventarc Service Agent"]},
    )
    stage.on_images(lambda: stage.terraform.tell(state=WANTED | {"google_pubsub_topic.old": {}}))
    told = stage.type("deploy", keyboard="y\nn\n")
    assert told.code == 1
    assert told.text.count("Do it?") == 2
    assert "did not agree" in told.text
    assert "google_pubsub_topic.old" in stage.terraform.state


def test_a_plan_that_a_person_does_not_want_is_kept_nowhere(stage: Stage) -> None:
    told = stage.type("deploy", keyboard="n\n")
    assert told.code == 1
    assert "plan" in stage.terraform.verbs
    assert list(settings.home().rglob("*.tfplan")) == []


def test_nobody_at_the_keyboard_is_no_yes(stage: Stage) -> None:
    told = stage.type("deploy")
    assert told.code == 1
    assert "--yes" in told.text
    assert stage.terraform.state == {}


def test_a_check_that_fails_stops_it_before_anything_is_made(stage: Stage) -> None:
    stage.before = [FINE, BAD]
    told = stage.type("deploy", "--yes")
    assert told.code == 1
    assert "fail: billing: the project has no billing" in told.text
    assert "link a billing account" in told.text
    assert stage.terraform.verbs == ["doctor before"]
    assert written(stage) == []


@pytest.mark.infra
def test_a_check_that_warns_is_told_and_stops_nothing(stage: Stage) -> None:
    stage.before = [doctor.Finding("Project", "quota", "warn", "is low", "ask for more")]
    told = stage.type("deploy", "--yes")
    assert told.code == 0
    assert "warn: quota: is low" in told.text


def test_what_does_not_work_once_it_is_there_makes_it_fail_and_the_addresses_are_written(stage: Stage) -> None:
    stage.after = [BAD]
    told = stage.type("deploy", "--yes")
    assert told.code == 1
    assert "look at what is there" in told.text
    assert stage.file()["DROPFIT_PREDICT_URL"] == "https://predict.example"


def test_the_addresses_are_the_persons_alone_and_any_shell_reads_them(stage: Stage) -> None:
    odd = "a b$(c) #d"
    stage.terraform.tell(outputs={"env": OUTPUTS["env"] | {"DROPFIT_RUNNER_OPTIONS": odd}})
    told = stage.type("deploy", "--yes")
    assert stat.S_IMODE((stage.home / "dev.env").stat().st_mode) == 0o600
    assert stage.file() == OUTPUTS["env"] | {"DROPFIT_RUNNER_OPTIONS": odd}
    assert f"set -a; . {stage.home / 'dev.env'}; set +a" in told.text
    assert "dropfit upload --wait" in told.text


def test_code_that_cannot_be_bundled_is_told_in_our_words(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(tell: object) -> None:
        raise bundle.BundleError("functions/x.py is a symbolic link")

    monkeypatch.setattr(bundle, "build", broken)
    told = stage.type("deploy", "--yes")
    assert told.code == 1
    assert "symbolic link" in told.text


def test_the_stand_ins_have_the_shape_of_what_they_stand_for() -> None:
    assert images.build.__name__
    assert list(
        doctor.Finding._fields if hasattr(doctor.Finding, "_fields") else doctor.Finding.__struct_fields__
    ) == [*("group", "check", "verdict", "says", "remedy")]


def test_checks_that_fail_say_that_nothing_was_changed(stage: Stage) -> None:
    stage.before = [FINE, BAD]
    told = stage.type("deploy", "--yes")
    assert told.code == 1
    assert "Nothing was changed in the cloud. When that is mended, `dropfit deploy dev` begins anew." in told.text
    told = stage.type("deploy", "--plan")
    assert "`dropfit deploy dev --plan` begins anew." in told.text
