# SPDX-License-Identifier: Apache-2.0
"""Cloud Run's API over HTTPS, as the function that starts a job meets it."""

from __future__ import annotations

import datetime as dt
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Run:
    """run.googleapis.com behind a proxy: what comes through the tunnel is TLS, and answered as a job that starts.

    Attributes:
        asked: tunnel and path of every POST.
    """

    def __init__(self, place: Path) -> None:
        self.asked: list[tuple[str, str]] = []
        self.certificate = place / "run.pem"
        self.certificate.write_bytes(certificate("run.googleapis.com"))
        self.certificate.chmod(0o644)
        run, context = self, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            tunnel = ""

            def log_message(self, *_: Any) -> None:
                pass

            def do_CONNECT(self) -> None:
                self.tunnel = self.path
                if self.path != "run.googleapis.com:443":  # google-auth asks another where a key may be used
                    self.send_error(502)
                    return
                self.send_response(200)
                self.end_headers()
                self.connection = context.wrap_socket(self.connection, server_side=True)
                self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", 0)
                self.close_connection = False

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                run.asked.append((self.tunnel, self.path))
                self.send_response(200)
                payload = b'{"metadata": {"name": "executions/1"}}'
                self.send_header("content-length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Run:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def certificate(host: str) -> bytes:
    """A self-signed certificate and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(now - dt.timedelta(hours=1)).not_valid_after(now + dt.timedelta(hours=1))
    made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    return made.sign(key, hashes.SHA256()).public_bytes(pem) + private
