# SPDX-License-Identifier: Apache-2.0
"""A throwaway service-account key, so that Google's default credentials work with no account.

`bigquery.Client()` refuses to start without credentials even when it is pointed at an emulator. The key signs
a request for a token to an endpoint of the local Eventarc process, which grants any; nothing real accepts it.
"""

from __future__ import annotations

import json
from pathlib import Path

from .envfile import PROJECT
from .home import write_atomically


def ensure_key(path: Path, token_uri: str) -> None:
    """Write the key file, keeping the key of an earlier run but not its token endpoint."""
    try:
        private_key = json.loads(path.read_bytes())["private_key"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        private_key = _new_key()
    content = {
        "type": "service_account",
        "project_id": PROJECT,
        "private_key_id": "local",
        "private_key": private_key,
        "client_email": f"local@{PROJECT}.iam.gserviceaccount.com",
        "client_id": "0",
        "auth_uri": token_uri,
        "token_uri": token_uri,
        "universe_domain": "googleapis.com",
    }
    write_atomically(path, json.dumps(content, indent=2).encode(), mode=0o600)


def _new_key() -> str:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
