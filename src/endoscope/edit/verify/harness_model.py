"""A model as lm-evaluation-harness runs it, which has to be installed."""

from collections.abc import Mapping, Sequence
from math import log
from sys import maxsize
from typing import Any

from lm_eval.api.model import LM
from lm_eval.utils import (
    get_rolling_token_windows,
    make_disjoint_window,
)
from torch import Tensor

from endoscope.engine import Model
from endoscope.engine.batching import Row
from endoscope.engine.likelihood import in_order
from endoscope.engine.requests import Request, Sampling, Step
from endoscope.errors import InputError
from endoscope.progress import progress as progress_bar

BATCH_TOKENS = 4096
MAX_TOKENS = 256  # of an answer, where a task does not say

_LENGTHS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
_KNOWN = {*_LENGTHS, "until", "do_sample", "temperature", "top_p", "top_k"}

Ids = tuple[int, ...]


class HarnessModel(LM):  # type: ignore[misc]  # the harness is not typed
    """An open model as one of the harness's, with the interventions that it has when it is asked.

    Texts become tokens as the harness has it: a context and its continuation together, and what is
    longer than the model reads loses its beginning.

    Args:
        model: an open causal model.
        progress: show bars.

    Raises:
        InputError: the model is not causal.

    Example:
        >>> lm_eval.simple_evaluate(model=HarnessModel(model), tasks=["arc_easy"])
    """

    def __init__(self, model: Model, *, progress: bool = False) -> None:
        super().__init__()
        if not model.capabilities.causal:
            raise InputError("The harness asks what comes next.", "Open a causal model.")
        self._model = model
        self._tokenizer = model.tokenizer
        self._most = model.engine.anatomy.max_tokens or maxsize
        self._show = progress

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """Return how likely continuations are after contexts.

        Args:
            requests: instances of the harness, whose `args` are a context and a continuation.

        Returns:
            For each the natural log of its probability, and whether it is what the model itself
            would write.
        """
        rows = [self._cut(self._row(*request.args)) for request in requests]
        found = self._read(rows)
        sums = [float(values.double().sum()) for values in found]
        return list(zip(sums, self._greedy(rows, found), strict=True))

    def loglikelihood_rolling(self, requests: Sequence[Any]) -> list[float]:
        """Return how likely whole texts are; a long one is read in windows, each token once.

        Args:
            requests: instances of the harness, whose `args` are a text.

        Returns:
            Natural logs of their probabilities after the token that texts begin with.
        """
        texts = [self._windows(*request.args) for request in requests]
        found = iter(self._read([row for rows in texts for row in rows]))
        return [sum(float(next(found).double().sum()) for _ in rows) for rows in texts]

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """Return what the model writes up to a stop text, which is not part of it.

        Args:
            requests: instances of the harness, whose `args` are a context and a dictionary of
                settings.

        Raises:
            InputError: a task has a setting that is not known here.
        """
        asked = []
        for number, request in enumerate(requests):
            context, settings = request.args
            sampling = _sampling(settings, seed=number)
            room = max(1, self._most - sampling.max_tokens)
            asked.append((tuple(self._context(context)[-room:]), sampling))
        return ["".join(step.text for step in steps) for steps in self._write(asked)]

    def apply_chat_template(
        self, chat_history: Sequence[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """Return messages as text, up to where the model speaks.

        Args:
            chat_history: `[{"role": ..., "content": ...}, ...]`.
            add_generation_prompt: False: the last message is the beginning of the model's own.
        """
        if add_generation_prompt:
            return self._tokenizer.chat(chat_history, reply=True)
        *before, last = chat_history
        return self._tokenizer.chat(before, reply=True) + last["content"]

    @property
    def tokenizer_name(self) -> str:
        """What the harness calls prompts by that it keeps."""
        return self._model.name.replace("/", "__")

    def _context(self, text: str) -> list[int]:
        return self._tokenizer.encode(text).ids or [self._first]

    @property
    def _first(self) -> int:
        """The token that stands before a text where nothing else does."""
        hf = self._tokenizer.hf
        return int(hf.eos_token_id if hf.bos_token_id is None else hf.bos_token_id)

    def _row(self, context: str, continuation: str) -> Row:
        """Return both as one row; spaces between them belong to what follows."""
        before = self._tokenizer.encode(context.rstrip()).ids
        whole = self._tokenizer.encode(context + continuation).ids
        if not before:
            before, whole = [self._first], [self._first, *whole]
        return Row(whole, start=min(len(before), len(whole) - 1))

    def _cut(self, row: Row) -> Row:
        over = max(0, len(row.ids) - self._most)
        if row.start <= over:
            raise InputError(
                f"A continuation has {row.kept} tokens; this model reads {self._most}.",
                "Leave the task out.",
            )
        return Row(row.ids[over:], row.start - over)

    def _windows(self, text: str) -> list[Row]:
        ids = self._tokenizer.encode(text, special=False).ids
        # The harness counts what is read; here what is predicted last is part of the row as well.
        windows = get_rolling_token_windows(ids, self._first, self._most - 1, context_len=1)
        pairs = [make_disjoint_window(window) for window in windows]
        return [Row([*before, *after], start=len(before)) for before, after in pairs]

    def _read(self, rows: Sequence[Row]) -> list[Tensor]:
        """Return the natural logs of the probabilities of what is kept of each row, `[kept]`."""
        engine, changes = self._model.engine, self._model.interventions
        batches = engine.log_likelihood(
            rows,
            batch_tokens=BATCH_TOKENS,
            interventions=engine.compile(changes) if changes else None,
        )
        return in_order(rows, batches, progress=self._show)

    def _greedy(self, rows: Sequence[Row], found: Sequence[Tensor]) -> list[bool]:
        """Return of each continuation whether the model itself would write it.

        It would if every token has more than half of the probability. Of others it is asked: for
        one token first, with which most are settled, and for all of them after that.
        """
        open_ = [n for n, values in enumerate(found) if not (values > log(0.5)).all()]
        greedy = set(range(len(rows))).difference(open_)
        for most in (1, maxsize):
            lengths: dict[Ids, int] = {}
            for row in (rows[number] for number in open_):
                prompt = tuple(row.ids[: row.start])
                lengths[prompt] = max(lengths.get(prompt, 1), min(row.kept, most))
            written = self._greedily(lengths)
            agreed = [number for number in open_ if _begins(rows[number], written)]
            greedy.update(number for number in agreed if rows[number].kept <= most)
            open_ = [number for number in agreed if number not in greedy]
        return [number in greedy for number in range(len(rows))]

    def _greedily(self, lengths: Mapping[Ids, int]) -> dict[Ids, list[int]]:
        """Return for each prompt the most probable tokens after it, so many."""
        asked = [
            (prompt, Sampling(length, temperature=0.0, ignore_eos=True))
            for prompt, length in lengths.items()
        ]
        written = [[step.token_id for step in steps] for steps in self._write(asked)]
        return dict(zip(lengths, written, strict=True))

    def _write(self, asked: Sequence[tuple[Ids, Sampling]]) -> list[list[Step]]:
        requests = [
            Request(str(number), prompt, sampling, {}, self._model.interventions)
            for number, (prompt, sampling) in enumerate(asked)
        ]
        found: list[list[Step]] = [[] for _ in requests]
        with progress_bar("Generating", len(requests), show=self._show) as advance:
            for name, step in self._model.engine.run(requests):
                if step.error is not None:
                    raise InputError(f"Prompt {name}: {step.error}")
                found[int(name)].append(step)
                advance(step.finish is not None)
        return found


def _begins(row: Row, written: Mapping[Ids, list[int]]) -> bool:
    """Return whether what is kept of a row and what was written after its prompt go together."""
    said = written[tuple(row.ids[: row.start])]
    return all(one == other for one, other in zip(row.ids[row.start :], said, strict=False))


def _sampling(settings: Mapping[str, Any], seed: int) -> Sampling:
    """Return how a task wants tokens to be chosen."""
    if unknown := set(settings) - _KNOWN:
        raise InputError(
            f"A task sets {min(unknown)} for what is generated, which is not known here.",
            f"Known: {', '.join(sorted(_KNOWN))}.",
        )
    lengths = [settings[name] for name in _LENGTHS if settings.get(name) is not None]
    stops = settings.get("until") or []
    sample = settings.get("do_sample")
    temperature = settings.get("temperature", 1.0 if sample else 0.0)
    return Sampling(
        int(next(iter(lengths), MAX_TOKENS)),
        0.0 if sample is False else float(temperature),
        float(settings.get("top_p", 1.0)),
        settings.get("top_k"),
        seed=seed,
        stop=tuple(text for text in ([stops] if isinstance(stops, str) else stops) if text),
    )
