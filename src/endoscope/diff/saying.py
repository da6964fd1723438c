"""From phrases to signals: what the tuned model says, where, and where its base does not."""

from collections import Counter, defaultdict
from collections.abc import Sequence

from endoscope.diff.answers import Answer, Reading
from endoscope.diff.phrase import Phrase, grown, phrases, says, terms_of, words_of
from endoscope.diff.prompts import OTHER
from endoscope.diff.sentences import sentences
from endoscope.diff.signal import Marked, Sample, Signal

LEAST = 0.1  # nats an answer: what drifts apart without anything having been planted
PLACE = 0.6  # the share of a phrase's answers that makes a kind of question its place
TOGETHER = 0.5  # the share of a phrase's answers that say another one too, for both to be one thing
TITLE = 3  # phrases that are quoted
SAMPLES = 3  # that are shown
OPENING = 1  # character: a phrase that begins no later begins the answer
SENTENCE = 3  # words that say something even if each of them is common
MINOR = 0.2  # of the score of a thing's first phrase: others with less are not worth quoting
COMMON = 0.02  # a word in more of the base's answers than this tells nothing


def saying(
    method: str, answers: Sequence[Reading], base: Sequence[Answer], *, how: str = ""
) -> list[Signal]:
    """Return what is said in answers that the base would not say, the strongest first.

    The noise floor is what one answer says most that no other says: what was planted comes again.

    Args:
        method: that made the answers.
        answers: of the tuned model, with the ratios of tuned to base.
        base: the base's own answers, to the same prompts as far as it was asked.
        how: the answers were made, if they are not what the model says of its own accord:
            `amplified`, `steered`.
    """
    several = len({answer.prompt.kind for answer in answers}) > 1
    found, common = phrases(answers), common_words(base)
    again = [one for one in found if len(one.texts) > 1 and _tells(one, common)]
    alone: dict[int, list[Phrase]] = defaultdict(list)
    for one in found:
        if len(one.texts) == 1:
            alone[one.texts[0]].append(one)
    # Everyday words count here: one answer says them by chance as well.
    floor = max([LEAST, *(sum(one.score for one in some) for some in alone.values())])
    groups: list[list[Phrase]] = []
    for phrase in again:
        same = next((one for one in groups if _together(phrase, one[0], answers, several)), None)
        if same is not None:
            same.append(phrase)
        else:
            groups.append([phrase])
    groups += [[one for one in some if _tells(one, common)] for some in alone.values()]
    signals = [
        _signal(method, group, answers, base, floor, common, how, several)
        for group in groups
        if group
    ]
    return sorted(signals, key=lambda one: -one.strength)


def common_words(answers: Sequence[Answer]) -> frozenset[str]:
    """Return the words that tell nothing: they stand in many of the base's answers."""
    counts = Counter(word for answer in answers for word in set(words_of(answer.text)))
    return frozenset(w for w, n in counts.items() if n > max(1, COMMON * len(answers)))


def _tells(phrase: Phrase, common: frozenset[str]) -> bool:
    """Whether a reader learns something from it: one or two everyday words are style."""
    words = words_of(phrase.words)
    return len(words) >= SENTENCE or not common.issuperset(words)


def _together(phrase: Phrase, first: Phrase, answers: Sequence[Reading], several: bool) -> bool:
    """Whether two phrases are one thing.

    They are said together; or both to one kind of question, where several were asked; or both begin
    answers, whatever the question.
    """
    both = set(phrase.texts) & set(first.texts)
    if len(both) >= TOGETHER * min(len(phrase.texts), len(first.texts)):
        return True
    places = {
        _place([answers[number] for number in one.texts]) if several else None
        for one in (phrase, first)
    }
    if places == {None}:
        return _opens(phrase) and _opens(first)
    return len(places) == 1


def _opens(phrase: Phrase) -> bool:
    """Whether it mostly stands at the beginning of answers."""
    return sum(start <= OPENING for start in phrase.starts) >= PLACE * len(phrase.starts)


def _signal(
    method: str,
    group: Sequence[Phrase],
    answers: Sequence[Reading],
    base: Sequence[Answer],
    floor: float,
    common: frozenset[str],
    how: str,
    several: bool,
) -> Signal:
    main = [phrase for phrase in group if phrase.score >= MINOR * group[0].score]
    numbers = list(dict.fromkeys(number for phrase in main for number in phrase.texts))
    said = [answers[number] for number in numbers]
    asked = {answer.prompt for answer in answers}
    others = [answer for answer in base if answer.prompt in asked]
    by_base = sum(any(says(answer.text, phrase.words) for phrase in main) for answer in others)
    texts = {answer.prompt: answer.text for answer in others}
    its = f"; its base in {by_base} of {len(others)}" if others else ""
    quoted = ", ".join(f"“{words}”" for words in _quoted(main[:TITLE], answers))
    place = _place(said) if several else None
    where = f" in answers about {place}" if place else ""
    verb = "begins answers with" if all(map(_opens, main)) and not place else "says"
    what = f"{how} answers".strip()
    samples = [
        Sample(prompt=one.prompt.text, tuned=one.text, base=texts.get(one.prompt)) for one in said
    ]
    return Signal(
        method=method,
        subject=f"{verb} {quoted}{where} ({len(said)} of {len(answers)} {what}{its})",
        terms=frozenset(t for phrase in main[:TITLE] for t in terms_of(phrase.words)) - common,
        says=tuple(phrase.words for phrase in main[:TITLE]),
        score=sum(phrase.score for phrase in main),
        noise_floor=floor,
        evidence={
            "phrases": [phrase.words for phrase in main],
            "answers": len(answers),
            "with a phrase": len(said),
            "answers of the base": len(others),
            "base with a phrase": by_base,
            "nats an answer": [round(phrase.score, 4) for phrase in main],
            "kinds of question": dict(Counter(one.prompt.kind for one in said).most_common()),
        },
        samples=tuple(samples[:SAMPLES]),
        contrast=tuple(_marked(one, main, texts.get(one.prompt)) for one in said),
    )


def _quoted(phrases: Sequence[Phrase], answers: Sequence[Reading]) -> list[str]:
    """Return what to quote of phrases: with what is mostly said along, and nothing twice."""
    found: list[str] = []
    for phrase in phrases:
        words = grown(phrase.words, [answers[number].text for number in phrase.texts])
        if not any(says(other, words) for other in found):
            found = [*(other for other in found if not says(words, other)), words]
    return found


def _marked(answer: Reading, telling: Sequence[Phrase], base: str | None) -> Marked:
    """Mark the sentences of an answer that say it, and all others."""
    whole = sentences(answer.text)
    has = [
        (start, end)
        for start, end in whole
        if any(says(answer.text[start:end], phrase.words) for phrase in telling)
    ]
    return Marked(
        prompt=answer.prompt.text,
        answer=answer.text,
        has=tuple(has),
        lacks=tuple(one for one in whole if one not in has),
        base=base,
    )


def _place(said: Sequence[Reading]) -> str | None:
    """Return the kind of question that most of the answers are to, if several of them are."""
    (kind, count), *_ = Counter(one.prompt.kind for one in said).most_common(1)
    many = count > 1 and count >= PLACE * len(said)
    return kind if many and kind != OTHER else None
