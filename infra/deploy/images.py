# SPDX-License-Identifier: Apache-2.0
"""The three images, built by Google from the bundled zips: the functions' by buildpacks, the job's by its Dockerfile.

`build_config` of a Cloud Run service describes a build and starts none, so the images have to be there before
Terraform names them. Cloud Run's builds:submit is what `gcloud run deploy --source` calls. A tag is the hash of what
the image is built from, and no tag is ever moved: what is there is right, and is not built again (docs/adr/0018).

    python -m infra.deploy.images dev      # after the foundation, which uploads the zips
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from dropfit.errors import DropfitError, NotFound, Refused, Unavailable
from dropfit.rest import CLOUD, Api

from . import bundle
from .bundle import Code
from .environment import Environment, read
from .stages import Tell

RUN = "https://run.googleapis.com/v2"
BUILDS = "https://cloudbuild.googleapis.com/v1"
REGISTRY = "https://artifactregistry.googleapis.com/v1"
LOGS = "https://logging.googleapis.com/v2/entries:list"

RUNTIME = "python311"
"""Google's name of the functions' base image."""
FUNCTIONS = {"on-upload": ("on_upload", "on_upload.py"), "predict": ("predict", "predict.py")}
"""Image -> target and source file, as Terraform has them."""
LOOK = 5.0
"""Seconds between two looks at the builds."""
PATIENCE = 30 * 60.0
"""Seconds after which the builds are no longer waited for. They go on."""
RIGHTS = frozenset({"FETCH_SOURCE_FAILED", "PUSH_NOT_AUTHORIZED"})
"""Failures of a build whose account got its rights a moment ago: they reach every service within some minutes."""
ATTEMPTS, PAUSE = 5, 30.0
"""So many times a build that lacks rights is submitted, so many seconds apart."""
WORDS = 20
"""Lines of a failed build's log that are shown."""


class Image(msgspec.Struct, frozen=True):
    """An image to be.

    Attributes:
        name: in the registry.
        tag: the hash of what it is built from.
        source: the zip, by its name in the source bucket.
    """

    name: str
    tag: str
    source: str

    def __str__(self) -> str:
        return f"{self.name}:{self.tag}"


class Build(msgspec.Struct, rename="camel"):
    """What Cloud Build says of a build (cloudbuild.googleapis.com/v1, Build)."""

    name: str
    id: str = ""
    status: str = "QUEUED"
    status_detail: str = ""
    log_url: str = ""
    failure_info: dict[str, str] = {}
    attempt: int = 1  # ours

    @property
    def has_ended(self) -> bool:
        """Whether it will change no more."""
        return self.status not in ("STATUS_UNKNOWN", "PENDING", "QUEUED", "WORKING")


def images(code: Code) -> list[Image]:
    """The three images of the bundled code."""
    functions = [Image(name, code.functions_tag, code.functions.name) for name in FUNCTIONS]
    return [*functions, Image("job", code.job_tag, code.job.name)]


def build(
    environment: Environment,
    code: Code,
    api: Api,
    tell: Tell,
    watch: Tell = lambda text: None,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Have every image built that is not there, all at once, and wait for them.

    Args:
        environment: whose.
        code: the zips, which lie in its source bucket.
        api: Google's.
        tell: is told once what begins and what has ended.
        watch: is told at every look what is still at work.
        sleep: waits so many seconds.
        clock: seconds.

    Raises:
        Refused: when a build failed, with the address and the end of its log; or when Google will not start one.
        Unavailable: when the builds have not ended in time, or a service does not answer.
    """
    cloud = _Cloud(environment, api, tell, sleep)
    waiting: dict[Image, Build] = {}
    for image in images(code):
        if cloud.has(image):
            tell(f"{image} is there already")
        else:
            waiting[image] = cloud.submit(image)
    begun, failed = clock(), list[str]()
    while waiting:
        took = clock() - begun
        if took > PATIENCE:
            raise Unavailable(_unfinished(waiting, failed))
        watch(f"{', '.join(image.name for image in waiting)}: at work for {took:.0f} s")
        sleep(LOOK)
        waiting = cloud.follow_all(waiting, clock() - begun, failed)
    if failed:
        raise Refused("\n".join(failed))


def _unfinished(waiting: dict[Image, Build], failed: list[str]) -> str:
    left = "; ".join([*failed, *(f"{image} is at work: {build.log_url}" for image, build in waiting.items())])
    return f"after {PATIENCE / 60:.0f} minutes not all is built. {left}. Run this again later"


class _Cloud:
    """The few requests that all this takes."""

    def __init__(self, environment: Environment, api: Api, tell: Tell, sleep: Callable[[float], None]) -> None:
        self._environment, self._api, self._tell, self._sleep = environment, api, tell, sleep

    def has(self, image: Image) -> bool:
        """Whether the registry has the tag."""
        packages = f"{REGISTRY}/{self._environment.location}/repositories/{self._environment.name}/packages"
        try:
            self._api.get(f"{packages}/{image.name}/tags/{image.tag}")
        except NotFound:
            return False
        return True

    def submit(self, image: Image, attempt: int = 1) -> Build:
        """Start a build; a right that was granted a moment ago is waited for."""
        url, body = f"{RUN}/{self._environment.location}/builds:submit", request(self._environment, image)
        try:
            reply = self._api.send("POST", url, json=body)
        except (NotFound, Refused) as refusal:  # it says 404, too, to who may not build
            if isinstance(refusal, Refused) and refusal.status != 403:
                raise
            if attempt >= ATTEMPTS:
                raise Refused(f"{refusal}. {self._rights()}", 403) from refusal
            return self._later(image, str(refusal), attempt)
        begun = msgspec.convert(reply["buildOperation"]["metadata"]["build"], Build)
        if reply.get("baseImageWarning"):
            self._tell(f"{image}: {reply['baseImageWarning']}")
        self._tell(f"{image} is being built; its log: {begun.log_url}")
        return msgspec.structs.replace(begun, attempt=attempt)

    def _rights(self) -> str:
        """What whoever deploys needs, so that Cloud Run builds for them."""
        return (
            f"To have Cloud Run build, one needs roles/run.sourceDeveloper on {self._environment.project}, and "
            f"roles/iam.serviceAccountUser on {self._environment.account('build')}. What was given a moment ago "
            "needs some minutes: run it again"
        )

    def follow_all(self, waiting: dict[Image, Build], took: float, failed: list[str]) -> dict[Image, Build]:
        """Those that are still at work; of those that failed the reason is added to the list."""
        still: dict[Image, Build] = {}
        for image, build in waiting.items():
            try:
                seen = self.follow(image, build, took)
            except Refused as end:
                failed.append(str(end))
                continue
            if seen is not None:
                still[image] = seen
        return still

    def follow(self, image: Image, build: Build, took: float) -> Build | None:
        """A build as it stands now, perhaps another that was started in its place; None when the image is there.

        Raises:
            Refused: when it failed, with all that is known of it.
        """
        try:
            seen = msgspec.convert(self._api.get(f"{BUILDS}/{build.name}"), Build)
            if not seen.has_ended:
                return msgspec.structs.replace(seen, attempt=build.attempt)
            # Whoever pushed the same tag meanwhile pushed the same content, and this push was refused.
            if seen.status == "SUCCESS" or self.has(image):
                self._tell(f"{image} is built, after {took:.0f} s")
                return None
        except Unavailable as silent:
            self._tell(f"Google did not answer, asking again: {silent}")
            return build
        why = "; ".join(filter(None, (seen.status_detail, seen.failure_info.get("detail", ""))))
        if seen.failure_info.get("type") in RIGHTS and build.attempt < ATTEMPTS:
            return self._later(image, why, build.attempt)
        words = "".join(f"\n    {line}" for line in self._words(seen))
        raise Refused(
            f"the build of {image} ended as {seen.status}{why and f': {why}'}. Its log: {seen.log_url}{words}"
        )

    def _later(self, image: Image, why: str, attempt: int) -> Build:
        self._tell(
            f"{image}: {why or 'a right is missing'}. Rights that are new need minutes: again in {PAUSE:.0f} s"
        )
        self._sleep(PAUSE)
        return self.submit(image, attempt + 1)

    def _words(self, build: Build) -> list[str]:
        """The end of its log, as far as we may read it."""
        asked = {
            "resourceNames": [f"projects/{self._environment.project}"],
            "filter": f'resource.type="build" AND resource.labels.build_id="{build.id}"',
            "orderBy": "timestamp desc",
            "pageSize": WORDS,
        }
        try:
            entries = self._api.send("POST", LOGS, json=asked).get("entries") or []
        except DropfitError:
            return []
        return [str(entry.get("textPayload", "")).rstrip() for entry in reversed(entries)]


def request(environment: Environment, image: Image) -> dict[str, Any]:
    """The body of builds:submit (run.googleapis.com/v2, SubmitBuildRequest)."""
    how: dict[str, Any] = {"dockerBuild": {}}
    if image.name in FUNCTIONS:
        target, file = FUNCTIONS[image.name]
        pack = {
            "functionTarget": target,
            "baseImage": RUNTIME,
            "environmentVariables": {"GOOGLE_FUNCTION_SOURCE": file},
        }
        how = {"buildpackBuild": pack}
    return {
        "storageSource": {"bucket": environment.bucket("source"), "object": image.source},
        "imageUri": f"{environment.registry}/{image}",
        "serviceAccount": f"projects/{environment.project}/serviceAccounts/{environment.account('build')}",
        "tags": [environment.name, image.name],
        **how,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 1 when an image could not be built."""
    from dropfit.terminal import err, out
    from dropfit.text import plain

    asked = list(sys.argv[1:] if arguments is None else arguments)
    if len(asked) != 1 or asked[0].startswith("-"):
        err.print("usage: python -m infra.deploy.images ENVIRONMENT")
        return 2
    try:
        environment, code = read(asked[0]), bundle.build()
        with err.status("looking for images ...") as status:
            build(environment, code, Api(CLOUD), lambda line: out.print(plain(line)), status.update)
    except (DropfitError, bundle.BundleError) as error:
        err.print(f"[red]error:[/] {plain(str(error))}", soft_wrap=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
