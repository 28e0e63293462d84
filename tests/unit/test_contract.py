# SPDX-License-Identifier: Apache-2.0
"""What a problem may say, and what it is told when it contradicts itself."""

from __future__ import annotations

import functools
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import numpy as np
import pytest
from fakes import CUP, LEAF, MINUTES, WARMTH, boosting, derive, tea

from dropfit.contract import (
    RESERVED,
    Category,
    Contract,
    Gate,
    Label,
    Number,
    Policy,
    Probability,
    Quantity,
    Timestamp,
    load_problem,
    source_sha256,
)
from dropfit.errors import ContractError


@pytest.mark.parametrize("name", ["two words", "1st", "", "né", "semi;colon", "x" * 64, "back`tick", "line\n"])
def test_a_column_name_that_sql_could_stumble_over_is_refused_by_name(name: str) -> None:
    with pytest.raises(ContractError) as refused:
        tea(features=(LEAF, CUP, Number(name=name)), derived=(), derive=None, prepare=dict)
    assert name in str(refused.value)


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_the_names_of_the_tables_own_columns_are_taken(name: str) -> None:
    with pytest.raises(ContractError, match=name):
        tea(target=Probability(name=name))


def test_a_feature_named_twice_is_refused() -> None:
    with pytest.raises(ContractError, match=r"named twice: .*leaf"):
        tea(features=(LEAF, CUP, LEAF, MINUTES, WARMTH))


def test_a_target_that_is_also_a_feature_is_refused() -> None:
    with pytest.raises(ContractError, match="named twice"):
        tea(target=Probability(name="minutes"))


def test_a_key_that_names_no_feature_is_refused_with_the_column_named() -> None:
    with pytest.raises(ContractError, match="'pot'"):
        tea(key=("leaf", "pot"))


def test_a_problem_without_a_key_is_refused() -> None:
    with pytest.raises(ContractError, match="key"):
        tea(key=())


def test_given_by_must_name_columns_of_the_key() -> None:
    lost = Number(name="warmth", given_by=("kettle",))
    with pytest.raises(ContractError, match="warmth must be in the key"):
        tea(features=(LEAF, CUP, MINUTES, lost))


def test_derived_features_and_derive_belong_together() -> None:
    with pytest.raises(ContractError, match="belong together"):
        tea(derive=None)
    with pytest.raises(ContractError, match="belong together"):
        tea(derived=())


def test_without_prepare_a_file_must_hold_every_column_of_an_accepted_row() -> None:
    with pytest.raises(ContractError, match="brewed"):
        tea(columns=tuple(c for c in tea().columns if c.name != "brewed"))


def test_a_problem_that_says_no_columns_is_refused() -> None:
    with pytest.raises(ContractError, match="which columns a file holds"):
        tea(columns=())


@pytest.mark.parametrize(
    ("target", "metric"), [(Probability(name="drunk"), "rmse"), (Quantity(name="drunk"), "brier")]
)
def test_a_gate_whose_metric_the_target_does_not_have_is_refused(target: Probability, metric: str) -> None:
    with pytest.raises(ContractError, match=metric):
        tea(target=target, gate=Gate(metric=metric))  # type: ignore[arg-type]


def test_a_policy_that_no_value_can_meet_is_refused() -> None:
    with pytest.raises(ContractError, match="policy"):
        tea(policy=Policy(minimum=1.0, maximum=0.0))


def test_the_contract_survives_its_journey_through_the_manifest() -> None:
    contract = tea().contract
    assert msgspec.json.decode(msgspec.json.encode(contract), type=Contract) == contract


def test_a_contract_read_back_from_a_tampered_manifest_is_checked_again() -> None:
    payload = msgspec.json.encode(tea().contract).replace(
        b'"key":["leaf","cup","minutes"]', b'"key":["leaf","cup","minutes","x; DROP TABLE"]'
    )
    with pytest.raises(ContractError, match="DROP TABLE"):
        msgspec.json.decode(payload, type=Contract)


def test_the_contract_carries_no_code() -> None:
    assert type(tea().contract) is Contract
    assert not any(callable(getattr(tea().contract, name)) for name in Contract.__struct_fields__)


def test_an_accepted_row_keeps_each_column_once() -> None:
    problem = tea(identity=("pot", "leaf"), time="brewed")
    assert problem.kept == ("leaf", "cup", "minutes", "warmth", "drunk", "pot", "brewed")


def test_derived_features_follow_the_requested_ones_in_the_models_input() -> None:
    assert [f.name for f in tea().inputs] == ["leaf", "cup", "minutes", "warmth", "strength"]


def test_a_changed_derive_function_changes_its_hash() -> None:
    def other(features):  # type: ignore[no-untyped-def]
        return {"strength": features["minutes"] + features["warmth"]}

    assert source_sha256(derive) == tea().derive_sha256
    assert source_sha256(other) != source_sha256(derive)
    assert source_sha256(None) == ""


@pytest.mark.parametrize(
    "reference",
    ["no_such_module:problem", "dropfit.problem:nothing", "dropfit.problem", "dropfit.contract:Problem", ":"],
)
def test_a_reference_that_names_no_problem_is_refused_with_the_variable_to_fix(reference: str) -> None:
    with pytest.raises(ContractError, match="DROPFIT_PROBLEM") as refused:
        load_problem(reference)
    assert reference in str(refused.value)


def test_a_problem_is_found_by_module_and_attribute(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("somebodys_problem")
    module.mine = tea()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "somebodys_problem", module)
    assert load_problem("somebodys_problem:mine") is module.mine


def test_the_default_problem_loads_and_its_derive_is_pure() -> None:
    problem = load_problem("dropfit.problem:problem")
    assert problem.derive is not None
    given = {f.name: np.array([1.0, np.nan]) for f in problem.features if not isinstance(f, Category)}
    before = {name: values.copy() for name, values in given.items()}
    made = problem.derive(given)
    assert set(made) == {f.name for f in problem.derived}
    for name, values in before.items():
        np.testing.assert_array_equal(given[name], values)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"key": ("leaf", "cup")}, "minutes must be in the key"),
        ({"features": (LEAF, CUP, MINUTES, Number(name="Leaf"))}, "named twice"),
        ({"window": -3}, "window"),
        ({"target": Label(name="drunk", values=("a", "b")), "columns": tea().columns}, "another kind"),
        ({"estimator": functools.partial(boosting, ())}, "written in a file"),
        ({"estimator": object()}, "estimator must be a function"),
        ({"time": "leaf", "columns": tea().columns}, "another kind than what they feed: leaf"),
        ({"features": (LEAF, CUP, MINUTES, Timestamp(name="brewed"))}, "a date is no feature: brewed; prepare"),
        ({"features": (LEAF, CUP, MINUTES, Number(name="policy"))}, "columns of its own that are named so: policy"),
        (
            {"features": (LEAF, CUP, MINUTES, Number(name="how warm"))},
            "how warm; letters, digits and _, a letter",
        ),
        ({"backoff": (("leaf"), ())}, "each a tuple"),
    ],
    ids=[
        "loose feature",
        "case",
        "window",
        "kind",
        "no source",
        "an estimator itself",
        "words for time",
        "a date as feature",
        "a name of the table's own",
        "a name with a space",
        "a group without its comma",
    ],
)
def test_a_problem_that_cannot_be_kept_is_refused_with_the_reason(changes: Any, says: str) -> None:
    with pytest.raises(ContractError, match=says):
        tea(**changes)


@pytest.mark.parametrize("what", ["features", "derived", "key", "backoff", "columns", "identity", "nulls"])
def test_a_name_or_a_list_where_a_tuple_is_due_is_refused_with_the_forgotten_comma(what: str) -> None:
    for wrong in ("leaf", [LEAF]):
        with pytest.raises(ContractError, match=rf"{what} must be a tuple.*comma"):
            tea(**{what: wrong})


def test_values_and_names_of_a_column_or_a_gate_are_tuples_too() -> None:
    for wrong in (
        lambda: Category(name="leaf", values="assam"),  # type: ignore[arg-type]
        lambda: Label(name="leaf", values="assam"),  # type: ignore[arg-type]
        lambda: Number(name="minutes", given_by="leaf"),  # type: ignore[arg-type]
        lambda: Gate(slices="leaf"),  # type: ignore[arg-type]
    ):
        with pytest.raises(ContractError, match="must be a tuple"):
            wrong()


def test_bounds_the_wrong_way_round_and_shares_beyond_one_are_refused() -> None:
    for wrong in (
        lambda: Number(name="x", minimum=2, maximum=1),
        lambda: Gate(holdout_share=7),
        lambda: Gate(minimum_rows=0),
    ):
        with pytest.raises(ContractError):
            wrong()


def test_a_prediction_column_by_another_case_is_reserved_too() -> None:
    with pytest.raises(ContractError, match="Prediction"):
        tea(target=Probability(name="Prediction"))


def test_the_source_of_derive_is_that_of_the_running_process_also_after_the_file_was_edited(tmp_path: Path) -> None:
    file = tmp_path / "edited_problem.py"
    file.write_text("def derive(features):\n    return {'strength': features['minutes']}\n")
    spec = importlib.util.spec_from_file_location("edited_problem", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    problem = tea(derive=module.derive)
    before = problem.derive_sha256
    file.write_text("def derive(features):\n    return {'strength': features['warmth']}\n")
    assert problem.derive_sha256 == before
