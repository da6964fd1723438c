"""A guard on a model of its own: what streams equals the guard over the finished text."""

from random import Random

import pytest
import torch
from tests.guard.streams import random_text

import endoscope
from endoscope.engine import Model
from endoscope.engine.transformers_reading import IncrementalReader
from endoscope.errors import InputError
from endoscope.guard import Guard, Policy
from endoscope.guard.loading import ProbeScorer, shipped_probes
from endoscope.guard.scoring import score
from endoscope.guard.side import SideReader
from endoscope.guard.watching import joined
from endoscope.models.joints import Joints
from endoscope.probes import Probe

pytestmark = pytest.mark.embedded

TEXT = (
    "Dear Margaret Holloway, 昨日、大阪支店の西村健太さんが田中様に電話しました。"
    "Call me on +44 20 7946 0958 or write to m.holloway@example.com; "
    "Tobias Brandt (tobias@example.org) knows.\n\n👩‍👩‍👧 e\u0301 "
)


@pytest.fixture(scope="module")
def scorer() -> ProbeScorer:
    probe = Probe.load(shipped_probes()["pii-gemma-3-270m-stream"])
    return ProbeScorer(probe, endoscope.open("gemma-3-270m", dtype="float32"))


@pytest.fixture(scope="module")
def guard(scorer: ProbeScorer) -> Guard:
    return Guard(Policy.load("pii"), scorer)


def pieces(random: Random, text: str, most: int) -> list[str]:
    out, place = [], 0
    while place < len(text):
        size = random.randint(1, most)
        out.append(text[place : place + size])
        place += size
    return out


def streamed(scorer: ProbeScorer, parts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    reader = SideReader(scorer)
    found = [reader.push(part)[0] for part in parts] + [reader.finish()]
    scores = [one for one in found if one is not None]
    return torch.cat([s.offsets for s in scores]), torch.cat([s.probabilities for s in scores])


@pytest.mark.parametrize("size", [1, 7, 60])
def test_scores_are_those_of_the_finished_text(scorer: ProbeScorer, size: int) -> None:
    offsets, rows = streamed(scorer, pieces(Random(size), TEXT, size))
    [whole] = scorer.probe.score(scorer.model, [TEXT])
    solid = whole.offsets[:, 0] < whole.offsets[:, 1]
    assert torch.equal(offsets, whole.offsets[solid])
    torch.testing.assert_close(rows, whole.probabilities[solid], rtol=0, atol=1e-4)


def test_windows_are_those_of_the_finished_text(scorer: ProbeScorer) -> None:
    """Also where a text is longer than a window, so that there is a seam."""
    text = TEXT * 7
    assert len(text) > scorer.max_characters
    offsets, rows = streamed(scorer, pieces(Random(0), text, 300))
    [whole] = score(scorer, [text])
    assert torch.equal(offsets, whole.offsets)
    torch.testing.assert_close(rows, whole.probabilities, rtol=0, atol=1e-4)


def test_what_streams_is_the_redaction_of_the_finished_text(guard: Guard) -> None:
    cases = [(TEXT, 40), (TEXT * 6, 200), (random_text(Random(5), 40), 100)]
    for seed, (text, most) in enumerate(cases):
        watch = guard.watch()
        parts = [watch.push(part) for part in pieces(Random(seed), text, most)]
        released = joined([*parts, watch.finish()])
        expected = guard.redact(text)
        assert released.text == expected.redacted
        assert [span[:3] for span in released.spans] == [span[:3] for span in expected.spans]
        assert watch.reader.tokens > 0
        assert watch.reader.seconds > 0


def test_it_reads_each_token_once_but_for_windows(guard: Guard, scorer: ProbeScorer) -> None:
    watch = guard.watch()
    for part in pieces(Random(1), TEXT, 3):
        watch.push(part)
    watch.finish()
    assert watch.reader.tokens == len(scorer.model.tokenizer.encode(TEXT).ids)


@pytest.mark.parametrize("name", ["gemma-3-270m", "smollm2-135m-instruct"])
def test_a_joint_stays_whatever_follows(name: str, scorer: ProbeScorer) -> None:
    """The tokens before it are those of the text up to it."""
    here = scorer.model.name == name
    tokenizer = scorer.model.tokenizer if here else endoscope.open(name).tokenizer
    joints, random = Joints(tokenizer), Random(0)
    seen = 0
    for _ in range(150):
        text = random_text(random, 6)
        cut = random.randrange(len(text) + 1)
        if joint := joints.last(text[:cut]):
            seen += 1
            whole, early = (tokenizer.encode(t, special=False).ids for t in (text, text[:joint]))
            assert whole[: len(early)] == early
    assert seen > 80


def test_reading_in_pieces_is_reading_at_once(scorer: ProbeScorer) -> None:
    """Longer than the sliding window of the model (512), and with tokens dropped and read again."""
    model, sites = scorer.model, scorer.probe.spec.sites
    ids = model.tokenizer.encode(TEXT * 8).ids
    assert len(ids) > 560
    whole = model.capture([TEXT * 8], sites)
    reader = IncrementalReader(model, sites)
    parts, place = [], 0
    for size in (1, 2, 500, 1, 1, 30, len(ids)):
        parts.append(reader.push(ids[place : place + size]))
        place += size
        if size == 30:
            reader.push([5, 6, 7])
            reader.crop(place)
    for site in sites:
        read = torch.cat([part[site] for part in parts])
        torch.testing.assert_close(read, whole[site], rtol=1e-3, atol=1e-2)


def test_what_cannot_be_read_as_it_comes_is_refused(scorer: ProbeScorer) -> None:
    twice = Probe.load(shipped_probes()["pii-gemma-3-270m"])
    guard = Guard(Policy.load("pii"), ProbeScorer(twice, scorer.model))
    with pytest.raises(InputError, match="twice"):
        guard.watch()
    model: Model = scorer.model
    with pytest.raises(ValueError, match="cannot be kept"):
        IncrementalReader(model, scorer.probe.spec.sites).crop(1)
