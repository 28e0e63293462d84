# SPDX-License-Identifier: Apache-2.0
"""Whose identity token a command shows the private predict function."""

from __future__ import annotations

import subprocess
from types import SimpleNamespace
from typing import Any

import google.auth
import google.auth.transport.requests
import pytest
from google.auth.exceptions import DefaultCredentialsError
from google.oauth2 import id_token

from dropfit.errors import Unavailable
from dropfit.rest import identity_token

PREDICT = "https://dropfit-predict.a.run.app"


class Credentials:
    """Those of Cloud Build: the account's name is known once they were refreshed."""

    service_account_email = "default"

    def refresh(self, request: Any) -> None:
        self.service_account_email = "dropfit-deploy@acme.iam.gserviceaccount.com"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, Any]]:
    """What is asked of Google, where nothing hands out identity tokens; it gives one when it is asked in a name."""
    seen: list[tuple[str, str, Any]] = []

    def none(request: Any, audience: str) -> str:
        raise DefaultCredentialsError("404: no such endpoint")

    def session(credentials: Any) -> Any:
        def request(method: str, url: str, json: Any, **more: Any) -> Any:
            seen.append((method, url, json))
            return SimpleNamespace(raise_for_status=lambda: None, json=lambda: {"token": "of-the-account"})

        return SimpleNamespace(request=request)

    monkeypatch.setattr(id_token, "fetch_id_token", none)
    monkeypatch.setattr(google.auth.transport.requests, "AuthorizedSession", session)
    return seen


def test_a_build_asks_for_a_token_in_its_own_name(asked: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(google.auth, "default", lambda scopes: (Credentials(), "acme"))
    assert identity_token(PREDICT) == "of-the-account"
    account = "projects/-/serviceAccounts/dropfit-deploy@acme.iam.gserviceaccount.com"
    url = f"https://iamcredentials.googleapis.com/v1/{account}:generateIdToken"
    assert asked == [("POST", url, {"audience": PREDICT, "includeEmail": True})]


def test_a_persons_token_comes_from_gcloud(asked: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(google.auth, "default", lambda scopes: (SimpleNamespace(), "acme"))
    monkeypatch.setattr(subprocess, "run", lambda *args, **more: SimpleNamespace(stdout="of-a-person\n"))
    assert identity_token(PREDICT) == "of-a-person"
    assert asked == []


def test_without_any_credentials_it_says_how_to_get_some(asked: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def none(scopes: Any) -> Any:
        raise DefaultCredentialsError("none")

    def missing(*args: Any, **more: Any) -> Any:
        raise FileNotFoundError("gcloud")

    monkeypatch.setattr(google.auth, "default", none)
    monkeypatch.setattr(subprocess, "run", missing)
    with pytest.raises(Unavailable, match="gcloud auth login"):
        identity_token(PREDICT)
