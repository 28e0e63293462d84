# SPDX-License-Identifier: Apache-2.0
"""Checks of the quotas that a deployment runs into: Cloud Run's CPU and memory, and Dataflow's machines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from dropfit.costs import shape
from dropfit.errors import BadRequest, NotFound
from dropfit.settings import Settings

from .look import Check, Look, Told, fail, ok, warn

COMPUTE = "https://compute.googleapis.com/compute/v1"
QUOTAS = "https://cloudquotas.googleapis.com/v1"
UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
UNLIMITED = -1


def cloud_run(look: Look) -> Iterator[Told]:
    """Does Cloud Run let the predict function have so many instances of that size?

    When it is deployed, Cloud Run compares the most that it may grow to with the region's quota, and refuses more.
    """
    size = look.environment.predict
    asked = {"CpuAllocPerProjectRegion": milli(size.cpu), "MemAllocPerProjectRegion": plain_bytes(size.memory)}
    fits = size.max_instances
    for quota, each in asked.items():
        allowed = _allowed(look, quota)
        if allowed is None:
            yield warn(f"could not look: Google tells no {quota} for {look.environment.region}", _raise(look))
            return
        if allowed != UNLIMITED:
            fits = min(fits, allowed // each)
    says = f"{size.max_instances} instances of {size.cpu} CPU and {size.memory} for predict"
    if fits < size.max_instances:
        yield fail(
            f"{says}: the quota of {look.environment.region} is enough for {fits}, and Cloud Run would refuse it",
            f"In infra/{look.environment.tfvars.name}: predict = {{ max_instances = {fits} }}, or ask for more:",
            _raise(look),
        )
    else:
        yield ok(f"enough for {says}")


def dataflow(look: Look) -> Iterator[Told]:
    """Has Compute Engine, whose machines Dataflow uses, the region, and room for the workers?"""
    environment = look.environment
    if not environment.dataflow:
        yield ok("not used (settings.runner)")
        return
    workers, machine = int(_setting(look, "max_workers")), str(_setting(look, "worker_machine"))
    try:
        cores = shape(machine)[0]
        found = look.get(f"{COMPUTE}/projects/{environment.project}/regions/{environment.region}")
    except BadRequest as error:
        yield fail(str(error), f"settings.worker_machine in infra/{environment.tfvars.name}")
        return
    except NotFound:
        yield fail(f"there is no region {environment.region}", f"Line `region` of infra/{environment.tfvars.name}.")
        return
    quotas = {quota["metric"]: quota for quota in found.get("quotas", [])}
    family = f"{machine.partition('-')[0].upper()}_CPUS"  # N2_CPUS ...; what has no quota of its own counts as CPUS
    needs = {family if family in quotas else "CPUS": workers * cores, "INSTANCES": workers}
    tight = [_short(quotas[metric], need) for metric, need in needs.items() if _free(quotas.get(metric)) < need]
    says = f"{workers} workers of {machine}"
    if not set(needs) <= set(quotas):
        yield warn(f"could not look: Google tells no {' and '.join(set(needs) - set(quotas))}", _raise(look))
    elif tight:
        yield warn(
            f"{says} want {'; '.join(tight)}: Dataflow would go on with fewer workers",
            f"Lower settings.max_workers in infra/{environment.tfvars.name}, or ask for more:",
            _raise(look),
        )
    else:
        yield ok(f"enough for {says}")


def milli(cpu: str) -> int:
    """`1` or `500m` in thousandths of a CPU, as Cloud Run's quota counts."""
    return int(cpu.removesuffix("m")) if cpu.endswith("m") else round(float(cpu) * 1000)


def plain_bytes(memory: str) -> int:
    """`1Gi` in bytes."""
    found = re.fullmatch(r"([\d.]+)([A-Za-z]*)", memory)
    if not found or found[2] not in UNITS:
        raise BadRequest(f"memory {memory!r} is none that Cloud Run takes, such as 512Mi or 1Gi")
    return round(float(found[1]) * UNITS[found[2]])


def _allowed(look: Look, quota: str) -> int | None:
    """What a quota of Cloud Run allows in the region, None when Google does not tell."""
    environment = look.environment
    where = f"projects/{environment.project}/locations/global/services/run.googleapis.com"
    for entry in look.get(f"{QUOTAS}/{where}/quotaInfos/{quota}").get("dimensionsInfos", []):
        regions = [entry.get("dimensions", {}).get("region"), *entry.get("applicableLocations", [])]
        if environment.region in regions and "value" in entry.get("details", {}):
            return int(entry["details"]["value"])
    return None


def _setting(look: Look, field: str) -> Any:
    defaults = {one.name: one.default for one in msgspec.structs.fields(Settings)}
    return look.environment.settings.get(field, defaults[field])


def _free(quota: dict[str, Any] | None) -> float:
    return float(quota["limit"] - quota["usage"]) if quota else float("inf")


def _short(quota: dict[str, Any], need: int) -> str:
    return f"{need} {quota['metric']}, and {_free(quota):g} of {quota['limit']:g} are free"


def _raise(look: Look) -> str:
    return f"https://console.cloud.google.com/iam-admin/quotas?project={look.environment.project}"


QUOTA = [Check("quotas", "Cloud Run", cloud_run), Check("quotas", "Dataflow", dataflow)]
