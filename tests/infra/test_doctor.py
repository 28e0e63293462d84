# SPDX-License-Identifier: Apache-2.0
"""The doctor before anything is made: a project in which all is well, and each thing that can be wrong with it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from google_api import USERINFO, Fault, Google, disabled
from healthy import ENVIRONMENT, QUOTAS, empty, healthy
from sicknesses import BUDGET, DATAFLOW, SICK, TFVARS, before, changed, denied, lacks, off, sick

from dropfit.errors import Refused, Unavailable
from dropfit.rest import Api
from infra.deploy import checks_project, doctor, look, needed
from infra.deploy.environment import Environment
from infra.deploy.look import Finding


@pytest.fixture(autouse=True)
def terraform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Terraform that is new enough, and says nothing but its version."""
    file = tmp_path / "terraform"
    file.write_text('#!/bin/sh\necho \'{"terraform_version": "1.11.4"}\'\n')
    file.chmod(0o755)
    (tmp_path / "gcloud").symlink_to(file)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("TERRAFORM", str(file))
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    return file


@pytest.mark.parametrize("world", [empty, healthy], ids=["nothing made yet", "all deployed"])
@pytest.mark.parametrize("environment", [ENVIRONMENT, DATAFLOW, BUDGET], ids=["plain", "dataflow", "budget"])
def test_in_a_project_without_fault_all_is_well(world: Callable[[], Google], environment: Environment) -> None:
    found = before(world(), environment)
    assert {one.verdict for one in found} == {"ok"}, found
    assert all(one.says and not one.remedy for one in found)
    assert {one.group for one in found} == {"tfvars", "tools", "credentials", "project", "region", "names", "quotas"}


@pytest.mark.parametrize("environment", [ENVIRONMENT, DATAFLOW, BUDGET], ids=["plain", "dataflow", "budget"])
def test_it_only_looks(environment: Environment) -> None:
    google = healthy()
    before(google, environment)
    assert len(google.calls) > 15
    assert google.written() == []


def test_it_looks_in_the_deployments_own_name() -> None:
    google = healthy()
    before(google)
    assert {headers.get("x-goog-user-project") for headers in google.headers} == {"acme-dev"}


@pytest.mark.parametrize("name", SICK)
def test_each_sickness_is_found_named_and_its_remedy_told(name: str) -> None:
    sicken, environment, place, verdict, says, remedy = SICK[name]
    google = empty()
    sicken(google)
    found = [one for one in before(google, environment) if one.group != "the rest"]
    bad = [one for one in found if one.verdict != "ok"]
    assert [(one.group, one.check, one.verdict) for one in bad] == [(*place, verdict)], bad
    assert [part for part in says if part not in bad[0].says] == []
    assert [part for part in remedy if part not in bad[0].remedy] == []
    assert google.written() == []


NORTH = changed(region="europe-north1")


def _in_the_north(google: Google) -> Finding:
    return next(one for one in before(google, NORTH) if one.check == "builds")


def test_a_region_in_which_not_every_project_can_build_is_told_before_the_first_build() -> None:
    google = empty()
    for sicken in (off("run"), denied("run.v2.projects.locations.services.get"), lambda google: None):
        google.off, google.denied = set(), set()
        sicken(google)
        found = _in_the_north(google)
        assert found.verdict == "warn"
        assert "europe-north1 for some projects only" in found.says
        assert "us-central1, us-west2, europe-west1" in found.remedy
        assert f"`region` of {TFVARS}" in found.remedy
        assert "iam-admin/quotas?project=acme-dev" in found.remedy


def test_where_something_was_built_before_the_region_is_no_question() -> None:
    google = empty()
    google.things[f"https://run.googleapis.com/v2/{NORTH.location}/services/dropfit-predict"] = {}
    assert _in_the_north(google).verdict == "ok"


def test_a_log_bucket_that_cannot_be_looked_at_does_not_count_as_free() -> None:
    google = empty()
    off("logging")(google)
    found = sick(google)
    assert (found.check, found.verdict) == ("log bucket", "warn")
    assert "logging.googleapis.com is off" in found.says


def test_who_has_no_rights_at_all_gets_one_finding_with_every_role() -> None:
    google = empty()
    google.granted = set()
    found = sick(google)
    assert "you lack 34: serviceusage.services.enable" in found.says
    assert [role for role in needed.NEEDED if f"--role={role} " not in found.remedy] == []


def test_apis_that_are_off_are_no_fault_as_long_as_they_may_be_switched_on(monkeypatch: pytest.MonkeyPatch) -> None:
    some = ["pubsub.googleapis.com", "storage.googleapis.com", *(f"a{n}.googleapis.com" for n in range(40))]
    monkeypatch.setattr(checks_project, "services", lambda environment: some)
    google = empty()
    google.off.add("pubsub")
    apis = next(one for one in before(google) if one.check == "APIs")
    assert (apis.verdict, apis.remedy) == ("ok", "")
    assert "1 of 42 are off" in apis.says
    lacks("serviceusage.services.enable")(google)
    apis = next(one for one in before(google) if one.check == "APIs")
    assert apis.verdict == "fail"
    assert "gcloud services enable pubsub.googleapis.com" in apis.remedy


def test_the_api_that_knows_who_pays_is_needed_from_the_beginning_for_a_budget_alone() -> None:
    google = empty()
    google.off.add("cloudbilling")
    found = {(one.check, one.verdict): one for one in before(google, BUDGET)}
    assert "cloudbilling.googleapis.com; Terraform cannot begin without" in found["APIs", "warn"].says
    assert "gcloud services enable cloudbilling.googleapis.com" in found["APIs", "warn"].remedy
    assert ("APIs", "warn") not in {(one.check, one.verdict) for one in before(google)}


def test_the_needed_apis_are_those_of_the_terraform() -> None:
    for environment in (ENVIRONMENT, DATAFLOW, BUDGET):
        apis = set(needed.services(environment))
        assert set(needed.first(environment)) <= apis
        assert ("dataflow.googleapis.com" in apis) <= environment.dataflow
        assert ("billingbudgets.googleapis.com" in apis) <= (environment.monthly_budget is not None)
    if (needed.INFRA / "apis.tf").is_file():
        everything = set(needed.services(msgspec.structs.replace(DATAFLOW, monthly_budget=1.0)))
        assert {f"{api}.googleapis.com" for api in ("run", "eventarc", "pubsub", "dataflow")} <= everything


def test_in_a_new_project_with_every_api_off_nothing_crashes_and_nothing_counts_as_seen() -> None:
    google = empty()
    google.off |= {"run", "eventarc", "cloudscheduler", "artifactregistry", "bigquery", "cloudquotas", "cloudbilling"}
    found = before(google)
    assert {one.verdict for one in found} == {"ok", "warn"}
    unseen = {one.check for one in found if one.verdict == "warn"}
    assert unseen == {"billing", "services", "dataset", "Cloud Run"}
    assert all("could not look" in one.says and one.remedy for one in found if one.verdict == "warn")
    assert len([one for one in found if one.check == "services"]) == 1


def test_apis_that_deploying_switches_on_anyway_have_one_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    all_needed = ["bigquery.googleapis.com", "eventarc.googleapis.com", "run.googleapis.com"]
    monkeypatch.setattr(look, "services", lambda environment: all_needed)
    google = empty()
    google.off |= {"run", "bigquery", "cloudquotas"}
    remedies = {one.check: one.remedy for one in before(google) if one.verdict == "warn"}
    assert remedies["services"] == remedies["dataset"]
    assert f"gcloud services enable {' '.join(all_needed)} --project=acme-dev" in remedies["dataset"]
    assert "Deploying does not need it" in remedies["Cloud Run"]


@pytest.mark.parametrize(
    "off", ["cloudresourcemanager", "serviceusage", "storage", "bigquery", "compute", "eventarc"]
)
def test_any_api_may_be_off(off: str) -> None:
    google = empty()
    google.off.add(off)
    found = before(google, DATAFLOW)
    bad = [one for one in found if one.verdict != "ok"]
    assert bad
    assert all(one.verdict == "warn" and off in one.says + one.remedy for one in bad), bad


def test_every_api_may_refuse_and_be_silent() -> None:
    for fault, word in ((Fault(403, "no"), "refuses"), (Fault(418, "teapot"), "teapot")):
        google = empty()
        before(google, DATAFLOW)
        methods = {call.id for call in google.calls} - {"cloudresourcemanager.v3.projects.get"}
        for method in methods:
            world = empty()
            world.faults[method] = [fault] * 20
            bad = [one for one in before(world, DATAFLOW) if one.verdict != "ok"]
            assert bad, method
            if method != "storage.v1.buckets.get":
                assert all(one.verdict == "warn" and word in one.says for one in bad), (method, bad)


def test_an_answer_that_nobody_expected_is_a_warning_and_no_crash() -> None:
    google = empty()
    google.things[f"{QUOTAS}/CpuAllocPerProjectRegion"] = {"dimensionsInfos": [{"details": {"value": "many"}}]}
    google.things[f"{QUOTAS}/CpuAllocPerProjectRegion"]["dimensionsInfos"][0]["applicableLocations"] = [
        "europe-west1"
    ]
    found = sick(google)
    assert (found.check, found.verdict) == ("Cloud Run", "warn")
    assert "not as expected" in found.says


def test_credentials_of_another_project_are_told_from_an_api_that_is_off() -> None:
    google = empty()
    google.faults["bigquery.v2.datasets.get"] = [disabled("bigquery", "999")]
    found = sick(google)
    assert "gcloud auth application-default set-quota-project acme-dev" in found.remedy


class NoCredentials(Api):
    """As google.auth is where nobody logged in."""

    def __init__(self, cause: Exception) -> None:
        super().__init__("scope")
        self._cause = cause

    def send(self, method: str, url: str, **more: Any) -> dict[str, Any]:
        if isinstance(self._cause, Refused):
            raise self._cause
        raise Unavailable(f"{url}: {self._cause}") from self._cause


def _credentials(api: Api) -> list[Finding]:
    return [one for one in doctor.before(ENVIRONMENT, api) if one.group not in ("tfvars", "tools")]


def test_without_credentials_the_rest_is_not_looked_at_and_says_so() -> None:
    from google.auth.exceptions import DefaultCredentialsError, RefreshError, TransportError

    for cause in (DefaultCredentialsError("Your default credentials were not found. To set up"), RefreshError("old")):
        who, rest = _credentials(NoCredentials(cause))
        assert (who.check, who.verdict) == ("who you are", "fail")
        assert "gcloud auth application-default login" in who.remedy
        assert "gcloud auth application-default set-quota-project acme-dev" in who.remedy
        assert (rest.verdict, rest.group) == ("warn", "the rest")
        assert "need the credentials" in rest.says
    lost = (
        "HTTPSConnectionPool: Max retries exceeded with url: /token (Caused by NameResolutionError('no such host'))"
    )
    who, _ = _credentials(NoCredentials(TransportError(lost)))
    assert who.verdict == "fail"
    assert who.says == "Google did not answer: NameResolutionError('no such host')"
    assert "network" in who.remedy
    who, _ = _credentials(NoCredentials(Refused(f"{USERINFO}: 401", 401, "", "Invalid Credentials")))
    assert who.verdict == "fail"
    assert "gcloud auth application-default login" in who.remedy


def test_credentials_that_do_not_tell_whose_they_are_will_do() -> None:
    google = empty()
    google.email = ""
    assert {one.verdict for one in before(google)} == {"ok"}


def test_a_service_account_is_granted_as_one() -> None:
    google = empty()
    google.email = "deployer@acme-dev.iam.gserviceaccount.com"
    lacks("eventarc.triggers.create")(google)
    assert "--member=serviceAccount:deployer@acme-dev.iam.gserviceaccount.com" in sick(google).remedy


@pytest.mark.parametrize(
    ("says", "found"),
    [
        ('echo \'{"terraform_version": "1.11.0"}\'', "ok"),
        ('echo \'{"terraform_version": "1.9.8"}\'', "fail"),
        ('echo \'{"terraform_version": "2.0.0-rc1"}\'', "ok"),
        ("echo nonsense", "fail"),
        ("exit 3", "fail"),
    ],
)
def test_terraform_has_to_be_new_enough(terraform: Path, says: str, found: str) -> None:
    terraform.write_text(f"#!/bin/sh\n{says}\n")
    one = next(one for one in before(empty()) if one.check == "Terraform")
    assert one.verdict == found
    assert found == "ok" or "TERRAFORM" in one.remedy


def test_terraform_has_to_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERRAFORM", "no-such-terraform")
    one = next(one for one in before(empty()) if one.check == "Terraform")
    assert one.verdict == "fail"
    assert "https://" in one.remedy
    assert os.environ["TERRAFORM"] in one.says
