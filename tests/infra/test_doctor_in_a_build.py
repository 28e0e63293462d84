# SPDX-License-Identifier: Apache-2.0
"""The doctor where a build runs it: the account is good, and its token cannot ask for its own name."""

from __future__ import annotations

from typing import Any

from google_api import USERINFO, Google
from healthy import ENVIRONMENT, healthy

from dropfit.errors import Refused
from dropfit.rest import Api
from infra.deploy import doctor


class Mute(Api):
    """Credentials that are taken everywhere but where they would say whose they are."""

    def send(self, method: str, url: str, **more: Any) -> dict[str, Any]:
        if url == USERINFO:
            raise Refused(f"{url}: 401", 401, "", "Invalid Credentials")
        return super().send(method, url, **more)


def test_a_token_that_cannot_tell_whose_it_is_will_do() -> None:
    google: Google = healthy()
    found = doctor.after(ENVIRONMENT, Mute("scope", google))
    assert [one for one in found if one.verdict != "ok"] == []
    assert found[0].says == "they work; they do not tell whose they are"
