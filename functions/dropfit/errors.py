# SPDX-License-Identifier: Apache-2.0
"""Everything Dropfit raises on purpose, drawn once.

DropfitError
├── SettingsError             a setting is missing or malformed: fix the environment
├── ContractError             problem.py contradicts itself: fix problem.py
├── BadFile                   an uploaded file cannot be used: it is quarantined with this reason
├── BadRequest                a request, an event or an argument is not what it must be: every field is listed
├── TrainingError             the data cannot carry a model: the upload is kept, nothing is served
│   └── ExportError           the fitted model has no faithful ONNX form
├── ArtifactError             a stored version is broken or not ours: refused before it is parsed
├── NotFound                  the object, version or table does not exist
├── BatchError                a batch prediction broke off: what was finished is kept, run it again to go on
├── DeployError               deploying or destroying broke off: what was done stays, run it again to go on
├── Conflict                  somebody else wrote first: a compare-and-swap lost
├── LeaseLost                 this job is no longer the one that may train
├── Unavailable               storage, BigQuery or a function did not answer: try again later
├── Refused                   storage or BigQuery will not do it, however often asked: rights, or our own fault
└── LocalCloudError           the local cloud could not start, or is not running

Google's exceptions become these at the edge (storage.py, warehouse.py, rest.py) by `raise ... from`.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


class DropfitError(Exception):
    """The root: catching it catches what Dropfit raises on purpose and nothing else."""


class SettingsError(DropfitError):
    """A setting is missing or malformed."""


class ContractError(DropfitError):
    """problem.py contradicts itself."""


def legible(text: str, longest: int = 1000) -> str:
    """What came from a file, cut and in one printable line."""
    seen = "".join(mark if mark.isprintable() else "?" for mark in text[: longest + 1])
    return seen if len(seen) <= longest else f"{seen[: longest - 3]}..."


class BadFile(DropfitError):
    """An uploaded file cannot be used.

    Args:
        reason: one sentence for the person who uploaded it; what it quotes of the file is made legible.
        code: a stable name for programs, such as `missing-columns`.
    """

    def __init__(self, reason: str, code: str) -> None:
        self.reason = legible(reason)
        super().__init__(self.reason)
        self.code = code


class BadRequest(DropfitError):
    """A request, an event or an argument is not what it must be.

    Args:
        detail: one sentence.
        fields: where it is wrong -> what is wrong there, such as `instances[2].area` -> `...`.
        status: the HTTP status that says so.
    """

    def __init__(self, detail: str, fields: Mapping[str, str] | None = None, status: int = 400) -> None:
        super().__init__(detail)
        self.detail = detail
        self.fields = dict(fields or {})
        self.status = status


class TrainingError(DropfitError):
    """The data cannot carry a model."""


class ExportError(TrainingError):
    """The fitted model has no faithful ONNX form."""


class ArtifactError(DropfitError):
    """A stored version is broken or not ours."""


class NotFound(DropfitError):
    """The object, version or table does not exist."""


class BatchError(DropfitError):
    """A batch prediction broke off; what it had finished is kept."""


class DeployError(DropfitError):
    """Deploying or destroying broke off; what it had done stays."""


class Conflict(DropfitError):
    """A compare-and-swap lost against another writer."""


class LeaseLost(DropfitError):
    """This job is no longer the one that may train."""


class Unavailable(DropfitError):
    """A service did not answer within its deadline."""


class Refused(DropfitError):
    """A service refuses for good.

    Args:
        detail: one sentence.
        status: the HTTP status, 0 when there is none.
        reason: what Google's programs call it, such as SERVICE_DISABLED; often empty.
        said: Google's own sentence alone.
    """

    def __init__(self, detail: str, status: int = 0, reason: str = "", said: str = "") -> None:
        super().__init__(detail)
        self.status, self.reason, self.said = status, reason, said or detail


class LocalCloudError(DropfitError):
    """The local cloud could not start, or is not running."""


@contextmanager
def disk() -> Iterator[None]:
    """A full disk is a fault that passes, not the upload's: as Unavailable."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise Unavailable(f"this machine's disk is full ({error}); it is tried again once there is room") from error


NO_LOGIN = "there are no credentials for Google Cloud on this machine: `gcloud auth application-default login`"


def of_google(what: str, error: Exception) -> DropfitError:
    """Ours for one of Google's: a 4xx will be refused again, all else may pass.

    Args:
        what: which object or table.
        error: from google.api_core, google.auth or their transport, which this module does not import.
    """
    if type(error).__name__ == "DefaultCredentialsError" and "default credentials were not found" in str(error):
        return Unavailable(f"{what}: {NO_LOGIN}")
    code = getattr(error, "code", None)
    final = isinstance(code, int) and 400 <= code < 500 and not is_transient(error)
    return (Refused if final else Unavailable)(f"{what}: {error}")


PASSING = frozenset(
    {"backendError", "badGateway", "internalError", "jobBackendError", "jobInternalError"}
    | {"jobRateLimitExceeded", "rateLimitExceeded"}
)
"""Reasons of BigQuery (cloud.google.com/bigquery/docs/error-messages) that say: try again."""


def is_transient(error: BaseException) -> bool:
    """Whether Google's error may pass: 408, 429, 5xx, a reason that says so, or a connection that broke.

    Args:
        error: from google.api_core, google.auth, requests or urllib3, which this module does not import.
    """
    answered = getattr(error, "response", None)  # of requests, which answers with no code of Google's
    code, reasons = getattr(error, "code", getattr(answered, "status_code", None)), _reasons(error)
    if isinstance(code, int):
        return code in (408, 429, 502, 503, 504) or bool(reasons & PASSING) or (code == 500 and not reasons)
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if "SSLError" in kinds:
        return False
    return bool(kinds & {"ChunkedEncodingError", "ConnectionError", "ProtocolError", "Timeout", "TransportError"})


def _reasons(error: BaseException) -> set[str]:
    details = getattr(error, "errors", None)
    return {str(d.get("reason")) for d in details if isinstance(d, Mapping)} if isinstance(details, list) else set()
