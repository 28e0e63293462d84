# SPDX-License-Identifier: Apache-2.0
"""docs/deploy.md speaks of commands, options, files and words that there are."""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from on_stage import Stage

from dropfit import cli

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "deploy.md").read_text()
BLOCKS = re.findall(r"^ *```(\w*)\n(.*?)^ *```", PAGE, re.M | re.S)
HEADS = ("dropfit ", ".venv/bin/dropfit ")


def commands() -> list[str]:
    """What a person would type: lines of shell blocks, and code in the text."""
    lines = [line.strip() for kind, block in BLOCKS if kind in ("", "sh") for line in block.splitlines()]
    text = re.sub(r"^ *```.*?^ *```", "", PAGE, flags=re.M | re.S)
    return [*lines, *re.findall(r"`([^`\n]+)`", text)]


def typed(*heads: str) -> list[str]:
    return [one.split(" #")[0] for one in commands() if one.startswith(heads)]


def options(words: list[str]) -> Iterator[str]:
    """Options that the words give to a verb that does not have them; or the verb, when there is none."""
    found: Any = typer.main.get_command(cli.app)
    rest = list(words)
    while hasattr(found, "commands"):
        if not rest or rest[0] not in found.commands:
            yield f"no verb {rest[:1]}"
            return
        found = found.commands[rest.pop(0)]
    known = {name for parameter in found.params for name in (*parameter.opts, *parameter.secondary_opts)}
    yield from (word for word in rest if word.startswith("-") and word != "-" and word not in known)


def test_every_command_of_dropfit_exists_with_its_options() -> None:
    found = {one for one in typed(*HEADS) if not one.startswith("dropfit-")}
    assert {"dropfit doctor dev", "dropfit deploy dev", "dropfit deploy dev --plan", "dropfit destroy dev"} <= found
    wrong = {one: list(options(shlex.split(one)[1:])) for one in found}
    assert {one: names for one, names in wrong.items() if names} == {}


def test_a_command_that_there_is_not_would_be_found() -> None:
    assert list(options(["deploy", "dev", "--force"])) == ["--force"]
    assert list(options(["undeploy"])) == ["no verb ['undeploy']"]


def test_every_make_target_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    named = {one.split()[1] for one in typed("make ")}
    assert "demo" in named
    assert named <= targets


def test_every_module_that_is_run_exists() -> None:
    named = set(re.findall(r"python -m ([\w.]+)", PAGE))
    assert named
    assert [name for name in sorted(named) if importlib.util.find_spec(name) is None] == []


def test_every_file_that_is_named_exists() -> None:
    named = set(re.findall(r"`((?:infra|functions|docs|tests|\.github)/[\w./-]+\.\w+)`", PAGE))
    ours = {
        "infra/pipeline/dev.tfvars",
        "infra/.terraform.lock.hcl",
        "infra/code.auto.tfvars.json",
    }  # made as one goes
    assert len(named) > 3
    assert [name for name in sorted(named - ours) if not (ROOT / name).exists()] == []


def test_every_heading_that_is_linked_to_exists() -> None:
    anchors = {
        re.sub(r"[^\w -]", "", line.lower()).strip().replace(" ", "-")
        for line in re.findall(r"^#+ (.+)$", PAGE, re.M)
    }
    linked = set(re.findall(r"\]\(#([\w-]+)\)", PAGE))
    assert linked <= anchors


@pytest.fixture
def told(stage: Stage) -> str:
    return stage.type("deploy", "dev", "--yes").text


def test_the_stages_are_those_that_a_deployment_tells(told: str) -> None:
    block = next(block for _, block in BLOCKS if "1. checks" in block)
    stages = re.findall(r"^\d+\. .+$", block, re.M)
    assert stages == re.findall(r"^\d+\. .+$", told, re.M)
    assert block.rstrip().endswith("dropfit predict '{...}'")
    assert told.rstrip().endswith("dropfit predict '{...}'")


def test_what_stays_and_goes_is_told_as_the_page_says(stage: Stage) -> None:
    stage.deployed()
    stage.filled()
    text = stage.type("destroy", "dev", keyboard="\n").text
    block = next(block for _, block in BLOCKS if "These stay" in block)
    assert [line for line in block.splitlines() if line.strip() != "..." and line.strip() not in text] == []


@pytest.mark.parametrize(
    "words",
    [
        "Error acquiring the state lock",
        "Your login has expired",
        "belongs to another project",
        "describe the same deployment",
    ],
)
def test_symptoms_are_in_the_words_that_people_see(words: str) -> None:
    code = "".join(file.read_text() for file in (ROOT / "infra" / "deploy").glob("*.py"))
    assert words in PAGE
    assert words in code
