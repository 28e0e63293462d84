# SPDX-License-Identifier: Apache-2.0
"""The exception tree is drawn once, and the drawing is true."""

from __future__ import annotations

import inspect
import re

import pytest

from dropfit import errors
from dropfit.errors import is_transient
from dropfit.rest import Api


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


def test_what_may_pass_is_told_from_what_will_not() -> None:
    import requests
    from google.api_core import exceptions as google

    def answered(status: int) -> requests.HTTPError:
        response = requests.Response()
        response.status_code = status
        return requests.HTTPError(response=response)

    passing = [google.TooManyRequests("x"), google.ServiceUnavailable("x"), google.GatewayTimeout("x"), answered(503)]
    passing += [
        google.Forbidden("x", errors=[{"reason": "rateLimitExceeded"}]),
        requests.ReadTimeout(),
        answered(429),
    ]
    passing += [requests.ConnectionError(), ConnectionResetError(), requests.exceptions.ChunkedEncodingError()]
    final = [
        google.Forbidden("x"),
        google.BadRequest("x"),
        answered(404),
        ValueError(),
        requests.exceptions.SSLError(),
    ]
    final += [google.InternalServerError("x", errors=[{"reason": "invalidQuery"}]), answered(409)]
    assert [error for error in passing if not is_transient(error)] == []
    assert [error for error in final if is_transient(error)] == []


def test_a_machine_without_credentials_is_told_how_to_log_in(monkeypatch: pytest.MonkeyPatch) -> None:
    import google.auth
    from google.auth.exceptions import DefaultCredentialsError

    def none(**_: object) -> None:
        raise DefaultCredentialsError("Your default credentials were not found.")  # type: ignore[no-untyped-call]

    monkeypatch.setattr(google.auth, "default", none)
    with pytest.raises(errors.Unavailable, match=r"b/mine: .*`gcloud auth application-default login`"):
        Api("scope").get("https://storage.googleapis.com/storage/v1/b/mine")
