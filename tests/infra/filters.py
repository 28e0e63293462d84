# SPDX-License-Identifier: Apache-2.0
"""The filters of Cloud Logging as far as infra/ uses them: conjunctions of `path op value`, evaluated on an entry.

https://cloud.google.com/logging/docs/view/logging-query-language
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

TERM = re.compile(r"""(?P<path>[\w.]+)\s*(?P<op>>=|<=|=|>|<)\s*(?P<value>\((?:[^()"]|"[^"]*")*\)|"[^"]*"|[\d.]+)""")
EXTRACT = re.compile(r"EXTRACT\((?P<path>[\w.]+)\)\Z")
OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}


class Term(NamedTuple):
    """One comparison; it holds when it does for any of its values."""

    path: str
    op: str
    values: tuple[str | float, ...]


def parse(text: str) -> list[Term]:
    """The comparisons of a filter.

    Raises:
        ValueError: when it is no conjunction of comparisons.
    """
    terms, at = [], 0
    while True:
        found = TERM.match(text, at)
        if not found:
            raise ValueError(f"no comparison at {text[at:]!r}")
        terms.append(Term(found["path"], found["op"], tuple(_values(found["value"]))))
        at = found.end()
        if at == len(text):
            return terms
        if not text.startswith(" AND ", at):
            raise ValueError(f"no AND at {text[at:]!r}")
        at += len(" AND ")


def _values(text: str) -> Iterator[str | float]:
    if text.startswith("("):
        for part in text[1:-1].split(" OR "):
            yield from _values(part)
    elif text.startswith('"'):
        yield text[1:-1]
    else:
        yield float(text)


def reached(entry: Any, path: str) -> list[Any]:
    """What a path leads to: nothing, or a value, or those of every element where it goes through a list."""
    name, _, rest = path.partition(".")
    if isinstance(entry, list):
        return [value for element in entry for value in reached(element, path)]
    if not isinstance(entry, dict) or name not in entry:
        return []
    return reached(entry[name], rest) if rest else [entry[name]]


def holds(text: str, entry: dict[str, Any]) -> bool:
    """Whether an entry passes a filter."""
    return all(
        any(OPERATORS[term.op](found, value) for found in reached(entry, term.path) for value in term.values)
        for term in parse(text)
    )


def extracted(text: str, entry: dict[str, Any]) -> Any:
    """What an extractor takes from an entry.

    Raises:
        ValueError: when it is none, or finds nothing there.
    """
    found = EXTRACT.match(text)
    if not found:
        raise ValueError(f"no extractor: {text}")
    values = reached(entry, found["path"])
    if len(values) != 1 or values[0] is None:
        raise ValueError(f"{text} finds {values}")
    return values[0]
