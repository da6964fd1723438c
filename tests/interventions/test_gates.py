"""Gates decide as scoring the finished text would, however the text is cut into passes."""

from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from endoscope.errors import InputError
from endoscope.interventions import Gate, Operator, ablate, add, compile_interventions
from endoscope.models import Site
from endoscope.readouts import (
    AttentionHead,
    Calibration,
    FeatureSpec,
    LogisticHead,
    Pooling,
    Readout,
)

D = 4
EARLY, SITE, LATE = Site.parse("resid_post.1"), Site.parse("resid_mid.2"), Site.parse("mlp_out.2")
PUSH = torch.tensor([0.0, 0.0, 0.0, 1.0])

pytestmark = pytest.mark.usefixtures("one_thread")


def linear(*sites: Site, look_ahead: int = 0, pooling: str | None = None) -> Readout:
    """Fires on a token whose first number (over all features) is positive."""
    spec = FeatureSpec(sites, look_ahead)
    weight = torch.zeros(2, spec.width(D))
    weight[1, ::D] = 1
    return Readout(
        spec,
        LogisticHead(weight, torch.zeros(2), ("O", "X")),
        pooling=None if pooling is None else Pooling.parse(pooling),
    )


def signal(*signs: float) -> Tensor:
    """One row a token, whose first number is what gates read."""
    rows = torch.ones(len(signs), D)
    rows[:, 0] = torch.tensor(signs)
    return rows


def opened(
    readout: Readout,
    values: dict[Site, Tensor],
    *,
    hold: Literal["token", "latch"] | int = "token",
    prompt: int = 1,
    cuts: list[int] | None = None,
    unscored: int = 0,
    threshold: float = 0.5,
) -> list[int]:
    """At which positions an addition at SITE acted, when the text came in these pieces."""
    gate = Gate(readout=readout, label="X", threshold=threshold, hold=hold)
    one = add(PUSH, 1, units="absolute", site=SITE, gate=gate)
    operator = Operator()
    operator.admit(1, compile_interventions([one], D, lambda _: 1.0), prompt, unscored=unscored)
    operator.admit(2, compile_interventions([ablate(PUSH, site=SITE)], D, lambda _: 1.0), prompt)
    length = len(values[SITE])
    found: list[int] = []
    for part in torch.split(torch.arange(length), cuts or [prompt] + [1] * (length - prompt)):
        for site in (EARLY, SITE, LATE):
            # Another request's rows stand between: a gate must pick its own.
            rows = torch.stack([values[site][part], torch.full((len(part), D), 9.0)], 1)
            slots = torch.tensor([1, 2]).repeat(len(part))
            positions = part.repeat_interleave(2)
            new = operator(site, rows.flatten(0, 1), slots, positions)[0::2]
            changed = (new != values[site][part]).any(1)
            if site == SITE:
                found += part[changed].tolist()
            else:
                assert not changed.any()
        operator.end_forward()
    return found


def everywhere(rows: Tensor) -> dict[Site, Tensor]:
    return {EARLY: rows, SITE: rows, LATE: rows}


SIGNS = signal(-1, 1, -1, -1, 1, 1, -1, -1, -1)


@pytest.mark.parametrize("site", [EARLY, SITE])
@pytest.mark.parametrize(
    ("hold", "at"),
    [
        ("token", [1, 4, 5]),
        (2, [1, 2, 4, 5, 6]),
        (3, [1, 2, 3, 4, 5, 6, 7]),
        ("latch", [1, 2, 3, 4, 5, 6, 7, 8]),
    ],
)
def test_at_or_before_its_site_a_gate_acts_in_the_same_pass(
    site: Site, hold: Literal["token", "latch"] | int, at: list[int]
) -> None:
    values = everywhere(signal(*[-1] * 9)) | {site: SIGNS}
    for cuts in ([9], [3, 1, 1, 1, 1, 1, 1], [5, 4]):
        assert opened(linear(site), values, hold=hold, prompt=3, cuts=cuts) == at


@pytest.mark.parametrize(
    ("hold", "at"),
    [("token", [5, 6]), (2, [3, 5, 6, 7]), ("latch", [3, 4, 5, 6, 7, 8])],
)
def test_a_later_site_acts_from_the_next_pass_on(
    hold: Literal["token", "latch"] | int, at: list[int]
) -> None:
    values = everywhere(signal(*[-1] * 9)) | {LATE: SIGNS}
    for cuts in (None, [1, 2, 1, 1, 1, 1, 1, 1], [1] * 9):
        # What fired at 1 would act at 2 (and 3), but the prompt is one pass however it is cut.
        assert opened(linear(LATE), values, hold=hold, prompt=3, cuts=cuts) == at


def test_look_ahead_acts_once_the_score_is_known() -> None:
    readout = linear(SITE, look_ahead=1)  # the sum of a token's and the next one's number
    rows = signal(-9, -9, 5, 2, -9, -9, -9, 8, 8, -9, -9)
    # Positive: 2 (known at 3), 7 (known at 8); each acts at the token after that.
    assert opened(readout, everywhere(rows), prompt=2) == [4, 9]
    assert opened(readout, everywhere(rows), prompt=2, hold=2) == [4, 5, 9, 10]


def test_the_last_scores_of_the_prompt_act_on_the_first_pass_after_it() -> None:
    rows = signal(-1, -1, 1, -1, -1)
    assert opened(linear(LATE), everywhere(rows), prompt=3) == [3]
    assert opened(linear(LATE), everywhere(rows), prompt=3, cuts=[1, 1, 1, 1, 1]) == [3]
    assert opened(linear(LATE), everywhere(rows), prompt=4, cuts=[2, 2, 1]) == []
    assert opened(linear(LATE), everywhere(rows), prompt=4, cuts=[2, 2, 1], hold=2) == [4]


def test_several_sites_are_read_together() -> None:
    """Their sum decides: neither alone would."""
    values = everywhere(signal(*[-9] * 5))
    values |= {EARLY: signal(2, -3, 2, 0, 1), SITE: signal(-1, 2, -3, 1, 1)}
    assert opened(linear(EARLY, SITE), values) == [0, 3, 4]
    assert opened(linear(SITE, EARLY), values, prompt=5) == [0, 3, 4]


def test_tokens_that_were_added_are_not_read() -> None:
    rows = signal(9, -1, 1, -1)
    assert opened(linear(SITE), everywhere(rows), prompt=3) == [0, 2]
    assert opened(linear(SITE), everywhere(rows), prompt=3, unscored=1) == [2]
    assert opened(linear(SITE), everywhere(rows), prompt=3, unscored=1, hold="latch") == [2, 3]


def test_a_gate_reads_what_stands_there_before_anything_is_written() -> None:
    gate = Gate(readout=linear(SITE), label="X")
    first = add(torch.tensor([1.0, 0, 0, 0]), -50, units="absolute", site=SITE)
    second = add(PUSH, 1, units="absolute", site=SITE, gate=gate)
    operator = Operator()
    operator.admit(1, compile_interventions([first, second], D, lambda _: 1.0), 2)
    new = operator(SITE, signal(3, -3), torch.tensor([1, 1]), torch.tensor([0, 1]))
    assert new.tolist() == [[-47, 1, 1, 2], [-53, 1, 1, 1]]


def test_a_part_that_is_run_again_is_changed_as_the_first_time() -> None:
    gate = Gate(readout=linear(SITE), label="X", hold=2)
    one = add(PUSH, 1, units="absolute", site=SITE, gate=gate)
    operator = Operator()
    operator.admit(1, compile_interventions([one], D, lambda _: 1.0), 3)
    ones = torch.ones(9, dtype=torch.long)
    passes = [range(3), range(3, 4), range(4, 5), range(5), range(5, 9)]  # preempted after 4
    results = []
    for part in map(torch.tensor, map(list, passes)):
        results.append(operator(SITE, SIGNS[part], ones[part], part))
        operator.end_forward()
    assert torch.equal(results[3], torch.cat(results[:3]))
    whole = torch.cat([*results[:3], results[4]])
    assert (whole != SIGNS).any(1).nonzero()[:, 0].tolist() == [1, 2, 4, 5, 6]


def test_state_is_of_the_request_and_ends_with_it() -> None:
    gate = Gate(readout=linear(SITE), label="X", hold="latch")
    program = compile_interventions(
        [add(PUSH, 1, units="absolute", site=SITE, gate=gate)], D, lambda _: 1.0
    )
    operator = Operator()
    operator.admit(1, program, 1)
    operator.admit(2, program, 1)
    at = (torch.tensor([1, 2]), torch.tensor([0, 0]))
    new = operator(SITE, signal(1, -1), *at)
    assert new[:, 3].tolist() == [2, 1]
    operator.release(1)
    operator.admit(1, program, 1)
    assert operator(SITE, signal(-1, -1), *at)[:, 3].tolist() == [1, 1]


def whole(readout: Readout, rows: Tensor, hold: str | int) -> list[int]:
    """Where it is open, from the scores of the finished text: nothing here is incremental."""
    features = readout.spec.features(
        dict.fromkeys(readout.spec.sites, rows), torch.zeros(len(rows), dtype=torch.long)
    )
    logits = readout.head(features)
    if readout.pooling is None:
        scores = readout.calibration.probabilities(logits)[:, 1]
    else:
        scores = torch.stack(
            [
                readout.calibration.probabilities(readout.pooling(logits[: i + 1]))[1]
                for i in range(len(rows))
            ]
        )
    tokens = {"token": 1, "latch": len(rows)}.get(str(hold), hold)
    assert isinstance(tokens, int)
    fired = [position for position, score in enumerate(scores.tolist()) if score >= 0.5]
    return [p for p in range(len(rows)) if any(0 <= p - f < tokens for f in fired)]


def attention() -> Readout:
    generator = torch.Generator().manual_seed(3)
    head = AttentionHead(
        torch.randn(2, D, generator=generator),
        torch.randn(2, 1, D, generator=generator),
        torch.zeros(1),
        ("O", "X"),
        window=3,
    )
    return Readout(FeatureSpec((SITE,)), head)


@settings(max_examples=60)
@given(
    rows=st.lists(st.lists(st.floats(-3, 3, width=16), min_size=D, max_size=D), min_size=1),
    readout=st.sampled_from(
        [
            linear(SITE),
            attention(),
            linear(SITE, pooling="mean"),
            linear(EARLY, pooling="rolling_mean_max:2"),
            Readout(attention().spec, attention().head, Calibration((2.0,), (-0.5,))),
        ]
    ),
    hold=st.one_of(st.sampled_from(["token", "latch"]), st.integers(1, 4)),
    data=st.data(),
)
def test_what_streams_is_what_the_finished_text_says(
    rows: list[list[float]],
    readout: Readout,
    hold: Literal["token", "latch"] | int,
    data: st.DataObject,
) -> None:
    values = torch.tensor(rows)
    cuts: list[int] = []
    while (left := len(rows) - sum(cuts)) > 0:
        cuts.append(data.draw(st.integers(1, left)))
    prompt = data.draw(st.integers(1, len(rows)))
    found = opened(readout, everywhere(values), hold=hold, cuts=cuts, prompt=prompt)
    assert found == whole(readout, values, hold)


def test_what_cannot_be_a_gate_is_refused() -> None:
    with pytest.raises(InputError, match="no class 'Y'"):
        Gate(readout=linear(SITE), label="Y")
    twice = Readout(FeatureSpec((SITE,), readings=2), linear(SITE).head)
    with pytest.raises(InputError, match="twice"):
        Gate(readout=twice, label="X")
    for wrong in (0, -1, True, "always"):
        with pytest.raises(InputError, match="hold"):
            Gate(readout=linear(SITE), label="X", hold=wrong)
    with pytest.raises(InputError, match="threshold"):
        Gate(readout=linear(SITE), label="X", threshold=1.5)
    narrow = add(torch.ones(8), 1, site=SITE, gate=Gate(readout=linear(SITE), label="X"))
    with pytest.raises(InputError, match="4 features; its sites have 8"):
        compile_interventions([narrow], 8, lambda _: 1.0)
