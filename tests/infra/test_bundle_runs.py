# SPDX-License-Identifier: Apache-2.0
"""What is deployed runs by itself: each zip in an empty folder, its lock in a clean environment, nothing else.

The functions are installed and started as Google's Python buildpack does it (GoogleCloudPlatform/buildpacks,
pkg/python and cmd/python/functions_framework): pip with its options, hash-based bytecode, then `functions-framework`
with the launch environment FUNCTION_TARGET and FUNCTION_SOURCE. Cloud Run adds PORT and K_SERVICE.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import stand_in
from dockerfile import built, environment, network, new_environment, run, unpacked, variables
from fake_run import Run

from dropfit import storage
from dropfit.receipts import Receipts, UploadedObject
from dropfit.registry import Registry
from dropfit.settings import Settings
from infra.deploy import bundle
from infra.deploy.images import FUNCTIONS
from localcloud.ports import choose_ports

pytestmark = [pytest.mark.verify, pytest.mark.timeout(1200)]
BUILDPACK = ("--upgrade", "--upgrade-strategy", "only-if-needed", "--no-warn-script-location", "--no-warn-conflicts")
BUILDPACK += ("--force-reinstall", "--no-compile")
COMPILE = ("-m", "compileall", "--invalidation-mode", "unchecked-hash", "-qq")
JOB = "projects/p/locations/europe-west1/jobs/dropfit-retrain"
NOBODY = 65532


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A folder outside of the repository that everybody may read: what runs in it runs as nobody."""
    folder = Path(tempfile.mkdtemp(prefix="dropfit-bundle-"))
    folder.chmod(0o755)
    yield folder
    subprocess.run(["/bin/rm", "-rf", str(folder)], check=True, timeout=500)  # some 60,000 files


@pytest.fixture(scope="module")
def functions(place: Path) -> tuple[Path, Path]:
    """The unpacked functions and the environment in which they were installed."""
    source = unpacked(bundle.build().functions, place / "workspace")
    prefix = new_environment(place / "functions")
    lock = str(source / "requirements.txt")
    pip = [str(prefix / "bin/python"), "-m", "pip", "install", "--require-hashes", "--requirement", lock, *BUILDPACK]
    run(pip, source, environment(prefix, **network()))
    for folder in (prefix / "lib", source):
        run([str(prefix / "bin/python"), *COMPILE, str(folder)], source, environment(prefix))
    return source, prefix


@pytest.fixture(scope="module")
def image(place: Path) -> tuple[Path, Path]:
    """The image's /app and its Python, made by the Dockerfile's own instructions."""
    begun = time.monotonic()
    made = built(unpacked(bundle.build().job, place / "context"), place / "image")
    print(f"\nthe image's instructions took {time.monotonic() - begun:.0f} s")
    return made


def as_nobody() -> dict[str, Any]:
    """Another user than the one that made the files, where we may become one who may run this Python."""
    python = Path(sys.base_prefix).resolve()
    if os.geteuid() != 0 or not all(folder.stat().st_mode & 0o001 for folder in [python, *python.parents]):
        return {}
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []}


def reaching(place: Path, **more: str) -> dict[str, str]:
    """How the deployment of this test is reached; its key lies where everybody may read it."""
    names = ("DROPFIT_", "GOOGLE_", "STORAGE_", "BIGQUERY_")
    found = {name: value for name, value in os.environ.items() if name.startswith(names)}
    key = place / "key.json"
    key.write_bytes(Path(found["GOOGLE_APPLICATION_CREDENTIALS"]).read_bytes())
    key.chmod(0o644)
    return found | {"GOOGLE_APPLICATION_CREDENTIALS": str(key), "NO_PROXY": "127.0.0.1,localhost"} | more


@contextmanager
def served(functions: tuple[Path, Path], name: str, known: dict[str, str], log: Path) -> Iterator[httpx.Client]:
    """One function, started as its container is."""
    source, prefix = functions
    target, file = FUNCTIONS[name]
    holds = ExitStack()
    port = choose_ports({}, {}, ["predict"], holds)["predict"]
    launch = {"FUNCTION_TARGET": target, "FUNCTION_SOURCE": file, "PORT": str(port), "K_SERVICE": f"dropfit-{name}"}
    launch |= {"HOST": "127.0.0.1"}  # in a container it is every address
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(prefix / "bin/functions-framework")],
            cwd=source,
            env=environment(prefix, **known, **launch),
            stdout=output,
            stderr=subprocess.STDOUT,
            **as_nobody(),
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=300, trust_env=False) as client:
            until_up(client, process, log)
            yield client
    finally:
        holds.close()
        process.terminate()
        process.wait(120)


def until_up(client: httpx.Client, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            client.get("/health")
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(log.read_text())


def test_predict_is_healthy_and_says_that_there_is_no_model_yet(
    functions: tuple[Path, Path], deployment: Callable[..., Settings], place: Path, tmp_path: Path
) -> None:
    deployment()
    with served(functions, "predict", reaching(place), tmp_path / "log") as client:
        assert client.get("/health").status_code == 200
        assert client.get("/ready").status_code == 503
        reply = client.post("/predict", json={"instances": [{}]})
        assert (reply.status_code, reply.headers["content-type"]) == (503, "application/problem+json")
        assert client.get("/openapi.json").status_code in (200, 503)


def event(uploaded: UploadedObject, **changes: str) -> dict[str, Any]:
    headers = {
        "ce-specversion": "1.0",
        "ce-id": "1",
        "ce-type": "google.cloud.storage.object.v1.finalized",
        "ce-source": f"//storage.googleapis.com/projects/_/buckets/{uploaded.bucket}",
        "ce-subject": f"objects/{uploaded.name}",
        "ce-time": "2026-01-01T00:00:00Z",
    } | changes
    body = {"bucket": uploaded.bucket, "name": uploaded.name, "generation": str(uploaded.generation)}
    return {"headers": headers, "json": body}


def test_on_upload_refuses_a_forged_event_and_launches_the_cloud_run_job_for_a_good_one(
    functions: tuple[Path, Path], deployment: Callable[..., Settings], place: Path, tmp_path: Path
) -> None:
    buckets = storage.connect(deployment(DROPFIT_RETRAIN_JOB=JOB))
    stored = buckets.landing.put("a.csv", b"x")
    uploaded = UploadedObject(stored.bucket, stored.name, stored.generation)
    with Run(place) as google:
        known = reaching(place, HTTPS_PROXY=google.url, REQUESTS_CA_BUNDLE=str(google.certificate))
        with served(functions, "on-upload", known, tmp_path / "log") as client:
            forged = {"ce-source": "//storage.googleapis.com/projects/_/buckets/somebody-elses"}
            assert client.post("/", **event(uploaded, **forged)).status_code == 403
            assert Receipts(buckets.data).all() == []
            assert client.post("/", **event(uploaded)).status_code // 100 == 2, (tmp_path / "log").read_text()
    assert [receipt.object for receipt in Receipts(buckets.data).all()] == [uploaded]
    assert google.asked == [("run.googleapis.com:443", f"/v2/{JOB}:run")]


def test_the_functions_environment_has_neither_our_repository_nor_what_only_training_needs(
    functions: tuple[Path, Path],
) -> None:
    _, prefix = functions
    gone = "import importlib.util as u; print([n for n in {names!r} if u.find_spec(n)])"
    names = ["dropfit", "beam_pipelines", "localcloud", "sklearn", "pandas", "apache_beam", "psutil"]
    python = str(prefix / "bin/python")
    assert run([python, "-c", gone.format(names=names)], prefix, environment(prefix)).strip() == "[]"


def in_image(image: tuple[Path, Path], *command: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command as the Cloud Run job does: its environment, its folder, no rights to write there."""
    app, prefix = image
    known = environment(prefix, **variables(app), **more)
    return subprocess.run(
        ["/usr/bin/env", *command],
        cwd=app,
        env=known,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
        **as_nobody(),
    )


def test_the_jobs_image_imports_all_it_runs(image: tuple[Path, Path]) -> None:
    app, _ = image
    names = [f"beam_pipelines.{path.stem}" for path in sorted((app / "beam_pipelines").glob("*.py"))]
    # What Dataflow's workers start, what submits to Dataflow, and what is imported late.
    names += ["apache_beam.runners.worker.sdk_worker_main", "apache_beam.runners.dataflow.dataflow_runner"]
    names += ["apache_beam.io.gcp.gcsfilesystem", "dropfit.sweep", "dropfit.training", "dropfit.export"]
    names += ["dropfit.warehouse", "dropfit.plots", "matplotlib.backends.backend_agg", "sklearn.ensemble"]
    load = f"import importlib\nfor name in {names!r}: importlib.import_module(name)"
    done = in_image(image, "python", "-c", load)
    assert done.returncode == 0, done.stderr


def test_the_job_without_settings_says_which_it_needs(image: tuple[Path, Path]) -> None:
    done = in_image(image, "python", "-m", "beam_pipelines.retrain")
    assert done.returncode != 0
    assert "SettingsError" in done.stderr
    assert "DROPFIT_LANDING_BUCKET" in done.stderr


def test_boot_finds_beam_by_pip(image: tuple[Path, Path]) -> None:
    """It asks so, and refuses to start a worker without."""
    assert in_image(image, "python", "-m", "pip", "show", "apache-beam").returncode == 0


def test_the_image_has_its_bytecode_and_its_size(image: tuple[Path, Path]) -> None:
    app, prefix = image
    for source in [app / "functions/dropfit/settings.py", app / "beam_pipelines/retrain.py"]:
        assert list((source.parent / "__pycache__").glob(f"{source.stem}.*.pyc"))
    (site,) = prefix.glob("lib/python3.*/site-packages")
    compiled = len(list(site.rglob("*.pyc"))) / len(list(site.rglob("*.py")))
    assert compiled > 0.98
    size = sum(path.stat().st_size for path in prefix.rglob("*") if path.is_file() and not path.is_symlink()) / 1e6
    print(f"\n{size:.0f} MB of packages in the image, besides its base")
    assert size < 1200  # 1,126 when this was written
    assert not (site / "google/cloud/aiplatform").exists()


def written(image: tuple[Path, Path]) -> set[Path]:
    """Every file of the image."""
    return {path for folder in image for path in folder.rglob("*")}


@pytest.mark.skipif(stand_in.is_own(), reason="the image holds your own problem.py, and the upload is the example's")
def test_an_upload_is_trained_on_and_served_by_the_image(
    image: tuple[Path, Path], deployment: Callable[..., Settings], months: list[Path], place: Path
) -> None:
    worker = "europe-west1-docker.pkg.dev/p/dropfit/job:0123456789abcdef"
    settings = deployment(DROPFIT_WORKER_IMAGE=worker)
    buckets = storage.connect(settings)
    stored = buckets.landing.put("flights-2013-01.csv", months[0].read_bytes())
    receipt, _ = Receipts(buckets.data).register(UploadedObject(stored.bucket, stored.name, stored.generation))
    before = written(image)
    done = in_image(image, "python", "-m", "beam_pipelines.retrain", **reaching(place))
    assert done.returncode == 0, done.stderr
    assert written(image) - before == set(), "its user may not write there"
    assert Receipts(buckets.data).get(receipt.id).state == "promoted", done.stderr
    pointer = Registry(buckets.models).current().pointer
    assert pointer is not None
    assert Registry(buckets.models).manifest(pointer.version).revision == "job:0123456789abcdef"
