# SPDX-License-Identifier: Apache-2.0
"""The model card: what is said of the version being served."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec

from dropfit.card import SHOWN_VALUES, Serving, model_card
from dropfit.contract import Label, Policy
from dropfit.pointer import Pointer
from tests.unit.fakes import manifest, tea

PROMOTED = dt.datetime(2013, 2, 2, tzinfo=dt.UTC)
POINTER = Pointer(
    version="v2",
    table="predictions__v2",
    previous="v1",
    epoch=0,
    nonce="n",
    promoted_at=PROMOTED,
)
SEEN = {"leaf": ("assam", "sencha"), "cup": ("large", "small")}


def card(serving: Serving | None = None, seen: dict[str, tuple[str, ...]] | None = None, **changes: Any) -> Any:
    """The card as a client reads it."""
    problem = tea(**changes)
    serving = serving or Serving(mode="hybrid", deadline_ms=100.0)
    made = model_card(manifest("v2", problem), POINTER, seen or SEEN, {"minutes": (0.0, 9.0)}, serving)
    return msgspec.json.decode(msgspec.json.encode(made))


def test_the_card_says_how_good_the_version_is_and_beside_what() -> None:
    told = card()
    assert (told["version"], told["previous"], told["promoted_at"]) == ("v2", "v1", "2013-02-02T00:00:00Z")
    assert (told["metrics"], told["constant"]) == (
        {"log_loss": 0.2, "brier": 0.1},
        {"log_loss": 0.6, "brier": 0.2},
    )
    assert told["holdout"]["rows"] == 60


def test_a_feature_shows_what_is_allowed_and_what_training_saw() -> None:
    features = {feature["name"]: feature for feature in card()["features"]}
    assert features["leaf"] == {
        "name": "leaf",
        "required": True,
        "type": "string",
        "seen": 2,
        "known": ["assam", "sencha"],
    }
    minutes = features["minutes"]
    assert (minutes["minimum"], minutes["maximum"]) == (0, 60)
    assert minutes["seen"] == {"smallest": 0, "largest": 9}
    assert "seen" not in features["warmth"], "a range that is not known is not told"


def test_a_long_vocabulary_is_counted_and_not_listed_whole() -> None:
    many = tuple(f"leaf {number:04}" for number in range(1000))
    leaf = card(seen={"leaf": many})["features"][0]
    assert leaf["seen"] == 1000
    assert leaf["known"] == list(many[:SHOWN_VALUES])


def test_the_card_says_how_the_version_is_served_here() -> None:
    told = card(Serving(mode="static", deadline_ms=50.0, snapshot=(10, 4096), trouble="v3 is broken"))
    assert (told["mode"], told["deadline_ms"], told["trouble"]) == ("static", 50, "v3 is broken")
    assert told["snapshot"] == {"rows": 10, "bytes": 4096}
    quiet = card()
    assert (quiet["snapshot"], quiet["trouble"]) == (None, None)


def test_the_card_says_what_may_be_served_and_by_which_groups_a_gap_is_filled() -> None:
    told = card(policy=Policy(minimum=0.1, maximum=0.9), backoff=(("leaf",), ()))
    assert told["policy"] == {"minimum": 0.1, "maximum": 0.9}
    assert (told["key"], told["backoff"]) == (["leaf", "cup", "minutes"], [["leaf"], []])


def test_the_target_is_told_by_name_whatever_its_kind() -> None:
    assert card()["target"] == "drunk"
    assert card(target=Label(name="kind", values=("good", "bad")))["target"] == "kind"
