# SPDX-License-Identifier: Apache-2.0
"""Dataflow's jobs by name: whether one is at work, and waiting for hours until it ends.

Beam submits a job; following it needs three GETs, which survive what Beam's own waiting does not: a restart of this
process, and half an hour without an answer. Nothing here ever cancels a job.
"""

from __future__ import annotations

import hashlib
import logging
import random
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from .errors import NotFound, Unavailable
from .rest import CLOUD, Api

ENDPOINT = "https://dataflow.googleapis.com"
SHORTEST, LONGEST = 5.0, 60.0
"""Seconds between two looks at a job, at its beginning and later."""
PATIENCE = 30 * 60.0
"""Seconds without an answer after which the waiting is given up. The job goes on, and the next start finds it."""
LATE = 10
"""So many more looks at a failed job, for its reason: that may come half a minute later."""
ENDED = frozenset({"DONE", "FAILED", "CANCELLED", "DRAINED", "UPDATED"})
ENDING = frozenset({"CANCELLING", "DRAINING"})
LOUD = {"JOB_MESSAGE_ERROR": logging.ERROR, "JOB_MESSAGE_WARNING": logging.WARNING}
LOG = logging.getLogger(__name__)


class Job(msgspec.Struct, frozen=True):
    """What the service says of a job.

    Attributes:
        id: the service's own name for it.
        name: ours.
        state: such as RUNNING, without the `JOB_STATE_` before it.
        reason: why it failed, as far as it has said so.
    """

    id: str
    name: str
    state: str
    reason: str = ""


class Message(msgspec.Struct, frozen=True, rename="camel"):
    """A line of a job's log."""

    id: str = ""
    time: str = ""
    message_text: str = ""
    message_importance: str = ""


class Jobs:
    """The jobs of one project in one region.

    Args:
        project: id.
        region: of Google Cloud.
        endpoint: another than Google's own, for tests.
        session: an authorised requests session; made from the default credentials when not given.
    """

    def __init__(self, project: str, region: str, endpoint: str = ENDPOINT, session: Any = None) -> None:
        self._url = f"{endpoint.rstrip('/')}/v1b3/projects/{project}/locations/{region}/jobs"
        self._console = f"https://console.cloud.google.com/dataflow/jobs/{region}/{{}}?project={project}"
        self._api = Api(CLOUD, session)

    def active(self, name: str) -> Job | None:
        """The job of that name that has not ended; a name has at most one.

        Raises:
            Unavailable: when the service does not answer.
            Refused: when it will not.
        """
        for page in self._pages(self._url, {"filter": "ACTIVE", "name": name}):
            for found in page.get("jobs") or ():
                job = _job(found)
                if job.name == name and job.state not in ENDED:
                    return job
        return None

    def get(self, job_id: str) -> Job:
        """A job as it stands.

        Raises:
            NotFound: when the service does not know it (yet).
            Unavailable: when the service does not answer.
            Refused: when it will not.
        """
        return _job(self._api.get(f"{self._url}/{job_id}"))

    def messages(self, job_id: str, since: str) -> list[Message]:
        """Its log from a time on, that moment included.

        Args:
            job_id: the service's name for it.
            since: a time as messages have it; empty for all.
        """
        asked = {"minimumImportance": "JOB_MESSAGE_BASIC"} | ({"startTime": since} if since else {})
        pages = self._pages(f"{self._url}/{job_id}/messages", asked)
        return [msgspec.convert(m, Message, strict=False) for page in pages for m in page.get("jobMessages") or ()]

    def console(self, job: Job) -> str:
        """Where people look at it."""
        return self._console.format(job.id)

    def _pages(self, url: str, asked: dict[str, str]) -> Iterator[dict[str, Any]]:
        token = ""
        while True:
            page = self._api.get(url, asked | ({"pageToken": token} if token else {}))
            yield page
            token = str(page.get("nextPageToken") or "")
            if not token:
                return


def wait(
    jobs: Jobs,
    job: Job,
    check: Callable[[], None] = lambda: None,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Job:
    """Look at a job until it has ended, however it ended, and log what it says; faults that pass are waited out.

    Args:
        jobs: where it is.
        job: as it was last seen.
        check: called at every look; what it raises ends the waiting, and not the job.
        sleep: waits so many seconds.
        clock: seconds.

    Raises:
        Unavailable: when the service has not answered for PATIENCE seconds.
        Refused: when it will not answer.
    """
    log, delay, answered, late = _Log(jobs, job), SHORTEST, clock(), LATE
    LOG.info("Dataflow job %s is %s: %s", job.name, job.state, jobs.console(job))
    while job.state not in ENDED or (job.state == "FAILED" and not log.error and late):
        check()
        late -= job.state == "FAILED"
        sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311 (jitter, no secret)
        delay = min(LONGEST, delay * 1.3)
        try:
            seen = jobs.get(job.id)
            log.read_on()
        except (Unavailable, NotFound) as silent:  # a job just made may be unknown for a while
            if clock() - answered > PATIENCE:
                raise Unavailable(
                    f"Dataflow has not answered for {PATIENCE / 60:.0f} minutes; job {job.name} goes on, and the "
                    f"next start waits for it again: {jobs.console(job)} ({silent})"
                ) from silent
            LOG.warning("Dataflow did not answer, asking again: %s", silent)
            continue
        answered = clock()
        if seen.state != job.state:
            LOG.info("Dataflow job %s is %s", job.name, seen.state)
        job = seen
    return msgspec.structs.replace(job, reason=log.error)


class _Log:
    """A job's messages, into our log: the service is asked again from the newest one's time on."""

    def __init__(self, jobs: Jobs, job: Job) -> None:
        self._jobs, self._job = jobs, job
        self._since, self._seen = "", set[Message]()
        self.error = ""

    def read_on(self) -> None:
        for message in sorted(self._jobs.messages(self._job.id, self._since), key=lambda m: m.time):
            if message in self._seen:
                continue
            self._seen.add(message)
            self._since = message.time
            importance, text = message.message_importance, message.message_text
            LOG.log(LOUD.get(importance, logging.INFO), "%s: %s", self._job.name, text)
            # What a worker raised says more than that the job has failed because of it.
            if importance == "JOB_MESSAGE_ERROR" and ("Traceback" in text or "Traceback" not in self.error):
                self.error = text


def job_name(wanted: str, deployment: str) -> str:
    """A name that Dataflow takes, the same for the same work: [a-z][-a-z0-9]*, at most 63 letters.

    Args:
        wanted: what the work is, such as a version.
        deployment: its data bucket; two deployments of one project may have the same version.
    """
    clean = re.sub("[^a-z0-9]+", "-", wanted.lower()).strip("-")
    kept = clean if clean == wanted.lower() and len(clean) <= 45 else f"{clean[:36].strip('-')}-{_hash(wanted)}"
    return f"dropfit-{kept.lstrip('-')}-{_hash(deployment)}"


def label(text: str) -> str:
    """A value that a label of Google Cloud takes: lower case, digits, `_` and `-`, at most 63."""
    return re.sub("[^a-z0-9_-]", "-", text.lower())[:63]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _job(found: dict[str, Any]) -> Job:
    state = str(found.get("currentState") or "PENDING").removeprefix("JOB_STATE_")
    return Job(str(found.get("id", "")), str(found.get("name", "")), state)
