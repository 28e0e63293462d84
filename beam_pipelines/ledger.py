# SPDX-License-Identifier: Apache-2.0
"""What a batch prediction is to do, and what of it is done: a plan, and a note for each piece that lies in its shard.

A piece is what a split yields at a time. Its note is written once, after its shard: whoever comes second, in a
retried bundle or a second run, finds it and leaves an orphan at most, never a duplicate. The manifest that commits
the whole is made of the notes alone, so a run that was killed goes on where it was.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import msgspec

from beam_pipelines.folders import Folder
from beam_pipelines.sources import Source
from dropfit import documents
from dropfit.encoding import sha256
from dropfit.errors import ArtifactError, NotFound
from dropfit.manifest import Artifact, Shard, Shards
from dropfit.splits import Split

PLAN, MANIFEST, NOTES, SHARDS, REJECTED = "plan.json", "manifest.json", "done/", "shards/", "rejected/"
FITTED = "fitted/"
ABREAST = 8


class Batch(NamedTuple):
    """What is to be predicted, and where to.

    Attributes:
        version: the predicting version.
        inputs: the files to read, as `sources.gathered` finds them.
        place: address of the folder for shards, notes and manifest: gs://BUCKET/PREFIX or a path.
        name: what the work is called: the same name is the same work, of which one may run at a time.
        checked: whether the rows are known to be what the contract allows. Else those that are not are set aside.
    """

    version: str
    inputs: tuple[Source, ...]
    place: str
    name: str
    checked: bool = False


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be predicted.

    Attributes:
        version: the predicting version.
        at: what stands in `predicted_at`; one moment for all rows, and for a run that goes on after a kill.
        fingerprint: of everything that decides what is written. A plan with another one is another batch's.
        splits: what is read, in order.
    """

    version: str
    at: dt.datetime
    fingerprint: str
    splits: tuple[Split, ...]


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """A piece that is done.

    Attributes:
        split: number of its split.
        part: its place in the split, from 0.
        last: whether the split ends with it.
        read: rows that were read for it, broken ones included.
        rows: rows in its shard.
        shard: predicted rows; None only before it is written.
        rejected: rows that were set aside, None when there were none.
        reasons: `column: reason` -> rows set aside for it.
        policy: the policy's rule -> rows that it changed.
    """

    split: int
    part: int
    last: bool
    read: int
    rows: int
    shard: Artifact | None = None
    rejected: Artifact | None = None
    reasons: dict[str, int] = {}
    policy: dict[str, int] = {}

    def placed(self, shard: Artifact, rejected: Artifact | None) -> Piece:
        """The same with its files."""
        return msgspec.structs.replace(self, shard=shard, rejected=rejected)


class Ledger:
    """The plan and the notes in a batch's folder.

    Args:
        folder: where they lie.
        fingerprint: of the batch. Notes lie apart by it: a worker of another batch that does not know yet that its
            place was taken cannot note anything here.
    """

    def __init__(self, folder: Folder, fingerprint: str) -> None:
        self.folder = folder
        self._fingerprint = fingerprint
        self._notes = f"{NOTES}{fingerprint[:16]}/"
        self._known: dict[str, Piece] = {}

    def begin(self, make: Callable[[], Plan]) -> Plan:
        """The plan: an earlier run's of the same batch stands; another batch's goes, with all its work.

        Args:
            make: makes this batch's plan, which may take a while: text files are read through for it.
        """
        earlier = self._readable()
        if earlier is not None and earlier.fingerprint == self._fingerprint:
            return earlier
        plan = make()  # before anything goes: it may find that an input cannot be read
        discard(self.folder)
        self._known.clear()
        self.folder.put(PLAN, documents.encode(plan))
        return plan

    def _readable(self) -> Plan | None:
        try:
            return self.plan()
        except (ArtifactError, NotFound):
            return None

    def plan(self) -> Plan:
        """The plan.

        Raises:
            NotFound: when none was laid down.
            ArtifactError: when it is not readable.
        """
        return documents.decode(self.folder.read(PLAN), Plan)

    def note(self, piece: Piece) -> Piece:
        """Note that a piece is done; returns the note that stands, an earlier one if there is one."""
        name = self._name(piece)
        if self.folder.create(name, documents.encode(piece)):
            return piece
        return documents.decode(self.folder.read(name), Piece)

    def pieces(self) -> list[Piece]:
        """All notes so far, in order; what was read once is not read again."""
        fresh = [name for name in self.folder.names(self._notes) if name not in self._known]
        with ThreadPoolExecutor(ABREAST) as pool:
            found = pool.map(lambda name: documents.decode(self.folder.read(name), Piece), fresh)
            self._known.update(zip(fresh, found, strict=True))
        return sorted(self._known.values(), key=lambda piece: (piece.split, piece.part))

    def progress(self, plan: Plan) -> tuple[int, float]:
        """Rows that are read, and the share (0 to 1) of the whole that is done, by bytes."""
        pieces, splits = self.pieces(), {split.number: split for split in plan.splits}
        done = 0.0
        for piece in pieces:
            split = splits[piece.split]
            if split.rows > 0:
                done += split.size * piece.read / split.rows
            elif piece.last:  # what came before in its split is counted with its end
                done += split.size
        return sum(piece.read for piece in pieces), done / max(1, sum(split.size for split in plan.splits))

    def forget(self, broken: Iterable[Piece]) -> None:
        """Do these pieces once more."""
        for piece in broken:
            name = self._name(piece)
            self.folder.delete(name)
            self._known.pop(name, None)

    def _name(self, piece: Piece) -> str:
        return f"{self._notes}{piece.split:07}-{piece.part:05}.json"

    def proven(self) -> list[Piece]:
        """The pieces whose files are what was written; the others are to be done once more."""
        pieces = self.pieces()
        with ThreadPoolExecutor(ABREAST) as pool:
            whole = list(pool.map(self._is_whole, pieces))
        self.forget(piece for piece, kept in zip(pieces, whole, strict=True) if not kept)
        return [piece for piece, kept in zip(pieces, whole, strict=True) if kept]

    def _is_whole(self, piece: Piece) -> bool:
        try:
            return all(
                sha256(self.folder.read(file.name)) == file.sha256 for file in (piece.shard, piece.rejected) if file
            )
        except NotFound:
            return False

    def commit(self) -> Shards:
        """Write the manifest: every piece of every split, or nothing. It names shards in full.

        Raises:
            ArtifactError: when a piece is missing, or another batch has taken this one's place.
        """
        plan, pieces = self.plan(), self.pieces()
        if plan.fingerprint != self._fingerprint:
            raise ArtifactError(f"{self.folder.full(PLAN)} is another batch's by now: one at a time into one output")
        if missing := unfinished(plan, parts_done(pieces)):
            raise ArtifactError(
                f"{len(missing)} of {len(plan.splits)} splits have no prediction, the first of them "
                f"{missing[0].uri} from {missing[0].start}; run it again, and it goes on with them"
            )
        shards = tuple(
            Shard(self.folder.full(file.name), file.size, file.sha256, piece.rows)
            for piece in pieces
            if (file := piece.shard) is not None
        )
        manifest = Shards(version=plan.version, rows=sum(piece.rows for piece in pieces), shards=shards)
        self.folder.put(MANIFEST, documents.encode(manifest))
        return manifest

    def manifest(self) -> Shards:
        """The manifest.

        Raises:
            ArtifactError: when there is none, or it is not readable.
        """
        try:
            return documents.decode(self.folder.read(MANIFEST), Shards)
        except NotFound as error:
            raise ArtifactError("the batch prediction left no manifest") from error


def discard(folder: Folder) -> None:
    """Remove all that lies there of any batch, and nothing else."""
    for name in (NOTES, SHARDS, REJECTED, FITTED, MANIFEST, PLAN):
        folder.delete(name)


def broke_off(folder: Folder) -> bool:
    """Whether a batch began there and has not ended."""
    return _is(folder, PLAN, Plan)


def has_ended(folder: Folder) -> bool:
    """Whether a batch was committed there."""
    return _is(folder, MANIFEST, Shards)


def _is(folder: Folder, name: str, kind: type[Plan] | type[Shards]) -> bool:
    try:
        documents.decode(folder.read(name), kind)
    except (NotFound, ArtifactError):
        return False
    return True


def parts_done(pieces: Iterable[Piece]) -> dict[int, dict[int, bool]]:
    """Split -> part -> whether the split ends with it."""
    found: dict[int, dict[int, bool]] = {}
    for piece in pieces:
        found.setdefault(piece.split, {})[piece.part] = piece.last
    return found


def unfinished(plan: Plan, done: Mapping[int, Mapping[int, bool]]) -> list[Split]:
    """The splits of which pieces are missing."""
    return [split for split in plan.splits if not _is_whole(done.get(split.number, {}))]


def _is_whole(parts: Mapping[int, bool]) -> bool:
    return any(last and all(before in parts for before in range(part)) for part, last in parts.items())
