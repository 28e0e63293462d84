# SPDX-License-Identifier: Apache-2.0
"""`make bundle`: what the functions and the job's image are built from, as zips that are named by their content.

The same files give the same bytes on every machine, so that changed code, and only changed code, is built and
deployed again. Nothing but the standard library, and nothing of this repository: any Python can run it.

    python -m infra.deploy.bundle               # writes build/*.zip and infra/code.auto.tfvars.json
    python -m infra.deploy.bundle --find TAG    # which commit has the code that runs as TAG
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import stat
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
FUNCTIONS = "functions"
"""The functions' zip holds what is in here, without the folder itself: requirements.txt lies at its top."""
JOB = ("Dockerfile", "beam_pipelines", "functions/dropfit", "requirements/jobs.txt")
"""What the job's zip holds: the Dockerfile and what it copies. A test compares the two."""
WRITTEN = "infra/code.auto.tfvars.json"
TEXT = (".py", ".txt", ".sh", "Dockerfile")
"""Python and Docker read these the same with either line ending; a checkout on Windows may have the other."""
LEFTOVERS = ("~", ".pyc", ".pyo", ".swp", ".swo", ".orig", ".rej", ".bak", ".tmp", "#")
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The first moment that a zip can name."""
DIGITS = 16


class BundleError(ValueError):
    """The files cannot be bundled as they are; the message says which, and what to do."""


class Code(NamedTuple):
    """What is to be deployed.

    Attributes:
        functions: the zip of both functions.
        job: the zip of the job's image.
    """

    functions: Path
    job: Path

    @property
    def functions_tag(self) -> str:
        """Tag of both functions' images."""
        return self.functions.stem.rpartition("-")[2]

    @property
    def job_tag(self) -> str:
        """Tag of the job's image."""
        return self.job.stem.rpartition("-")[2]


def build(root: Path = ROOT, tell: Callable[[str], None] = lambda line: None) -> Code:
    """Write both zips, and the file by which Terraform knows them; zips of older code are removed.

    Args:
        root: the repository.
        tell: is told what was made, how large it is and whether anything changed.

    Raises:
        BundleError: when a file is missing, a symbolic link, or nothing that can be read.
    """
    folder = root / "build"
    folder.mkdir(exist_ok=True)
    made = []
    for what, files in contents(root).items():
        payload = zipped(files)
        path = folder / f"{what}-{digest(payload)}.zip"
        is_new = not path.is_file() or path.read_bytes() != payload
        if is_new:
            _write(path, payload)
        for older in folder.glob(f"{what}-{'?' * DIGITS}.zip"):
            if older != path:
                older.unlink()
        tell(
            f"{what:9}  {path.relative_to(root).as_posix()}  {len(payload) / 1000:6.0f} kB  {len(files)} files  "
            f"{'new' if is_new else 'as it was'}"
        )
        made.append(path)
    code = Code(*made)
    told = {"functions_zip": f"../build/{code.functions.name}", "image_tag": code.job_tag}
    _write(root / WRITTEN, f"{json.dumps(told, indent=2)}\n".encode())
    tell(f"{WRITTEN} names both")
    return code


def contents(root: Path) -> dict[str, dict[str, bytes]]:
    """What goes into each zip: name in the zip -> bytes.

    Raises:
        BundleError: when something is missing or a symbolic link.
    """
    functions = {name.removeprefix(f"{FUNCTIONS}/"): data for name, data in _read(root, FUNCTIONS)}
    return {"functions": functions, "job": {name: data for place in JOB for name, data in _read(root, place)}}


def zipped(files: Mapping[str, bytes]) -> bytes:
    """A zip that depends on names and bytes alone.

    Stored, not deflated: what deflate writes differs between zlib, zlib-ng and their versions.
    """
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.create_system = 3  # Unix, wherever this runs
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(entry, files[name])
    return made.getvalue()


def digest(payload: bytes) -> str:
    """The name of a content."""
    return hashlib.sha256(payload).hexdigest()[:DIGITS]


def is_code(name: str) -> bool:
    """Whether a file belongs to the code: nothing hidden, compiled or left over by an editor.

    Args:
        name: as seen from the repository, with slashes.
    """
    parts = name.split("/")
    if any(part.startswith((".", "#")) or part == "__pycache__" or part.endswith(".egg-info") for part in parts):
        return False
    return not parts[-1].endswith(LEFTOVERS)


def find(tag: str, root: Path = ROOT) -> str:
    """The newest commit whose code is named so, of all that the present one comes from.

    Args:
        tag: as in `functions-<tag>.zip` or `job:<tag>`; what is before it is ignored.
        root: the repository, with its history.

    Raises:
        BundleError: when no commit has it, or there is no git.
    """
    wanted = tag.replace(":", "-").rpartition("-")[2].removesuffix(".zip")
    for commit in _git(root, "log", "--format=%H", "--", FUNCTIONS, *JOB).decode().split():
        archive = _git(root, "archive", "--format=tar", commit)
        if wanted in (digest(zipped(files)) for files in _of_archive(archive).values()):
            return commit
    raise BundleError(
        f"no commit before the present one has the code {tag}: it was deployed from files that were not committed, "
        "or from another branch"
    )


def _read(root: Path, place: str) -> Iterator[tuple[str, bytes]]:
    """A file, or every file in a folder that is code."""
    top = root / place
    if not top.exists():
        raise BundleError(f"{place} is not there, and the bundle needs it")
    if not top.is_dir():
        yield place, _bytes(top, place)
        return
    for folder, folders, files in os.walk(top):
        for name in [*folders, *files]:
            path = Path(folder, name)
            known = path.relative_to(root).as_posix()
            if not is_code(known):
                continue
            if path.is_symlink():
                raise BundleError(f"{known} is a symbolic link, which is another thing elsewhere: put the file there")
            if name in files:
                yield known, _bytes(path, known)


def _bytes(path: Path, name: str) -> bytes:
    if path.is_symlink() or not path.is_file():
        raise BundleError(f"{name} is no plain file: put one there")
    return _plain(name, path.read_bytes())


def _plain(name: str, data: bytes) -> bytes:
    return data.replace(b"\r\n", b"\n") if name.endswith(TEXT) else data


def _of_archive(payload: bytes) -> dict[str, dict[str, bytes]]:
    """What the zips of a commit would hold; a commit before the job had a Dockerfile has what it has."""
    found: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(payload)) as archive:
        for member in archive:
            stream = archive.extractfile(member) if member.isreg() and is_code(member.name) else None
            if stream is not None:
                found[member.name] = _plain(member.name, stream.read())
    places = {"functions": (f"{FUNCTIONS}/",), "job": tuple(f"{place}/" for place in JOB)}
    chosen = {what: {n: d for n, d in found.items() if f"{n}/".startswith(tops)} for what, tops in places.items()}
    chosen["functions"] = {n.removeprefix(f"{FUNCTIONS}/"): d for n, d in chosen["functions"].items()}
    return chosen


def _git(root: Path, *arguments: str) -> bytes:
    command = ["git", "-C", str(root), *arguments]
    try:
        return subprocess.run(command, capture_output=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", b"") or b""
        raise BundleError(f"git {arguments[0]} failed: {said.decode(errors='replace').strip() or error}") from error


def _write(path: Path, payload: bytes) -> None:
    """Whole or not at all; what is there already is not written again."""
    if path.is_file() and path.read_bytes() == payload:
        return
    half = path.with_name(f".{path.name}.{os.getpid()}")
    half.write_bytes(payload)
    half.replace(path)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 1 with one line on standard error when it cannot be done."""
    parser = argparse.ArgumentParser(prog="python -m infra.deploy.bundle", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--find", metavar="TAG", help="say which commit has the code of this zip or image")
    asked = parser.parse_args(arguments)
    try:
        if asked.find:
            print(find(asked.find))
        else:
            build(tell=print)
    except BundleError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
