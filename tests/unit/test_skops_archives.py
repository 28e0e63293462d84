# SPDX-License-Identifier: Apache-2.0
"""An archive that is a bomb, overlaps, or holds what no model has is refused by its directory."""

from __future__ import annotations

import io
import zipfile

import pytest

from dropfit import skops_model
from dropfit.errors import ArtifactError


def zipped(files: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return sink.getvalue()


def test_a_bomb_is_refused_by_its_directory_and_nothing_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = zipped({"schema.json": b"{}", "1.npy": bytes(50_000_000)}, zipfile.ZIP_DEFLATED)
    assert len(bomb) < 100_000
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *given: pytest.fail("it was unpacked"))
    with pytest.raises(ArtifactError, match="declares 50,000,002 unpacked"):
        skops_model.load(bomb)


def test_files_that_overlap_inside_are_refused_by_what_they_declare_together() -> None:
    payload = bytearray(zipped({"schema.json": b"{}", "1.npy": bytes(1000), "2.npy": bytes(10)}))
    entry = payload.rindex(b"PK\x01\x02")  # the last entry of the directory says it is the one before it
    payload[entry + 20 : entry + 28] = (1000).to_bytes(4, "little") * 2
    with pytest.raises(ArtifactError, match="declares"):
        skops_model.load(bytes(payload))


@pytest.mark.parametrize("name", ["../1.npy", "/etc/passwd", "1.pkl", "schema.json/x", "a.npy"])
def test_files_of_strange_names_are_refused(name: str) -> None:
    with pytest.raises(ArtifactError, match="strange"):
        skops_model.load(zipped({"schema.json": b"{}", name: b""}))


def test_more_files_than_any_model_has_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(skops_model, "MAX_ENTRIES", 3)
    with pytest.raises(ArtifactError, match="holds 4 files"):
        skops_model.load(zipped({"schema.json": b"{}"} | {f"{n}.npy": b"" for n in range(3)}))


@pytest.mark.parametrize("payload", [b"", b"no zip", b"PK\x05\x06" + bytes(18), b"\x80\x04\x95"])
def test_what_is_no_skops_file_is_refused(payload: bytes) -> None:
    with pytest.raises(ArtifactError):
        skops_model.load(payload)
