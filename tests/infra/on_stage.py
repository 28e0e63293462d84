# SPDX-License-Identifier: Apache-2.0
"""The command line before a little Google and a little Terraform: what a person types, and what it brings about."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from fake_terraform import FakeTerraform
from google_api import Call, Fault, Google

from dropfit import cli, settings
from infra.deploy import bundle, dead_letter, deploy, doctor, environment, images, terraform

STORAGE = "https://storage.googleapis.com/storage/v1"
TFVARS = 'project = "acme-dev"\nregion = "europe-west1"\nenvironment = "dev"\n'
CODE = bundle.Code(Path("build/functions-00000000000000aa.zip"), Path("build/job-00000000000000bb.zip"))
DELIVERY = dead_letter.Delivery(
    subscription="projects/acme-dev/subscriptions/eventarc-1",
    topic="projects/acme-dev/topics/dropfit-dead-letters",
    attempts=8,
    backoff={},
    agent="serviceAccount:pubsub",
    may_take=True,
    may_put=True,
)
FINE = doctor.Finding("Project", "project", "ok", "acme-dev", "")
BAD = doctor.Finding("Project", "billing", "fail", "the project has no billing", "link a billing account")
WANTED: dict[str, dict[str, Any]] = {
    'google_project_service.apis["run.googleapis.com"]': {},
    "google_artifact_registry_repository.images": {},
    "google_storage_bucket.source": {"force_destroy": True},
    "google_storage_bucket_object.functions": {},
    "google_storage_bucket_object.job": {},
    "google_service_account.build": {},
    "google_storage_bucket.landing": {"force_destroy": False, "deletion_policy": "PREVENT"},
    "google_storage_bucket.data": {"force_destroy": False, "deletion_policy": "PREVENT"},
    "google_storage_bucket.models": {"force_destroy": False, "deletion_policy": "PREVENT"},
    "google_bigquery_dataset.predictions": {"delete_contents_on_destroy": False, "deletion_policy": "PREVENT"},
    "google_logging_project_bucket_config.predictions": {},
    "google_cloud_run_v2_service.predict": {"deletion_protection": True},
    "google_cloud_run_v2_job.retrain": {"deletion_protection": True},
    "google_eventarc_trigger.uploads": {},
}
"""As much of infra/ as the stages tell apart."""
OUTPUTS = {"env": {"GOOGLE_CLOUD_PROJECT": "acme-dev", "DROPFIT_PREDICT_URL": "https://predict.example"}}


class Told(NamedTuple):
    """Exit status, and all that was printed."""

    code: int
    text: str


class Person(io.StringIO):
    """A keyboard with somebody at it."""

    def isatty(self) -> bool:
        return True


class Both(NamedTuple):
    """One session for all of Google."""

    google: Google
    builds: Any

    def request(self, method: str, url: str, timeout: float, **more: Any) -> Any:
        ours = (
            "builds:submit",
            "cloudbuild.googleapis.com",
            "artifactregistry.googleapis.com/v1/projects/acme-dev/loc",
        )
        if any(part in url for part in ours) and not url.endswith("/locations"):
            return self.builds.request(method, url, timeout, **more)
        return self.google.request(method, url, **more)


class Stage:
    """A person at a clone of their own, with an empty project.

    Attributes:
        google: the project.
        terraform: the program that TERRAFORM names; the other stages' stand-ins note there when they come.
        before, after: what the doctor finds.
        home: where `.dropfit` is.
        infra: where the tfvars are.
        machines_terraform: the Terraform outside of the tests.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._patch = monkeypatch
        self.google = Google()
        self.terraform = FakeTerraform(folder / "program")
        self.terraform.tell(wanted=WANTED, outputs=OUTPUTS)
        self.home = folder / "home"
        self._play: Callable[[], None] = lambda: None
        self.before, self.after = [FINE], [FINE]
        self.infra = infra = folder / "infra"
        infra.mkdir()
        shutil.copy(Path(__file__).parents[2] / "infra" / "variables.tf", infra)
        (infra / "dev.tfvars").write_text(TFVARS)
        self.machines_terraform = str(settings.terraform())
        self._set()
        self._others()
        self._storage()

    def _set(self) -> None:
        """Where the clone, Terraform and Google are."""
        for module in (environment, terraform):
            self._patch.setattr(module, "INFRA", self.infra)
        self._patch.setenv("TERRAFORM", str(self.terraform.path))
        self._patch.setenv("DROPFIT_HOME", str(self.home))
        self._patch.setattr("google.auth.default", lambda scopes: (None, "acme-dev"))
        self._patch.setattr("google.auth.transport.requests.AuthorizedSession", lambda credentials: self.google)

    def whole(self, google: Google, builds: Any, root: Path) -> None:
        """No stage has a stand-in any more: only Google and Terraform have.

        Args:
            google: that answers instead.
            builds: what answers for images: run's builds, the registry.
            root: the clone that is bundled.
        """
        self._patch.undo()
        self._set()
        self.google = google
        self._storage()
        self._patch.setattr("google.auth.transport.requests.AuthorizedSession", lambda _: Both(google, builds))
        self._patch.setattr(bundle, "ROOT", root)
        self._patch.setattr(images, "LOOK", 0.01)
        self._patch.setattr(bundle.build, "__defaults__", (root, *(bundle.build.__defaults__ or ())[1:]))

    def _others(self) -> None:
        """The stages that have tests of their own: here it counts when they come, and with what."""
        place = self._patch.setattr
        place(doctor, "before", lambda env, api: self._do("doctor before", self.before))
        place(doctor, "after", lambda env, api: self._do("doctor after", self.after))
        place(bundle, "build", lambda tell: self._do("bundle", CODE))
        place(images, "build", lambda env, code, api, tell: self._images(code))
        place(dead_letter, "connect", lambda env, api, tell: self._do("dead letters", DELIVERY))
        place(deploy, "PAUSE", 0.01)
        place(terraform, "LOOK", 0.01)

    def on_images(self, play: Callable[[], None]) -> None:
        """What happens while images are built."""
        self._play = play

    def _images(self, code: bundle.Code) -> None:
        self.terraform.note(f"images {code.functions_tag}")
        self._play()

    def _do(self, what: str, answer: Any) -> Any:
        self.terraform.note(what)
        return answer

    def _storage(self) -> None:
        on, things = self.google.on, self.google.things
        on["storage.v1.buckets.insert"] = self._made

        def listed(call: Call) -> dict[str, Any]:
            found = {url.rpartition("/b/")[2]: b for url, b in things.items() if url.startswith(f"{STORAGE}/b/")}
            ours = [{"name": name, **b} for name, b in found.items() if "/" not in name]
            return {"items": [b for b in ours if b["projectNumber"] == self.google.number]}

        on["storage.v1.buckets.list"] = listed
        project = {"name": f"projects/{self.google.number}", "projectId": "acme-dev", "state": "ACTIVE"}
        things["https://cloudresourcemanager.googleapis.com/v3/projects/acme-dev"] = project

    def _made(self, call: Call) -> dict[str, Any]:
        url = f"{STORAGE}/b/{call.body['name']}"
        if url in self.google.things:
            raise Fault(409, "Your previous request to create the named bucket succeeded and you already own it.")
        self.google.things[url] = call.body | {"projectNumber": self.google.number}
        return self.google.things[url]

    def bucket(self, name: str = "acme-dev-dropfit-state", **more: Any) -> dict[str, Any]:
        """A bucket that is there, as we make it."""
        access = {"uniformBucketLevelAccess": {"enabled": True}, "publicAccessPrevention": "enforced"}
        found = {
            "name": name,
            "location": "EUROPE-WEST1",
            "projectNumber": self.google.number,
            "iamConfiguration": access,
            "versioning": {"enabled": True},
            "softDeletePolicy": {"retentionDurationSeconds": "604800"},
        }
        self.google.things[f"{STORAGE}/b/{name}"] = found | more
        return found

    def deployed(self) -> None:
        """Everything is there."""
        self.bucket()
        self.google.things[f"{STORAGE}/b/acme-dev-dropfit-state/o/dropfit%2Fdefault.tfstate"] = {"size": "1"}
        self.terraform.tell(state=WANTED)

    def filled(self) -> None:
        """There is data: uploads, accepted rows, no model yet, a table."""
        things = self.google.things
        objects = {"landing": [{"size": "3000000"}] * 2, "data": [{"size": "1000000000"}] * 3, "models": []}
        for what, items in objects.items():
            things[f"{STORAGE}/b/acme-dev-dropfit-{what}/o"] = {"items": items}
        tables = "https://bigquery.googleapis.com/bigquery/v2/projects/acme-dev/datasets/dropfit/tables"
        names = {"predictions": "VIEW", "predictions__v1": "TABLE"}
        listed = [{"tableReference": {"tableId": name}, "type": kind} for name, kind in names.items()]
        things[tables] = {"tables": listed}
        things[f"{tables}/predictions__v1"] = {"numRows": "15188", "numBytes": "1000000000"}

    def type(self, *words: str, keyboard: str | None = None) -> Told:
        """`dropfit WORDS`, with somebody at the keyboard or nobody."""
        shown = io.StringIO()
        place = self._patch.setattr
        place(sys, "argv", ["dropfit", *words])
        place(sys, "stdin", io.StringIO() if keyboard is None else Person(keyboard))
        place(sys, "stdout", shown)
        for console in (cli.out, cli.err):
            place(console, "_file", shown)
        try:
            cli.main()
        except SystemExit as end:
            return Told(int(end.code or 0), shown.getvalue())
        return Told(0, shown.getvalue())

    def file(self) -> dict[str, str]:
        """What `.dropfit/dev.env` says."""
        from dotenv import dotenv_values

        return {name: value or "" for name, value in dotenv_values(self.home / "dev.env").items()}
