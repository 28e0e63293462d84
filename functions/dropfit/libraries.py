# SPDX-License-Identifier: Apache-2.0
"""The libraries a model depends on: what it was made with, and whether those that run here may open it."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Sequence

from .errors import ArtifactError
from .manifest import Manifest, Runtime

LIBRARIES = ("scikit-learn", "scipy", "skops", "skl2onnx", "onnx", "onnxruntime", "numpy", "pyarrow")
"""What is recorded with a version, besides Python's own version."""
EXECUTES: dict[Runtime, tuple[str, ...]] = {
    "onnxruntime": ("onnxruntime",),
    "skops": ("scikit-learn", "skops", "numpy", "scipy"),
}
"""What computes a prediction. Another version of these must prove that it answers the same."""
FITTED: dict[Runtime, tuple[str, ...]] = {"onnxruntime": (), "skops": ("scikit-learn",)}
"""Whose inside a stored model is made of: another version of these is never opened, whatever a few rows say."""


def recorded() -> dict[str, str]:
    """What a model that is made here depends on: package -> version."""
    return {"python": platform.python_version()} | {name: installed(name) for name in LIBRARIES}


def installed(package: str) -> str:
    """The version that is installed, empty when it is not."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def mismatched(manifest: Manifest, packages: Sequence[str]) -> list[str]:
    """A sentence for each of the packages whose version here is not the one that the version was made with."""
    sentences = []
    for package in packages:
        then, now = manifest.libraries.get(package, ""), installed(package)
        if then != now:
            sentences.append(f"it was made with {package} {then or 'unknown'}, here is {now or 'none'}")
    return sentences


def check(manifest: Manifest, runtime: Runtime) -> list[str]:
    """Refuse what must not be opened; returns what has to be proven equal.

    Raises:
        ArtifactError: when what executes it is not installed, or of a version that may read the model otherwise.
    """
    missing = [package for package in EXECUTES[runtime] if not installed(package)]
    if missing:
        raise ArtifactError(
            f"version {manifest.version} is served by {runtime}, and {', '.join(missing)} is not installed here: "
            "install dropfit[skops] (for a function: add scikit-learn and skops to its requirements.txt)"
        )
    refused = mismatched(manifest, FITTED[runtime])
    if refused:
        raise ArtifactError(
            f"version {manifest.version} is refused: {'; '.join(refused)}. Install that version, or train again"
        )
    return mismatched(manifest, EXECUTES[runtime])
