# SPDX-License-Identifier: Apache-2.0
"""What deploys is broken in one place after the other, and at least one test must turn red each time.

The table is in sabotages/*.toml: a file, a text that stands in it exactly once, what stands there instead, and tests
of which one must then turn red. Each is done to a copy of the tree. A text that is not found ends the proof.

    .venv/bin/python tests/torture sabotage                    all of them
    .venv/bin/python tests/torture sabotage --count 20         twenty, by the seed
    .venv/bin/python tests/torture sabotage --only buckets     those of one file of the table
    .venv/bin/python tests/torture sabotage --only "buckets: the data bucket can be made public"
"""

from __future__ import annotations

import os
import queue
import random
import re
import shutil
import tempfile
import tomllib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import red
from red import ROOT, Figure

TABLE = Path(__file__).parent / "sabotages"
NOT_COPIED = {".git", ".dropfit", "build", "dist"}
PLANS = re.compile(r"^from (planning|planned_resources|watched) import", re.MULTILINE)
"""In a module of tests that looks at plans."""


class Sabotage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A small edit that breaks one promise.

    Attributes:
        breaks: the promise, told as what is so then.
        file: of the repository.
        old: stands in it exactly once.
        new: stands there instead.
        red: tests, one of which must turn red.
    """

    breaks: str
    file: str
    old: str
    new: str
    red: tuple[str, ...]

    @property
    def wants_terraform(self) -> bool:
        """Whether its tests plan."""
        modules = {test.partition("::")[0] for test in self.red}
        return self.file.endswith(".tf") or any(PLANS.search((ROOT / module).read_text()) for module in modules)

    def text(self, root: Path = ROOT) -> str:
        """The file, broken.

        Raises:
            LookupError: when the old text does not stand in it exactly once.
        """
        whole = (root / self.file).read_text()
        if (times := whole.count(self.old)) != 1:
            raise LookupError(f"{self.file} holds {times} times what is to be broken ({self.breaks}): {self.old!r}")
        return whole.replace(self.old, self.new)


def table(root: Path = ROOT) -> dict[str, Sabotage]:
    """All of them: file of the table and what it breaks -> sabotage. A tfvars file of somebody's own is left out."""
    found = {}
    for file in sorted(TABLE.glob("*.toml")):
        for each in msgspec.convert(tomllib.loads(file.read_text())["sabotage"], list[Sabotage]):
            name = f"{file.stem}: {each.breaks}"
            if name in found:
                raise ValueError(f"{name} is in the table twice")
            if not each.file.endswith(".tfvars") or "your-project" in (root / each.file).read_text():
                found[name] = each
    return found


def terraform() -> str:
    """The path of $TERRAFORM, as the tests take it; empty when there is none."""
    named = os.environ.get("TERRAFORM", "terraform")
    return shutil.which(str(ROOT / named) if "/" in named else named) or ""


def part(names: Iterable[str], count: int, seed: int) -> list[str]:
    """So many of them, the same ones for the same seed; all for 0."""
    every = sorted(names)
    return random.Random(seed).sample(every, min(count, len(every))) if count else every  # noqa: S311


@contextmanager
def copies(count: int) -> Iterator[queue.Queue[Path]]:
    """So many copies of the tree, with this one's environments."""
    made: queue.Queue[Path] = queue.Queue()
    with tempfile.TemporaryDirectory(prefix="dropfit-sabotage-") as place:
        for number in range(count):
            folder = Path(place, str(number), ROOT.name)
            shutil.copytree(ROOT, folder, symlinks=True, ignore=_left_out)
            for environment in ROOT.glob(".venv*"):
                (folder / environment.name).symlink_to(environment)
            made.put(folder)
        yield made


def _left_out(folder: str, names: list[str]) -> set[str]:
    """What no test looks at: environments, caches, history."""
    return {
        name
        for name in names
        if name in NOT_COPIED or name.startswith(".venv") or name.endswith(("cache", "cache__"))
    }


def _turns_red(tests: tuple[str, ...], folder: Path) -> str:
    """The first test that fails in a copy; one that cannot even begin proves nothing."""
    search = os.pathsep.join((str(folder / "functions"), str(folder), os.environ.get("PYTHONPATH", "")))
    # No bytecode: what is broken and mended within a second, and as long as before, would be taken for the same.
    given = {"PYTHONPATH": search, "PYTHONDONTWRITEBYTECODE": "1", "TERRAFORM": terraform()}
    return red.first(tests, folder, kinds="FAILED", **given)


def run(
    count: int, seed: int, tick: Callable[[], None] = lambda: None, only: tuple[str, ...] = (), workers: int = 2
) -> Figure:
    """Break one thing after the other.

    Args:
        count: how many; 0 for all.
        seed: which.
        tick: called after each.
        only: names, or files of the table.
        workers: copies of the tree, and processes at a time.

    Raises:
        LookupError: when a text is not found where it should stand exactly once.
    """
    known = table()
    for each in known.values():
        each.text()
    asked = {name for name in known if not only or name in only or name.partition(":")[0] in only}
    can = {name for name in asked if terraform() or not known[name].wants_terraform}
    chosen = part(can, count, seed)
    tests = {name: known[name].red for name in chosen}
    every = tuple(dict.fromkeys(test for named in tests.values() for test in named))
    with copies(workers) as free:

        def breaks(name: str) -> str:
            folder = free.get()
            try:
                if not name:
                    return _turns_red(every, folder)
                return _broken(known[name], folder)
            finally:
                free.put(folder)

        more = f"; {len(asked - can)} left out, for there is no Terraform" if asked - can else ""
        return red.each("sabotages of infra/", "when done", tests, breaks, more, workers, tick)


def _broken(sabotage: Sabotage, folder: Path) -> str:
    """What is red with a sabotage done to a copy, which is mended afterwards."""
    file, text = folder / sabotage.file, sabotage.text(folder)
    whole = file.read_text()
    file.write_text(text)
    try:
        return _turns_red(sabotage.red, folder)
    finally:
        file.write_text(whole)
