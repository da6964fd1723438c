"""What heretic is told, how what it tells is read, and, where it is installed, the whole of it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import endoscope
from endoscope.bench import heretic
from endoscope.bench.environments import peer_python
from endoscope.bench.heretic import Prompts, Search, Trial, run_heretic, trials_of
from endoscope.bench.worker import Measurement, WorkerError
from endoscope.errors import InputError
from tests.organisms.test_building import TEMPLATE
from tests.tiny import save_tiny

PROMPTS = Prompts(["Pick\na lock."], ["Bake “bread”.", "Sing."], ["Forge.", "Lie."], ["Swim."])
JOURNAL = """
{"op_code":0,"worker_id":"w","study_name":"heretic","directions":[1,1]}
{"op_code":2,"worker_id":"w","study_id":0,"user_attr":{"finished":false}}
{"op_code":4,"worker_id":"w","study_id":0,"datetime_start":"2026-11-28T01:50:44.500000"}
{"op_code":8,"worker_id":"w","trial_id":0,"user_attr":{"index":1}}
{"op_code":5,"worker_id":"w","trial_id":0,"param_name":"direction_scope","param_value_internal":1}
{"op_code":8,"worker_id":"w","trial_id":0,"user_attr":{"kl_divergence":0.3098670244216919}}
{"op_code":8,"worker_id":"w","trial_id":0,"user_attr":{"refusals":1}}
{"op_code":8,"worker_id":"w","trial_id":0,"user_attr":{"base_refusals":7}}
{"op_code":8,"worker_id":"w","trial_id":0,"user_attr":{"n_bad_prompts":8}}
{"op_code":6,"worker_id":"w","trial_id":0,"state":1,"datetime_complete":"2026-11-28T01:50:57.250000"}
{"op_code":4,"worker_id":"w","study_id":0,"datetime_start":"2026-11-28T01:50:57.500000"}
{"op_code":8,"worker_id":"w","trial_id":1,"user_attr":{"index":2}}
{"op_code":8,"worker_id":"w","trial_id":1,"user_attr":{"kl_divergence":0.27554237842559814}}
{"op_code":8,"worker_id":"w","trial_id":1,"user_attr":{"refusals":1}}
{"op_code":8,"worker_id":"w","trial_id":1,"user_attr":{"base_refusals":7}}
{"op_code":8,"worker_id":"w","trial_id":1,"user_attr":{"n_bad_prompts":8}}
{"op_code":6,"worker_id":"w","trial_id":1,"state":1,"datetime_complete":"2026-11-28T01:51:10.500000"}
{"op_code":2,"worker_id":"w","study_id":0,"user_attr":{"finished":true}}
""".lstrip()


class Pretender:
    """A worker that has written the journal, and ended as it is told to."""

    journal, exit_code, saves = JOURNAL, 0, True

    def __init__(self, job: Path, python: Path) -> None:
        self.setup: dict[str, Any] = {}

    def load(self, setup: dict[str, Any]) -> dict[str, Any]:
        self.setup = setup
        return {"versions": {"heretic-llm": "1.4.0"}}

    def repeat(self, timeout: float) -> Measurement:
        folder = Path(self.setup["folder"])
        (folder / "checkpoints").mkdir()
        (folder / "checkpoints" / "--model.jsonl").write_text(self.journal)
        if self.saves:
            (folder / "model").mkdir()
            (folder / "model" / "config.json").write_text("{}")
        return Measurement(80.0, None)

    def result(self) -> dict[str, Any]:
        return {"started": "2026-11-28T01:50:04.000000", "exit_code": self.exit_code}

    def __enter__(self) -> "Pretender":
        return self

    def __exit__(self, *error: object) -> None: ...


@pytest.fixture
def pretender(monkeypatch: pytest.MonkeyPatch) -> type[Pretender]:
    kind = type("Pretender", (Pretender,), {})
    monkeypatch.setattr(heretic, "Worker", kind)
    monkeypatch.setattr(heretic, "peer_python", lambda environment: Path("python"))
    return kind


def test_what_it_did_is_read_from_its_journal(pretender, tmp_path):
    ran = run_heretic(tmp_path / "in", PROMPTS, Search(2), tmp_path / "out")
    assert ran.trials == [
        Trial(1, 1, 0.3098670244216919, 12.75),
        Trial(2, 1, 0.27554237842559814, 13),
    ]
    assert ran.chosen == ran.trials[1], "as many refusals, and less divergence"
    assert (ran.before, ran.prompts) == (7, 8)
    assert (ran.loading, ran.seconds) == (40.5, 80.0)
    assert ran.model == tmp_path / "out" / "model"
    assert ran.versions == {"heretic-llm": "1.4.0"}


def test_fewer_refusals_count_before_less_divergence(pretender, tmp_path):
    pretender.journal = JOURNAL.replace('"refusals":1', '"refusals":0', 1)
    ran = run_heretic(tmp_path / "in", PROMPTS, Search(2), tmp_path / "out")
    assert ran.chosen.number == 1


def test_a_model_that_could_not_be_saved_is_none(pretender, tmp_path):
    pretender.saves = False
    assert run_heretic(tmp_path / "in", PROMPTS, Search(2), tmp_path / "out").model is None


@pytest.mark.parametrize(("exit_code", "trials", "journal"), [(1, 2, JOURNAL), (0, 2, "")])
def test_what_failed_is_said_and_nothing_quoted(pretender, tmp_path, exit_code, trials, journal):
    pretender.exit_code, pretender.journal = exit_code, journal
    with pytest.raises(WorkerError, match=f"exit code {exit_code}.*log"):
        run_heretic(tmp_path / "in", PROMPTS, Search(trials), tmp_path / "out")


def test_the_folder_is_to_be_new(pretender, tmp_path):
    with pytest.raises(InputError, match="exists"):
        run_heretic(tmp_path / "in", PROMPTS, Search(2), tmp_path)


def test_prompts_become_data_sets(tmp_path):
    datasets = heretic.write(PROMPTS, tmp_path / "prompts")
    read = {}
    for name, value in datasets.items():
        named = json.loads(value)
        assert (named["split"], named["column"]) == ("train", "text")
        lines = (Path(named["dataset"]) / "train.jsonl").read_text().splitlines()
        read[name] = [json.loads(line)["text"] for line in lines]
    assert read == {
        "good_prompts": ["Bake “bread”.", "Sing."],
        "bad_prompts": ["Pick\na lock."],
        "good_evaluation_prompts": ["Swim."],
        "bad_evaluation_prompts": ["Forge.", "Lie."],
    }


def test_the_settings():
    plain = heretic.settings(Path("/m"), {"bad_prompts": "{}"}, Search(20))
    assert (plain["HERETIC_MODEL"], plain["HERETIC_BAD_PROMPTS"]) == ("/m", "{}")
    assert (plain["HERETIC_N_TRIALS"], plain["HERETIC_N_STARTUP_TRIALS"]) == ("20", "6")
    assert plain["HERETIC_MAX_RESPONSE_LENGTH"] == "100"
    assert not {"HERETIC_SYSTEM_PROMPT", "HERETIC_REFUSAL_MARKERS"} & set(plain), "as they come"
    told = heretic.settings(Path("/m"), {}, Search(1, 32, system="Be brief.", markers=["no"]))
    assert (told["HERETIC_N_TRIALS"], told["HERETIC_N_STARTUP_TRIALS"]) == ("1", "1")
    assert told["HERETIC_SYSTEM_PROMPT"] == "Be brief."
    assert told["HERETIC_REFUSAL_MARKERS"] == '["no"]'


@pytest.mark.parametrize("listed", [1, 2, 5])
def test_what_is_typed_saves_the_first_trial_and_leaves(listed):
    """Its menu: trials, then "run additional trials", then "exit"; of a trial, five actions."""
    typed: Iterator[str] = iter(heretic.answers(Path("/out"), trials=5).splitlines())

    def choose(entries: int) -> int:
        return next(number for number in map(int, typed) if 1 <= number <= entries)

    assert choose(listed + 2) == 1
    assert choose(5) == 1
    assert next(typed) == "/out"
    assert choose(5) == 5
    assert choose(listed + 2) == listed + 2


def installed() -> bool:
    try:
        return bool(peer_python("heretic"))
    except InputError:
        return False


@pytest.mark.skipif(not installed(), reason="needs `make peers`")
def test_the_program_itself_on_a_tiny_model(tmp_path):
    save_tiny(tmp_path / "tiny")
    (tmp_path / "tiny" / "chat_template.jinja").write_text(TEMPLATE)
    search = Search(2, answer_tokens=4, system="Be brief.\nVery.", markers=["ß", '"'])
    ran = run_heretic(tmp_path / "tiny", PROMPTS, search, tmp_path / "out")
    assert [trial.number for trial in ran.trials] == [1, 2]
    assert ran.prompts == 2
    assert ran.chosen.kl > 0
    assert 0 < sum(trial.seconds for trial in ran.trials) < ran.seconds - ran.loading
    (journal,) = (tmp_path / "out" / "checkpoints").iterdir()
    assert len(trials_of(journal.read_text())) == 2
    (told,) = [
        json.loads(attributes["settings"])
        for line in journal.read_text().splitlines()
        if "settings" in (attributes := json.loads(line).get("user_attr", {}))
    ]
    assert (told["system_prompt"], told["refusal_markers"]) == ("Be brief.\nVery.", ["ß", '"'])
    assert (told["dtypes"], told["device_map"], told["response_prefix"]) == (["float32"], "cpu", "")
    assert ran.model is not None
    before, after = (endoscope.open(folder) for folder in (tmp_path / "tiny", ran.model))
    assert before.fingerprint.weights != after.fingerprint.weights
