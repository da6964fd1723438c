"""Policies: what is read, and what is refused with the key that is wrong."""

from pathlib import Path

import pytest
import yaml

from endoscope.errors import InputError
from endoscope.guard import KeySource, Policy, Rule
from endoscope.guard.explain import KEYS
from endoscope.guard.policy import shipped_policies


@pytest.fixture
def write(tmp_path: Path):  # type: ignore[no-untyped-def]
    def _write(text: str) -> Path:
        path = tmp_path / "mine.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return _write


def test_the_shipped_policy_names_every_label_of_the_design() -> None:
    policy = Policy.load("pii")
    assert set(policy.labels) == {
        *("NAME", "ADDRESS", "PHONE", "EMAIL", "ID", "DATE_OF_BIRTH", "USERNAME", "SECRET", "IP")
    }
    assert policy.redacted == set(policy.labels)
    assert all(rule.threshold == "probe" for rule in policy.labels.values())
    assert policy.validators
    assert policy.replacement == "tag"


def test_what_the_comments_of_the_shipped_policy_offer_works(tmp_path: Path) -> None:
    text = shipped_policies()["pii"].read_text(encoding="utf-8")
    text = text.replace("replacement: tag", "replacement: hash").replace("# key: {env", "key: {env")
    text = text.replace("probe: auto", "probe: {en: auto, ja: my-probe/}")
    (tmp_path / "p.yaml").write_text(text, encoding="utf-8")
    policy = Policy.load(tmp_path / "p.yaml")
    assert policy.key == KeySource(env="ENDOSCOPE_GUARD_KEY")
    assert policy.probe_for("ja") == "my-probe/"
    assert policy.folder == tmp_path


def test_one_label_its_own_way(write) -> None:  # type: ignore[no-untyped-def]
    policy = Policy.load(
        write("labels:\n  NAME: {threshold: 0.8, replacement: pseudonym}\n  IP: {action: flag}\n")
    )
    assert policy.name == "mine"
    assert policy.labels["NAME"].threshold == 0.8
    assert policy.replaced("NAME") == "pseudonym"
    assert policy.replaced("IP") == "tag"
    assert policy.redacted == {"NAME"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("labels: {NAME: {}}\ncolour: red", r"mine.yaml: colour is not a key: keys are name, lab"),
        ("labels: {NAME: {}}\nvalidator: no", r"validator is not a key: did you mean validators\?"),
        ("labels: {NAME: {treshold: 0.5}}", r"labels.NAME.treshold .*did you mean threshold\?"),
        ("labels: {NAME: {threshold: 1.5}}", r"labels.NAME.threshold must be a number from 0 to 1"),
        ("labels: {NAME: {threshold: -1}}", r"labels.NAME.threshold must be a number from 0 to 1"),
        ("labels: {NAME: {threshold: .nan}}", r"labels.NAME.threshold must be a number"),
        ("labels: {NAME: {threshold: high}}", r"labels.NAME.threshold must be .*, or probe\."),
        ("labels: {NAME: {threshold: '0.5'}}", r"labels.NAME.threshold must be a number"),
        ("labels: {NAME: {action: hide}}", r"labels.NAME.action must be redact, .* or escalate\."),
        ("labels: {NAME: {action: Redact}}", r"or escalate: did you mean redact\?"),
        ("labels: {NAME: {action: steer}}", r"labels.NAME: action steer and interventions go"),
        ("labels: {NAME: {interventions: []}}", r"labels.NAME: action steer and interventions go"),
        ("labels: {NAME: {action: steer, interventions: 5}}", r"interventions must be a list of"),
        ("labels: {NAME: {action: escalate}}", r"labels.NAME: action escalate needs either hook"),
        ("labels: {NAME: {action: escalate, hook: a, judge: b}}", r"NAME.hook must be a URL that"),
        ("labels: {NAME: {judge: b}}", r"labels.NAME: hook and judge go with action escalate"),
        ("labels: {NAME: {timeout: 0}}", r"labels.NAME.timeout must be a number of seconds"),
        ("labels: {NAME: {}}\nscope: word", r"scope must be spans or document\."),
        ("labels: {bad: {}}\nscope: document", r"labels.bad: with scope document an action is"),
        ("labels: {NAME: redact}", r"labels.NAME must be a mapping, such as {action: redact}"),
        ("labels: {on: {}}", r"labels.1 is not text: write it in quotes"),
        ("labels: {NAME: {}}\n5: x", r"5 is not text: write it in quotes"),
        ("labels: {NAME: {}}\nreplacement: md5", r"replacement must be tag, pseudonym or hash"),
        ("labels: {NAME: {}}\nreplacement: hash", r"replacement hash needs a key"),
        ("labels: {NAME: {}}\nkey: {}", r"key: give either env or file"),
        ("labels: {NAME: {}}\nkey: {env: A, file: B}", r"key: give either env or file"),
        ("labels: {NAME: {}}\nkey: {envs: A}", r"key.envs is not a key: did you mean env\?"),
        ("labels: {NAME: {}}\nkey: abc", r"key must be a mapping with either env or file"),
        ("labels: {NAME: {}}\nvalidators: 'yes'", r"validators must be true or false"),
        (
            "labels: {NAME: {}}\nprobe: {fr: auto}",
            r"probe must be auto, a probe's name or folder, or a",
        ),
        ("labels: {}", r"labels must be a mapping with one label at least"),
        ("labels: [NAME]", r"labels must be a mapping"),
        ("name: x", r"labels is missing: it must be a mapping"),
        ("labels: {NAME: {}}\nfolder: /", r"folder is not a key"),
        ("labels: {NAME: {", r"mine.yaml, line 1 is not valid YAML"),
        ("name: a\nname: b", r"mine.yaml, line 2: the key name stands twice"),
        ("", r"mine.yaml is not a policy"),
        ("- 1", r"mine.yaml is not a policy"),
        ("!!python/object/apply:os.system [ls]", r"not valid YAML"),
    ],
)
def test_what_is_wrong_is_named(write, text: str, says: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match=says) as caught:
        Policy.load(write(text))
    assert "\n" not in str(caught.value)
    assert "nput should" not in str(caught.value)


def test_every_key_that_there_is_can_be_explained() -> None:
    keys = {"": Policy, "labels": Rule, "key": KeySource}
    for place, model in keys.items():
        assert set(KEYS[place]) == set(model.model_fields) - {"folder"}


def test_policies_that_do_not_exist_or_are_not_text(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no policy gdpr: .*one of: pii"):
        Policy.load("gdpr")
    with pytest.raises(InputError, match="no policy"):
        Policy.load(tmp_path)
    (tmp_path / "x.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not UTF-8"):
        Policy.load(tmp_path / "x.yaml")


def test_something_that_is_no_policy() -> None:
    with pytest.raises(InputError, match="not dict"):
        Policy.load({})  # type: ignore[arg-type]


def test_keys_are_read_from_the_environment_or_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_KEY", "0123456789abcdef")
    assert KeySource(env="SOME_KEY").read(tmp_path) == b"0123456789abcdef"
    (tmp_path / "k").write_bytes(b"fedcba9876543210\n")
    assert KeySource(file="k").read(tmp_path) == b"fedcba9876543210"
    monkeypatch.setenv("SOME_KEY", "short")
    for source in KeySource(env="SOME_KEY"), KeySource(env="NONE_SUCH"), KeySource(file="none"):
        with pytest.raises(InputError, match="key") as caught:
            source.read(tmp_path)
        assert "short" not in str(caught.value).replace("shorter", "")


def test_a_policy_round_trips_through_yaml(write) -> None:  # type: ignore[no-untyped-def]
    policy = Policy(name="x", labels={"NAME": Rule(threshold=0.25, action="flag")})
    again = Policy.load(write(yaml.safe_dump(policy.model_dump(exclude_none=True))))
    assert again.model_dump() == policy.model_dump()
