# SPDX-License-Identifier: Apache-2.0
"""What was set aside, and a person's word that it is meant.

Two things are kept under `quarantine/<id>/` in the data bucket: `reason.json` of a file refused as a whole, and
`rows.csv` of rows that broke the contract. The uploaded object itself is never altered or deleted, so that a release
has only to say that it be read once more. Which entries are open is told by the receipts, never by these objects.
"""

from __future__ import annotations

import collections
import csv
import datetime as dt
import io
from collections.abc import Sequence
from typing import Any, BinaryIO, NamedTuple

from .errors import BadRequest, NotFound
from .receipts import Override, Receipt, Receipts
from .storage import Bucket, Buckets

DRIFTED = "drifted"
JUDGEMENTS = frozenset({DRIFTED, "truncated", "too-many-bad-rows", "empty-column", "constant-target"})
"""Codes that judge a readable file as a whole: a person may override them. All others are faults of form."""
WITHDRAWN = "withdrawn"
"""Code of an upload that a person took out of every training."""
SHORT = 12
"""Characters of an id that people are shown."""
SHORTEST = 4
LONGEST_CELL = 4 * 1024**2
LONGEST_SHOWN = 200


class Sheet(NamedTuple):
    """Rows set aside.

    Attributes:
        reasons: `column: reason` -> rows, the most frequent first.
        first: the first of them: number in the file, column, its value (or the whole row), reason.
    """

    reasons: dict[str, int]
    first: list[dict[str, str]]


def reason_name(receipt_id: str) -> str:
    """Where the reason of a file refused as a whole lies."""
    return f"quarantine/{receipt_id}/reason.json"


def rows_name(receipt_id: str) -> str:
    """Where an upload's rejected rows lie."""
    return f"quarantine/{receipt_id}/rows.csv"


def is_open(receipt: Receipt) -> bool:
    """Whether something of an upload lies in the quarantine now: all of it, or some rows."""
    return receipt.state == "quarantined" or bool(receipt.accepted and receipt.accepted.rejected)


def entry(receipt: Receipt) -> dict[str, Any]:
    """One upload as the list tells of it."""
    return {
        "id": receipt.id,
        "object": receipt.object.name,
        "generation": receipt.object.generation,
        "state": receipt.state,
        "at": receipt.updated_at.isoformat(),
        "code": receipt.code if receipt.state == "quarantined" else "rows",
        "reason": receipt.reason if receipt.state == "quarantined" else _most(receipt),
        "rows": receipt.accepted.rejected if receipt.accepted and receipt.state != "quarantined" else None,
    }


def _most(receipt: Receipt) -> str:
    reasons = receipt.accepted.reasons if receipt.accepted else {}
    return "; ".join(f"{reason} ({count:,})" for reason, count in list(reasons.items())[:3])


def entries(receipts: Receipts) -> list[dict[str, Any]]:
    """What lies in the quarantine, newest upload first."""
    return [entry(receipt) for receipt in reversed(receipts.all()) if is_open(receipt)]


def find(receipts: Sequence[Receipt], wanted: str) -> Receipt:
    """The upload that a person means: by id, its beginning, or the object's name (then the newest in the quarantine).

    Raises:
        NotFound: when there is none.
        BadRequest: when the beginning fits several.
    """
    exact = [r for r in receipts if wanted in (r.id, r.object.name)]
    if exact:
        return next((r for r in reversed(exact) if is_open(r)), exact[-1])
    begin = [r for r in receipts if len(wanted) >= SHORTEST and r.id.startswith(wanted)]
    if not begin:
        raise NotFound(f"no upload has the id or the name {wanted[:80]!r}: see `dropfit quarantine list`")
    if len(begin) > 1:
        raise BadRequest(f"{wanted[:80]!r} begins {len(begin)} ids: give more of it")
    return begin[0]


def show(data: Bucket, receipt: Receipt, most: int) -> dict[str, Any]:
    """All that is known of one upload's entry.

    Args:
        data: the data bucket.
        receipt: the upload's.
        most: rows to show.

    Raises:
        BadRequest: when nothing of it lies in the quarantine.
    """
    if not is_open(receipt):
        raise BadRequest(f"{receipt.object.name} is {receipt.state}: nothing of it lies in the quarantine")
    sheet = _read(data, rows_name(receipt.id), most)
    counted = receipt.accepted.reasons if receipt.accepted and receipt.state != "quarantined" else {}
    return {
        **entry(receipt),
        "reasons": counted or (sheet.reasons if sheet else {}),
        "first": sheet.first if sheet else [],
        "rows_csv": data.uri(rows_name(receipt.id)) if sheet else "",
        "next": _next(receipt, sheet is not None),
    }


def _next(receipt: Receipt, has_rows: bool) -> str:
    short = receipt.id[:SHORT]
    if receipt.state != "quarantined":
        return (
            f"the other rows are in use. Correct these (`dropfit quarantine show {short} --save rows.csv`) and "
            "upload them as a file of their own"
        )
    if receipt.code in JUDGEMENTS:
        aside = "; the bad rows stay aside" if has_rows else ""
        release_it = f"`dropfit quarantine release {short}`"
        return f"correct the file and upload it again; if it is what you mean, {release_it}{aside}"
    if receipt.code == WITHDRAWN:
        return f"`dropfit quarantine release {short}` takes it in again"
    if receipt.code == "prepare":
        return f"mend problem.py; then `dropfit quarantine release {short}` has the file read once more"
    return (
        "correct the file and upload it again. A fault of form cannot be overridden; after a change of problem.py or "
        f"of a setting, `dropfit quarantine release {short}` has it read once more"
    )


def _read(data: Bucket, name: str, most: int) -> Sheet | None:
    stored = data.stat(name)
    if stored is None:
        return None
    reasons: collections.Counter[str] = collections.Counter()
    first: list[dict[str, str]] = []
    csv.field_size_limit(LONGEST_CELL * 2)
    with data.open(name, stored.generation) as stream:
        for row in csv.DictReader(io.TextIOWrapper(stream, "utf-8-sig", errors="replace", newline="")):
            column, reason = row.get("dropfit_column") or "", row.get("dropfit_reason") or ""
            reasons[f"{column}: {reason}" if column else reason] += 1
            if len(first) < most:
                number = row.get("dropfit_row") or ""
                first.append({"row": number, "column": column, "value": _value(row, column), "reason": reason})
    return Sheet(dict(reasons.most_common()), first)


def _value(row: dict[str, str | None], column: str) -> str:
    """The cell that is wrong; the row itself where that is none of the file's, but made by prepare."""
    if column in row:
        return (row[column] or "")[:LONGEST_SHOWN]
    cells = [value for name, value in row.items() if value and not str(name).startswith("dropfit_")]
    return (row.get("dropfit_text") or ", ".join(cells))[:LONGEST_SHOWN]


def save(data: Bucket, receipt: Receipt, target: BinaryIO) -> None:
    """Copy the rejected rows.

    Raises:
        NotFound: when there are none.
    """
    stored = data.stat(rows_name(receipt.id))
    if stored is None:
        raise NotFound(f"no rows of {receipt.object.name} were set aside one by one")
    with data.open(stored.name, stored.generation) as stream:
        while chunk := stream.read(1024**2):
            target.write(chunk)


def release(buckets: Buckets, receipt_id: str, by: str, as_is: bool = False) -> Receipt:
    """A person says that a quarantined file is what they mean: it waits to be read once more.

    What condemned it no longer does, nor what an earlier release overrode; all else is checked, and bad rows stay
    aside. `as_is` overrides every judgement about the file as a whole. No release mends a fault of form.

    Returns:
        The receipt: `received`, or `superseded` or `deleted` when the object is no longer there to be read.

    Raises:
        BadRequest: when it is not quarantined.
        Conflict: when somebody else has released it meanwhile.
    """
    receipts = Receipts(buckets.data)
    receipt = receipts.get(receipt_id)
    if receipt.state != "quarantined":
        raise BadRequest(f"{receipt.object.name} is {receipt.state}, not quarantined: there is nothing to release")
    live = buckets.landing.stat(receipt.object.name)
    if live is None:
        return receipts.advance(receipt, state="deleted", reason="removed before it was released", code="deleted")
    if live.generation != receipt.object.generation:
        reason = f"overwritten by generation {live.generation} before it was released"
        return receipts.advance(receipt, state="superseded", reason=reason, code="superseded")
    codes = JUDGEMENTS if as_is else JUDGEMENTS & {receipt.code}
    override = Override(codes=tuple(sorted(codes | receipt.overridden)), by=by, at=dt.datetime.now(dt.UTC))
    return receipts.advance(receipt, state="received", attempts=0, code="", reason="", override=override)


def put(buckets: Buckets, name: str, by: str, reason: str = "") -> list[Receipt]:
    """A person takes an upload that was accepted out of every training from now on; a release brings it back.

    Every accepted generation of the object is taken out, since the newest accepted one counts. The object itself is
    not touched; versions that were trained on it stay what they are.

    Args:
        buckets: the deployment's.
        name: the object.
        by: who.
        reason: for those who ask why.

    Raises:
        NotFound: when nothing of that name was accepted.
        Conflict: when a job is writing the receipt at this moment.
    """
    receipts = Receipts(buckets.data)
    used = [r for r in receipts.all() if r.object.name == name and r.accepted is not None]
    if not used:
        raise NotFound(f"no upload {name} is in use: `dropfit status` lists them")
    said = f"taken out by {by}{': ' if reason else ''}{reason}"
    return [
        receipts.advance(r, state="quarantined", code=WITHDRAWN, reason=said, accepted=None, override=None)
        for r in used
    ]
