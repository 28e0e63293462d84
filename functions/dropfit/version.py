# SPDX-License-Identifier: Apache-2.0
"""A version, loaded and ready to predict."""

from __future__ import annotations

import msgspec

from . import encoding
from .contract import Problem
from .encoding import Encoder
from .errors import ArtifactError
from .manifest import Manifest
from .registry import Registry
from .runtime import OnnxModel, Scorer


class Version(msgspec.Struct, frozen=True):
    """What serving and batch need of a version: its manifest and its scorer."""

    manifest: Manifest
    scorer: Scorer


def load(registry: Registry, problem: Problem, version: str, threads: int = 1) -> Version:
    """Read, check and load a version.

    Args:
        registry: where it is.
        problem: the deployed problem, for its derive function alone.
        version: which.
        threads: onnxruntime's intra-op threads.

    Raises:
        NotFound: when there is no such version.
        ArtifactError: when it is broken, or needs another derive function than the deployed one.
    """
    manifest = registry.manifest(version)
    if manifest.derive_sha256 != problem.derive_sha256:
        raise ArtifactError(
            f"version {version} was trained with derive {manifest.derive_sha256[:12] or 'none'}, deployed is "
            f"{problem.derive_sha256[:12] or 'none'}: deploy the code it was trained with, or train again"
        )
    learned = encoding.loads(registry.read_artifact(manifest.encoding))
    encoder = Encoder(manifest.contract, learned, problem.derive)
    model = OnnxModel(registry.read_artifact(manifest.model), threads)
    return Version(manifest, Scorer(manifest.contract, encoder, model, manifest.classes))
