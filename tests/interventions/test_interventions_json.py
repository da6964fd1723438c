"""JSON holds interventions exactly, and what it holds wrongly is refused in one line."""

import json
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from endoscope.errors import InputError
from endoscope.interventions import (
    OPERATIONS,
    AnyIntervention,
    Gate,
    Intervention,
    ablate,
    add,
    clamp,
    clamp_feature,
    erase,
    parse_interventions,
    rotate,
    scale,
)
from endoscope.readouts import (
    AttentionHead,
    Calibration,
    FeatureSpec,
    LogisticHead,
    Pooling,
    Readout,
)

D = 5
SITE = "resid_post.12"


def randn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def gates() -> list[Gate | None]:
    spec = FeatureSpec(("resid_post.1", "attn_out.2"), look_ahead=1)
    linear = LogisticHead(randn(3, 4 * D), randn(3), ("O", "A", "B"))
    attention = AttentionHead(randn(2, D), randn(2, 1, D), randn(1), ("no", "yes"), window=4)
    return [
        None,
        Gate(readout=Readout(spec, linear, Calibration((0.3, 2.0), (0.1, 1 / 3))),
             label="B", threshold=0.1, hold=3),
        Gate(readout=Readout(FeatureSpec((SITE,)), attention, pooling=Pooling.parse("softmax")),
             label="yes", hold="latch"),
    ]  # fmt: skip


def every(gate: Gate | None) -> list[Intervention]:
    v = randn(D)
    return [
        add(v, 1 / 3, site=SITE, gate=gate),
        add(v.bfloat16(), -4, site=SITE, units="absolute", positions="generated", gate=gate),
        ablate(randn(2, D), site=SITE, positions=(0, 7), keep_norm=True, gate=gate),
        clamp(v, 0.1, site=SITE, gate=gate),
        scale(v, -1, site=SITE, positions="prompt", gate=gate),
        rotate(randn(2, D), 33.3, site="mlp_out.0", gate=gate),
        erase(randn(2, D), randn(2, D), v, site=SITE, gate=gate),
        clamp_feature(v, v, 2, site=SITE, encoder_bias=0.7, threshold=1e-3, gate=gate),
    ]


@pytest.mark.parametrize("number", range(3))
def test_every_operation_and_gate_round_trips(number: int) -> None:
    given = every(gates()[number])
    assert {one.kind for one in given} == set(OPERATIONS)
    text = json.dumps([one.model_dump(mode="json") for one in given])
    again = parse_interventions(json.loads(text))
    assert again == tuple(given)
    assert json.dumps([one.model_dump(mode="json") for one in again]) == text
    for one, other in zip(given, again, strict=True):
        assert hash(one) == hash(other)
        for mine, theirs in zip(one.form(2.0), other.form(2.0), strict=True):
            assert torch.equal(mine, theirs)
        if one.gate is not None and other.gate is not None:
            assert one.gate is not other.gate
            tensors = other.gate.readout.head.tensors()
            for name, tensor in one.gate.readout.head.tensors().items():
                assert torch.equal(tensor, tensors[name])


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1))
def test_float32_survives_bit_for_bit(numbers: list[float]) -> None:
    vector = torch.tensor([1.0, *numbers])
    one = add(vector, 1, site=SITE)
    [again] = parse_interventions([json.loads(one.model_dump_json())])
    kept = torch.tensor(again.vector)  # type: ignore[attr-defined]
    assert torch.equal(kept.view(torch.int32), vector.view(torch.int32))


def test_json_is_flat_and_as_the_docs_have_it() -> None:
    record = {
        "kind": "add",
        "site": "resid_post.12",
        "vector": [0.0, 2.0],
        "strength": 4.0,
        "units": "norm",
        "positions": "generated",
        "keep_norm": False,
        "gate": None,
    }
    [one] = parse_interventions([record])
    assert one.model_dump(mode="json") == record
    short = {name: record[name] for name in ("kind", "site", "vector", "strength")}
    [other] = parse_interventions([short | {"site": "blocks.12.hook_resid_post"}])
    assert other == add(torch.tensor([0.0, 2.0]), 4, site=SITE)


def test_the_schema_tells_kinds_apart() -> None:
    schema = TypeAdapter(AnyIntervention).json_schema()
    assert set(schema["discriminator"]["mapping"]) == set(OPERATIONS)
    assert schema["$defs"]["Add"]["required"] == ["site", "vector", "strength"]
    assert schema["$defs"]["Add"]["additionalProperties"] is False


GOOD: dict[str, Any] = {"kind": "add", "site": SITE, "vector": [31337.0, 2.0], "strength": 1.0}


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"kind": "multiply"}, "no known kind.*add, ablate"),
        ({"kind": ["add"]}, "no known kind"),
        ({"kind": "ablate"}, r"\(ablate\): basis: Field required"),
        ({"site": "resid_post.x"}, "not a site"),
        ({"site": 12}, "A site is text"),
        ({"vector": [31337.0, "2"]}, r"vector.1: Input should be a valid number"),
        ({"vector": [31337.0, float("nan")]}, r"vector.1: Input should be a finite"),
        ({"vector": [31337.0, 10**400]}, "vector.1"),
        ({"vector": [0, 0.0]}, "zeros"),
        ({"vector": []}, "zeros"),
        ({"vector": 31337.0}, "vector: Input should be a valid tuple"),
        ({"vector": {"0": 31337.0}}, "vector: Input should be a valid tuple"),
        ({"strength": 1e9}, "at most 100 times"),
        ({"strength": "1"}, "strength: Input should be a valid number"),
        ({"strength": None}, "strength"),
        ({"positions": [-1]}, "negative"),
        ({"positions": [1.5]}, "no whole number"),
        ({"positions": [2**63]}, "too large"),
        ({"keep_norm": 1}, "keep_norm"),
        ({"code": "import os"}, "code: Extra inputs"),
        ({"gate": "probe"}, "gate"),
        ({"gate": {"readout": {}, "label": "X"}}, "no readout"),
        ({"gate": {"readout": [31337.0], "label": "X"}}, "readout is an object"),
        ({"kind": "clamp_feature", "activation": "TopK"}, "TopK is refused"),
        ({"kind": "clamp_feature", "activation": "batch_topk"}, "TopK is refused"),
    ],
)
def test_what_json_holds_wrongly_is_refused_without_its_numbers(
    change: dict[str, Any], match: str
) -> None:
    with pytest.raises(InputError, match=f"Intervention 2.*{match}") as caught:
        parse_interventions([GOOD, GOOD | change])
    assert "\n" not in str(caught.value)
    assert "31337" not in str(caught.value)
    assert caught.value.__context__ is None or caught.value.__suppress_context__


@pytest.mark.parametrize(
    "change",
    [
        {"calibration": {"scale": [31337.0] * 3, "shift": [0.0] * 3}},
        {"calibration": {"scale": [31337.0], "shift": []}},
        {"calibration": {"scale": [float("nan")], "shift": [0.0]}},
        {"calibration": {"scale": [10**400], "shift": [0.0]}},
        {"tensors": {"query": [[10**400] * D], "value": [[[0.0] * D]], "bias": [0.0]}},
        {"look_ahead": 0.0},
        {"look_ahead": True},
        {"readings": 1.0},
        *(
            {"head": {"kind": "attention", "labels": ["no", "yes"], "window": w}}
            for w in (0, -1, 1e400)
        ),
        *(
            {"head": {"kind": "attention", "labels": labels, "window": 4}}
            for labels in (["no"], ["yes", "yes"], [1, 2], "ab", {"no": 1, "yes": 2}, None)
        ),
    ],
)
def test_a_gate_that_could_not_be_computed_is_refused(change: dict[str, Any]) -> None:
    """Later it would be too late: requests that have nothing to do with it are in the same pass."""
    [_, _, gate] = gates()
    assert gate is not None
    record = gate.model_dump(mode="json")
    parse_interventions([GOOD | {"gate": record}])
    broken = record | {"readout": record["readout"] | change}
    with pytest.raises(InputError, match="Intervention 1"):
        parse_interventions([GOOD | {"gate": broken}])


@pytest.mark.parametrize("records", [None, "add", {"kind": "add"}, [None], ["add"], [[GOOD]]])
def test_what_is_no_list_of_objects_is_refused(records: Any) -> None:
    with pytest.raises(InputError, match="Intervention"):
        parse_interventions(records)
