"""The probes that come with Endoscope, on the models that they read."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import endoscope
from endoscope.bench.guard import shipped
from endoscope.engine import Model
from endoscope.guard import Guard, UnscoredError
from endoscope.guard.loading import ProbeScorer, shipped_probes
from endoscope.probes import Probe

pytestmark = pytest.mark.embedded


opened = cache(endoscope.open)  # nothing here changes a model


@pytest.fixture(scope="module", autouse=True)
def opened_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("endoscope.guard.loading.open_model", opened)
        yield
    for kept in (guard, opened):
        kept.cache_clear()


@cache
def guard(model: str = "gemma-3-270m") -> Guard:
    return Guard.load("pii", model=model)


def model_of(name: str) -> Model:
    """A model, as a guard opens it."""
    return opened(name, adapter=None, device="auto", dtype="fast")


@pytest.mark.parametrize("folder", shipped(), ids=lambda folder: folder.name)
def test_cards_say_what_they_must(folder: Path) -> None:
    card = Probe.load(folder).card
    assert card.model.weights == model_of(card.model_name).fingerprint.weights
    assert "synthetic" in card.notes
    assert card.command.startswith("python -m recipes.pii.build pii-")
    real = {e.data.name for e in card.evidence if e.split == "figures"}
    assert {"en_wikipedia_dev", "en_social_dev", "en_structured_synthetic"} <= real
    baselines = {e.baseline for e in card.evidence}
    assert {None, "the words alone (resid_pre.0)", "trained on real labels"} <= baselines
    assert all(e.low <= e.value <= e.high for e in card.evidence)


def test_it_scrubs_english_and_japanese() -> None:
    text = (
        "Dear Margaret Holloway, please call Tobias Brandt on +44 20 7946 0958.\n"
        "昨日、大阪支店の西村健太さんが田中様に電話しました。"
    )
    redacted = guard().redact(text).redacted
    for value in ("Margaret", "Holloway", "Tobias", "Brandt", "7946", "西村", "健太", "田中"):
        assert value not in redacted
    for kept in ("Dear", "please call", "大阪支店の", "さんが", "様に電話しました。"):
        assert kept in redacted


def test_plain_text_passes() -> None:
    for text in (
        "The committee approved the budget for the new bridge on Tuesday.",
        "この装置は毎分三百回転で動作し、水を冷却に使う。",
        "Version 4.12.0 of the product costs $89.00.",
    ):
        assert guard().redact(text).redacted == text


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("鈴木部長に確認してください。", "[NAME]部長に確認してください。"),
        ("山田課長と佐藤係長が出席した。", "[NAME]課長と[NAME]係長が出席した。"),
        ("注文番号は20240612-0031です。", "注文番号は20240612-0031です。"),
        ("Your order number is 20240612-0031.", "Your order number is 20240612-0031."),
        ("The tool was built with 4.2.0.1.", "The tool was built with 4.2.0.1."),
        ("パスワード：\nログインID：\n", "パスワード：\nログインID：\n"),
    ],
)
def test_what_the_rules_put_right(text: str, redacted: str) -> None:
    assert guard().redact(text).redacted == redacted


def test_a_name_is_found_wherever_a_window_ends() -> None:
    """Long text is read in windows of 1,000 characters, and 250 of them twice.

    In the name, in its first word or its second, the second window begins, the seam falls in the
    middle of what is read twice, or the first window ends.
    """
    filler = "The committee approved the budget for the new bridge. "
    name, size = "Margaret Holloway", ProbeScorer.max_characters
    assert size == 1000
    for place in (size * 3 // 4, size * 7 // 8, size):
        for before in (4, 13):
            text = (filler * 30)[: place - before - 7] + f" Later {name} spoke. "
            text += filler * 2 + filler * (place < size) * 4
            start = text.index(name)
            assert start == place - before
            covered = {i for s in guard().scan(text) for i in range(s.start, s.end)}
            assert set(range(start, start + 8)) <= covered, (place, before)


def test_a_probe_for_english_does_not_pass_japanese_as_clean() -> None:
    english = guard("smollm2-135m-instruct")
    assert "Holloway" not in english.redact("I met Margaret Holloway.").redacted
    with pytest.raises(UnscoredError):
        english.redact("西村健太さんに会いました。")


def test_a_character_that_the_vocabulary_lacks_hides_nothing() -> None:
    """SmolLM2 has no token for U+0004, so none of the text's tokens covers it."""
    english = guard("smollm2-135m-instruct")
    text = "\x04 I met Margaret\x04 Holloway \x04\x04 in Lyon, Tobias Brandt too.\x04"
    redacted = english.redact(text).redacted
    assert not any(name in redacted for name in ("Margaret", "Holloway", "Tobias", "Brandt"))
    assert redacted.startswith("\x04 I met ")
    assert redacted.endswith(" too.\x04")
    assert english.redact("\x04").redacted == "\x04"


def test_the_stream_probe_guards_too() -> None:
    ready = Guard.load("pii", probe="pii-gemma-3-270m-stream")
    text = "Dear Margaret Holloway, 昨日、西村健太さんが田中様に電話しました。"
    redacted = ready.redact(text).redacted
    assert not any(name in redacted for name in ("Margaret", "Holloway", "西村", "健太"))


def test_the_stream_probe_gives_the_same_scores_token_by_token() -> None:
    import torch

    probe = Probe.load(shipped_probes()["pii-gemma-3-270m-stream"])
    model = model_of("gemma-3-270m")
    text = "Yesterday Margaret Holloway met 西村健太 in Lyon."
    acts = model.capture([text], probe.spec.sites)
    stream = probe.stream()
    found = []
    inside = acts.offsets[:, 0] < acts.offsets[:, 1]
    for row in torch.nonzero(inside).flatten().tolist():
        found += stream.push({site: acts[site][row : row + 1] for site in probe.spec.sites})
    found += stream.finish()
    whole = probe.score_activations(acts.document(0)).probabilities
    scores = torch.stack([torch.as_tensor(s.probabilities) for s in found])
    torch.testing.assert_close(scores.float(), whole.float(), rtol=1e-4, atol=1e-5)
