# SPDX-License-Identifier: Apache-2.0
"""What at-least-once delivery may do to an event on its way, on purpose and by a seed: a Send around another.

Every event meets a fate of its own, drawn from the seed and from what it announces (object and generation), so that
the same uploads meet the same fates however their events are timed.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from typing import TYPE_CHECKING, NamedTuple

import msgspec

if TYPE_CHECKING:
    from .delivery import Send
    from .queue import Event

log = logging.getLogger(__name__)


class Chaos(msgspec.Struct, frozen=True, kw_only=True):
    """How wild delivery is; as it stands, not at all.

    Attributes:
        seed: same seed, same fates.
        copies: every event is delivered 1 to so many times.
        delay: each copy waits 0 to so many seconds, so that copies and events overtake each other.
        drop: share of events (0 to 1) of which no copy ever arrives, although Pub/Sub is told that they did.
        fail: share of copies (0 to 1) whose answer gets lost after the target took them: Eventarc tries again.
    """

    seed: int = 0
    copies: int = 1
    delay: float = 0.0
    drop: float = 0.0
    fail: float = 0.0

    @property
    def on(self) -> bool:
        """Whether it does anything."""
        return self.copies > 1 or self.delay > 0 or self.drop > 0 or self.fail > 0


class Fate(NamedTuple):
    """What happens to one event: the wait of each copy, in seconds, and whether its answer is lost; none: dropped."""

    copies: tuple[tuple[float, bool], ...]


def fate(chaos: Chaos, event: Event) -> Fate:
    """The event's fate at this attempt."""
    announced = json.loads(event.body)
    facts = [chaos.seed, announced.get("name"), announced.get("generation"), event.attempts]
    dice = random.Random(json.dumps(facts))  # noqa: S311 (replayable, not secret)
    # Whether it is dropped must not depend on the attempt, or a retry would undo it.
    if random.Random(json.dumps(facts[:-1])).random() < chaos.drop:  # noqa: S311
        return Fate(())
    copies = dice.randint(1, max(1, chaos.copies))
    return Fate(tuple((dice.uniform(0, chaos.delay), dice.random() < chaos.fail) for _ in range(copies)))


def unruly(send: Send, chaos: Chaos) -> Send:
    """The same Send, with chaos."""

    async def one(event: Event, wait: float, lost: bool) -> str | None:
        await asyncio.sleep(wait)
        error = await send(event)
        log.info("copy of event %s %s", event.id, event.headers["ce-subject"])
        return "chaos: the answer was lost" if lost and error is None else error

    async def send_all(event: Event) -> str | None:
        copies = fate(chaos, event).copies
        errors = await asyncio.gather(*(one(event, wait, lost) for wait, lost in copies))
        # One copy that was taken is a delivery; the others were duplicates.
        return None if None in errors or not copies else errors[0]

    return send_all if chaos.on else send
