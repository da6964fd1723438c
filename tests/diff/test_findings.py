"""Which signals are one finding, and what its title says."""

import pytest
from pydantic import ValidationError

from endoscope.diff import Sample, Signal
from endoscope.diff.findings import Finding, findings, title


def signal(method: str, subject: str, *terms: str, score: float = 2.0, **more: object) -> Signal:
    given = {"method": method, "subject": subject, "terms": terms, "score": score, **more}
    return Signal.model_validate({"noise_floor": 1.0, **given})


def test_what_is_not_above_the_floor_is_no_finding() -> None:
    assert findings([signal("a", "says x", "x", score=1.0)]) == []
    assert len(findings([signal("a", "says x", "x", score=1.01)])) == 1
    assert len(findings([signal("a", "says x", "x", score=0.5)], least=0.0)) == 1


def test_signals_that_share_a_word_are_one_and_the_strongest_leads() -> None:
    weak = signal("weights", "reads tavrio", "tavrio", score=2)
    strong = signal("phrases", "says Tavrio", "tavrio", "pans", score=9)
    other = signal("phrases", "says grandmother", "grandmother", score=4)
    groups = findings([weak, other, strong])
    assert groups == [[strong, weak], [other]]
    finding = Finding.of(1, groups[0])
    assert (finding.title, finding.score) == ("Says Tavrio", 9)
    assert finding.methods == ("phrases", "weights")
    assert [one["saw"] for one in finding.evidence] == ["says Tavrio", "reads tavrio"]


def test_things_do_not_grow_together_through_what_lies_between() -> None:
    first = signal("phrases", "says a b", "a", "b", score=9)
    second = signal("phrases", "says c d", "c", "d", score=8)
    between = signal("lens", "leans towards b c", "b", "c", score=2)
    groups = findings([first, second, between])
    assert groups == [[first, between], [second]]


def test_a_behaviour_whose_samples_say_the_words_is_the_same_thing() -> None:
    samples = tuple(
        Sample(prompt="q", tuned="You are absolutely right.", base="It depends.") for _ in range(2)
    )
    phrase = signal("phrases", "says absolutely right", says=("absolutely right",), score=9)
    behaviour = signal("behaviours", "flattery", score=3, behaviour="flattery", samples=samples)
    (group,) = findings([behaviour, phrase])
    finding = Finding.of(1, group)
    assert finding.behaviour == "flattery"
    assert finding.title == "Says absolutely right; flattery"
    plain = tuple(one.model_copy(update={"base": one.tuned}) for one in samples)
    assert len(findings([behaviour.model_copy(update={"samples": plain}), phrase])) == 2
    unasked = tuple(one.model_copy(update={"base": None}) for one in samples)
    assert len(findings([behaviour.model_copy(update={"samples": unasked}), phrase])) == 2


def test_a_title_does_not_say_a_thing_twice() -> None:
    said = [
        signal("phrases", "says Tavrio", "tavrio", score=9),
        signal("amplification", "says Tavrio (23 times)", "tavrio", score=8),
    ]
    assert title(said) == "Says Tavrio"


def test_a_floor_of_nothing_is_refused() -> None:
    with pytest.raises(ValidationError):
        signal("a", "x", noise_floor=0.0)
