# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI document: valid, whole, and of one mind with the request decoder and the replies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from request_bodies import MOST, bodies, edges

from dropfit import openapi
from dropfit import problem as flights
from dropfit.answers import SOURCES, Failure, Prediction
from dropfit.contract import Category, Contract, Feature, Label, Number, Policy, Probability, Quantity, load_problem
from dropfit.errors import BadRequest
from dropfit.instances import InstanceDecoder
from dropfit.replies import ERRORS, METHODS, problem_json
from tests.unit.fakes import settings, tea

KIND = Label(name="kind", values=("good", "fair", "bad"))
CONTRACTS = {
    "tea": tea().contract,
    "kinds of tea": tea(target=KIND).contract,
    "flights": flights.problem.contract,
}


@pytest.fixture(params=[*CONTRACTS, "penguins"])
def contract(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Contract:
    """Every problem there is."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "problems"))
    return CONTRACTS.get(request.param) or load_problem("penguins:problem").contract


def document(contract: Contract, **changes: Any) -> dict[str, Any]:
    """The document as a client reads it."""
    given = {"settings": settings(max_instances=MOST), "version": "v1"} | changes
    return json.loads(msgspec.json.encode(openapi.document(contract, **given)))  # type: ignore[no-any-return]


def schema(made: dict[str, Any], name: str) -> Draft202012Validator:
    return Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": made["components"]})


def test_the_document_is_openapi_3_1(contract: Contract) -> None:
    classes = contract.target.values if isinstance(contract.target, Label) else ()
    for mode in openapi.MODES:
        made = document(contract, classes=classes, settings=settings(mode=mode))
        validate(made)
        assert made["openapi"] == "3.1.0"
        assert made["info"]["title"] == contract.title
        assert made["info"]["version"] == "v1"


def test_every_path_and_every_status_stand_in_it(contract: Contract) -> None:
    made = document(contract)
    assert {path: [*operations] for path, operations in made["paths"].items()} == {
        path: [method.lower()] for path, method in METHODS.items()
    }
    for path in ("/", "/predict"):
        answers = made["paths"][path]["post"]["responses"]
        assert {int(status) for status in answers} == {200, *ERRORS}
    for operations in made["paths"].values():
        for operation in operations.values():
            for status, answer in operation["responses"].items():
                assert list(answer["content"]) == ["application/problem+json"] or status == "200"


def test_the_limits_and_the_deadline_are_those_of_the_settings() -> None:
    made = document(tea().contract, settings=settings(max_instances=7, deadline_ms=50, max_deadline_ms=200))
    (header,) = made["paths"]["/predict"]["post"]["parameters"]
    assert (header["name"], header["in"], header["required"]) == ("X-Deadline-Ms", "header", False)
    assert header["schema"] == {"type": "number", "minimum": 1, "maximum": 200, "default": 50}
    assert made["components"]["schemas"]["Request"]["properties"]["instances"]["maxItems"] == 7


def test_every_example_is_valid_and_the_decoder_takes_the_instance(contract: Contract) -> None:
    made = document(contract)
    shown = 0
    for name, component in made["components"]["schemas"].items():
        for example in component.get("examples", ()):
            assert [error.message for error in schema(made, name).iter_errors(example)] == []
            shown += 1
    assert shown == 4
    request = made["components"]["schemas"]["Request"]["examples"][0]
    InstanceDecoder(contract, MOST).decode(json.dumps(request).encode())


def test_an_instance_of_the_version_is_the_example_when_there_is_one() -> None:
    instance = {"leaf": "sencha", "cup": None, "minutes": 3.0}
    made = document(tea().contract, example=instance)
    assert made["components"]["schemas"]["Request"]["examples"] == [{"instances": [instance]}]


bounds = st.none() | st.floats(-1e9, 1e9)


@given(st.tuples(bounds, bounds), st.booleans(), st.integers(1, 20))
def test_the_made_example_keeps_any_bounds(limits: tuple[Any, Any], integer: bool, longest: int) -> None:
    low, high = sorted(limits) if None not in limits else limits
    number = Number(name="number", minimum=low, maximum=high, integer=integer)
    whole_between = low is None or high is None or -(-low // 1) <= high // 1
    if integer and not whole_between:
        return  # no whole number lies there, so that no example can be made
    features: tuple[Feature, ...] = (number, Category(name="word", max_length=longest))
    problem = tea(features=features, key=("number", "word"), derived=(), derive=None, prepare=lambda file: file)
    example = openapi.made_example(problem.contract)
    (decoded,) = InstanceDecoder(problem.contract, MOST).decode(json.dumps({"instances": [example]}).encode())
    assert (decoded.number, decoded.word) == (example["number"], example["word"])


def taken(decoder: InstanceDecoder, body: Any) -> bool:
    try:
        decoder.decode(json.dumps(body).encode())
    except BadRequest:
        return False
    return True


def test_what_the_schema_takes_the_decoder_takes_and_nothing_else(contract: Contract) -> None:
    decoder, wanted = InstanceDecoder(contract, MOST), schema(document(contract), "Request")
    verdicts = set()

    @given(bodies(contract))
    def of_one_mind(body: Any) -> None:
        verdict = taken(decoder, body)
        assert verdict == wanted.is_valid(body)
        verdicts.add(verdict)

    of_one_mind()
    assert verdicts == {True, False}


def test_schema_and_decoder_draw_every_line_at_the_same_place(contract: Contract) -> None:
    decoder, wanted = InstanceDecoder(contract, MOST), schema(document(contract), "Request")
    for feature in contract.features:
        verdicts = set()
        for value in edges(feature):
            body = {"instances": [{**openapi.made_example(contract), feature.name: value}]}
            verdict = taken(decoder, body)
            assert verdict == wanted.is_valid(body), f"{feature.name}: {value!r}"
            verdicts.add(verdict)
        assert verdicts == {True, False}


@pytest.mark.parametrize(
    ("field", "raw", "says"),
    [
        ("hour", "11.0", "1.0 is refused"),
        ("carrier", '"\\ud800"', "well-formed Unicode"),
        ("distance", "1e999", "64-bit float"),
        ("hour", '24, "hour": 11', "every one must be valid"),
    ],
)
def test_where_json_schema_cannot_say_it_the_decoder_is_stricter_and_words_say_it(
    field: str, raw: str, says: str
) -> None:
    contract = flights.problem.contract
    made = document(contract)
    example = {**openapi.made_example(contract), field: "HERE"}
    body = json.dumps({"instances": [example]}).replace('"HERE"', raw)
    with pytest.raises(BadRequest):
        InstanceDecoder(contract, MOST).decode(body.encode())
    assert says in made["info"]["description"]


def test_fields_that_are_no_features_are_allowed_where_the_contract_ignores_them() -> None:
    for ignore in (True, False):
        components = document(tea(ignore_unknown=ignore).contract)["components"]["schemas"]
        assert components["Instance"]["additionalProperties"] is ignore
        assert components["Request"]["additionalProperties"] is ignore


def answers_of(contract: Contract, values: st.SearchStrategy[Any]) -> st.SearchStrategy[Prediction]:
    """Any answer that may be given."""
    codes = st.sampled_from([(404, "NOT_FOUND"), (504, "DEADLINE_EXCEEDED")])
    groups = st.fixed_dictionaries({contract.key[0]: st.text(max_size=3) | st.floats(0, 1) | st.none()})
    return st.builds(
        Prediction,
        value=values,
        source=st.sampled_from(SOURCES),
        policy=st.lists(st.text(max_size=5), max_size=2).map(tuple),
        group=st.none() | groups,
        steps=st.lists(st.text(max_size=5), max_size=2).map(tuple),
        error=st.none() | st.builds(lambda code, message: Failure(*code, message), codes, st.text(max_size=5)),
    )


@given(st.lists(answers_of(tea().contract, st.none() | st.floats(0, 1)), min_size=1, max_size=MOST))
def test_every_reply_keeps_the_schema(predictions: list[Prediction]) -> None:
    reply = json.loads(msgspec.json.encode({"predictions": predictions, "model_version": "v1"}))
    assert [error.message for error in schema(document(tea().contract), "Reply").iter_errors(reply)] == []


@pytest.mark.parametrize(
    ("changes", "right", "wrong"),
    [
        ({"target": KIND}, ["good", "bad", None], ["cat", 0.5]),
        ({"target": Quantity(name="cups"), "policy": Policy(minimum=0)}, [0, 1e9, None], [-1e-9, "good"]),
        ({"target": Quantity(name="cups"), "policy": Policy(maximum=9)}, [-1e9, 9], [9.1]),
        ({"target": Probability(name="drunk"), "policy": Policy()}, [0, 1], [-0.1, 1.1]),
        ({"policy": Policy(minimum=0.1, maximum=0.9)}, [0.1, 0.9], [0, 1]),
    ],
)
def test_a_value_that_the_policy_forbids_breaks_the_schema(
    changes: dict[str, Any], right: list[Any], wrong: list[Any]
) -> None:
    predictions = schema(document(tea(**changes).contract), "Prediction")
    for values, valid in ((right, True), (wrong, False)):
        for value in values:
            assert predictions.is_valid({"value": value, "source": "model", "policy": []}) is valid


def test_probabilities_name_every_class_and_no_other() -> None:
    made = schema(document(tea(target=KIND).contract, classes=("good", "bad")), "Prediction")
    answer = {"value": "good", "source": "model", "policy": []}
    assert made.is_valid({**answer, "probabilities": {"good": 0.6, "bad": 0.4}})
    assert not made.is_valid({**answer, "probabilities": {"good": 0.6}})
    assert not made.is_valid({**answer, "probabilities": {"good": 0.6, "bad": 0.2, "cat": 0.2}})


@pytest.mark.parametrize("status", ERRORS)
def test_every_error_keeps_the_schema_of_a_problem(status: int) -> None:
    problems = schema(document(tea().contract), "Problem")
    for fields in (None, {"instances[0].leaf": "missing"}):
        reply = json.loads(problem_json(status, "why", fields).body)
        assert [error.message for error in problems.iter_errors(reply)] == []
    assert not problems.is_valid({**reply, "trace": "line 1"})
    assert not problems.is_valid({**reply, "code": "TEAPOT"})
