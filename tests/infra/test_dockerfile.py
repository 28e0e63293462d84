# SPDX-License-Identifier: Apache-2.0
"""The image of the job, the sweep and Dataflow's workers, as far as its Dockerfile says."""

from __future__ import annotations

import ast
import fnmatch
import importlib.metadata
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import dockerfile
import pytest

from infra.deploy import bundle

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "beam_pipelines" / "worker.sh"
TOOLS = ROOT / ".venv-infra" / "bin"


def locked(package: str) -> str:
    found = re.search(rf"^{re.escape(package)}==(\S+)", (ROOT / "requirements/jobs.txt").read_text(), re.MULTILINE)
    assert found is not None
    return found[1]


def test_the_zip_holds_what_the_dockerfile_copies_and_the_dockerfile() -> None:
    copied = [source for source, _ in dockerfile.copies()]
    inside = set(bundle.contents(ROOT)["job"])
    assert sorted(bundle.JOB) == sorted(["Dockerfile", *copied])
    for source in copied:
        assert any(name == source or name.startswith(f"{source}/") for name in inside)
    assert {name for name in inside if not name.startswith(tuple(copied))} == {"Dockerfile"}


def test_each_thing_is_copied_to_where_it_is_in_the_repository() -> None:
    assert all(source == target for source, target in dockerfile.copies())


def test_who_builds_by_hand_sends_the_same_files() -> None:
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert sorted(rule[1:] for rule in rules if rule.startswith("!")) == sorted(bundle.JOB)
    assert [rule for rule in rules if rule[0] not in "*!"] == sorted(bundle.NOT_JOB)  # after what they are part of
    assert set(bundle.NOT_JOB) & set(bundle.contents(ROOT)["job"]) == set()
    dropped = [rule.removeprefix("**/") for rule in rules if rule.startswith("**/")]
    for name in ("__pycache__", "x.pyc", ".env"):
        assert any(fnmatch.fnmatch(name, pattern) for pattern in dropped)


def test_beams_boot_is_of_the_version_that_is_installed() -> None:
    (beam,) = [image for image in dockerfile.arguments("FROM") if "beam" in image]
    assert beam == f"apache/beam_python3.11_sdk:{locked('apache-beam')} AS beam"


def test_every_base_is_pinned_to_a_version_and_of_one_python() -> None:
    for image in dockerfile.arguments("FROM"):
        assert re.search(r":\d+\.\d+\.\d+", image), image
        assert re.search(r"python:?3\.11(\.|_)", image), image


def test_the_pipeline_tests_with_the_python_that_the_image_has() -> None:
    (ours,) = [image for image in dockerfile.arguments("FROM") if image.startswith("python:")]
    (tested,) = set(re.findall(r"python:\S+", (ROOT / "cloudbuild.yaml").read_text()))
    assert ours.replace("-slim-", "-") == tested


def test_it_runs_as_a_number_that_is_not_root() -> None:
    (user,) = dockerfile.arguments("USER")
    assert re.fullmatch(r"([1-9]\d*):([1-9]\d*)", user)
    words = [word for word, _ in dockerfile.instructions(dockerfile.DOCKERFILE.read_text())]
    assert words[-2:] == ["USER", "ENTRYPOINT"]


def test_whatever_the_code_imports_however_late_is_in_the_image() -> None:
    folders = (ROOT / "functions/dropfit", ROOT / "beam_pipelines")
    trees = [ast.parse(path.read_text()) for folder in folders for path in folder.glob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    named = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    named += [str(node.module) for node in nodes if isinstance(node, ast.ImportFrom) and not node.level]
    ours = {"dropfit", "beam_pipelines", "localcloud", "infra"}
    wanted = {name.split(".")[0] for name in named} - ours - sys.stdlib_module_names
    wanted -= {"psutil", "hcl2"}  # of a laptop's processes, and of deploying
    of = importlib.metadata.packages_distributions()
    lock = (ROOT / "requirements/jobs.txt").read_text()
    installed = {re.sub("[-_.]+", "-", name.lower()) for name in re.findall(r"^([\w.-]+)==", lock, re.MULTILINE)}
    lacking = {name for name in wanted if not {re.sub("[-_.]+", "-", d.lower()) for d in of[name]} & installed}
    assert lacking == set()
    assert {"pandas", "apache_beam", "sklearn", "matplotlib"} <= wanted


def test_changed_code_installs_nothing_again() -> None:
    text = dockerfile.DOCKERFILE.read_text()
    steps = [told for word, told in dockerfile.instructions(text) if word in ("COPY", "RUN")]
    (install,) = [number for number, told in enumerate(steps) if "pip install" in told]
    assert steps[install - 1].startswith("requirements/jobs.txt")
    assert not any(told.startswith(("functions", "beam_pipelines")) for told in steps[:install])


def test_packages_come_from_the_hashed_lock_alone_and_leave_no_cache() -> None:
    (install,) = [told for told in dockerfile.arguments("RUN") if "pip install" in told]
    command = install.split("&&")[0].split()
    assert set(command) >= {"--require-hashes", "--no-cache-dir", "--no-deps"}
    assert command[-2:] == ["-r", "requirements/jobs.txt"]
    assert install.count("pip install") == 1
    assert "pip check" in [told.strip() for told in install.split("&&")], "the lock names everything, or it fails"


def test_nothing_waits_by_spinning_and_no_line_of_the_log_waits() -> None:
    known = dockerfile.variables(Path("/app"))
    assert known["OMP_WAIT_POLICY"] == "PASSIVE"
    assert known["PYTHONUNBUFFERED"] == "1"
    assert known["PYTHONPATH"].split(":") == ["/app/functions", "/app"]
    assert "PYTHONDONTWRITEBYTECODE" not in known


def test_a_user_that_is_a_number_has_a_home_and_a_name_and_needs_no_other_place_to_write() -> None:
    known = dockerfile.variables(Path("/app"))
    assert (known["HOME"], known["USER"]) == ("/tmp", "dropfit")  # noqa: S108 (of the image)
    assert known["MPLCONFIGDIR"].startswith("/tmp/")  # noqa: S108
    assert known["RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT"] == "1", "boot would make an environment of its own"


def test_no_start_compiles_what_it_imports() -> None:
    runs = [
        told for word, told in dockerfile.instructions(dockerfile.DOCKERFILE.read_text()) if word in ("COPY", "RUN")
    ]
    packages, code = (told for told in runs if "compileall" in told)
    assert "print(sys.prefix)" in packages
    assert code.endswith(" functions beam_pipelines")
    assert runs[-1] == code, "all code is there by then"


def started(tmp_path: Path, *given: str) -> list[str]:
    """What boot is called with, by the script the image begins with."""
    boot = tmp_path / "boot"
    says = shlex.join([sys.executable, "-c", "import json, sys; print(json.dumps(sys.argv[1:]))"])
    boot.write_text(f'#!/bin/sh\nexec {says} "$@"\n')
    boot.chmod(0o755)
    (entry,) = dockerfile.arguments("ENTRYPOINT")
    shell, script = json.loads(entry)
    assert script == f"/app/{SCRIPT.relative_to(ROOT)}"
    (tmp_path / "worker.sh").write_text(SCRIPT.read_text().replace("/opt/apache/beam/boot", shlex.quote(str(boot))))
    command = [shell, str(tmp_path / "worker.sh"), *given]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    return list(json.loads(done.stdout))


def test_dataflows_arguments_reach_boot_and_the_last_says_where_it_may_write(tmp_path: Path) -> None:
    given = ["--id=sdk-0-0", "--provision_endpoint=localhost:12371", "--semi_persist_dir=/var/opt/google", "a b"]
    assert started(tmp_path, *given) == [*given, "--semi_persist_dir=/tmp"]


def test_boot_is_where_beam_has_it_and_takes_its_place_in_the_process() -> None:
    (taken,) = [told.split() for told in dockerfile.arguments("COPY") if told.startswith("--from=beam")]
    assert "/opt/apache/beam/boot" in taken[1:-1]
    assert taken[-1] == "/opt/apache/beam/"
    assert re.search(r"^exec /opt/apache/beam/boot ", SCRIPT.read_text(), re.MULTILINE)


@pytest.mark.infra
@pytest.mark.parametrize("command", [["hadolint", "Dockerfile"], ["shellcheck", "beam_pipelines/worker.sh"]], ids=str)
def test_the_linters_have_nothing_to_say(command: list[str]) -> None:
    tool = shutil.which(command[0], path=str(TOOLS))
    assert tool is not None, "`make infra-test` makes .venv-infra"
    done = subprocess.run([tool, *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, done.stdout) == (0, "")
