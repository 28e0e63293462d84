# SPDX-License-Identifier: Apache-2.0
"""From an upload to its table being served, in a local cloud: where the time goes, by the run's own record.

The job's interpreter tells what each import took (PYTHONPROFILEIMPORTTIME) into the job's log, between the lines in
which the run tells its steps: so imports are taken out of the step in which they happened.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dropfit.settings import Settings

FITTING, PREDICTING, LOADING, OTHER = "fitting", "predicting", "loading", "other"
KINDS = (FITTING, PREDICTING, LOADING, OTHER)
OF_STEP = {"ingest": LOADING, "train": FITTING, "table": LOADING}
"""What a step is where its record does not say more."""
OF_PART = {
    "read": LOADING,
    "fit": FITTING,
    "score": PREDICTING,
    "predict": PREDICTING,
    "load": LOADING,
}
"""What the parts of a step are, where the record tells their seconds; what is left of the step is other."""
IMPORT = re.compile(r"import time:\s+(\d+) \|\s+\d+ \|")
STEP = re.compile(r" INFO (\w+): ([\d.]+) s\b")


@dataclass(frozen=True)
class Span:
    """A step, or what lies before it.

    Attributes:
        name: for people.
        seconds: all of them.
        until: the step whose end is told next in the log.
        inside: part of the step -> its seconds, where the record tells them.
    """

    name: str
    seconds: float
    until: str
    inside: Mapping[str, float]


@dataclass(frozen=True)
class Part:
    """Some of the way.

    Attributes:
        name: step, or step and part.
        kind: one of KINDS.
        seconds: imports apart.
    """

    name: str
    kind: str
    seconds: float


@dataclass(frozen=True)
class Upload:
    """One month's way from its upload to being served.

    Attributes:
        name: the file's.
        seconds: from the object's arrival in its bucket until it was promoted, and the view shows its table.
        imports: of them the job's imports, and its interpreter's start.
        parts: the rest, in order.
    """

    name: str
    seconds: float
    imports: float
    parts: tuple[Part, ...]

    @property
    def rest(self) -> float:
        """Seconds without imports."""
        return sum(part.seconds for part in self.parts)

    def spent(self, kind: str) -> float:
        """Seconds of one kind."""
        return sum(part.seconds for part in self.parts if part.kind == kind)

    def share(self, kind: str) -> float:
        """The same as a share of the rest."""
        return self.spent(kind) / self.rest if self.rest else 0.0


def imports(log: str) -> dict[str, float]:
    """Seconds of importing before the end of each step and after the step before it, from a job's log."""
    found: dict[str, float] = {}
    since = 0.0
    for line in log.splitlines():
        if told := IMPORT.match(line):
            since += int(told[1]) / 1e6
        elif ended := STEP.search(line):
            if ended[1] == "imports":  # all at once, before the next step: by the clock
                since = max(since, float(ended[2]))
            else:
                found[ended[1]], since = found.get(ended[1], 0.0) + since, 0.0
    return found


def parts(spans: Sequence[Span], imported: Mapping[str, float]) -> list[Part]:
    """The spans, imports taken out of them, each split where the record tells the seconds of its parts.

    Args:
        spans: in order.
        imported: as `imports` gives it; what the span before a step has no room for happened in the step.
    """
    left = dict(imported)
    found: list[Part] = []
    for span in spans:
        taken = min(span.seconds, left.get(span.until, 0.0))
        left[span.until] = left.get(span.until, 0.0) - taken
        rest, inside = span.seconds - taken, []
        for part, spent in span.inside.items():
            inside.append(Part(f"{span.name}: {part}", OF_PART.get(part, OTHER), min(spent, rest)))
            rest -= inside[-1].seconds
        kind = OTHER if inside else OF_STEP.get(span.name, OTHER)
        found += [*inside, Part(f"{span.name}: the rest" if inside else span.name, kind, rest)]
    return found


def spans(steps: Sequence[Span], began: float, started: Sequence[float]) -> list[Span]:
    """The steps, and what lies between them.

    Args:
        steps: in order.
        began: when the first of what lies before them began, in seconds.
        started: when each step did.
    """
    found, now = [], began
    for step, start in zip(steps, started, strict=True):
        until = step.name if found else "begun"
        found.append(Span(f"before {step.name}", max(0.0, start - now), until, {}))
        found.append(step)
        now = start + step.seconds
    return found


def measure(home: Path, months: Sequence[int], tell: Callable[[str], None]) -> list[Upload]:
    """Upload months one after another to a cloud of their own.

    Raises:
        DropfitError: when the cloud does not start, or a month is not promoted.
    """
    from dropfit import settings
    from localcloud import flights
    from localcloud.cloud import LocalCloud

    found = []
    with LocalCloud(home, environ={**os.environ, "PYTHONPROFILEIMPORTTIME": "1"}) as cloud:
        config = settings.load(cloud.env)
        os.environ.update(cloud.env)
        for month in flights.months(home / "files", months):
            tell(f"end to end: {month.name} is uploaded to a local cloud")
            found.append(_upload(config, month))
    return found


def _upload(config: Settings, month: Path) -> Upload:
    from benchmarks.year import upload
    from dropfit import runs, storage
    from dropfit.errors import Unavailable

    receipt = upload(config, month)
    began = receipt.object.generation / 1e6  # when storage had it: the uploader's own client is not measured
    run = runs.latest(storage.connect(config).data, 1)[0]
    if receipt.state != "promoted" or run.steps[-1].name != "promote":
        raise Unavailable(f"{month.name} is {receipt.state}: {receipt.reason}")
    steps = [Span(s.name, s.seconds or 0.0, s.name, s.detail.get("seconds", {})) for s in run.steps]
    received = receipt.received_at.timestamp()
    arrival = Span("event", max(0.0, received - began), "", {})  # before the job: none of it is an import
    whole = [arrival, *spans(steps, received, [s.started.timestamp() for s in run.steps])]
    imported = imports((Path(config.jobs_dir) / f"{run.job}.log").read_text(errors="replace"))
    found = parts(whole, imported)
    seconds = sum(span.seconds for span in whole)
    return Upload(month.stem, seconds, seconds - sum(part.seconds for part in found), tuple(found))
