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
import re
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
JOB = ("Dockerfile", "beam_pipelines", "functions", "requirements/jobs.txt")
"""What the job's zip holds: the Dockerfile and what it copies. A test compares the two."""
NOT_JOB = ("functions/on_upload.py", "functions/predict.py", "functions/requirements.txt")
"""What of these is the functions' alone: a change of it is no reason to build the job's image again."""
WRITTEN = "infra/code.auto.tfvars.json"
TEXT = (".py", ".txt", ".sh", "Dockerfile")
"""Python and Docker read these the same with either line ending; a checkout on Windows may have the other."""
LEFTOVERS = ("~", ".pyc", ".pyo", ".swp", ".swo", ".orig", ".rej", ".bak", ".tmp", "#")
KEYS = (".pem", ".key", ".env", ".p12", ".pfx", ".jks", "id_rsa", "id_ecdsa", "id_ed25519")
"""A file that is called so is taken for a key, and so is one of another kind than Python that holds a SECRET."""
SECRET = re.compile(rb'"private_key"|-----BEGIN [A-Z ]*PRIVATE KEY')
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
        BundleError: when a file is missing, a symbolic link, nothing that can be read, or looks like a key.
    """
    folder = root / "build"
    folder.mkdir(exist_ok=True)
    found, made = contents(root), []
    for what, files in found.items():
        payload = zipped(files)
        path = folder / f"{what}-{digest(payload)}.zip"
        is_new = not path.is_file() or path.read_bytes() != payload
        if is_new:
            _write(path, payload)
        for older in folder.glob(f"{what}-{'?' * DIGITS}.zip"):
            if older != path:
                older.unlink()
        tell(
            f"{what:9}  {path.relative_to(root).as_posix():36}  {len(payload) / 1000:6.0f} kB  {len(files):4} files  "
            f"{'new' if is_new else 'as it was'}"
        )
        made.append(path)
    code = Code(*made)
    told = {"functions_zip": f"../build/{code.functions.name}", "image_tag": code.job_tag}
    _write(root / WRITTEN, f"{json.dumps(told, indent=2)}\n".encode())
    tell(f"{WRITTEN} names both")
    strange = untracked(root, found)
    if strange:
        tell(
            f"not in git, and deployed all the same: {', '.join(strange)}; commit what belongs there, remove the rest"
        )
    return code


def untracked(root: Path, found: Mapping[str, Mapping[str, bytes]]) -> list[str]:
    """The bundled files that git does not track, those that it ignores included; none where there is no git.

    Args:
        root: the repository.
        found: as `contents` returns it.
    """
    try:
        known = set(_git(root, "ls-files", "-z", "--", *JOB).decode().split("\0"))
    except BundleError:
        return []
    bundled = {f"{FUNCTIONS}/{name}" for name in found["functions"]} | set(found["job"])
    return sorted(bundled - known) if bundled & known else []  # else it is somebody else's repository around this one


def contents(root: Path) -> dict[str, dict[str, bytes]]:
    """What goes into each zip: name in the zip -> bytes.

    Raises:
        BundleError: when something is missing, a symbolic link, or looks like a key.
    """
    return _parted({name: data for place in JOB for name, data in _read(root, place)})


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
    for commit in _git(root, "log", "--format=%H", "--", *JOB).decode().split():
        archive = _git(root, "archive", "--format=tar", commit)
        if wanted in (digest(zipped(files)) for files in _of_archive(archive).values()):
            return commit
    raise BundleError(
        f"no commit before the present one has the code {tag}: it was deployed from files that were not committed, "
        "or from another branch"
    )


def _read(root: Path, place: str) -> Iterator[tuple[str, bytes]]:
    """A file, or every file in a folder that is code; no key."""
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
    data = path.read_bytes()
    if name.endswith(KEYS) or (not name.endswith(".py") and SECRET.search(data)):
        raise BundleError(
            f"{name} looks like a key, and would be in zips and images: move it out of {name.partition('/')[0]}/. "
            "Nothing that is deployed needs one: it has a service account"
        )
    return _plain(name, data)


def _parted(found: Mapping[str, bytes]) -> dict[str, dict[str, bytes]]:
    """Which file is in which zip, of all that JOB names."""
    top = f"{FUNCTIONS}/"
    functions = {name.removeprefix(top): data for name, data in found.items() if name.startswith(top)}
    return {"functions": functions, "job": {name: data for name, data in found.items() if name not in NOT_JOB}}


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
    tops = tuple(f"{place}/" for place in JOB)
    return _parted({name: data for name, data in found.items() if f"{name}/".startswith(tops)})


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
