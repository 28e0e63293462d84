# SPDX-License-Identifier: Apache-2.0
"""A Dockerfile, read for the tests, and carried out without Docker in a virtual environment."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "Dockerfile"
NETWORK = ("PIP_", "SSL_", "HTTP_", "HTTPS_", "NO_", "http_", "https_", "no_")
"""How this machine reaches its packages is its own affair; nothing else of it is seen."""


def instructions(text: str) -> list[tuple[str, str]]:
    """Every instruction with its argument in one line."""
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n\s*", "", lines)
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in joined.splitlines() if line.strip()]


def arguments(keyword: str) -> list[str]:
    """The arguments of all instructions of one kind, in order."""
    return [told for word, told in instructions(DOCKERFILE.read_text()) if word == keyword]


def copies() -> list[tuple[str, str]]:
    """What is copied from the context: source, target."""
    found = [told.split() for told in arguments("COPY") if not told.startswith("--from")]
    assert all(len(one) == 2 for one in found), "the tests know COPY with one source and no option"
    return [(source, target) for source, target in found]


def variables(app: Path) -> dict[str, str]:
    """What ENV sets, with another folder in the place of /app."""
    pairs = (pair.split("=", 1) for told in arguments("ENV") for pair in told.split())
    return {name: value.replace("/app", str(app)) for name, value in pairs}


def environment(prefix: Path, **more: str) -> dict[str, str]:
    """Of a process that sees a virtual environment and nothing of this repository."""
    return {"PATH": f"{prefix / 'bin'}:/usr/bin:/bin", "LANG": "C.UTF-8", **more}


def network() -> dict[str, str]:
    """What pip needs of this machine."""
    return {name: value for name, value in os.environ.items() if name.startswith(NETWORK) or name == "HOME"}


def new_environment(prefix: Path) -> Path:
    """A virtual environment with pip and nothing else."""
    subprocess.run([sys.executable, "-m", "venv", str(prefix)], check=True, timeout=500)
    return prefix


def unpacked(archive: Path, folder: Path) -> Path:
    """A zip's content in an empty folder."""
    folder.mkdir(parents=True)
    with zipfile.ZipFile(archive) as source:
        source.extractall(folder)
    return folder


def built(context: Path, folder: Path) -> tuple[Path, Path]:
    """COPY and RUN in their order, in `folder`/app with `folder`/usr as the system's Python; both are returned."""
    app, prefix = folder / "app", new_environment(folder / "usr")
    app.mkdir()
    known = environment(prefix, **(variables(app) | network()))
    for word, told in instructions((context / "Dockerfile").read_text()):
        if word == "COPY" and not told.startswith("--from"):
            source, target = told.split()
            (app / target).parent.mkdir(parents=True, exist_ok=True)
            if (context / source).is_dir():
                shutil.copytree(context / source, app / target)
            else:
                shutil.copyfile(context / source, app / target)
        elif word == "RUN":
            run(["/bin/sh", "-c", told], app, known)
    return app, prefix


def run(command: list[str], folder: Path, known: Mapping[str, str], **more: object) -> str:
    """Run a command to its good end; a failure shows what it said."""
    done = subprocess.run(
        command, cwd=folder, env=dict(known), capture_output=True, text=True, timeout=600, check=False, **more
    )  # type: ignore[call-overload]
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return str(done.stdout) + str(done.stderr)
