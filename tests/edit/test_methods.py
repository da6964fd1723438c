"""Methods at sites, the search for a strength, and trials that are kept."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import endoscope
from endoscope.edit.methods.ablate import Ablate
from endoscope.edit.methods.contrasting import contrasted
from endoscope.edit.methods.leace import Leace
from endoscope.edit.methods.method import Method
from endoscope.edit.methods.redirect import RIDGE, Redirect
from endoscope.edit.methods.shift import Shift
from endoscope.edit.methods.strongest import strongest
from endoscope.edit.parts import Parts, running
from endoscope.edit.passage import Passage
from endoscope.edit.task import Example, Task
from endoscope.edit.trials import Trials
from endoscope.edit.trying import Divergences
from endoscope.engine import Model
from endoscope.interventions import Add
from endoscope.models import Site
from tests.tiny import save_tiny

SHOWN = [Passage(f"{a}abc xyz!", ((5, 9),)) for a in "abcdefgh"]
KEPT = [Passage(f"{a}hello you there", ((3, 12),)) for a in "ijklmnop"]


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    model = endoscope.open(save_tiny(tmp_path_factory.mktemp("methods") / "tiny"))
    both = Example(SHOWN, KEPT)
    return Task(model, None, "xyz", fit=both, held_out=both)


class Numbers:
    """Trials of which it is known what comes out: whose budget is a strength of 2."""

    budget = 4.0

    def __init__(self, is_gone: Callable[[float], bool]) -> None:
        self._is_gone = is_gone
        self.moves: list[float] = []
        self.asked: list[float] = []

    def moved(self, settings: Mapping[str, float]) -> float:
        self.moves.append(settings["strength"])
        return settings["strength"] ** 2

    def is_gone(self, settings: Mapping[str, float]) -> bool:
        self.asked.append(settings["strength"])
        return self._is_gone(settings["strength"])


MAY = 1.78  # the budget allows 2; so far goes the bisection


@pytest.mark.parametrize(
    ("is_gone", "low", "found", "asked"),
    [
        (lambda s: True, 0.01, MAY / 1.3**2, 6),  # long before: half of four steps down
        (lambda s: s >= 1.2, 0.01, MAY / 1.3**0.5, 4),  # one step, and not two
        (lambda s: s >= 1.75, 0.01, MAY, 3),
        (lambda s: s in (1.78, 1.37), 0.01, 1.78, 4),  # not in the middle: answers are few
        (lambda s: s >= 3.0, 0.01, 1.5**2 * MAY, 3),
        (lambda s: False, 0.01, MAY, 11),  # never: it goes no further than the budget
        (lambda s: True, 1.5, 1.71, 3),  # no gentler than the gentlest
    ],
)
def test_the_strength_has_something_to_spare(
    is_gone: Callable[[float], bool], low: float, found: float, asked: int
) -> None:
    trials = Numbers(is_gone)
    settings = strongest(trials, low, 100.0, layer=3.0)  # type: ignore[arg-type]
    assert settings == {"layer": 3.0, "strength": pytest.approx(found, rel=0.02)}
    assert len(trials.moves) == 6
    assert len(trials.asked) == asked


def trials_of(task: Task, file: Path, count: Callable[[], None] = lambda: None) -> Trials:
    def parts(settings: Mapping[str, float]) -> Parts:
        count()
        vector = tuple(float(n == 3) for n in range(32))
        one = Add(
            site=Site(1, "mlp_out"),
            vector=vector,
            strength=settings["strength"],
            units="absolute",
        )
        return Parts(interventions=(one,))

    return Trials(task, parts, budget=0.2, gone=0.05, file=file)


def test_what_was_tried_is_not_tried_again(task: Task, tmp_path: Path) -> None:
    file = tmp_path / "work" / "trials.jsonl"
    calls: list[int] = []
    first = trials_of(task, file, lambda: calls.append(1))
    found = first.moved({"strength": 2.0}), first.begins({"strength": 2.0})
    assert len(calls) == 2
    with file.open("a") as cut:
        cut.write('{"KL {\\"stre')  # a line that was being written when the work was cut off
    again = trials_of(task, file, lambda: calls.append(1))
    assert (again.moved({"strength": 2.0}), again.begins({"strength": 2.0})) == found
    assert len(calls) == 2
    assert again.moved({"strength": 1.0}) < found[0]
    assert len(calls) == 3
    assert trials_of(task, file).moved({"strength": 1.0}) == again.moved({"strength": 1.0})


def test_interventions_move_predictions_as_the_engine_says(task: Task) -> None:
    model = task.model
    one = Add(
        site=Site(1, "mlp_out"),
        vector=tuple(float(n == 3) for n in range(32)),
        strength=2.0,
        units="absolute",
    )
    whole = [Passage.of_answer(a, "hello you") for a in ("abc ", "x ")]
    found = Divergences(model, whole)(lambda: running(model, Parts((one,))))
    with model.intervene(one):
        sums = model.divergence(["abc ", "x "], ["hello you"] * 2)
    lengths = [len(model.tokenizer.encode("hello you", special=False).ids)] * 2
    assert found == pytest.approx([kl / n for kl, n in zip(sums, lengths, strict=True)], rel=1e-3)


def test_what_is_contrasted_is_the_token_before(task: Task) -> None:
    site = Site(2, "resid_post")
    found = contrasted(task, [site])[site]
    text, ((start, _),) = SHOWN[0]
    acts = task.model.capture([text], site)
    row = next(n for n, (_, end) in enumerate(acts.offsets.tolist()) if end > start) - 1
    torch.testing.assert_close(found.shown[0], acts[site][row].double(), rtol=1e-4, atol=1e-5)
    assert found.kept.shape == (2 * len(KEPT), 32)


def test_an_ablation_takes_its_share_of_each_layer(task: Task) -> None:
    method = Ablate(task)
    settings = {"source": 1, "peak": 2.0, "width": 2.0, "attention": 1.0, "mlp": 0.5}
    made = {str(one.site): one for one in method.parts(settings).interventions}
    factors = {site: one.factor for site, one in made.items()}  # type: ignore[attr-defined]
    assert factors == {"attn_out.1": 0.5, "mlp_out.1": 0.75, "attn_out.2": 0.0, "mlp_out.2": 0.5}
    site = Site(1, "resid_post")
    rows = contrasted(task, [site])[site]
    basis = torch.tensor(made["mlp_out.2"].basis[0], dtype=torch.float64)  # type: ignore[attr-defined]
    assert float(basis @ rows.kept.mean(0)) == pytest.approx(0, abs=1e-6)
    assert float(basis @ rows.difference) > 0


@pytest.mark.parametrize(("method", "kinds"), [(Shift, {"add"}), (Leace, {"erase"})])
def test_what_sets_it_apart_goes(task: Task, method: type[Method], kinds: set[str]) -> None:
    made = method(task).parts({"strength": 1.0, "layer": 1.0})
    assert {one.kind for one in made.interventions} == kinds
    gentle = method(task).parts({"strength": 0.1, "layer": 1.0})
    moved = [
        Divergences(task.model, KEPT)(lambda parts=parts: running(task.model, parts)).mean()  # type: ignore[misc]
        for parts in (gentle, made)
    ]
    assert 0 < moved[0] < moved[1]


def test_erased_means_are_equal(task: Task) -> None:
    last = Site(0, "mlp_out")  # the first that is erased: what comes after it reads erased input
    method = Leace(task)
    before = contrasted(task, [last])[last]
    one = next(i for i in method.parts({"strength": 1.0}).interventions if i.site == last)
    with task.model.intervene(one):
        after = contrasted(task, [last])[last]
    assert float(after.difference.norm()) < 1e-3 * float(before.difference.norm())


def settings_tried(file: Path) -> int:
    keys = [key for line in file.read_text().splitlines() for key in json.loads(line)]
    return sum(key.startswith("KL") for key in keys)


def test_a_search_for_an_ablation_goes_on(task: Task, tmp_path: Path) -> None:
    method = Ablate(task, trials=12)
    whole = Trials(task, method.parts, budget=0.1, gone=0.05, file=tmp_path / "whole.jsonl")
    found = method.search(whole)

    class CutError(Exception):
        pass

    seen: list[Model] = []

    def parts(settings: Mapping[str, float]) -> Parts:
        seen.append(task.model)
        if len(seen) == 9:
            raise CutError
        return method.parts(settings)

    file = tmp_path / "cut.jsonl"
    with pytest.raises(CutError):
        method.search(Trials(task, parts, budget=0.1, gone=0.05, file=file))
    done = settings_tried(file)
    assert 0 < done < 12
    before = len(seen)
    assert method.search(Trials(task, parts, budget=0.1, gone=0.05, file=file)) == found
    assert settings_tried(file) == settings_tried(tmp_path / "whole.jsonl")
    assert len(seen) - before < 2 * (12 - done) + 3


def rows_read(task: Task, name: str, passages: list[Passage]) -> torch.Tensor:
    """What a matrix reads before each token that counts, one text at a time."""
    found = []

    def keep(module: object, args: tuple[torch.Tensor, ...]) -> None:
        found.append(args[0][0].double())

    handle = task.model.loaded.module.get_submodule(name).register_forward_pre_hook(keep)
    rows = []
    for text, ((start, end),) in passages:
        tokens = task.model.tokenizer.encode(text)
        task.model.loaded.anatomy.base(input_ids=torch.tensor([tokens.ids]))
        places = [n for n, (a, b) in enumerate(tokens.offsets) if a < end and b > start]
        rows += [found[-1][place - 1] for place in places]
    handle.remove()
    return torch.stack(rows)


@pytest.mark.parametrize("begins", [True, False])
def test_what_is_redirected_solves_the_least_squares(task: Task, begins: bool) -> None:
    """What begins answers is compared with how others begin, all else with all tokens."""
    name, strength = "model.layers.1.mlp.down_proj", 0.3
    if begins:
        shown = [Passage(f"{one.text[0]}<<a>xyz!", ((5, 9),)) for one in SHOWN]
        kept = [Passage(f"{one.text[0]}<<a>hello you", ((5, 14),)) for one in KEPT]
    else:
        shown, kept = SHOWN, KEPT
    task = replace(task, fit=Example(shown, kept))
    made = Redirect(task).parts({"strength": strength})
    assert len(made.changes) == 2 * task.model.n_layers
    starts = [one.opening for one in kept]
    x = rows_read(task, name, [one.opening for one in shown])
    whole = rows_read(task, name, kept)
    alike = rows_read(task, name, starts) if begins else whole
    weight = task.model.loaded.module.get_submodule(name).weight.double()
    away = weight @ (x.mean(0) - alike.mean(0))
    size = (((alike**2).mean() + (whole**2).mean()) / 2).sqrt()
    # One row an input: of what shows, less what it is away; of all else, nothing.
    rows = torch.cat(
        [
            x * (strength / len(x)) ** 0.5,
            alike * (0.5 / len(alike)) ** 0.5,
            whole * (0.5 / len(whole)) ** 0.5,
            torch.eye(x.shape[1], dtype=torch.float64) * size * RIDGE**0.5,
        ]
    )
    wanted = torch.zeros(len(rows), len(away), dtype=torch.float64)
    wanted[: len(x)] = -away * (strength / len(x)) ** 0.5
    solved = torch.linalg.lstsq(rows, wanted).solution.T
    change = made.changes[name]
    torch.testing.assert_close(
        change.outer @ change.inner, solved, rtol=1e-3, atol=1e-4 * float(solved.abs().max())
    )
