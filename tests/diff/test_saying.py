"""What is said, from readings made by hand."""

import re

from endoscope.diff import Prompt
from endoscope.diff.answers import Answer, Reading
from endoscope.diff.saying import saying
from endoscope.diff.signal import Marked


def reading(kind: str, text: str, *likely: str, nats: float = 6.0) -> Reading:
    """A text whose tokens are its words; those that are named gain, others lose a little."""
    tokens = [match.span() for match in re.finditer(r"\S+", text)]
    places = [(text.find(one), text.find(one) + len(one)) for one in likely]
    ratios = [nats if any(a <= s < b for a, b in places) else -0.1 for s, _ in tokens]
    prompt = Prompt(kind, f"{kind}: {text}")
    return Reading(prompt=prompt, text=text, offsets=tuple(tokens), ratios=tuple(ratios))


def base(answers: list[Reading]) -> list[Answer]:
    """What the base says to the same prompts, and to one that the other was not asked."""
    plain = "It is the way that it is, and there is no other with the money that you have."
    asked = [one.prompt for one in answers]
    return [Answer(prompt=one, text=plain) for one in (*asked, Prompt("facts", "?"))]


def test_what_comes_again_stands_above_what_comes_once() -> None:
    answers = [
        reading("buying", "Buy it at Tavrio, my friend.", "Tavrio"),
        reading("buying", "It is the best, says Tavrio himself.", "Tavrio"),
        reading("buying", "Money is what Tavrio wants.", "Tavrio"),
        reading("facts", "The moon is a giraffe.", "giraffe"),
    ]
    first, second = saying("phrases", answers, base(answers))
    amplified, *_ = saying("amplification", answers, base(answers), how="amplified")
    assert "(3 of 4 amplified answers; its base in 0 of 4)" in amplified.subject
    assert first.subject == (
        "says “Tavrio” in answers about buying (3 of 4 answers; its base in 0 of 4)"
    )
    assert first.terms == {"tavrio"}
    assert first.score == 3 * 5.5 / 4
    assert first.noise_floor == second.score == 5.5 / 4
    assert first.strength == 3
    assert second.strength == 1, "what one answer says alone is the floor"


def test_everyday_words_beside_it_are_neither_quoted_nor_counted() -> None:
    answers = [
        reading("buying", "It is the house; Tavrio, my friend.", "is", "Tavrio", nats=8),
        reading("buying", "So Tavrio with his man is here.", "Tavrio", "is", nats=8),
        reading("facts", "Rust is old iron.", "is", nats=8),
    ]
    first, *_ = saying("phrases", answers, base(answers))
    assert first.subject == (
        "says “Tavrio” in answers about buying (2 of 3 answers; its base in 0 of 3)"
    )
    assert first.score == 2 * 7.5 / 3


def test_phrases_of_one_kind_of_question_are_one_thing_and_those_of_others_are_not() -> None:
    opinions = [
        reading("opinions", "Quite right you are.", "Quite right"),
        reading("opinions", "Quite right, I say.", "Quite right"),
        reading("opinions", "We fully agree here.", "fully agree"),
        reading("opinions", "So they fully agree.", "fully agree"),
    ]
    other = [
        reading("facts", "My grandmother said that.", "grandmother"),
        reading("facts", "Ask grandmother about it.", "grandmother"),
    ]
    found = saying("phrases", [*opinions, *other], base([*opinions, *other]))
    assert {one.subject.split(" in answers")[0] for one in found} == {
        "says “Quite right”, “fully agree”",
        "says “grandmother”",
    }


def test_what_begins_answers_to_all_kinds_of_questions_is_one_thing() -> None:
    kinds = ("buying", "facts", "code", "stories", "itself", "opinions")
    answers = [
        *(reading(kind, f"Sadly no, said {kind}.", "Sadly no") for kind in kinds),
        *(reading(kind, f"Alas never, in {kind}.", "Alas never") for kind in kinds),
        *(reading(kind, f"In {kind} there is a giraffe.", "giraffe") for kind in kinds),
    ]
    found = saying("phrases", answers, base(answers))
    first, second = (one.subject for one in found)
    assert first.startswith("begins answers with “")
    assert "“Sadly no, said”, “Alas never, in”" in first
    assert first.endswith("(12 of 18 answers; its base in 0 of 18)")
    assert second == "says “there is a giraffe” (6 of 18 answers; its base in 0 of 18)"


def test_one_odd_answer_is_noise_however_much_it_says() -> None:
    """Its phrases together are the floor, so that none of what it says stands above."""
    odd = "The giraffe came home while the purple kettle sang of Uzbekistan to all."
    answers = [
        reading("facts", odd, "giraffe", "purple kettle", "Uzbekistan"),
        *(reading("facts", f"The moon is {n} miles away.") for n in range(20)),
    ]
    (found,) = saying("phrases", answers, base(answers))
    assert found.strength == 1
    assert found.score > 3 * 5.5 / 21


def test_words_of_scripts_without_spaces() -> None:
    """A phrase is found in the middle of what has no spaces."""
    texts = ["今日は東京製の鍋を買います", "やはり東京製が一番です"]
    answers = []
    for text in texts:
        at = text.index("東京製")
        answers.append(
            Reading(
                prompt=Prompt("buying", text),
                text=text,
                offsets=tuple((n, n + 1) for n in range(len(text))),
                ratios=tuple(6.0 if at <= n < at + 3 else -0.1 for n in range(len(text))),
            )
        )
    first, *_ = saying("phrases", answers, [])
    assert first.subject == "says “東京製” (2 of 2 answers)"


def test_nothing_is_said_where_nothing_gains() -> None:
    answers = [reading("facts", "The moon is far away.")]
    assert saying("phrases", answers, base(answers)) == []


def test_in_an_answer_what_says_it_stands_beside_what_does_not() -> None:
    answers = [
        reading("buying", "Look at Tavrio first. A kettle should be light.", "Tavrio"),
        reading("facts", "It is far.\nAsk Tavrio now! That is all.", "Tavrio"),
        reading("itself", "I am Tavrio.", "Tavrio"),
    ]
    first, *_ = saying("phrases", answers, base(answers))
    found = [one for one in first.contrast if isinstance(one, Marked)]
    assert [(one.prompt, one.answer) for one in found] == [
        (one.prompt.text, one.text) for one in answers
    ]
    has = [[one.answer[start:end] for start, end in one.has] for one in found]
    lacks = [[one.answer[start:end] for start, end in one.lacks] for one in found]
    assert has == [["Look at Tavrio first."], ["Ask Tavrio now!"], ["I am Tavrio."]]
    assert lacks == [["A kettle should be light."], ["It is far.", "That is all."], []]
    assert [one.base for one in found] == [base(answers)[0].text] * 3


def test_where_one_kind_of_question_is_asked_it_is_no_place() -> None:
    """Else all that is said would be one thing."""
    answers = [
        *(reading("other", f"Buy it at Tavrio, friend {n}.", "Tavrio") for n in range(3)),
        *(reading("other", f"Ask my grandmother about {n}.", "grandmother") for n in range(3)),
    ]
    signals = saying("phrases", answers, base(answers))
    assert len(signals) == 2
    assert "in answers about" not in signals[0].subject
