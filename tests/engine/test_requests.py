"""The contract in words that other programs read: JSON and its schemas."""

import dataclasses
import json
import math

import jsonschema_rs
import pytest
from tests.engine.streams import greedy, opened, readout, run

from endoscope.engine.requests import Request, Sampling, Step
from endoscope.engine.schemas import FOLDER, RequestRecord, schemas
from endoscope.errors import InputError
from endoscope.interventions import add
from endoscope.readouts import Readout

pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_files_are_those_of_the_code() -> None:
    written = {path.stem: json.loads(path.read_text()) for path in FOLDER.glob("*.json")}
    assert written == schemas(), "run: python -m endoscope.engine.schemas"
    for schema in written.values():
        jsonschema_rs.Draft202012Validator(schema)


def test_the_schemas_have_the_fields_of_the_contract() -> None:
    for name, kind in (("request", Request), ("step", Step)):
        fields = {field.name for field in dataclasses.fields(kind)}
        assert set(schemas()[name]["properties"]) == fields


def test_steps_are_as_the_schema_says() -> None:
    model = opened("llama")
    readouts = {"near": readout("resid_post.1"), "far": readout("resid_post.2", look_ahead=2)}
    request = greedy("a", [256, 65], 6, readouts)
    validator = jsonschema_rs.Draft202012Validator(schemas()["step"])
    seen: dict[str, list[list[float]]] = {}
    for step in run(model.engine.core(), [(0, request)])["a"]:
        record = json.loads(json.dumps(step.record(readouts)))
        validator.validate(record)
        assert record["token_id"] == step.token_id
        for name, scores in record["readings"].items():
            seen[name] = seen.get(name, []) + scores
    assert set(seen) == {"near", "far", "near.x", "near.y", "far.x", "far.y"}
    for whole, x, y in zip(seen["near"], seen["near.x"], seen["near.y"], strict=True):
        assert whole[0] == x[0] == y[0]
        assert math.isclose(whole[1], x[1] + y[1], abs_tol=1e-6)
    with pytest.raises(jsonschema_rs.ValidationError):
        validator.validate(record | {"token_id": "65"})


def test_a_request_in_json_is_as_the_schema_says() -> None:
    import torch

    one = add(torch.ones(32), 2.0, site="resid_post.1")
    record = {
        "id": "a",
        "token_ids": [256, 1],
        "sampling": dataclasses.asdict(Sampling(stop=("x",), seed=3)) | {"stop": ["x"]},
        "readouts": {"p": readout("resid_post.1").record()},
        "interventions": [one.model_dump(mode="json")],
    }
    jsonschema_rs.Draft202012Validator(schemas()["request"]).validate(
        json.loads(json.dumps(record))
    )
    read = RequestRecord.model_validate(record)
    assert read.interventions == [one]
    assert read.sampling == Sampling(stop=("x",), seed=3)
    Readout.from_record(read.readouts["p"].model_dump())


@pytest.mark.parametrize(
    "options",
    [
        {"max_tokens": 0},
        {"max_tokens": 1.5},
        {"temperature": "hot"},
        {"seed": "one"},
        {"stop": (3,)},
        {"temperature": -0.1},
        {"temperature": math.nan},
        {"top_p": 0.0},
        {"top_k": 0},
        {"stop": ("",)},
        {"stop": tuple("abcdefghijklmnopq")},
        {"logprobs": 21},
    ],
)
def test_sampling_that_makes_no_sense_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(InputError, match=next(iter(options))):
        Sampling(**options)  # type: ignore[arg-type]
