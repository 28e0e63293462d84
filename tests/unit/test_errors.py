# SPDX-License-Identifier: Apache-2.0
"""The exception tree is drawn once, and the drawing is true."""

from __future__ import annotations

import inspect
import re

from dropfit import errors


def test_the_docstring_draws_exactly_the_tree_that_the_module_defines() -> None:
    drawn: dict[str, str] = {}
    path = ["DropfitError"]
    for line in (errors.__doc__ or "").splitlines():
        if found := re.match(r"([│ ]*)[├└]── (\w+)", line):
            depth = len(found[1]) // 4 + 1
            path[depth:] = [found[2]]
            drawn[found[2]] = path[depth - 1]
    defined = {
        name: kind.__mro__[1].__name__
        for name, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, Exception) and kind is not errors.DropfitError
    }
    assert drawn == defined


def test_a_bad_request_says_what_where_and_with_which_status() -> None:
    error = errors.BadRequest("two fields are wrong", {"instances[0].minutes": "missing"}, 413)
    assert (str(error), error.fields, error.status) == (
        "two fields are wrong",
        {"instances[0].minutes": "missing"},
        413,
    )
