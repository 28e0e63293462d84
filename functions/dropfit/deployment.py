# SPDX-License-Identifier: Apache-2.0
"""The deployment that a person's command talks to: this clone's local cloud, or what the environment names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import settings as config
from .errors import ArtifactError, DropfitError, LocalCloudError, NotFound

if TYPE_CHECKING:
    from .registry import Registry
    from .settings import Settings
    from .storage import Buckets


def connect() -> tuple[Settings, Buckets]:
    """Settings and buckets.

    Raises:
        SettingsError: when nothing says where they are.
        LocalCloudError: when the local cloud's storage has crashed.
    """
    settings = config.load_for_person()
    for process in local_processes():
        if process.name == "storage" and process.state == "crashed":
            raise LocalCloudError(f"storage has crashed ({process.log}): `dropfit down`, then `dropfit up`")
    from . import storage

    return settings, storage.connect(settings)


def local_processes() -> list[Any]:
    """The local cloud's processes, unless the environment names a project of its own."""
    if config.names_a_deployment():
        return []
    from localcloud import cloud

    return cloud.status(config.home())


def status(most: int) -> dict[str, Any]:
    """Processes, what is served, the newest uploads, events on their way; and what is wrong.

    Args:
        most: uploads to tell of.
    """
    local = local_processes()
    found: dict[str, Any] = {
        "running": config.names_a_deployment() or any(p.name == "storage" and p.state == "running" for p in local),
        "processes": [vars(p) for p in local],
        "served": None,
        "uploads": [],
        "waiting": [],
        "trouble": "",
    }
    if local:
        from localcloud import cloud

        found["events"] = vars(cloud.event_counts(config.home()))
    if found["running"]:
        from . import overview
        from .receipts import Receipts
        from .registry import Registry

        settings, buckets = connect()
        found["uploads"] = overview.uploads(buckets, most)
        found["waiting"] = sorted({receipt.version for receipt in Receipts(buckets.data).held()})
        found["served"], found["trouble"] = _served(settings, Registry(buckets.models))
    return found


def _served(settings: Settings, registry: Registry) -> tuple[dict[str, Any] | None, str]:
    """What the pointer says, and what is wrong with it or with the function that should serve it."""
    from . import client, overview

    try:
        served = overview.served(registry)
        lost = "the pointer is gone" if served is None and registry.was_lost() else ""
    except (ArtifactError, NotFound) as error:  # the rest of the status is wanted all the more
        served, lost = None, str(error)
    if served is None:
        return None, f"{lost}: {_from_memory(settings)}" if lost else ""
    try:
        told = client.serving(settings)
    except DropfitError as error:
        return served, str(error)
    served["how"], version, trouble = told.how, told.version, told.trouble
    if not trouble and version != served["version"]:
        trouble = "it looks for a new version with each request"
    if trouble:
        trouble = f"the predict function serves {version or 'nothing'}: {trouble}"
    return served, trouble


def _from_memory(settings: Settings) -> str:
    """What predict goes on serving without a pointer, and the way back."""
    from . import client

    try:
        version = client.serving(settings).version
    except DropfitError as error:
        return f"{error}. `dropfit versions`, then `dropfit rollback VERSION`"
    answers = f"predict answers with {version} from memory" if version else "predict has no version"
    return f"{answers}. `dropfit rollback {version or 'VERSION'}` writes a new pointer"
