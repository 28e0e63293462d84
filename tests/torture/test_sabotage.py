# SPDX-License-Identifier: Apache-2.0
"""A promise of the infrastructure that no test keeps is none.

What looks at the table's texts is of `make verify`: a clone whose owner changes infra/ is deployed with `make test`.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import sabotage
from red import ROOT

TABLE = sabotage.table()
PART, SEED = 24, 20130101


@pytest.mark.verify
def test_each_sabotage_finds_its_text_once_and_changes_it() -> None:
    assert [name for name, each in TABLE.items() if each.text() == (ROOT / each.file).read_text()] == []


@pytest.mark.verify
def test_each_names_tests_that_are_there() -> None:
    lacking = []
    for name, each in TABLE.items():
        for test in each.red:
            file, _, function = test.partition("::")
            defined = (ROOT / file).is_file() and re.search(
                rf"def {re.escape(function.partition('[')[0])}\b", (ROOT / file).read_text()
            )
            lacking += [] if defined and function else [(name, test)]
    assert lacking == []


@pytest.mark.verify
def test_every_file_that_deploys_is_sabotaged() -> None:
    files = [*ROOT.glob("infra/*.tf"), *ROOT.glob("infra/pipeline/*.tf"), *ROOT.glob("infra/pipeline/*.sh")]
    files += [ROOT / "cloudbuild.yaml", ROOT / "Dockerfile", ROOT / "Makefile", *ROOT.glob(".github/workflows/*.yml")]
    assert {str(file.relative_to(ROOT)) for file in files} <= {each.file for each in TABLE.values()}


def test_a_text_that_is_not_there_ends_the_proof() -> None:
    gone = sabotage.Sabotage("nothing", "Makefile", "this stands nowhere", "", ("x",))
    with pytest.raises(LookupError, match="Makefile holds 0 times what is to be broken"):
        gone.text()


def test_a_tfvars_file_that_is_somebodys_own_is_not_sabotaged(tmp_path: Path) -> None:
    (tmp_path / "infra").mkdir()
    for name in ("dev", "prod"):
        (tmp_path / "infra" / f"{name}.tfvars").write_text('project = "acme-dev"\n')
    left = sabotage.table(tmp_path)
    assert len(left) > 500
    assert not [each.file for each in left.values() if each.file.endswith(".tfvars")]


def test_a_part_is_the_same_for_the_same_seed() -> None:
    assert sabotage.part(TABLE, 5, 1) == sabotage.part(reversed(TABLE), 5, 1)
    assert set(sabotage.part(TABLE, 0, 1)) == set(TABLE)


@pytest.mark.verify
@pytest.mark.timeout(900)
def test_with_something_of_infra_broken_a_test_turns_red_and_none_does_without() -> None:
    figure = sabotage.run(PART, SEED)
    assert [name for name, test in figure.red.items() if not test] == []
    assert figure.broken == ""
