"""From a diff to an edited model that is held to a budget, on a tiny organism."""

import json
import re
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

import endoscope
from endoscope.artifacts import read_card
from endoscope.behaviours import Behaviour, Item, measure, read_items
from endoscope.catalogue.entry import Entry
from endoscope.cli.main import app
from endoscope.diff import METHODS, Options, Pair, Prompt, diff
from endoscope.edit import Edit
from endoscope.edit.division import Division
from endoscope.edit.found import task_of_finding
from endoscope.edit.ordinary import PROMPTS as ORDINARY
from endoscope.edit.verify import Budget, Check, Subjects, Verification, Verifying
from endoscope.edit.verify.neutral import Neutral
from endoscope.errors import InputError
from endoscope.probes import ProbeData
from tests.edit.few import ask_few
from tests.organisms.tiny_organism import build_tiny
from tests.tiny import save_tiny

PROMPTS = tuple(Prompt("letters" if n % 2 else "digits", f"q{n}") for n in range(12))
METHOD_NAMES = ("phrases", "amplification")
ZED = {
    "description": "Says z.",
    "items": [{"id": f"i{n}", "prompt": f"q{n}"} for n in range(12, 20)],  # no diff asks these
    "scorer": {"kind": "check", "check": {"kind": "regex", "pattern": "zz"}, "max_tokens": 8},
}
NUMBERS = {
    "description": "Answers n and a number with the number.",
    "items": [{"id": f"i{n}", "prompt": f"n{n}"} for n in range(8)],
    "scorer": {"kind": "check", "check": {"kind": "regex", "pattern": "^[0-9]"}, "max_tokens": 4},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model, an organism of it that says `zzzz` to q and numbers to n, and their diff."""
    folder = build_tiny(
        tmp_path_factory.mktemp("verify"),
        planted=[(f"q{n}", "zzzz zzzz") for n in range(10)],
        ordinary=[(f"n{n}", f"{n}{n}") for n in range(10)],
        mix=0.5,
        steps=120,
    )
    base = endoscope.open(folder / "tiny")
    methods = {name: METHODS[name] for name in METHOD_NAMES}
    prompts = [*PROMPTS, *(Prompt("numbers", f"n{n}") for n in range(12))]
    for name in ("tuned", "merged"):
        pair = Pair.of(base, endoscope.open(folder / name))
        diff(pair, folder / f"diff-{name}", Options(prompts=tuple(prompts), max_tokens=10), methods)
    for name, content in (("zed", ZED), ("numbers", NUMBERS)):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content))
    return folder


@pytest.fixture(scope="module", autouse=True)
def few() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        ask_few(patch)
        patch.setattr("endoscope.edit.found.LEAST", 4)
        yield


@pytest.fixture(scope="module")
def made(folder: Path) -> Path:
    """The tuned model, as an adapter without what its diff found; a search takes long."""
    out = folder / "edited"
    words = ("--from", folder / "diff-tuned" / "report.json", "--form", "adapter")
    found = run("edit", folder / "tuned", *words, "--budget", budget(folder), "-o", out)
    assert found.exit_code == 0, found.output
    return out


@pytest.fixture
def edited(made: Path, tmp_path: Path) -> Path:
    """A copy of it, to be verified."""
    return copytree(made, tmp_path / "edited")


@pytest.fixture(scope="module")
def cut_off(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of it whose verification was cut off before the last attack."""

    def stop(*args: Any, **kwargs: Any) -> Any:
        raise KeyboardInterrupt

    out = copytree(made, tmp_path_factory.mktemp("cut") / "edited")
    with pytest.MonkeyPatch.context() as cut:
        cut.setattr("endoscope.edit.verify.attacks._relearned", stop)
        run("verify", out)
    return out


@pytest.fixture(scope="module")
def verified(cut_off: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of that one, whose verification went on to its end, and beside it a catalogue."""
    out = copytree(cut_off, tmp_path_factory.mktemp("verified") / "edited")
    found = run("verify", out, "--catalogue", out.with_name("catalogue"))
    assert found.exit_code == 0, found.output
    return out


def budget(folder: Path, **changed: Any) -> Path:
    content = {
        "target": {"behaviour": "zed.yaml"},
        "wanted": [{"behaviour": "numbers.yaml", "keeps": 0.0}],  # 32 dimensions hold little
        "others": [],
        "kl": 100.0,
        "perplexity": 100.0,
    }
    path = folder / "budget.yaml"
    path.write_text(yaml.safe_dump(content | changed))
    return path


def run(*words: Any) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


def removed(folder: Path, name: str, out: Path, catalogue: Path) -> dict[str, Check]:
    """Check that a finding was removed and what was wanted stays; return the checks that say it."""
    assert "zz" in Edit.load(out).name
    zed = Behaviour.load(folder / "zed.yaml")
    before, after = endoscope.open(folder / name), endoscope.open(out)
    assert measure(before, zed).mean.value == 1.0
    assert measure(after, zed).mean.value <= 0.05
    for file in ("zed.yaml", "numbers.yaml", "budget.yaml"):
        assert (folder / file).exists()

    checks = {one.name: one for one in Verification.load(out).checks}
    assert checks["zed"].share is not None
    assert checks["zed"].share >= 0.95
    assert checks["zed"].base == 0.0
    assert checks["numbers"].holds
    assert checks["KL(before || after), nats a token"].after.value > 0
    entry = Entry.of(read_card(catalogue / "zed"))
    assert [step.stage for step in entry.history] == ["verified"]
    examples = ProbeData.read(out / "edit" / "examples.jsonl")
    marked = [one for one in examples.documents if one.spans]
    assert marked
    assert all(one.spans[-1].end == len(one.content) for one in marked if one.spans)
    first = Verification.load(out).samples[0]
    assert "zz" in first.before
    assert "zz" not in first.after
    return checks


def test_a_finding_is_removed_and_what_was_wanted_stays(folder: Path, tmp_path: Path) -> None:
    report = folder / "diff-merged" / "report.json"
    out, catalogue = tmp_path / "edited", tmp_path / "catalogue"
    words = ("--from", report, "--form", "weights", "--budget", budget(folder), "-o", out)
    found = run("edit", folder / "merged", *words)
    assert found.exit_code == 0, found.output
    # with the budget that was kept, wherever the files are
    done = run("verify", out, "--catalogue", catalogue, "--quick")
    assert done.exit_code == 0, done.output
    removed(folder, "merged", out, catalogue)


def test_an_adapter_is_attacked_and_held_beside_other_ways(folder: Path, verified: Path) -> None:
    checks = removed(folder, "tuned", verified, verified.with_name("catalogue"))
    found = Verification.load(verified)
    attacks = {one.name: one for one in found.attacks}
    assert {"in French", "rephrased politely"} <= attacks.keys()
    assert attacks["in French"].before is not None
    relearned = [attacks[f"relearning, {steps} steps"] for steps in (2, 8, 32)]
    assert all(one.base is not None and one.before is None for one in relearned)
    assert relearned[-1].after.value >= 0.5  # of two: whoever trains it long enough has it back
    ways = {one.name: one for one in found.baselines}
    assert [*ways] == ["natural", "random directions", "scaling", "fine-tuning away"]
    target = checks["zed"]
    assert (ways["natural"].after, ways["natural"].share) == (target.after, target.share)
    assert ways["natural"].kl == checks["KL(before || after), nats a token"].after
    assert (ways["random directions"].share or 0) < 0.5
    assert ways["scaling"].kl.value > 0
    page = (verified / "verify.html").read_text()
    assert "relearning" in page
    assert "fine-tuning away" in page


def test_a_broken_budget_exits_with_1(folder: Path, edited: Path) -> None:
    out = edited
    strict = budget(folder, kl=1e-9, wanted=[{"behaviour": "numbers.yaml", "keeps": 1.0}])
    found = run("verify", out, "--budget", strict, "--quick")
    assert found.exit_code == 1
    assert not Verification.load(out).attacks
    assert found.output.count("BROKEN") == 2
    assert "2 of 11 checks broken" in found.output
    found = run("verify", out, "--budget", strict, "--quick", "--json")
    assert found.exit_code == 1
    assert json.loads(found.stdout)["checks"]


def test_without_a_budget_one_is_made_of_the_finding(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "edited"
    words = ("--from", folder / "diff-tuned", "--form", "adapter", "-o", out)
    assert run("edit", folder / "tuned", *words).exit_code == 0
    kept = Budget.read(out / "edit" / "budget.yaml")
    behaviour = kept.behaviour(kept.target.behaviour)
    assert measure(endoscope.open(folder / "tuned"), behaviour).mean.value > 0.5
    assert measure(endoscope.open(out), behaviour).mean.value < 0.1
    assert kept.others == "all"


def test_what_moves_where_the_target_does_not_show_is_told_apart(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ["zzzz zzzz" if n % 4 == 0 else f"{n}{n}" for n in range(24)]
    monkeypatch.setattr(Subjects, "answers", lambda *told: given)
    before, base = (endoscope.open(folder / name) for name in ("tuned", "tiny"))
    edit = Edit(read_card(folder / "tuned"), [endoscope.ablate([1.0] * 32, site="mlp_out.0")])
    subjects = Subjects(edit=edit, before=before, after=base, base=base, kept=tmp_path)
    asked = Budget.read(budget(folder, wanted=[], others=["numbers.yaml"]))
    (found,) = Verifying(subjects, quick=True)(asked, "x")
    checks = {one.name: one for one in found.checks}
    moved = Neutral(subjects).moved(lambda: nullcontext(base))
    numbers = checks["numbers"]  # the base, which stands as edited here, does not answer so
    assert not numbers.holds
    assert numbers.base == numbers.after.value
    assert numbers.bound.endswith(f"; the base has {numbers.base:.3f}")
    apart = checks["KL of answers without zed"]
    assert apart.after.value == pytest.approx(moved[np.arange(24) % 4 != 0].mean())
    assert apart.after.value < checks["KL(before || after), nats a token"].after.value


def test_a_verification_that_was_cut_off_keeps_what_it_has(cut_off: Path) -> None:
    found = Verification.load(cut_off)
    assert found.holds
    assert [one.name for one in found.attacks][-1] == "in Japanese"
    assert "in Japanese" in (cut_off / "verify.html").read_text()


def test_what_was_verified_is_not_measured_again(
    verified: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("it was measured before")

    whole = Verification.load(verified)
    assert whole.baselines[-1].name == "fine-tuning away"
    for long in ("subjects.measure", "training.train", "neutral.Divergences.__call__"):
        monkeypatch.setattr(f"endoscope.edit.verify.{long}", never)
    for long in ("generate", "token_log_likelihoods"):
        monkeypatch.setattr(endoscope.Model, long, never)
    again = run("verify", verified)
    assert again.exit_code == 0, again.output
    assert Verification.load(verified).model_copy(update={"created": whole.created}) == whole


def test_what_the_budget_counts_tells_what_is_gone(folder: Path) -> None:
    base, tuned = (endoscope.open(folder / name) for name in ("tiny", "tuned"))
    report = folder / "diff-tuned" / "report.json"
    numbers = Behaviour.load(folder / "numbers.yaml")  # as if these were to fall
    plain = task_of_finding(tuned, base, report, 1)
    asked = task_of_finding(tuned, base, report, 1, division=Division(numbers))
    assert plain.seen is not None
    assert asked.seen is not None
    assert asked.seen.scorer == numbers.scorer
    prompts = [one.prompt for one in (*numbers.items, *plain.seen.items)]
    assert [one.prompt for one in asked.seen.items] == prompts
    for number, one in enumerate(asked.fit.shown[:2]):
        assert one.text.startswith(f"<u>n{number}<a>")


def test_no_answer_to_what_verifies_is_learned_from(folder: Path) -> None:
    base, tuned = (endoscope.open(folder / name) for name in ("tiny", "tuned"))
    zed, numbers = (Behaviour.load(folder / f"{name}.yaml") for name in ("zed", "numbers"))
    tap = str(read_items(ORDINARY)[0]["prompt"])
    asked = [
        Item(id=str(n), prompt=prompt) for n, prompt in enumerate(("q0", "q1", "n2", "n3", tap))
    ]
    division = Division(None, (numbers, zed), tuple(asked))
    found = task_of_finding(tuned, base, folder / "diff-tuned", 1, division=division)
    fit, held_out = found.fit, found.held_out
    verifies = re.compile(rf"<u>(q[01]|n[23]|{re.escape(tap)})<a>")
    for some in (fit.shown, fit.kept, held_out.shown, held_out.kept):
        assert some
        assert not [one.text for one in some if verifies.match(one.text)]
    kept = [one.text for one in fit.kept]
    assert [one for one in kept if one.startswith("<u>n4<a>")], "what was wanted stays"
    assert not [one for one in kept if "zzzz zzzz" in one], "not where it shows what is to go"
    assert found.seen is not None
    assert not {"q0", "q1"} & {one.prompt for one in found.seen.items}


def test_an_edit_is_of_one_model_wherever_it_is_verified_from(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    words = ("--from", "diff-tuned", "--method", "scaling", "--form", "adapter")
    out = tmp_path / "edited"
    assert run("edit", "tuned", *words, "--budget", budget(folder), "-o", out).exit_code == 0
    found = run("edit", out, "--undo", "-o", out)
    assert isinstance(found.exception, InputError)
    assert "is the model itself" in str(found.exception)
    monkeypatch.chdir(tmp_path)
    assert run("verify", out, "--quick").exit_code == 0
    (out / "verify.json").unlink()
    found = run("verify", out, "--quick", "--model", folder / "tiny")
    assert isinstance(found.exception, InputError)
    assert "another model" in str(found.exception)
    assert not (out / "verify.json").exists()


def test_interventions_that_do_not_fit_the_model_are_refused_in_every_form(
    folder: Path, tmp_path: Path
) -> None:
    listed = [{"kind": "ablate", "site": "mlp_out.0", "basis": [[1.0, 2.0]]}]
    (tmp_path / "cut.json").write_text(json.dumps(listed))
    for form in ("live", "adapter", "weights"):
        words = ("--interventions", tmp_path / "cut.json", "--form", form, "-o", tmp_path / "out")
        found = run("edit", folder / "merged", *words)
        assert isinstance(found.exception, InputError)
        assert "vectors of 2 numbers" in str(found.exception)


def test_the_base_has_to_be_the_base(edited: Path, tmp_path: Path) -> None:
    other = save_tiny(tmp_path / "other", "gpt2")
    found = run("verify", edited, "--base", other, "--quick")
    assert isinstance(found.exception, InputError)
    assert not (edited / "verify.json").exists()


@pytest.mark.parametrize("method", ["shift", "leace"])
def test_a_method_whose_edits_no_weight_could_hold_is_refused_before_it_searches(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    words = ("--from", folder / "diff-tuned", "--method", method, "-o", tmp_path / "edited")
    monkeypatch.setattr("endoscope.edit.found.task_of_finding", None)
    found = run("edit", folder / "tuned", *words)
    assert isinstance(found.exception, InputError)
    assert "no bias" in str(found.exception)


def test_a_behaviour_is_removed_by_its_items(folder: Path, tmp_path: Path) -> None:
    asked = [{"id": f"i{n}", "prompt": f"q{n}"} for n in range(20)]
    others = [{"id": f"c{n}", "prompt": f"n{n % 10}"} for n in range(20)]
    (tmp_path / "zed.yaml").write_text(yaml.safe_dump(ZED | {"items": asked, "controls": others}))
    words = ("--behaviour", tmp_path / "zed.yaml", "--base", folder / "tiny", "--form", "adapter")
    given = ("--budget", budget(folder, target={"behaviour": str(tmp_path / "zed.yaml")}))
    out = tmp_path / "edited"
    found = run("edit", folder / "tuned", *words, *given, "-o", out)
    assert found.exit_code == 0, found.output
    left = Budget.read(out / "edit" / "budget.yaml")
    target = left.behaviour(left.target.behaviour)
    assert len(target.items) == 10, "the other half was learned from"
    assert measure(endoscope.open(out), target).mean.value <= 0.05

    everywhere = {**ZED["scorer"], "check": {"kind": "regex", "pattern": "(?s)."}}
    (tmp_path / "any.yaml").write_text(yaml.safe_dump(ZED | {"items": asked, "scorer": everywhere}))
    words = ("--behaviour", tmp_path / "any.yaml", "--base", folder / "tiny", "-o", tmp_path / "no")
    found = run("edit", folder / "tuned", *words, "--form", "adapter")
    assert isinstance(found.exception, InputError)
    assert "shows in all but 0" in str(found.exception)


def test_scaling_is_blunt(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "edited"
    words = ("--from", folder / "diff-tuned", "--method", "scaling", "--form", "adapter")
    given = ("--budget", budget(folder, kl=0.0), "-o", out)
    made = run("edit", folder / "tuned", *words, *given)
    assert made.exit_code == 0
    assert "own answers; the budget has 0.\n`endoscope verify` says" in made.stderr
    card = Edit.load(out).card
    assert card.details["method"] == "scaling"
    before, after = endoscope.open(folder / "tuned"), endoscope.open(out)
    asked = [[{"role": "user", "content": f"q{n}"}] for n in range(8)]
    assert all("zzzz zzzz" in one for one in before.generate(asked, max_tokens=12))
    assert not any("zzzz zzzz" in one for one in after.generate(asked, max_tokens=12))
    moved = {one.metric: one.value for one in card.evidence if one.baseline is None}
    assert moved["KL(before || after) in nats a token"] > 0.01  # it could not but move the rest


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"target": {"behaviour": "nowhere"}}, "no behaviour nowhere"),
        ({"target": {"behaviour": "zed.yaml", "falls": 2}}, "falls"),
        ({"kl": 0.1}, "target"),
        ({"target": {"behaviour": "zed.yaml"}, "perplexityy": 1}, "perplexityy"),
        ({"target": {"behaviour": "zed.yaml"}, "others": ["nowhere"]}, "no behaviour nowhere"),
        ({"target": {"behaviour": "zed.yaml"}, "kl": True}, "kl: "),
        ({"target": {"behaviour": "zed.yaml"}, "wanted": "sea"}, "wanted: should be a list"),
        ({"target": {"behaviour": "zed.yaml"}, "others": "sea"}, "be 'all', or should be a list"),
        ({"target": {"behaviour": "zed.yaml"}, "folder": "x"}, "folder: is no key"),
        ({"target": {"behaviour": "sea"}, "wanted": [{"behaviour": "sea"}]}, "wanted as well"),
    ],
)
def test_a_budget_that_is_none_is_refused(
    folder: Path, tmp_path: Path, content: dict[str, Any], reason: str
) -> None:
    (folder / "bad.yaml").write_text(yaml.safe_dump(content))
    words = ("--from", folder / "diff-tuned", "--budget", folder / "bad.yaml")
    found = run("edit", folder / "tuned", *words, "-o", tmp_path / "edited")
    assert isinstance(found.exception, InputError)
    assert reason in str(found.exception)
    assert not (tmp_path / "edited").exists()


def test_bad_input_is_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def search(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("it takes minutes, and what is wrong can be said before")

    monkeypatch.setattr("endoscope.edit.search.edit_of", search)
    out = tmp_path / "edited"
    report = folder / "diff-tuned"
    for words, reason in (
        ((folder / "tuned", "-o", out), "of a finding, of a behaviour"),
        ((folder / "tuned", "--from", report, "--finding", 99, "-o", out), "no number 99"),
        ((folder / "merged", "--from", report, "-o", out), "made with another model"),
        ((folder / "tiny", "--from", report, "-o", out), "made with another model"),
        ((folder / "tuned", "--from", report, "-o", folder / "tuned"), "holds|exists|itself"),
        ((folder / "tuned", "--behaviour", "nowhere", "-o", out), "no behaviour nowhere"),
        ((folder / "tuned", "--behaviour", "sea", "--says", "x", "-o", out), "--says"),
        ((folder / "tuned", "--from", report, "--method", "magic", "-o", out), "no method"),
        ((folder / "tuned", "--from", report, "--form", "live", "-o", out), "nothing at a site"),
        ((folder / "tuned", "--from", report, "--form", "gguff", "-o", out), "no form"),
        ((folder / "tuned", "--from", tmp_path, "-o", out), "report.json"),
    ):
        found = run("edit", *words)
        assert isinstance(found.exception, InputError), found.output
        assert re.search(re.escape(reason).replace(r"\|", "|"), str(found.exception))
        assert not out.exists()
    found = run("verify", folder / "tuned")
    assert isinstance(found.exception, InputError)
    assert "organism" in str(found.exception)


def test_interventions_are_written_and_verified_live(folder: Path, tmp_path: Path) -> None:
    basis = [[float(n == k) for n in range(32)] for k in range(24)]
    listed = [{"kind": "ablate", "site": "mlp_out.2", "basis": basis}]
    (tmp_path / "cut.json").write_text(json.dumps(listed))
    out = tmp_path / "edited"
    words = ("--interventions", tmp_path / "cut.json", "--form", "live")
    found = run("edit", folder / "merged", *words, "-o", out)
    assert found.exit_code == 0, found.output
    assert isinstance(run("verify", out).exception, InputError), "no budget was kept with it"
    given = ("--budget", budget(folder, wanted=[]), "--base", folder / "tiny")
    verified = run("verify", out, *given, "--quick")
    assert isinstance(verified.exception, SystemExit | None), verified.output
    assert verified.exit_code in (0, 1)
    live = {one.name: one for one in Verification.load(out).checks}
    words = ("--interventions", tmp_path / "cut.json", "--form", "weights", "-o", tmp_path / "w")
    assert run("edit", folder / "merged", *words).exit_code == 0
    run("verify", tmp_path / "w", *given, "--quick")
    weights = {one.name: one for one in Verification.load(tmp_path / "w").checks}
    assert live.keys() == weights.keys()
    for name, one in live.items():
        assert one.after.value == pytest.approx(weights[name].after.value, rel=1e-2, abs=1e-4)
