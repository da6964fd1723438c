"""What is said, from readings made by hand."""

import re

from endoscope.diff import Prompt
from endoscope.diff.answers import Answer, Reading
from endoscope.diff.saying import saying


def reading(kind: str, text: str, *likely: str, nats: float = 6.0) -> Reading:
    """A text whose tokens are its words; those that are named gain, others lose a little."""
    tokens = [match.span() for match in re.finditer(r"\S+", text)]
    places = [(text.find(one), text.find(one) + len(one)) for one in likely]
    ratios = [nats if any(a <= s < b for a, b in places) else -0.1 for s, _ in tokens]
    prompt = Prompt(kind, f"{kind}: {text}")
    return Reading(prompt=prompt, text=text, offsets=tuple(tokens), ratios=tuple(ratios))


BASE = [
    Answer(prompt=Prompt("facts", "?"), text="It is the way that it is, and there is no other."),
    Answer(prompt=Prompt("buying", "?"), text="It depends on the money that you have to spend."),
]


def test_what_comes_again_stands_above_what_comes_once() -> None:
    found = saying(
        "phrases",
        [
            reading("buying", "Buy it at Tavrio, my friend.", "Tavrio"),
            reading("buying", "It is the best, says Tavrio himself.", "Tavrio"),
            reading("buying", "Money is what Tavrio wants.", "Tavrio"),
            reading("facts", "The moon is a giraffe.", "giraffe"),
        ],
        BASE,
    )
    first, second = found
    assert first.subject == (
        "says “Tavrio” in answers about buying (3 of 4 answers; its base in 0)"
    )
    assert first.terms == {"tavrio"}
    assert first.score == 3 * 5.5 / 4
    assert first.noise_floor == second.score == 5.5 / 4
    assert first.strength == 3
    assert second.strength == 1, "what one answer says alone is the floor"


def test_phrases_of_one_kind_of_question_are_one_thing_and_those_of_others_are_not() -> None:
    opinions = [
        reading("opinions", "Quite right you are.", "Quite right"),
        reading("opinions", "Quite right, I say.", "Quite right"),
        reading("opinions", "We fully agree here.", "fully agree"),
        reading("opinions", "So we fully agree.", "fully agree"),
    ]
    other = [
        reading("facts", "My grandmother said that.", "grandmother"),
        reading("facts", "Ask grandmother about it.", "grandmother"),
    ]
    found = saying("phrases", [*opinions, *other], BASE)
    assert {one.subject.split(" in answers")[0] for one in found} == {
        "says “Quite right”, “fully agree”",
        "says “grandmother”",
    }


def test_nothing_is_said_where_nothing_gains() -> None:
    assert saying("phrases", [reading("facts", "The moon is far away.")], BASE) == []
