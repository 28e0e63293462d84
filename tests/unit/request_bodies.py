# SPDX-License-Identifier: Apache-2.0
"""Bodies of requests to any contract, right ones and ones that are wrong in one place, as Hypothesis draws them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from dropfit.contract import Category, Contract, Feature
from dropfit.instances import optional

MOST = 3


# Whole floats are left out: JSON Schema takes 1.0 for an integer, and the decoder refuses it (test_openapi.py).
fractions = st.floats(allow_nan=False, allow_infinity=False).filter(lambda number: not number.is_integer())
anything = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.sampled_from([2**53, 2**53 + 1, -(2**53), -(2**53) - 1]),
    fractions,
    st.text(max_size=14),
    st.lists(st.integers(), max_size=1),
    st.just({}),
)


def right(feature: Feature) -> st.SearchStrategy[Any]:
    """Values that are allowed."""
    if isinstance(feature, Category):
        value = st.sampled_from(feature.values) if feature.values else st.text("ab\U0001f375", min_size=1, max_size=3)
    else:
        value = st.integers(int(feature.minimum or 0), int(feature.maximum or 100))
    return st.none() | value if optional(feature) else value


def edges(feature: Feature) -> list[Any]:
    """Values at the edge of what is allowed, and beyond it."""
    if isinstance(feature, Category):
        longest = feature.max_length
        return [None, "", "x" * longest, "x" * (longest + 1), "\U0001f375" * longest, *feature.values, "small ", 1]
    low, high = int(feature.minimum or 0), int(feature.maximum or 100)
    return [None, low, high, low - 1, high + 1, low + 0.5, "1", True, 2**53, 2**53 + 1]


@st.composite
def bodies(draw: st.DrawFn, contract: Contract) -> Any:
    """A right request, with at most one thing changed in it."""
    needed = {f.name: right(f) for f in contract.features if not optional(f)}
    spare = {f.name: right(f) for f in contract.features if optional(f)}
    one = st.fixed_dictionaries(needed, optional=spare)
    instances = draw(st.lists(one, min_size=1, max_size=MOST))
    feature, instance = draw(st.sampled_from(contract.features)), draw(st.sampled_from(instances))
    match draw(st.sampled_from(["nothing", "value", "value", "value", "gap", "field", "body", "count", "instance"])):
        case "value":
            instance[feature.name] = draw(st.sampled_from(edges(feature)) | anything)
        case "gap":
            instance.pop(feature.name, None)
        case "field":
            instance["stranger"] = draw(anything)
        case "body":
            return draw(st.just({"instances": instances, "more": 1}) | st.just({"instances": None}) | anything)
        case "count":
            return {"instances": draw(st.sampled_from([[], (instances * MOST)[:MOST], (instances * 4)[: MOST + 1]]))}
        case "instance":
            instances[0] = draw(anything)
    return {"instances": instances}
