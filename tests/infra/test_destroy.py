# SPDX-License-Identifier: Apache-2.0
"""`dropfit destroy`, as a person types it: what was learned outlives it, unless it is named too."""

from __future__ import annotations

import re

import pytest
from on_stage import WANTED, Stage

from infra.deploy.holdings import DATA, KEPT, PAGES

STAYS = {address for address in WANTED if address.partition("[")[0] in KEPT}
GOES = set(WANTED) - STAYS
TYPED = "acme-dev\n"
STATES = ["state pull", "state push"]


@pytest.fixture
def deployed(stage: Stage) -> Stage:
    stage.deployed()
    stage.filled()
    return stage


def test_everything_goes_but_the_data_and_the_apis(deployed: Stage) -> None:
    told = deployed.type("destroy", "dev", keyboard=TYPED)
    assert told.code == 0, told.text
    assert set(deployed.terraform.state) == STAYS
    assert deployed.google.written() == []


def test_what_stays_keeps_its_protections(deployed: Stage) -> None:
    deployed.type("destroy", keyboard=TYPED)
    assert deployed.terraform.state == {address: WANTED[address] for address in STAYS}


def test_a_person_sees_what_goes_and_how_much_stays_before_typing(deployed: Stage) -> None:
    text = deployed.type("destroy", keyboard="\n").text
    before = text.partition("Type the project's id")[0]
    assert "  1 cloud_run_v2_service" in before
    assert "gs://acme-dev-dropfit-landing: 2 objects, older versions included, 6.0 MB" in before
    assert "BigQuery acme-dev.dropfit: 1 tables, 15,188 rows" in before
    assert "google_logging_project_bucket_config.predictions" in before


@pytest.mark.parametrize("typed", ["", "acme-prod", "acme-de", "y", "ACME-DEV"])
def test_another_word_than_the_projects_id_changes_nothing(deployed: Stage, typed: str) -> None:
    told = deployed.type("destroy", "--and-data", keyboard=f"{typed}\n")
    assert told.code == 1
    assert "nothing was changed" in told.text
    assert deployed.terraform.state == WANTED
    assert not {*STATES, "plan", "apply"} & set(deployed.terraform.verbs)


def test_afterwards_it_is_told_what_is_left_what_it_costs_and_how_to_build_over_it(deployed: Stage) -> None:
    text = deployed.type("destroy", keyboard=TYPED).text.partition("Destroyed.")[2]
    assert "gs://acme-dev-dropfit-data: 3 objects" in text
    assert "4.01 GB cost about $0.08 a month" in text
    assert "`dropfit deploy dev` builds over it again" in text
    assert "`dropfit destroy dev --and-data`" in text


def test_deploying_over_what_was_kept_builds_the_rest_again(deployed: Stage) -> None:
    deployed.type("destroy", keyboard=TYPED)
    assert deployed.type("deploy", "--yes").code == 0
    assert deployed.terraform.state == WANTED


def test_with_and_data_all_goes_but_the_apis_and_it_is_told_how_to_remove_the_last_bucket(deployed: Stage) -> None:
    told = deployed.type("destroy", "--and-data", keyboard=TYPED)
    assert told.code == 0, told.text
    assert {address.partition("[")[0] for address in deployed.terraform.state} == {"google_project_service.apis"}
    assert "and with them all data, for good" in told.text
    assert "`gcloud storage rm -r gs://acme-dev-dropfit-state`" in told.text


def test_what_was_kept_can_be_removed_later(deployed: Stage) -> None:
    deployed.type("destroy", keyboard=TYPED)
    assert deployed.type("destroy", "--and-data", keyboard=TYPED).code == 0
    assert not {address.partition("[")[0] for address in deployed.terraform.state} & DATA


def test_a_plan_that_would_take_data_along_is_not_done(deployed: Stage) -> None:
    deployed.terraform.tell(
        drags={"google_cloud_run_v2_service.predict": ["google_storage_bucket.models"]},
    )
    told = deployed.type("destroy", "--yes")
    assert told.code == 1
    assert re.search(r"nothing was removed: google_storage_bucket\.models", told.text)
    assert set(deployed.terraform.state) == set(WANTED)
    assert "apply" not in deployed.terraform.verbs


def test_programs_say_yes_and_for_data_the_project_too(deployed: Stage) -> None:
    assert deployed.type("destroy").code == 1  # nobody at the keyboard
    assert deployed.type("destroy", "--yes", "--and-data").code == 1
    assert deployed.type("destroy", "--yes", "--and-data", "--project", "acme-prod").code == 1
    assert deployed.terraform.state == WANTED
    assert deployed.type("destroy", "--yes").code == 0
    assert set(deployed.terraform.state) == STAYS
    assert deployed.type("destroy", "--yes", "--and-data", "--project", "acme-dev").code == 0
    assert not set(deployed.terraform.state) & DATA


def test_without_a_state_there_is_nothing_to_destroy(stage: Stage) -> None:
    told = stage.type("destroy", "--yes")
    assert told.code == 1
    assert "no state in gs://acme-dev-dropfit-state" in told.text
    assert stage.terraform.verbs == []


def test_a_second_time_it_says_that_only_data_is_left(deployed: Stage) -> None:
    deployed.type("destroy", "--yes")
    told = deployed.type("destroy", "--yes")
    assert told.code == 1
    assert "nothing of dev is left but what stays: google_" in told.text.replace("\n", " ")


def test_a_destroy_that_broke_off_is_gone_on_with(deployed: Stage) -> None:
    deployed.terraform.tell(breaks={"apply": ["Error 503: backend"]})
    told = deployed.type("destroy", "--yes")
    assert told.code == 1
    assert "`dropfit destroy dev` goes on from here" in told.text
    assert GOES > set(deployed.terraform.state) & GOES != set()
    assert deployed.type("destroy", "--yes").code == 0
    assert set(deployed.terraform.state) == STAYS


def test_the_protections_are_taken_off_what_goes_alone_and_without_deploying_anything(deployed: Stage) -> None:
    deployed.terraform.tell(breaks={"apply": [], "plan": ["the person pulled the plug"]})
    deployed.type("destroy", "--yes")
    state = deployed.terraform.state
    assert state["google_cloud_run_v2_service.predict"] == {"deletion_protection": False}
    assert {address: state[address] for address in STAYS} == {address: WANTED[address] for address in STAYS}
    assert "apply" not in deployed.terraform.verbs


@pytest.mark.parametrize(("more", "said"), [((), "false"), (("--and-data", "--project", "acme-dev"), "true")])
def test_that_data_may_go_is_said_to_terraform_only_when_somebody_said_so(
    deployed: Stage, more: tuple[str, ...], said: str
) -> None:
    deployed.type("destroy", "--yes", *more)
    (plan,) = deployed.terraform.arguments("plan")
    assert {f"-var=delete_data={said}", "-var=deletion_protection=false", "-destroy"} <= set(plan)


def test_many_objects_are_counted_only_so_far(deployed: Stage) -> None:
    many = {"items": [{"size": "1"}] * (PAGES + 1)}  # the stand-in gives one a page
    deployed.google.things["https://storage.googleapis.com/storage/v1/b/acme-dev-dropfit-landing/o"] = many
    text = deployed.type("destroy", keyboard="\n").text
    assert f"landing: more than {PAGES} objects" in text
    assert "data: 3 objects" in text
