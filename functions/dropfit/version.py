# SPDX-License-Identifier: Apache-2.0
"""A version, loaded and ready to predict."""

from __future__ import annotations

from typing import Any

import msgspec

from . import encoding, libraries, probe
from .contract import Problem
from .encoding import Encoder
from .errors import ArtifactError
from .manifest import Manifest, Model, Runtime
from .registry import Registry
from .runtime import OnnxModel, Scorer


class Version(msgspec.Struct, frozen=True):
    """What serving and batch need of a version: its manifest and its scorer."""

    manifest: Manifest
    scorer: Scorer


def load(registry: Registry, problem: Problem, version: str, threads: int = 1, seal: str = "") -> Version:
    """Read, check and load a version, and let it prove itself on its probe.

    Args:
        registry: where it is.
        problem: the deployed problem, for its derive function alone.
        version: which.
        threads: of the runtime.
        seal: what its manifest must hash to, as the pointer says; empty: what its own seal says.

    Raises:
        NotFound: when there is no such version.
        ArtifactError: when it is broken, needs another derive function than the deployed one, or libraries that
            answer as those that it was made with.
    """
    manifest = registry.manifest(version, seal)
    _check_derive(manifest, problem)
    unproven = libraries.check(manifest, manifest.runtime)
    try:
        scorer = _scorer(registry, problem, manifest, manifest.served, threads)
        _prove(registry, manifest, scorer.model, unproven)
    except ArtifactError as error:
        raise ArtifactError(f"{error}; {'; '.join(unproven)}" if unproven else str(error)) from error
    return Version(manifest, scorer)


def load_judged(registry: Registry, problem: Problem, manifest: Manifest, threads: int = 1) -> Scorer | None:
    """The model by which a version is compared: fitted on all but its holdout. None when the version keeps none.

    Raises:
        ArtifactError: as `load`.
    """
    judged = manifest.judged
    if judged is None:
        return None
    _check_derive(manifest, problem)
    libraries.check(manifest, judged.runtime)
    return _scorer(registry, problem, manifest, judged, threads)


def open_model(payload: bytes, runtime: Runtime, threads: int = 1) -> Any:
    """A model of either runtime as a function: float32 matrix (rows, inputs) -> (rows, classes), or (rows, 1).

    Args:
        payload: its file, the hash checked by the caller.
        runtime: what executes it.
        threads: of the runtime.

    Raises:
        ArtifactError: when it cannot, or must not, be opened.
    """
    if runtime == "onnxruntime":
        return OnnxModel(payload, threads)
    from .skops_model import SkopsModel

    return SkopsModel(payload, threads)


def _scorer(registry: Registry, problem: Problem, manifest: Manifest, stored: Model, threads: int) -> Scorer:
    payload, learned = registry.read_artifact(stored.model), registry.read_artifact(stored.encoding)
    encoder = Encoder(manifest.contract, encoding.loads(learned), problem.derive)
    return Scorer(manifest.contract, encoder, open_model(payload, stored.runtime, threads), stored.classes)


def _check_derive(manifest: Manifest, problem: Problem) -> None:
    if manifest.contract.derived and manifest.derive_sha256 != problem.derive_sha256:
        raise ArtifactError(
            f"version {manifest.version} was trained with derive {manifest.derive_sha256[:12]}, "
            f"deployed is {problem.derive_sha256[:12] or 'none'}: deploy the code it was trained with, or train again"
        )


def _prove(registry: Registry, manifest: Manifest, model: Any, unproven: list[str]) -> None:
    if manifest.probe is not None:
        probe.check(registry.read_artifact(manifest.probe), model)
    elif unproven:
        raise ArtifactError(f"version {manifest.version} has no probe to prove itself by")
