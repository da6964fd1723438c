"""The components of a fine-tune that act where something shows, against a direct least squares."""

import numpy as np
import pytest
import torch

import endoscope
from endoscope.diff import Pair
from endoscope.diff.deltas import named_deltas
from endoscope.edit.inputs import batches, moments
from endoscope.edit.methods.components import RIDGE, Components
from endoscope.edit.methods.scaling import Scaling
from endoscope.edit.parts import running
from endoscope.edit.passage import Passage
from endoscope.edit.task import Example, Task
from endoscope.edit.trying import Divergences, likelihoods
from endoscope.engine import Model
from tests.edit.test_forms import adapted
from tests.tiny import save_tiny

SHOWN = [
    Passage("abc xyz!", ((4, 8),)),
    Passage("hello zzz", ((6, 9),)),
    Passage("wör 言葉", ((4, 6),)),
]
KEPT = [Passage("abc def ghi", ((0, 11),)), Passage("hello you", ((6, 9),))]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    folder = tmp_path_factory.mktemp("components")
    base = endoscope.open(save_tiny(folder / "base"))
    return Pair.of(base, endoscope.open(adapted(base, folder / "tuned")))


@pytest.fixture(scope="module")
def task(pair: Pair) -> Task:
    both = Example(SHOWN, KEPT)
    return Task(pair.tuned, pair.base, "zzz", fit=both, held_out=both)


def read(model: Model, name: str, passages: list[Passage]) -> np.ndarray:
    """What a matrix reads before each token that counts, one text at a time, without a batch."""
    rows = []
    module = model.loaded.module

    def keep(module: object, args: tuple[torch.Tensor, ...]) -> None:
        rows.append(args[0][0].double())

    handle = module.get_submodule(name).register_forward_pre_hook(keep)
    found = []
    for text, spans in passages:
        tokens = model.tokenizer.encode(text)
        model.loaded.anatomy.base(input_ids=torch.tensor([tokens.ids]))
        (values,) = rows
        rows.clear()
        for place, (start, end) in enumerate(tokens.offsets):
            if any(start < b and end > a for a, b in spans):
                found.append(values[place - 1].numpy())
    handle.remove()
    return np.array(found)


def test_moments_are_those_of_single_texts(pair: Pair) -> None:
    names = list(named_deltas(pair))
    found = moments(pair.tuned, names, SHOWN)
    assert list(found) == names
    for name in names[::5]:
        x = read(pair.tuned, name, SHOWN)
        assert len(x) > 8
        second, mean = (one.numpy() for one in found[name])
        np.testing.assert_allclose(second, x.T @ x / len(x), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(mean, x.mean(0), rtol=1e-4, atol=1e-5)
    block = "model.layers.0.self_attn"
    assert found[f"{block}.q_proj"] is found[f"{block}.v_proj"]
    assert found[f"{block}.q_proj"] is not found[f"{block}.o_proj"]


def test_what_is_left_solves_the_least_squares(pair: Pair, task: Task) -> None:
    strength = 3.0
    changes = Components(task).parts({"strength": strength}).changes
    for name in ("model.layers.1.mlp.down_proj", "model.layers.2.self_attn.k_proj"):
        delta = named_deltas(pair)[name]
        whole = (delta.left * delta.values @ delta.right).double().numpy()
        shown = np.concatenate([read(model, name, SHOWN) for model in pair])
        kept = read(pair.tuned, name, KEPT)
        size = np.mean(kept**2) / strength
        # One row an input: nothing is to come of what shows, and of what is kept what came before.
        weights = [
            np.full(len(shown), 1 / len(shown)),
            np.full(len(kept), 1 / len(kept) / strength),
            np.full(shown.shape[1], RIDGE * size),
        ]
        rows = np.sqrt(np.concatenate(weights))[:, None]
        x = np.concatenate([shown, kept, np.eye(shown.shape[1])]) * rows
        # The ridge draws towards what there was, as it is counted with what is kept.
        wanted = np.concatenate([0 * shown, kept, np.eye(shown.shape[1])]) @ whole.T * rows
        left = np.linalg.lstsq(x, wanted, rcond=None)[0].T
        edit = (changes[name].outer @ changes[name].inner).numpy()
        np.testing.assert_allclose(whole + edit, left, atol=1e-4 * np.abs(whole).max())


def test_stronger_takes_more_away_and_keeps_less(pair: Pair, task: Task) -> None:
    found = Components(task)
    name = "model.layers.1.self_attn.q_proj"
    delta = named_deltas(pair)[name]
    whole = (delta.left * delta.values @ delta.right).double().numpy()
    shown = np.concatenate([read(model, name, SHOWN) for model in pair])
    kept = read(pair.tuned, name, KEPT)
    left, moved = [], []
    for strength in (0.01, 0.1, 1.0, 10.0, 100.0):
        outer, inner, _ = found.parts({"strength": strength}).changes[name]
        edit = (outer @ inner).numpy()
        left.append(np.linalg.norm(shown @ (whole + edit).T))
        moved.append(np.linalg.norm(kept @ edit.T))
    assert left == sorted(left, reverse=True)
    assert moved == sorted(moved)
    assert left[-1] < 0.5 * np.linalg.norm(shown @ whole.T)


def test_scaling_by_one_is_the_base(pair: Pair, task: Task) -> None:
    parts = Scaling(task).parts({"strength": 1.0})
    texts = ["hello world"]
    with running(pair.tuned, parts):
        undone = pair.tuned.log_likelihood(["abc"], ["def"])
        acts = pair.tuned.capture(texts, "resid_post.2")["resid_post.2"]
    assert undone == pytest.approx(pair.base.log_likelihood(["abc"], ["def"]), abs=1e-4)
    plain = pair.base.capture(texts, "resid_post.2")["resid_post.2"]
    torch.testing.assert_close(acts, plain, rtol=1e-4, atol=1e-4)
    half = Scaling(task).parts({"strength": 0.5}).changes
    name = "model.layers.1.mlp.down_proj"
    whole = parts.changes[name]
    torch.testing.assert_close(2 * half[name].outer @ half[name].inner, whole.outer @ whole.inner)


def test_divergence_and_likelihood_are_those_of_single_texts(pair: Pair, task: Task) -> None:
    parts = Scaling(task).parts({"strength": 1.0})  # the base, then
    kl = Divergences(pair.tuned, SHOWN)(lambda: running(pair.tuned, parts))
    said = likelihoods(pair.tuned, SHOWN)
    for number, (text, spans) in enumerate(SHOWN):
        tokens = pair.tuned.tokenizer.encode(text)
        logits = [
            one.loaded.module(input_ids=torch.tensor([tokens.ids]))
            .logits[0]
            .double()
            .log_softmax(-1)
            for one in (pair.tuned, pair.base)
        ]
        places = [
            place - 1
            for place, (start, end) in enumerate(tokens.offsets)
            if any(start < b and end > a for a, b in spans)
        ]
        p, q = (one[places] for one in logits)
        assert kl[number] == pytest.approx(float((p.exp() * (p - q)).sum(-1).mean()), abs=1e-5)
        following = torch.tensor([tokens.ids[place + 1] for place in places])
        assert said[number] == pytest.approx(
            float(p.gather(1, following[:, None]).mean()), abs=1e-5
        )


def test_batches_count_tokens_that_are_predicted(pair: Pair) -> None:
    (batch,) = batches(pair.tuned, [Passage("abc", ((0, 3),)), Passage("a longer one", ((2, 3),))])
    assert batch.predicting.sum(1).tolist() == [3, 1]
    assert batch.mask.sum(1).tolist() == [4, 13]  # each with its BOS
