"""What a worker of vLLM knows of its requests; nothing here needs vLLM."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.engine.streams import readout

from endoscope import Site, ablate, add, clamp
from endoscope.engine.vllm.board import Board, Rows
from endoscope.engine.vllm.fixed import Buffers
from endoscope.engine.vllm.orders import Order, parse
from endoscope.engine.vllm.remote import RemoteReadings
from endoscope.engine.vllm.reports import Report
from endoscope.errors import InputError
from endoscope.interventions import Gate, Operator, compile_interventions
from endoscope.readouts import PositionScores

D = 32
SITE = Site.parse("resid_post.1")
READ = readout("resid_post.1", look_ahead=1)
PUSH = torch.arange(D) - 15.0
PROMPT = (256, *range(20))


def board(*, reports: bool = True) -> Board:
    return Board(D, torch.device("cpu"), reports=reports, armed=[SITE])


def order(**more: object) -> Order:
    return Order(readouts={"p": READ}, prefix=(256,), **more)  # type: ignore[arg-type]


def passed(one: Board, rows: list[Rows], values: torch.Tensor) -> dict[str, Report]:
    one.begin(rows, len(values))
    one.visit(SITE, values)
    return one.end()


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.integers(0, 3), st.data())
def test_any_pieces_and_repeats_give_the_scores_of_the_whole(
    sizes: list[int], back: int, data: st.DataObject
) -> None:
    """A request that was put back begins again, at its beginning or within its prompt."""
    values = torch.randn(sum(sizes), D, generator=torch.Generator().manual_seed(len(sizes)))
    one, remote = board(), RemoteReadings({"p": READ}, 1)
    one.admit("a", order().text, PROMPT[:4])
    start = 0
    scores: list[PositionScores] = []
    for number, size in enumerate(sizes):
        if number == back:
            again = data.draw(st.integers(0, start))
            size, start = size + start - again, again
        reports = passed(one, [Rows("a", 0, size, start)], values[start : start + size])
        start += size
        if "a" in reports:
            remote.report(Report.read(reports["a"].plain()))
            scores += remote.ready().get("p", ())
    scores += remote.finish().get("p", ())
    whole = READ.stream()
    expected = [*whole.push({SITE: values[1:]}), *whole.finish()]
    assert [score.position for score in scores] == list(range(1, len(values)))
    for score, wanted in zip(scores, expected, strict=True):
        torch.testing.assert_close(score.probabilities, wanted.probabilities)


def test_each_row_is_changed_as_its_request_says_and_padding_is_not() -> None:
    one = board()
    changes = {
        "a": add(PUSH, 2.0, site=SITE),
        "b": ablate(PUSH, site=SITE),
        "c": clamp(PUSH, 1.0, units="absolute", site=SITE),
    }
    for name, change in changes.items():
        one.admit(name, Order((change,), {SITE: 3.0}).text, PROMPT[:2])
    one.admit("plain", Order(readouts={"p": READ}).text, PROMPT[:2])
    values = torch.randn(9, D)
    rows = [Rows("b", 0, 2, 0), Rows("plain", 2, 1, 0), Rows("stranger", 3, 1, 0)]
    rows += [Rows("a", 4, 1, 7), Rows("c", 5, 2, 3)]
    one.begin(rows, 9)
    found = one.visit(SITE, values)
    one.end()
    for name, first, length, position in rows:
        expected = values[first : first + length]
        if name in changes:
            alone = Operator()
            alone.admit(1, compile_interventions([changes[name]], D, lambda _: 3.0), 2)
            positions = torch.arange(position, position + length)
            expected = alone(SITE, expected, torch.ones(length, dtype=torch.long), positions)
            torch.testing.assert_close(found[first : first + length], expected)
        else:
            assert torch.equal(found[first : first + length], expected)
    assert torch.equal(found[7:], values[7:])


def test_tokens_that_were_left_out_are_a_fault() -> None:
    """Scores that follow would be of other tokens than they say."""
    one = board()
    one.admit("scores", order().text, PROMPT)
    one.admit("values", Order(sites=(SITE,)).text, PROMPT)
    rows = [Rows("scores", 0, 4, 16), Rows("values", 4, 4, 16)]
    for report in passed(one, rows, torch.randn(8, D)).values():
        assert report.fault == "The model did not run all of its tokens."
        assert not report.scores
        assert not report.values


def test_rows_that_are_not_those_of_the_pass_are_a_fault() -> None:
    one = board()
    one.admit("a", order().text, PROMPT)
    one.begin([Rows("a", 0, 10, 0)], 10)
    one.act(torch.randn(5, D), None, [SITE])
    report = one.end()["a"]
    assert report.fault == "The model does not run the rows of this pass at once."
    assert not report.scores


def test_with_buffers_a_stage_has_room_for_what_acts_there() -> None:
    """Of a pipeline of two: the other stage has its own, and what is refused leaves nothing."""
    other = Site.parse("resid_post.0")
    buffers = {SITE: Buffers(SITE, 2, 3, 8, D, torch.device("cpu"))}
    one = Board(
        *(D, torch.device("cpu")), reports=True, armed=[SITE, other], here=[SITE], buffers=buffers
    )
    norms = {SITE: 3.0, other: 3.0}

    def admit(names: str) -> None:
        for name in names:
            vector = torch.randn(D, generator=torch.Generator().manual_seed(ord(name)))
            both = tuple(add(vector, 2.0, site=site, units="absolute") for site in (other, SITE))
            one.admit(name, Order(both, norms).text, PROMPT)

    for _ in range(9):
        admit("abcd")
        faults = {name: report.fault for name, report in passed_all(one, "abcd").items()}
        assert list(faults) == ["d"]
        assert "no room left" in str(faults["d"])
        for name in "abcd":
            one.release(name)
    admit("a")
    assert passed_all(one, "a") == {}


def passed_all(one: Board, names: str) -> dict[str, Report]:
    values = torch.randn(len(names), D)
    one.begin([Rows(name, number, 1, 0) for number, name in enumerate(names)], len(values))
    one.act(values, None, [SITE])
    return one.end()


def test_a_slot_is_given_again() -> None:
    one = board()
    text = Order((add(PUSH, 2.0, site=SITE),), {SITE: 3.0}).text
    for number in range(200):
        one.admit(str(number), text, PROMPT[:2])
        one.admit(str(number), text, PROMPT[:2])  # who is known stays
        if number % 3:
            one.release(str(number))
            one.release(str(number))
    assert passed(one, [Rows("3", 0, 1, 0)], torch.zeros(1, D)) == {}
    assert next(one._slot) == 69  # 67 stay, and one comes and goes


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "no json",
        Order((add(torch.ones(8), 1.0, site=SITE, units="absolute"),)).text,
        Order((add(PUSH, 1.0, site=SITE),)).text,  # without the norm of its site
        Order((ablate(PUSH, site="resid_post.9"),)).text,  # which is not there
        Order(readouts={"p": readout("attn_out.1")}).text,
        Order(sites=(Site.parse("resid_post.999"),)).text,
    ],
)
def test_an_order_that_cannot_be_carried_out_is_the_fault_of_its_request(text: str) -> None:
    one = board()
    one.admit("bad", text, PROMPT[:2])
    one.admit("good", order().text, PROMPT[:2])
    reports = passed(one, [Rows("bad", 0, 2, 0), Rows("good", 2, 2, 0)], torch.zeros(4, D))
    assert reports["bad"].fault
    assert reports["good"].fault is None
    assert reports["good"].scores or reports["good"].rest


def test_a_gate_that_cannot_decide_is_reported() -> None:
    gate = Gate(readout=readout("resid_post.1"), label="x")
    one = board()
    gated = add(PUSH, 1.0, site=SITE, units="absolute", gate=gate)
    one.admit("a", Order((gated,), {SITE: 3.0}).text, PROMPT[:2])
    reports = passed(one, [Rows("a", 0, 2, 0)], torch.full((2, D), torch.nan))
    assert reports["a"].fault == "A gate's probe gave no number."


def test_one_of_several_workers_reports() -> None:
    one = board(reports=False)
    one.admit("a", order().text, PROMPT[:2])
    assert passed(one, [Rows("a", 0, 2, 0)], torch.zeros(2, D)) == {}
    assert one.sites == frozenset()


def test_values_are_given_from_the_first_that_is_wanted_once() -> None:
    one = board()
    one.admit("a", Order(sites=(SITE,), first=3).text, PROMPT[:8])
    values = torch.randn(8, D)
    found = []
    for start, end in [(0, 2), (2, 5), (1, 6), (6, 8)]:  # the third goes back
        reports = passed(one, [Rows("a", 0, end - start, start)], values[start:end])
        if "a" in reports:
            found.append(Report.read(reports["a"].plain()).values[SITE])
    assert torch.equal(torch.cat(found), values[3:])


def test_an_order_is_read_as_it_was_written_and_what_it_shares_once() -> None:
    change = add(PUSH, 2.0, site=SITE)
    one = Order((change,), {SITE: 3.5}, {"p": READ}, (SITE,), 4, (256,))
    again = parse(one.text)
    assert again.text == one.text
    assert (again.interventions, again.norms) == (one.interventions, one.norms)
    assert (again.sites, again.first, again.prefix) == ((SITE,), 4, (256,))
    other = parse(Order((change,), {SITE: 3.5}, {"q": READ}).text)
    assert other.readouts["q"] is again.readouts["p"]
    assert other.compile(D) is again.compile(D)
    with pytest.raises(InputError, match="no order"):
        parse(json.dumps({"interventions": "[]"}))


def test_a_report_travels_exactly() -> None:
    rows = torch.rand(2, 3)
    scores = {"p": [PositionScores(4, rows[0]), PositionScores(5, rows[1])]}
    report = Report(scores, {"p": scores["p"][:1]}, {SITE: torch.randn(3, D)}, "why")
    again = Report.read(report.plain())
    assert [s.position for s in again.scores["p"]] == [4, 5]
    assert torch.equal(again.scores["p"][1].probabilities, rows[1])
    assert torch.equal(again.values[SITE], report.values[SITE])
    assert again.fault == "why"


def test_scores_that_are_no_numbers_are_a_fault() -> None:
    remote = RemoteReadings({"p": READ}, 0)
    remote.report(Report(rest={"p": [PositionScores(0, torch.tensor([torch.nan, 1.0]))]}))
    assert remote.fault == "A readout gave no number."
