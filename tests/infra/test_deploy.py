# SPDX-License-Identifier: Apache-2.0
"""`dropfit deploy`, as a person types it: before a little Google and a little Terraform.

Those that start many processes are left to `make infra-test`.
"""

from __future__ import annotations

import stat

import pytest
from google_api import Fault
from on_stage import BAD, FINE, OUTPUTS, WANTED, Stage

from dropfit import settings
from infra.deploy import advice, apis, bundle, deploy, doctor, images

SHOWN = ["plan", "show"]
PLAN = ["state pull", *SHOWN]
LOOK = ["doctor before", "bundle"]
AFTER = ["dead letters", "output", "doctor after"]
IMAGES = "images 00000000000000aa"
AGENT = "serviceusage.v1beta1.services.generateServiceIdentity"


def written(stage: Stage) -> list[str]:
    """What was changed in Google past Terraform."""
    return [call.id for call in stage.google.written()]


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


def test_after_a_stage_broke_off_the_same_command_goes_on(stage: Stage) -> None:
    stage.terraform.tell(breaks={"apply": [], "plan": []})
    stage.on_images(lambda: _build_fails())
    told = stage.type("deploy", "--yes")
    assert told.code == 1
    assert "images, after" in told.text
    assert "`dropfit deploy dev` goes on from here" in told.text
    done = set(stage.terraform.state)
    assert done
    stage.on_images(lambda: None)
    told = stage.type("deploy", "--yes")
    assert told.code == 0, told.text
    assert "foundation" not in told.text
    assert set(stage.terraform.state) == set(WANTED) > done


def _build_fails() -> None:
    from dropfit.errors import DeployError

    raise DeployError("the image did not build: see gs://acme-dev-dropfit-logs")


def test_an_apply_that_broke_off_half_way_is_gone_on_with(stage: Stage) -> None:
    stage.terraform.tell(breaks={"apply": ["Quota exceeded for quota metric 'CPU'"]})
    told = stage.type("deploy", "--yes")
    assert told.code == 1
    assert "Quota exceeded" in told.text
    assert "`dropfit doctor dev` shows which" in told.text
    half = set(stage.terraform.state)
    assert set(WANTED) > half != set()
    assert stage.type("deploy", "--yes").code == 0
    assert set(stage.terraform.state) == set(WANTED)


@pytest.mark.infra
@pytest.mark.parametrize(
    "says",
    [
        "Permission denied while using the Eventarc Service Agent",
        "Error 403: Cloud Run Admin API has not been used in project 1 before or it is disabled",
    ],
)
def test_what_google_has_not_yet_heard_of_everywhere_is_tried_again(stage: Stage, says: str) -> None:
    stage.terraform.tell(breaks={"apply": [says] * (deploy.TRIES - 1)})
    told = stage.type("deploy", "--yes")
    assert told.code == 0, told.text
    assert "Once more in" in told.text
    assert set(stage.terraform.state) == set(WANTED)


@pytest.mark.parametrize("first", [True, False], ids=["named first", "named last"])
def test_one_error_that_passes_is_enough_wherever_it_stands(stage: Stage, first: bool) -> None:
    errors = ["Error 404: Cannot find metric(s) that match type", "googleapi: Error 400: this will never do"]
    stage.terraform.tell(breaks={"apply": [errors if first else errors[::-1]]})
    told = stage.type("deploy", "--yes")
    assert told.code == 0, told.text
    assert "Once more in" in told.text


@pytest.mark.infra
def test_it_is_not_tried_again_for_ever(stage: Stage) -> None:
    stage.terraform.tell(breaks={"apply": ["Permission denied while using the Eventarc Service Agent"] * 99})
    told = stage.type("deploy", "--yes")
    assert told.code == 1
    assert stage.terraform.verbs.count("apply") == deploy.TRIES


PREDICT, RETRAIN = "google_cloud_run_v2_service.predict", "google_cloud_run_v2_job.retrain"


def test_what_did_not_become_ready_is_made_anew_in_the_same_run_without_another_question(stage: Stage) -> None:
    stage.terraform.tell(stillborn=[PREDICT, RETRAIN])
    told = stage.type("deploy", keyboard="y\n")
    assert told.code == 0, told.text
    assert f"never became ready, and may be made anew: {RETRAIN}, {PREDICT}" in told.text
    assert stage.terraform.state == WANTED
    assert stage.terraform.world["tainted"] == []


@pytest.mark.infra
def test_what_did_not_become_ready_yesterday_is_made_anew_and_the_rest_stays_protected(stage: Stage) -> None:
    stage.deployed()
    stage.terraform.tell(tainted=[RETRAIN])
    states = []
    stage.on_images(lambda: states.append(stage.terraform.state))
    told = stage.type("deploy", keyboard="y\n")
    assert told.code == 0, told.text
    assert f"made anew: {RETRAIN}\n" in told.text
    assert "0 to add, 0 to change, 1 to replace, 0 to destroy" in told.text
    assert states == [WANTED | {RETRAIN: {"deletion_protection": False}}]
    assert stage.terraform.state == WANTED


@pytest.mark.infra
def test_only_what_runs_is_released_when_it_is_tainted(stage: Stage) -> None:
    stage.deployed()
    stage.terraform.tell(tainted=["google_storage_bucket.models"])
    told = stage.type("deploy", "--yes")
    assert told.code == 1
    assert "cannot destroy google_storage_bucket.models" in told.text
    assert stage.terraform.state == WANTED


def test_a_plan_tells_of_what_did_not_become_ready_and_writes_nothing(stage: Stage) -> None:
    stage.deployed()
    stage.terraform.tell(tainted=[PREDICT])
    told = stage.type("deploy", "--plan")
    assert (told.code, written(stage)) == (0, [])
    assert f"{PREDICT} never became ready: `dropfit deploy` takes its protection off" in told.text
    assert stage.terraform.state == WANTED
    assert "state push" not in stage.terraform.verbs


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


@pytest.mark.infra
def test_apis_that_nobody_here_may_switch_on_are_named_with_the_command_for_an_owner(stage: Stage) -> None:
    stage.google.off = {"cloudresourcemanager"}
    stage.google.denied = {"serviceusage.v1.services.enable"}
    told = stage.type("deploy", "--yes")
    assert told.code == 1
    assert "gcloud services enable cloudresourcemanager.googleapis.com" in told.text
    assert "storage.v1.buckets.insert" not in written(stage)


def test_a_single_api_is_switched_on_in_the_way_that_google_takes_for_one(stage: Stage) -> None:
    stage.google.off = {"iam"}
    told = stage.type("deploy", "--yes")
    assert told.code == 0, told.text
    assert written(stage)[0] == "serviceusage.v1.services.enable"
    assert stage.google.off == set()


BILLING = "https://cloudbilling.googleapis.com/v1/projects/acme-dev/billingInfo"


def test_with_a_budget_it_is_waited_until_google_says_who_pays(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apis, "PAUSE", 0.01)
    (stage.infra / "dev.tfvars").write_text((stage.infra / "dev.tfvars").read_text() + "monthly_budget = 50\n")
    stage.google.off = {"cloudbilling"}
    stage.google.things[BILLING] = {"billingEnabled": True, "billingAccountName": "billingAccounts/1"}
    stage.google.faults["cloudbilling.v1.projects.getBillingInfo"] = [Fault(403, "disabled")] * 3
    told = stage.type("deploy", "--yes")
    assert told.code == 0, told.text
    assert "switching on cloudbilling.googleapis.com" in told.text
    assert stage.google.faults["cloudbilling.v1.projects.getBillingInfo"] == []
    asked = [h for call, h in zip(stage.google.calls, stage.google.headers, strict=True) if call.url == BILLING]
    assert len(asked) == 4
    assert {headers["x-goog-user-project"] for headers in asked} == {"acme-dev"}


@pytest.mark.infra
def test_without_a_budget_nobody_asks_who_pays(stage: Stage) -> None:
    stage.google.off = {"cloudbilling", "iam"}
    assert stage.type("deploy", "--yes").code == 0
    assert "cloudbilling" in stage.google.off
    assert BILLING not in [call.url for call in stage.google.calls]


@pytest.mark.infra
def test_an_api_that_answers_late_is_waited_for(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apis, "PAUSE", 0.01)
    stage.google.off = {"cloudresourcemanager"}
    stage.google.faults["cloudresourcemanager.v3.projects.get"] = [Fault(403, "disabled")] * 3
    assert stage.type("deploy", "--yes").code == 0


# dropfit deploy --plan


def test_a_plan_of_an_empty_project_writes_nothing_anywhere(stage: Stage) -> None:
    told = stage.type("deploy", "dev", "--plan")
    assert told.code == 0, told.text
    assert written(stage) == []
    assert stage.terraform.state == {}
    assert not (stage.home / "dev.env").exists()
    assert "nothing was deployed yet: planned from an empty state" in told.text
    assert "14 to add, 0 to change, 0 to replace, 0 to destroy" in told.text
    assert stage.terraform.verbs == [*LOOK, "init", *SHOWN]


def test_a_plan_takes_no_lock_and_reads_no_backend_before_there_is_a_state(stage: Stage) -> None:
    stage.bucket()
    stage.type("deploy", "--plan")
    assert not [word for word in stage.terraform.arguments("init")[0] if word.startswith("-backend-config")]
    assert "-lock=false" in stage.terraform.arguments("plan")[0]
    assert stage.terraform.calls[-1]["chdir"] != f"-chdir={stage.infra}"


def test_a_plan_of_what_is_deployed_reads_its_state_without_a_lock(stage: Stage) -> None:
    stage.deployed()
    stage.terraform.tell(changed=["google_cloud_run_v2_service.predict"])
    told = stage.type("deploy", "--plan")
    assert (told.code, written(stage)) == (0, [])
    assert "0 to add, 1 to change" in told.text
    assert "-backend-config=bucket=acme-dev-dropfit-state" in stage.terraform.arguments("init")[0]
    assert "-lock=false" in stage.terraform.arguments("plan")[0]
    assert stage.terraform.verbs == [*LOOK, "init", *PLAN]


def test_a_plan_switches_no_api_on_but_names_the_command(stage: Stage) -> None:
    stage.google.off = {"cloudresourcemanager"}
    told = stage.type("deploy", "--plan")
    assert told.code == 1
    assert "gcloud services enable" in told.text
    assert written(stage) == []


@pytest.mark.infra
def test_dev_and_prod_share_nothing_that_terraform_keeps_here(stage: Stage) -> None:
    (stage.infra / "prod.tfvars").write_text((stage.infra / "dev.tfvars").read_text().replace("dev", "prod"))
    stage.type("deploy", "dev", "--plan")
    stage.type("deploy", "prod", "--plan")
    kept = [call["environ"]["TF_DATA_DIR"] for call in stage.terraform.calls if call["verb"] == "plan"]
    assert len(set(kept)) == 2
    files = [[word for word in call if word.startswith("-var-file")] for call in stage.terraform.arguments("plan")]
    assert files == [["-var-file=dev.tfvars"], ["-var-file=prod.tfvars"]]


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


def test_what_a_plan_shows_is_no_error_to_give_advice_on() -> None:
    said = (
        "  + deletion_protection = true\n  + quota = 1\n"
        "╷\n│ Error: Invalid value for variable\n│ \n│   on dev.tfvars line 5:\n"
        "│ Members are written as IAM has them.\n╵\n"
    )
    told = advice.of(said, "dev")
    assert "Members are written as IAM has them." in told
    assert "destroy" not in told
    assert "quota" not in told
