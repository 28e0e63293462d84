# SPDX-License-Identifier: Apache-2.0
"""Google's REST APIs without their client libraries, which would cost a function its cold start; identity tokens.

Beside storage.py and warehouse.py, whose clients bring their own, the only module that touches google.auth.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from typing import Any

from .errors import NotFound, Refused, Unavailable, is_transient, of_google

TIMEOUT = 30.0
"""Seconds for one request."""
DELAY = 0.5
"""Seconds before the second try, at most; doubled for each that follows."""
PATIENCE = 20.0
"""Seconds after which no request is sent once more."""
CLOUD = "https://www.googleapis.com/auth/cloud-platform"
"""The scope of everything."""


class Api:
    """A Google API, called with the default credentials.

    Args:
        scope: what the token is good for; more than one with a space between.
        session: an authorised requests session; made at the first call when not given.
    """

    def __init__(self, scope: str, session: Any = None) -> None:
        self._scope = scope
        self._session = session

    def post(self, url: str, body: dict[str, Any]) -> dict[str, Any]:
        """The JSON that a POST answers; what may pass is tried again, with jittered back-off.

        When an answer gets lost, the POST is made twice. For jobs.run that is harmless: of two jobs the one that
        does not get the lease ends at once.

        Raises:
            Unavailable: when it does not answer within its deadline, refuses, or there are no credentials.
        """
        try:
            return self.send("POST", url, json=body)
        except (NotFound, Refused) as refusal:
            raise Unavailable(str(refusal)) from refusal

    def get(self, url: str, asked: Mapping[str, str] | None = None) -> dict[str, Any]:
        """The JSON that a GET answers; what may pass is tried again, with jittered back-off.

        Args:
            url: what.
            asked: what stands behind the question mark.

        Raises:
            Unavailable: when it does not answer within its deadline, or there are no credentials.
            NotFound: when there is no such thing.
            Refused: when it will not, however often asked.
        """
        return self.send("GET", url, params=dict(asked or {}))

    def send(self, method: str, url: str, **more: Any) -> dict[str, Any]:
        """The JSON that any request answers; what may pass is tried again, so it has to bear being made twice.

        Args:
            method: GET, POST, PATCH ...
            url: what.
            more: `json` and `params`, as requests takes them.

        Raises:
            Unavailable: when it does not answer within its deadline, or there are no credentials.
            NotFound: when there is no such thing.
            Refused: when it will not, however often asked, with Google's reason.
        """
        import google.auth
        import requests
        from google.api_core.exceptions import RetryError
        from google.api_core.retry import Retry
        from google.auth.exceptions import GoogleAuthError
        from google.auth.transport.requests import AuthorizedSession

        try:
            if self._session is None:
                credentials, _ = google.auth.default(scopes=self._scope.split())
                self._session = AuthorizedSession(credentials)  # type: ignore[no-untyped-call]
            patient = Retry(predicate=is_transient, initial=DELAY, maximum=5.0, timeout=PATIENCE)
            document = patient(self._once)(method, url, **more)
        except requests.HTTPError as error:
            status = error.response.status_code
            if status == 404:
                raise NotFound(f"{url} does not exist") from error
            said, reason = _said(error.response)
            told = f"{url}: {error}{said and f': {said}'}"
            if 400 <= status < 500 and not is_transient(error):
                raise Refused(told, status, reason, said) from error
            raise Unavailable(told) from error
        except (requests.RequestException, GoogleAuthError, RetryError, ValueError) as error:
            raise of_google(url, error) from error
        return document if isinstance(document, dict) else {}

    def _once(self, method: str, url: str, **more: Any) -> Any:
        reply = self._session.request(method, url, timeout=TIMEOUT, **more)
        reply.raise_for_status()
        return reply.json()


def _said(reply: Any) -> tuple[str, str]:
    """What Google's APIs say of an error beside its status, in a sentence and in a word; empty when they do not."""
    try:
        error = reply.json()["error"]
        reasons = [detail["reason"] for detail in error.get("details", []) if "reason" in detail]
        return str(error["message"]), str((reasons or [""])[0])
    except (ValueError, LookupError, TypeError, AttributeError):
        return "", ""


def identity_token(audience: str) -> str:
    """A token for a private function: of the default credentials, or from gcloud for a person's own account.

    Raises:
        Unavailable: when there is none.
    """
    import google.auth.transport.requests
    from google.auth.exceptions import GoogleAuthError
    from google.oauth2 import id_token

    try:
        request = google.auth.transport.requests.Request()
        return str(id_token.fetch_id_token(request, audience))  # type: ignore[no-untyped-call]
    except GoogleAuthError as error:
        token = _for_itself(audience)
        if token:
            return token
        try:
            command = ["gcloud", "auth", "print-identity-token"]
            done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=TIMEOUT)
        except (OSError, subprocess.SubprocessError):
            raise Unavailable(f"no identity token for {audience}: {error}. Try `gcloud auth login`") from error
        return done.stdout.strip()


def _for_itself(audience: str) -> str:
    """What a service account asks for in its own name, empty for a person.

    Neither Cloud Build's metadata server nor a federated account hands out identity tokens. The account needs
    roles/iam.serviceAccountOpenIdTokenCreator on itself.

    Raises:
        Unavailable: when it may not.
    """
    import google.auth
    from google.auth.exceptions import GoogleAuthError
    from google.auth.transport.requests import AuthorizedSession, Request

    try:
        credentials, _ = google.auth.default(scopes=[CLOUD])
        if getattr(credentials, "service_account_email", None) == "default":
            credentials.refresh(Request())  # type: ignore[no-untyped-call]  # only then it knows its name
    except GoogleAuthError:
        return ""
    email = getattr(credentials, "service_account_email", None)
    if not email or email == "default":
        return ""
    api = Api(CLOUD, AuthorizedSession(credentials))  # type: ignore[no-untyped-call]
    url = f"https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{email}:generateIdToken"
    return str(api.post(url, {"audience": audience, "includeEmail": True}).get("token", ""))
