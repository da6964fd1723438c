"""Probes on a tiny random model, from text to files and back."""

import json
from pathlib import Path

import pytest
import torch
from tests.tiny import save_tiny

import endoscope
from endoscope.artifacts import TransferWarning
from endoscope.engine import Model
from endoscope.errors import InputError
from endoscope.models import Site
from endoscope.probes import FitOptions, Probe, ProbeData

pytestmark = pytest.mark.usefixtures("one_thread")

SITES = "resid_pre.0,resid_post.0"


def write(path: Path, rows: list[dict[str, object]]) -> ProbeData:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return ProbeData.read(path)


def sentences(n: int) -> list[str]:
    return [
        f"{'the and'[i % 5 :]} é日 {i * 7919 % 1000:03d} is {'xyz'[i % 3] * (i % 4)}."
        for i in range(n)
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("probe")


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return endoscope.open(save_tiny(folder / "model"), device="cpu")


@pytest.fixture(scope="module")
def spans(folder: Path) -> ProbeData:
    """Digits are labelled: the embedding of a byte tells."""
    rows: list[dict[str, object]] = []
    for i, text in enumerate(sentences(60)):
        start = next(k for k, c in enumerate(text) if c.isdigit())
        rows.append({"id": f"s{i}", "text": text, "spans": [[start, start + 3, "CODE"]]})
    return write(folder / "spans.jsonl", rows)


@pytest.fixture(scope="module")
def labelled(folder: Path) -> ProbeData:
    rows: list[dict[str, object]] = [
        {
            "id": f"d{i}",
            "text": text + (" !!" if i % 3 == 0 else ""),
            "label": "loud" if i % 3 == 0 else "calm",
        }
        for i, text in enumerate(sentences(120))
    ]
    return write(folder / "labelled.jsonl", rows)


@pytest.fixture(scope="module")
def token_probe(model: Model, spans: ProbeData) -> Probe:
    return Probe.fit(model, spans, sites=SITES, look_ahead=1)


@pytest.fixture(scope="module")
def document_probe(model: Model, labelled: ProbeData) -> Probe:
    return Probe.fit(model, labelled, sites="resid_post.0", pooling="top_k_mean:2")


def figure(probe: Probe, metric: str) -> float:
    return next(e.value for e in probe.card.evidence if e.metric == metric)


def test_a_token_probe_finds_what_was_planted(token_probe: Probe, model: Model) -> None:
    assert figure(token_probe, "f1_tokens") > 0.95
    assert figure(token_probe, "f1_characters") > 0.95
    (scores,) = token_probe.score(model, ["ok 123 é"])
    assert scores.labels == ("O", "CODE")
    assert scores.offsets.tolist() == [[i, i + 1] for i in range(7)] + [
        [7, 8],
        [7, 8],
    ]  # é: 2 bytes
    assert torch.allclose(scores.probabilities.sum(1), torch.ones(9))
    assert scores.probabilities.argmax(1).tolist() == [0, 0, 0, 1, 1, 1, 0, 0, 0]


def test_a_document_probe_finds_what_was_planted(document_probe: Probe, model: Model) -> None:
    assert document_probe.labels == ("calm", "loud")
    assert figure(document_probe, "auroc") > 0.95
    assert figure(document_probe, "recall_at_fpr_0.01") > 0.8
    scores = document_probe.score_documents(model, ["the and !!", "the and"])
    assert scores.probabilities.shape == (2, 2)
    loud = scores.probabilities[:, scores.labels.index("loud")]
    assert loud[0] > 0.5 > loud[1]
    assert document_probe.score_documents(model, []).probabilities.shape == (0, 2)
    with pytest.raises(InputError, match="without tokens"):
        document_probe.score_documents(model, [""])


def test_the_second_reading(model: Model, spans: ProbeData) -> None:
    probe = Probe.fit(model, spans, sites="resid_post.0", readings=2, head="mass_mean")
    assert figure(probe, "f1_tokens") > 0.9
    assert probe.card.details["latency_tokens"] is None
    with pytest.raises(InputError, match="reads the whole text twice"):
        probe.stream()


def test_a_model_that_sees_what_follows_cannot_stream(spans: ProbeData, tmp_path: Path) -> None:
    encoder = endoscope.open(save_tiny(tmp_path / "bert", "bert"), device="cpu")
    probe = Probe.fit(encoder, spans, sites="resid_post.0")
    assert probe.card.details["latency_tokens"] is None
    assert "reads the text as a whole" in repr(probe)
    probe.save(tmp_path / "p")
    for one in (probe, Probe.load(tmp_path / "p")):
        with pytest.raises(InputError, match=r"reads text as a whole.*a causal model"):
            one.stream()


def test_a_card_that_does_not_say_so_is_of_a_causal_model(
    token_probe: Probe, tmp_path: Path
) -> None:
    token_probe.save(tmp_path / "p")
    path = tmp_path / "p" / "card.json"
    card = json.loads(path.read_text())
    assert card["details"].pop("causal") is True
    card["details"]["options"] |= {"calibration": "vector", "most_weight": 20.0}  # of other times
    path.write_text(json.dumps(card))
    assert Probe.load(tmp_path / "p").stream().latency == 1


@pytest.mark.parametrize("kind", ["token", "document"])
def test_saved_and_loaded_it_scores_the_same_bits(
    kind: str, request: pytest.FixtureRequest, model: Model, tmp_path: Path
) -> None:
    probe: Probe = request.getfixturevalue(f"{kind}_probe")
    probe.save(tmp_path / "p")
    again = Probe.load(tmp_path / "p")
    texts = ["ab 123", "", "日本 !! 9"]
    for a, b in zip(probe.score(model, texts), again.score(model, texts), strict=True):
        assert torch.equal(a.probabilities, b.probabilities)
        assert torch.equal(a.offsets, b.offsets)
    assert (again.spec, again.pooling, again.thresholds) == (
        probe.spec,
        probe.pooling,
        probe.thresholds,
    )
    assert again.card.evidence == probe.card.evidence
    assert {p.suffix for p in (tmp_path / "p").iterdir()} == {".json", ".safetensors"}


@pytest.mark.parametrize("kind", ["token", "document"])
def test_a_stream_gives_the_scores_of_the_whole(
    kind: str, request: pytest.FixtureRequest, model: Model
) -> None:
    probe: Probe = request.getfixturevalue(f"{kind}_probe")
    text = "the 日 123 is !!"
    acts = model.capture([text], probe.spec.sites)
    (whole,) = probe.score(model, [text])
    stream = probe.stream()
    found = []
    for row in range(1, len(acts)):  # row 0 is BOS
        found += stream.push({site: acts[site][row : row + 1] for site in probe.spec.sites})
    found += stream.finish()
    if kind == "document":  # the last is of the whole document
        expected = probe.score_documents(model, [text]).probabilities[0]
        assert torch.allclose(found[-1].probabilities, expected, atol=1e-6)
        return
    assert torch.allclose(
        torch.stack([f.probabilities for f in found]), whole.probabilities, atol=1e-6
    )


def test_scores_do_not_depend_on_company(token_probe: Probe, model: Model) -> None:
    texts = ["a 123", "a much longer text than that one, with 42 in it " * 3]
    together = token_probe.score(model, texts)
    for text, scores in zip(texts, together, strict=True):
        (alone,) = token_probe.score(model, [text])
        assert torch.allclose(alone.probabilities, scores.probabilities, atol=1e-4)


def test_evaluating_again_gives_the_figures_of_the_card(
    document_probe: Probe, model: Model, labelled: ProbeData
) -> None:
    parts = labelled.split({"train": 0.7, "validation": 0.15, "test": 0.15}, seed=0)
    again = document_probe.evaluate(model, labelled.take(parts["test"], "test"))
    for old, new in zip(document_probe.card.evidence, again, strict=True):
        assert new.metric == old.metric
        # bfloat16 while fitting: a document at the threshold may cross it
        if not new.metric.endswith("_at_threshold"):
            assert new.value == pytest.approx(old.value, abs=1e-2)


def test_arguments_of_the_wrong_kind_are_named(token_probe: Probe, model: Model) -> None:
    with pytest.raises(InputError, match="ProbeData"):
        Probe.fit(model, "data.jsonl", sites="resid_post.1")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="first argument is a model"):
        token_probe.evaluate("data.jsonl", model)  # type: ignore[arg-type]


def test_held_out_data_is_not_fitted_on(model: Model, labelled: ProbeData, folder: Path) -> None:
    half = labelled.take(range(60), "all")
    other = write(
        folder / "other.jsonl",
        [{"id": d.id, "text": d.content, "label": d.label} for d in labelled.documents[60:]],
    )
    probe = Probe.fit(model, half, sites="resid_post.0", held_out=other, name="mine")
    assert {e.data.name for e in probe.card.evidence} == {"other.jsonl"}
    assert {e.n for e in probe.card.evidence} == {60}
    assert probe.name == "mine"


def test_the_card_says_how(token_probe: Probe, spans: ProbeData) -> None:
    card = token_probe.card
    assert card.details["latency_tokens"] == 1
    assert card.data.sha256 == spans.sha256
    assert set(token_probe.thresholds) == {"CODE"}
    assert "token probe, logistic head, latency 1 tokens" in repr(token_probe)


def test_a_foreign_model_is_refused(token_probe: Probe, tmp_path: Path) -> None:
    other = endoscope.open(save_tiny(tmp_path / "other", seed=1), device="cpu")
    with pytest.raises(InputError, match="made with another model"):
        token_probe.score(other, ["x"])


def test_a_derived_model_gives_a_warning(token_probe: Probe, model: Model, tmp_path: Path) -> None:
    other = endoscope.open(save_tiny(tmp_path / "other", seed=1), device="cpu")
    other._fingerprint = model.fingerprint.derive("edit", {"x": torch.ones(1)})
    with pytest.warns(TransferWarning, match="evidence is not valid here"):
        token_probe.score(other, ["x"])


def test_data_of_the_wrong_kind(
    token_probe: Probe, document_probe: Probe, model: Model, spans: ProbeData, labelled: ProbeData
) -> None:
    with pytest.raises(InputError, match="no spans"):
        token_probe.evaluate(model, labelled)
    with pytest.raises(InputError, match="no labels"):
        document_probe.evaluate(model, spans)
    with pytest.raises(InputError, match="tokens, not documents"):
        token_probe.score_documents(model, ["x"])
    with pytest.raises(InputError, match="Leave the pooling out"):
        Probe.fit(model, spans, sites="resid_post.0", pooling="max")


def test_conversations_need_a_template(model: Model, folder: Path) -> None:
    rows: list[dict[str, object]] = [
        {"id": str(i), "messages": [{"role": "user", "content": "x"}], "label": "ab"[i % 2]}
        for i in range(30)
    ]
    with pytest.raises(InputError, match="no chat template"):
        Probe.fit(model, write(folder / "chat.jsonl", rows), sites="resid_post.0")


@pytest.mark.parametrize("broken", ["head", "thresholds", "calibration", "readings"])
def test_a_card_without_its_settings_is_refused(
    broken: str, token_probe: Probe, tmp_path: Path
) -> None:
    token_probe.save(tmp_path / "p")
    path = tmp_path / "p" / "card.json"
    card = json.loads(path.read_text())
    del card["details"][broken]
    path.write_text(json.dumps(card))
    with pytest.raises(InputError, match="lacks settings"):
        Probe.load(tmp_path / "p")


def test_another_format_is_refused(token_probe: Probe, tmp_path: Path) -> None:
    token_probe.save(tmp_path / "p")
    path = tmp_path / "p" / "card.json"
    card = json.loads(path.read_text())
    for number, message in ((99, "newer Endoscope"), (0, "older Endoscope")):
        path.write_text(json.dumps(card | {"format": number}))
        with pytest.raises(InputError, match=message):
            Probe.load(tmp_path / "p")


def test_the_sites_of_the_probe_are_read(token_probe: Probe) -> None:
    assert token_probe.spec.sites == (Site.parse("resid_pre.0"), Site.parse("resid_post.0"))


def test_too_little_data_is_refused(model: Model, labelled: ProbeData) -> None:
    with pytest.raises(InputError, match=r"no example of|too small"):
        Probe.fit(model, labelled.take([0, 1], "all"), sites="resid_post.0", options=FitOptions())
