"""The guard: a policy over the scores of a probe."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Self, overload

from pydantic import JsonValue

from endoscope.errors import InputError
from endoscope.guard.files import Source, Target
from endoscope.guard.graphemes import Graphemes
from endoscope.guard.lines import Summary, redact_lines
from endoscope.guard.policy import Language, Policy
from endoscope.guard.redact import Redaction, Replacer, redact
from endoscope.guard.scoring import Scorer, UnscoredError, check, language, score
from endoscope.guard.settle import settle, whole
from endoscope.guard.spans import Span, from_scores
from endoscope.guard.stream import GuardStream
from endoscope.guard.text import redact_text
from endoscope.guard.validators import FOUND_ALONE, validated
from endoscope.guard.words import share_words
from endoscope.readouts import TokenScores

if TYPE_CHECKING:
    from endoscope.guard.side import SideWatch
    from endoscope.probes import Probe

Texts = list[str] | tuple[str, ...]  # a string is a sequence of strings, but no list of texts


class Guard:
    """Finds what a policy names in texts, and takes it out.

    It fails closed: what a probe could not score is an `UnscoredError`, never a clean text.
    Pseudonyms are kept for as long as the guard lives.

    Args:
        policy: what to look for and what to do with it.
        scorers: what reads the texts: one for all, or one for each language.

    Raises:
        InputError: the policy names a label that the probe does not know and that has no form of
            its own, or its key cannot be read.

    Example:
        >>> guard = Guard.load("pii")
        >>> guard.redact("Call Mary Jones on 020 7946 0958.").redacted
        'Call [NAME] on [PHONE].'
    """

    def __init__(self, policy: Policy, scorers: Scorer | Mapping[Language, Scorer]) -> None:
        if policy.scope == "document":
            raise InputError(
                f"Policy {policy.name!r} judges whole texts, and a guard looks for values.",
                "Judge text at hand with Probe.score_documents, a stream with DocumentStream.",
            )
        self.policy = policy
        self._scorers: Mapping[Language, Scorer] = (
            scorers if isinstance(scorers, Mapping) else {"en": scorers, "ja": scorers}
        )
        self._replacer = Replacer(policy)
        self._thresholds = {
            name: thresholds(policy, scorer) for name, scorer in self._scorers.items()
        }

    @classmethod
    def load(
        cls,
        policy: str | Path | Policy = "pii",
        *,
        model: str | None = None,
        probe: str | Path | None = None,
        device: str = "auto",
    ) -> Self:
        """Open a policy, the probes it names and the models they read.

        Args:
            policy: one that comes with Endoscope, a YAML file, or a `Policy`.
            model: the model whose probe `auto` means; the default reads English and Japanese.
            probe: a probe to read with instead of the policy's: the name of one that comes with
                Endoscope, such as `"pii-gemma-3-270m-stream"`, or a folder.
            device: where it runs; `auto` takes an accelerator where there is one.

        Raises:
            InputError: there is no such policy, probe or model.
        """
        from endoscope.guard.loading import load_scorers

        opened = policy if isinstance(policy, Policy) else Policy.load(policy)
        return cls(opened, load_scorers(opened, model, device, probe))

    @overload
    def scan(self, texts: str) -> list[Span]: ...
    @overload
    def scan(self, texts: Texts) -> list[list[Span]]: ...
    def scan(self, texts: str | Texts) -> list[Span] | list[list[Span]]:
        """Find what the policy names.

        Args:
            texts: a text, or several, which are scored together.

        Returns:
            The spans of the text, in order and without overlaps; for several texts a list of them.

        Raises:
            UnscoredError: a text could not be scored.
        """
        if isinstance(texts, str):
            return self._scan([texts])[0]
        if not isinstance(texts, list | tuple) or not all(isinstance(t, str) for t in texts):
            raise InputError("The guard reads a text or a list of texts.", "Give strings.")
        return self._scan(texts)

    @overload
    def redact(self, texts: str) -> Redaction: ...
    @overload
    def redact(self, texts: Texts) -> list[Redaction]: ...
    def redact(self, texts: str | Texts) -> Redaction | list[Redaction]:
        """Find what the policy names and replace it.

        Raises:
            UnscoredError: a text could not be scored.
        """
        if isinstance(texts, str):
            return self.replace(texts, self.scan(texts))
        found = self.scan(texts)
        return [self.replace(text, spans) for text, spans in zip(texts, found, strict=True)]

    def scores(self, text: str) -> TokenScores:
        """Return what the probe saw in a text: the probabilities of each token, as they came.

        Raises:
            UnscoredError: the text could not be scored.
        """
        return score(self._scorer(language(text)), [text])[0]

    def redact_each(self, texts: list[str]) -> Iterator[Redaction | UnscoredError]:
        """Yield for each text its redaction, or why it could not be scored.

        The texts are scored together; only if that fails, each alone.
        """
        try:
            yield from self.redact(texts)
            return
        except UnscoredError as error:
            if len(texts) == 1:
                yield error
                return
        for text in texts:
            yield from self.redact_each([text])

    def lines(
        self,
        source: Source,
        target: Target,
        *,
        keep_text: bool = False,
        advance: Callable[[int], None] = lambda amount: None,
    ) -> Summary:
        """Redact JSONL: `{"id", "text"}` in, `{"id", "redacted", "spans"}` out.

        See `endoscope.guard.lines.redact_lines`.
        """
        return redact_lines(self, source, target, keep_text=keep_text, advance=advance)

    def text(
        self,
        source: Source,
        target: Target,
        *,
        warn: Callable[[str], None] = lambda problem: None,
        advance: Callable[[int], None] = lambda amount: None,
    ) -> Summary:
        """Redact plain text of any length, in pieces as it comes.

        See `endoscope.guard.text.redact_text`.
        """
        return redact_text(self, source, target, warn=warn, advance=advance)

    @property
    def identity(self) -> dict[str, JsonValue]:
        """What its answers depend on, apart from the text."""
        return {
            "endoscope": version("endoscope"),
            "policy": self.policy.model_dump(mode="json"),
            "key": self._replacer.identity,
            "probes": {name: scorer.name for name, scorer in self._scorers.items()},
        }

    def replace(self, text: str, spans: Sequence[Span]) -> Redaction:
        """Replace spans that have been found; pseudonyms count them as `redact` does."""
        return redact(text, spans, self._replacer)

    def spans(self, text: str, scores: TokenScores) -> list[Span]:
        """Find what the policy names in a text whose scores are known, such as `scores` gives.

        Raises:
            UnscoredError: the scores leave out some of the text, or nobody reads its language.
        """
        name = language(text)
        check(text, scores, self._scorer(name).labels)
        return self._spans(text, scores, self._thresholds[name])

    def stream(self) -> GuardStream:
        """Return a guard over one text that is still being written.

        It is given the text and its scores, and counts pseudonyms together with this guard.

        Raises:
            InputError: the guard has several probes, and which language a text is in is known only
                at its end.
        """
        scorer, limits = self._for_any(), self._thresholds["en"]
        return GuardStream(self.policy, scorer.labels, limits, self._replacer, tuple(self._scorers))

    def watch(self) -> "SideWatch":
        """Return a guard over one text that is still being written, which scores it itself.

        Raises:
            InputError: as `stream`; or the probe cannot score a text before its end.
        """
        from endoscope.guard.loading import ProbeScorer
        from endoscope.guard.side import SideWatch

        scorer = self._for_any()
        if not isinstance(scorer, ProbeScorer):
            raise InputError("Only a probe with its model can read a text as it comes.")
        return SideWatch(self.stream(), scorer)

    def _for_any(self) -> Scorer:
        """The scorer for texts whose language is not known yet."""
        english = self._scorers.get("en")
        if english is None or self._scorers.get("ja", english) is not english:
            raise InputError(
                "In a stream one probe must read every language.",
                "Take one that reads both, such as pii-gemma-3-270m-stream.",
            )
        return english

    def _scan(self, texts: Sequence[str]) -> list[list[Span]]:
        found: list[list[Span]] = [[] for _ in texts]
        by_language: dict[Language, list[int]] = {}
        for index, text in enumerate(texts):
            by_language.setdefault(language(text), []).append(index)
        for name, indices in by_language.items():
            scored = score(self._scorer(name), [texts[index] for index in indices])
            for index, scores in zip(indices, scored, strict=True):
                try:
                    found[index] = self._spans(texts[index], scores, self._thresholds[name])
                except Exception as error:
                    # One text that no rule foresaw must not end the work on all others.
                    # Its message may quote the text, and a traceback would show it.
                    raise UnscoredError(f"the rules failed ({type(error).__name__})") from None
        return found

    def _scorer(self, name: Language) -> Scorer:
        scorer = self._scorers.get(name)
        if scorer is None:
            other = {"en": "other languages than Japanese", "ja": "Japanese"}[name]
            raise UnscoredError(f"no probe of this guard reads {other}")
        return scorer

    def _spans(self, text: str, scores: TokenScores, limits: Mapping[str, float]) -> list[Span]:
        """Probe, validators, then whole characters and no overlaps."""
        spans = from_scores(text, share_words(text, scores), limits)
        if self.policy.validators:
            spans += validated(text, spans, self.policy.labels)
        if not spans:
            return []
        graphemes = Graphemes(text)
        return settle(text, whole(spans, graphemes), self.policy.redacted, graphemes)

    def __repr__(self) -> str:
        return f"Guard({self.policy.name!r}: {', '.join(self.policy.labels)})"


def thresholds(policy: Policy, scorer: "Scorer | Probe") -> dict[str, float]:
    """The threshold of each label of a policy that a probe knows."""
    known = set(scorer.labels[1:])
    alone = FOUND_ALONE if policy.validators and policy.scope == "spans" else set()
    if unknown := sorted(set(policy.labels) - known - alone):
        raise InputError(
            f"Policy {policy.name!r} names labels that its probe does not have: "
            f"{', '.join(unknown)}.",
            f"It has: {', '.join(sorted(known))}. Leave the others out of a policy of your own, or "
            "take another probe.",
        )
    return {
        label: scorer.thresholds[label] if rule.threshold == "probe" else rule.threshold
        for label, rule in policy.labels.items()
        if label in known
    }
