# SPDX-License-Identifier: Apache-2.0
"""Checks of the place: is every service there in this region, are the names valid, and free or ours."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from dropfit.errors import DropfitError, NotFound, Refused

from .look import Check, Look, Told, fail, host, is_off, ok, switch_on, unseen, warn

SERVICES = {
    "Cloud Run": "https://run.googleapis.com/v1",
    "Eventarc": "https://eventarc.googleapis.com/v1",
    "Cloud Scheduler": "https://cloudscheduler.googleapis.com/v1",
    "Artifact Registry": "https://artifactregistry.googleapis.com/v1",
}
"""Service -> the API that lists where it is."""
RUN = "https://run.googleapis.com/v2"
LOGGING = "https://logging.googleapis.com/v2"
STORAGE = "https://storage.googleapis.com/storage/v1"
BIGQUERY = "https://bigquery.googleapis.com/bigquery/v2"
BUILDS = ("us-central1", "us-west2", "europe-west1", "asia-east1", "australia-southeast1", "southamerica-east1")
"""Where Cloud Build builds for every project; for some, new ones mostly, nowhere else
(cloud.google.com/build/docs/locations)."""
BUCKETS = ("landing", "data", "models", "source", "state")
ACCOUNTS = ("on-upload", "predict", "retrain", "sweep", "dataflow", "trigger", "scheduler", "build")
BUCKET = re.compile(r"[a-z0-9][a-z0-9_-]{1,61}[a-z0-9]")
ACCOUNT = re.compile(r"[a-z][a-z0-9-]{4,28}[a-z0-9]")


def regions(look: Look) -> Iterator[Told]:
    """Does every service have the region? Those that cannot be asked are told together."""
    region, there, unasked = look.environment.region, [], []
    for service, url in SERVICES.items():
        try:
            found = look.listed(f"{url}/projects/{look.environment.project}/locations", "locations")
        except DropfitError as error:
            unasked.append((service, error))
            continue
        known = {str(place["locationId"]) for place in found}
        if region in known:
            there.append(service)
        else:
            near = ", ".join(sorted(one for one in known if one.split("-")[0] == region.split("-")[0]))
            yield fail(
                f"{service} has no region {region}",
                f"It is in {near or 'the regions of https://cloud.google.com/about/locations'}.",
                f"Choose another in line `region` of infra/{look.environment.tfvars.name}.",
            )
    if there:
        yield ok(f"{region} has {', '.join(there)}")
    yield from _together(look, unasked)


def _together(look: Look, unasked: list[tuple[str, DropfitError]]) -> Iterator[Told]:
    """Services that are off in one finding, whatever else there was in one each."""
    off = {name: error for name, error in unasked if isinstance(error, Refused) and is_off(error)}
    yield from (unseen(look, error) for name, error in unasked if name not in off)
    if off:
        apis = [f"{host(error)}.googleapis.com" for error in off.values()]
        yield warn(
            f"could not look for {', '.join(off)}: {'their APIs are' if len(off) > 1 else 'its API is'} off",
            *switch_on(look, apis),
        )


def builds(look: Look) -> Iterator[Told]:
    """Will Cloud Build work in the region? Google tells nobody before the first build."""
    environment = look.environment
    if environment.region in BUILDS:
        yield ok(f"Cloud Build builds in {environment.region} for every project")
        return
    try:
        look.get(f"{RUN}/{environment.location}/services/{environment.name}-predict")
    except (NotFound, Refused):
        yield warn(
            f"Cloud Build builds in {environment.region} for some projects only, and tells at the first build",
            "If that is refused for want of quota, nothing is lost. Every project can build in",
            f"{', '.join(BUILDS)}:",
            f"choose one in line `region` of infra/{environment.tfvars.name} while nothing is deployed.",
            f"Or ask for more: https://console.cloud.google.com/iam-admin/quotas?project={environment.project}",
        )
    else:
        yield ok(f"something was built and deployed in {environment.region} before")


def log_bucket(look: Look) -> Iterator[Told]:
    """Is the log bucket's name free, or the bucket there? A deleted one keeps its name for a week."""
    environment = look.environment
    try:
        found = look.get(f"{LOGGING}/{environment.location}/buckets/{environment.name}")
    except NotFound:
        yield ok(f"free: {environment.name}")
        return
    if found.get("lifecycleState") != "DELETE_REQUESTED":
        yield ok(f"{environment.name} is there")
        return
    options = f"--location={environment.region} --project={environment.project}"
    yield fail(
        f"{environment.name} is being deleted: for 7 days nobody can make another of that name",
        "Bring it back, with the lines that are still in it; `dropfit deploy` takes it over:",
        f"$ gcloud logging buckets undelete {environment.name} {options}",
        f"Or wait, or set another `name` in infra/{environment.tfvars.name}.",
    )


def dataset(look: Look) -> Iterator[Told]:
    """Is the dataset not there yet, or where it should be?"""
    environment = look.environment
    name = environment.name.replace("-", "_")
    try:
        found = look.get(f"{BIGQUERY}/projects/{environment.project}/datasets/{name}")
    except NotFound:
        yield ok(f"{name} is not there yet")
        return
    place = str(found.get("location", "")).lower()
    if place == environment.region:
        yield ok(f"{name} is there, in {environment.region}")
    else:
        yield _elsewhere(look, f"dataset {name}", place)


def names(look: Look) -> Iterator[Told]:
    """Are the names that follow from project and name such as Google takes?"""
    environment = look.environment
    accounts = [environment.account(runtime).partition("@")[0] for runtime in ACCOUNTS]
    wrong = [f"service account {one}" for one in accounts if not ACCOUNT.fullmatch(one)]
    for name in map(environment.bucket, BUCKETS):
        if not BUCKET.fullmatch(name) or name.startswith("goog") or "google" in name:
            wrong.append(f"bucket {name}")
    if wrong:
        rule = "3 to 15 lower-case letters, digits and hyphens, and no `google`"
        yield fail(
            f"Google does not take {', '.join(wrong)}", f"Line `name` of infra/{environment.tfvars.name}: {rule}."
        )
    else:
        yield ok(f"{len(accounts)} service accounts and {len(BUCKETS)} buckets have valid names")


def buckets(look: Look) -> Iterator[Told]:
    """Are the buckets' names free, or the buckets ours and in the right place?"""
    free, ours = [], []
    for name in map(look.environment.bucket, BUCKETS):
        try:
            found = look.get(f"{STORAGE}/b/{name}")
        except NotFound:
            free.append(name)
            continue
        except Refused as error:
            if error.status != 403 or is_off(error):
                raise
            yield _taken(look, name)
            continue
        told = _wrong(look, name, found)
        if told:
            yield told
        else:
            ours.append(name)
    if ours:
        yield ok(f"there, and this project's: {_short(look, ours)}")
    if free:
        yield ok(f"free: {_short(look, free)}")


def _short(look: Look, buckets: list[str]) -> str:
    beginning = look.environment.bucket("")
    return f"{', '.join(one.removeprefix(beginning) for one in buckets)} ({beginning}...)"


def _taken(look: Look, name: str) -> Told:
    return fail(
        f"gs://{name} is there, and you may not see it: it is somebody else's, or you lack a role",
        "Names of buckets are unique in the world. If it is somebody else's,",
        f"set another `name` in infra/{look.environment.tfvars.name}. If it is yours:",
        look.grant("roles/storage.admin"),
    )


def _wrong(look: Look, name: str, found: dict[str, Any]) -> Told | None:
    """What is wrong with a bucket that is there."""
    number, place = str(found.get("projectNumber")), str(found.get("location", "")).lower()
    if look.number and number != look.number:
        return fail(
            f"gs://{name} belongs to another project, number {number}",
            f"Names of buckets are unique in the world: set another `name` in infra/{look.environment.tfvars.name}.",
        )
    return None if place == look.environment.region else _elsewhere(look, f"gs://{name}", place)


def _elsewhere(look: Look, what: str, place: str) -> Told:
    region, tfvars = look.environment.region, f"infra/{look.environment.tfvars.name}"
    return fail(
        f"{what} is in {place}, and cannot be moved to {region}",
        f'Write region = "{place}" into {tfvars}, or set another `name` there.',
    )


REGION = [
    Check("region", "services", regions),
    Check("region", "builds", builds),
    Check("region", "dataset", dataset),
    Check("names", "valid", names),
    Check("names", "buckets", buckets),
    Check("names", "log bucket", log_bucket),
]
