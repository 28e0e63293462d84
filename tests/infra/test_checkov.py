# SPDX-License-Identifier: Apache-2.0
"""checkov over what is planned and over the repository: clean, or skipped in place with a reason.

It knows nothing of Cloud Run v2, Eventarc, Cloud Build's triggers, Cloud Scheduler or the IAM of datasets, and prints
an empty result where nothing else is; it has no framework for cloudbuild.yaml. test_beyond_checkov.py looks there.
"""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytestmark = [pytest.mark.infra, pytest.mark.timeout(1200)]  # checkov alone takes seconds to start

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
CHECKOV = ROOT / ".venv-infra" / "bin" / "checkov"
PIPELINE = INFRA / "pipeline"
KNOWN = {
    "google_artifact_registry_repository",
    "google_bigquery_dataset",
    "google_compute_firewall",
    "google_compute_subnetwork",
    "google_project_iam_member",
    "google_pubsub_topic",
    "google_pubsub_topic_iam_member",
    "google_storage_bucket",
    "google_storage_bucket_iam_member",
}
"""Resource types that checkov has a check for, among those that are planned here."""
EVERY_FILE = ("--enable-secret-scan-all-files",)
"""Without it only some kinds of files are read, Python not among them."""
NO_SECRETS = {("CKV_SECRET_6", "/tests/infra/google_shapes.json")}
"""Names of Google's types and methods, long enough to look random; JSON has no place for a reason."""
SKIP = re.compile(r"#\s*checkov:skip=(CKV2?_\w+)(?::(.*))?")


class Found(NamedTuple):
    """What checkov says: (check, resource) pairs, and for the skipped ones (file, check) pairs too."""

    passed: set[tuple[str, str]]
    failed: set[tuple[str, str]]
    skipped: set[tuple[str, str]]
    skips: set[tuple[str, str]]

    @property
    def resources(self) -> set[str]:
        return {resource for _, resource in self.passed | self.failed | self.skipped}


def checked(folder: Path, *arguments: str) -> Found:
    """Run checkov; without a network, for none is asked for."""
    clean = {n: v for n, v in os.environ.items() if not n.startswith(("BC_", "PRISMA_", "CKV_", "CHECKOV_"))}
    nowhere = dict.fromkeys(("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"), "http://127.0.0.1:9")
    command = [str(CHECKOV), *arguments, "--skip-download", "--output", "json"]
    done = subprocess.run(
        command, cwd=folder, env=clean | nowhere, capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode in (0, 1), done.stderr
    said = json.loads(done.stdout)
    reports = [report for report in (said if isinstance(said, list) else [said]) if "results" in report]
    assert not [error for report in reports for error in report["results"].get("parsing_errors", [])]

    def pairs(verdict: str) -> list[dict[str, Any]]:
        return [check for report in reports for check in report["results"][verdict]]

    def named(verdict: str) -> set[tuple[str, str]]:
        return {(check["check_id"], _where(check)) for check in pairs(verdict)}

    skips = {(Path(check["file_path"]).name, check["check_id"]) for check in pairs("skipped_checks")}
    return Found(named("passed_checks"), named("failed_checks"), named("skipped_checks"), skips)


def _where(check: dict[str, Any]) -> str:
    """A resource of Terraform by its address; of a secret, whose name is a hash, the file and the line."""
    line, _ = check["file_line_range"]
    return f"{check['file_path']}:{line}" if check["check_id"].startswith("CKV_SECRET") else str(check["resource"])


def over_plan(plan: dict[str, Any], source: Path, folder: Path) -> Found:
    """checkov over a plan; the skips stand beside the resources, in the source."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plan.json").write_text(json.dumps(plan))
    arguments = ("--file", "plan.json", "--framework", "terraform_plan")
    return checked(folder, *arguments, "--repo-root-for-plan-enrichment", str(source))


def planned_resources(plan: dict[str, Any], types: Iterable[str]) -> set[str]:
    return {r["address"] for r in plan["planned_values"]["root_module"]["resources"] if r["type"] in types}


@pytest.fixture(scope="module")
def of_infra(plan: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Found:
    return over_plan(plan, INFRA, tmp_path_factory.mktemp("checkov"))


@pytest.fixture(scope="module")
def of_pipeline(pipeline_plan: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Found:
    return over_plan(pipeline_plan, PIPELINE, tmp_path_factory.mktemp("checkov"))


# ---- the plans


def test_a_deployment_is_clean(of_infra: Found, plan: dict[str, Any]) -> None:
    assert not of_infra.failed
    assert planned_resources(plan, KNOWN) <= of_infra.resources
    assert len(of_infra.passed) > 80, "checkov looked at next to nothing"


def test_the_pipeline_is_clean(of_pipeline: Found, pipeline_plan: dict[str, Any]) -> None:
    assert not of_pipeline.failed
    assert planned_resources(pipeline_plan, KNOWN) <= of_pipeline.resources
    assert len(of_pipeline.passed) > 100, "checkov looked at next to nothing"


def spoiled(plan: dict[str, Any]) -> dict[str, Any]:
    """The plan, had somebody opened what checkov can see."""
    bad = copy.deepcopy(plan)
    both = [*bad["planned_values"]["root_module"]["resources"], *(c["change"] for c in bad["resource_changes"])]
    by_address = {c["address"]: c["change"] for c in bad["resource_changes"]}

    def change(address: str, **values: Any) -> None:
        hit = [r["values"] for r in both if r.get("address") == address] + [by_address[address]["after"]]
        assert len(hit) == 2, address
        for each in hit:
            each.update(values)

    change("google_storage_bucket.models", public_access_prevention="inherited", uniform_bucket_level_access=False)
    members = sorted(planned_resources(plan, ["google_storage_bucket_iam_member"]))
    change(members[0], member="allUsers")
    grants = sorted(planned_resources(plan, ["google_project_iam_member"]))
    change(grants[0], role="roles/editor")
    return bad


def test_what_is_opened_is_found(plan: dict[str, Any], tmp_path: Path) -> None:
    found = over_plan(spoiled(plan), INFRA, tmp_path)
    assert {check for check, _ in found.failed} >= {
        "CKV_GCP_28",  # a bucket for everybody
        "CKV_GCP_29",  # access by object
        "CKV_GCP_114",  # public access not prevented
        "CKV_GCP_117",  # a basic role
    }


def assert_accounted_for(files: Iterable[Path], found: Found) -> None:
    """Each skip in these files gives a reason, and without it checkov would complain."""
    skips = {
        (file.name, check): (reason or "").strip()
        for file in files
        for check, reason in SKIP.findall(file.read_text())
    }
    assert not {where: reason for where, reason in skips.items() if len(reason.split()) < 4}
    assert set(skips) == found.skips


@pytest.mark.parametrize("folder", [INFRA, PIPELINE], ids=["infra", "pipeline"])
def test_every_skip_has_a_reason_and_skips_something(folder: Path, request: pytest.FixtureRequest) -> None:
    found = request.getfixturevalue("of_infra" if folder == INFRA else "of_pipeline")
    assert_accounted_for(folder.glob("*.tf"), found)


# ---- the repository


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is committed, or would be: no environment, no build."""
    folder = tmp_path_factory.mktemp("checkov") / "repository"
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, capture_output=True, check=True, timeout=300)
    except (OSError, subprocess.SubprocessError):
        pytest.skip("not a git clone")
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def of_repository(repository: Path) -> Found:
    return checked(
        repository, "--directory", ".", "--framework", "dockerfile", "github_actions", "secrets", *EVERY_FILE
    )


def of_kind(found: Found, kind: str) -> Found:
    """What is said of one kind of files: DOCKER, GHA or SECRET."""
    ours = re.compile(rf"CKV2?_{kind}_")
    return Found(*({pair for pair in pairs if any(map(ours.match, pair))} for pairs in found))


def test_the_dockerfile_is_clean(of_repository: Found) -> None:
    found = of_kind(of_repository, "DOCKER")
    # A test's dockerfile.py is taken for one, too.
    assert not {(check, where) for check, where in found.failed if where.startswith("/Dockerfile")}
    assert len({pair for pair in found.passed if pair[1].startswith("/Dockerfile")}) > 10
    assert_accounted_for([ROOT / "Dockerfile"], found)


def test_the_workflows_are_clean(of_repository: Found) -> None:
    found = of_kind(of_repository, "GHA")
    assert not found.failed
    assert len(found.passed) > 10
    assert_accounted_for((ROOT / ".github" / "workflows").glob("*.y*ml"), found)


def test_no_secret_is_committed(of_repository: Found) -> None:
    found = of_kind(of_repository, "SECRET").failed
    assert not {(check, where) for check, where in found if (check, where.rpartition(":")[0]) not in NO_SECRETS}


def test_a_secret_would_be_found(tmp_path: Path) -> None:
    key = (
        f"-----BEGIN {'RSA PRIVATE'} KEY-----\n" + "MIIEowIBAAKCAQEA" * 20 + f"\n-----END {'RSA PRIVATE'} KEY-----\n"
    )
    (tmp_path / "key.pem").write_text(key)
    assert checked(tmp_path, "--directory", ".", "--framework", "secrets", *EVERY_FILE).failed
