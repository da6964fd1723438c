"""Many requests on one model: they join and leave its batch between two tokens.

Nothing here waits or runs in the background: `step` runs one forward pass, and the same requests
added and cancelled between the same steps give the same answers.
"""

from collections import deque

import torch
from torch import Tensor

from endoscope.engine.passes import Pass
from endoscope.engine.preparing import Preparing
from endoscope.engine.requests import DEFAULT, Limits, Request, Step
from endoscope.engine.running import Running
from endoscope.engine.sampling import Choice, choose
from endoscope.engine.transformers_batch import TransformersBatch
from endoscope.errors import InputError
from endoscope.interventions import Compiled, Operator

MOST_PIECES = 4


class Core:
    """Runs requests, one forward pass a step.

    The batch is: rows that generate, one token a pass; behind them the prompt that is being read,
    in pieces, or a few of about one length. A pass is of one kind or the other, in turns; where
    many wait and few generate, up to `MOST_PIECES` of the second kind come in a row.

    Args:
        batch: the rows of the model.
        prepare: checks a request and makes it ready to run.
        limits: how much runs at once.
    """

    def __init__(
        self,
        batch: TransformersBatch,
        prepare: Preparing,
        limits: Limits = DEFAULT,
    ) -> None:
        self.prepare = prepare
        self._batch = batch
        self._operator = Operator(batch.device, batch.dtype)
        self._limits = limits
        self._waiting: deque[Running] = deque()
        self._joining: list[Running] = []
        self._rows: list[Running] = []
        self._slots = set(range(1, limits.requests + 1))
        self._cancelled: set[str] = set()
        self._pieces = 1  # of prompts, before the next token of those that generate
        self._decoding: Pass | None = None  # the same until somebody joins or leaves

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return not (self._waiting or self._joining or self._rows)

    @property
    def cache_bytes(self) -> int:
        """How much memory keys and values take now."""
        return self._batch.cache.bytes

    def add(self, request: Request) -> None:
        """Let a request wait for its turn.

        Raises:
            InputError: it cannot run on this model, or its id is in use.
        """
        if any(one.request.id == request.id for one in self._everybody()):
            raise InputError("A request of this id is running.", "Give each its own.")
        self.enter(self.prepare(request))

    def enter(self, running: Running) -> None:
        """Let a request that `prepare` gave wait for its turn."""
        self._waiting.append(running)

    def cancel(self, request_id: str) -> None:
        """End a request before its next token; the next step says so. Unknown ones are ignored."""
        if any(one.request.id == request_id for one in self._everybody()):
            self._cancelled.add(request_id)

    def intervene(self, request_id: str, more: Compiled) -> None:
        """Put more interventions on a request, from its next pass on. Unknown ones are ignored."""
        for running in (*self._waiting, *self._joining, *self._rows):
            if running.request.id != request_id:
                continue
            running.compiled = more if running.compiled is None else running.compiled.then(more)
            if running in self._waiting:
                return
            if running.slot:
                self._operator.extend(running.slot, more, running.done)
            else:
                self._admit(running, max(running.done, running.unscored))
            self._decoding = None

    @torch.inference_mode()
    def step(self) -> list[tuple[str, Step]]:
        """Run one forward pass at most and return what came of it, request by request."""
        out = self._cancel()
        if not self._rows:
            self._pieces = self._patience()
        if self._pieces:
            self._invite()
            if self._joining:
                self._pieces = max(0, self._pieces - 1)
                return out + self._read_prompts()
        if not self._rows:
            return out
        self._pieces = self._patience()
        return out + self._generate()

    def _patience(self) -> int:
        """How many pieces are read in a row: the more wait for each that generates, the more."""
        return min(MOST_PIECES, max(1, len(self._waiting) // max(1, len(self._rows))))

    def _cancel(self) -> list[tuple[str, Step]]:
        names, self._cancelled = self._cancelled, set()
        ended = [one for one in self._everybody() if one.request.id in names] if names else []
        for one in ended:
            self._leave(one)
        return [(one.request.id, one.end("cancelled")) for one in ended]

    def _everybody(self) -> tuple[Running, ...]:
        return (*self._rows, *self._joining, *self._waiting)

    def _invite(self) -> None:
        """Choose whose prompts are read next: the first that waits, and who fits beside it."""
        ready = [] if self._joining else self._ready()
        for one in sorted(ready, key=lambda one: abs(one.prompt_left - ready[0].prompt_left)):
            if self._fits(one):
                self._waiting.remove(one)
                self._joining.append(one)
                if one.compiled is not None:
                    self._admit(one, one.unscored)

    def _ready(self) -> list[Running]:
        """The first that wait, as many as there is room for: none of them delays another."""
        ready: list[Running] = []
        longest = max((one.longest for one in self._rows), default=0)
        for one in self._waiting:
            count = len(self._rows) + len(ready) + 1
            longest = max(longest, one.longest)
            if count > self._limits.requests:
                break
            if count > 1 and count * longest > self._limits.cache_tokens:
                break
            ready.append(one)
        return ready

    def _admit(self, running: Running, first: int) -> None:
        """Give a request a slot for its interventions, whose gates read from a position on."""
        assert running.compiled is not None
        running.slot = self._slots.pop()
        prompt = len(running.request.token_ids)
        self._operator.admit(running.slot, running.compiled, prompt, unscored=first)

    def _fits(self, running: Running) -> bool:
        """Whether a prompt can be read beside those that are joining, with little padding."""
        if not self._joining:
            return True  # however long: it is read in pieces
        lengths = [one.prompt_left for one in (*self._joining, running)]
        padded = len(lengths) * max(lengths)
        return padded <= self._limits.prompt_tokens and padded <= 1.25 * sum(lengths)

    def _read_prompts(self) -> list[tuple[str, Step]]:
        """Read the next piece of the prompts that are joining, and sample where they end."""
        joining, first = self._joining, len(self._rows)
        start = joining[0].done
        chunks = [
            one.request.token_ids[start : start + self._limits.prompt_tokens] for one in joining
        ]
        self._reserve(start + max(map(len, chunks)))
        watch = Pass(joining, self._operator, self._batch.device)
        final = self._batch.chunk(first, chunks, start, watch)
        for one, chunk in zip(joining, chunks, strict=True):
            one.done += len(chunk)
        watch.read_chunks([len(chunk) for chunk in chunks], start)
        self._end_pass(joining)
        if joining[0].prompt_left and joining[0].fault is None:
            return []
        # Of several prompts each is read to its end at once; so all of them generate from here on.
        self._rows += joining
        self._joining = []
        self._decoding = None
        ends = torch.tensor([len(chunk) - 1 for chunk in chunks], device=final.device)
        return self._sample(joining, final[torch.arange(len(chunks)), ends])

    def _generate(self) -> list[tuple[str, Step]]:
        """Run the last token of every request that generates, and sample the next."""
        rows = list(self._rows)
        positions = [one.done for one in rows]
        self._reserve(max(positions) + 1)
        if self._decoding is None:
            self._decoding = Pass(rows, self._operator, self._batch.device)
        watch = self._decoding
        final = self._batch.tokens([one.token for one in rows], positions, watch)
        for one in rows:
            one.done += 1
        watch.read_tokens()
        self._end_pass(rows)
        return self._sample(rows, final[:, 0])

    def _end_pass(self, rows: list[Running]) -> None:
        """Let deferred gates take effect, and find the requests whose probes have failed."""
        self._operator.end_forward()
        for one in rows:
            one.fault = self._operator.faults.get(one.slot)
            if one.readings is not None and one.readings.fault is not None:
                one.fault = one.readings.fault

    def _sample(self, rows: list[Running], final: Tensor) -> list[tuple[str, Step]]:
        """Choose the next token of each row whose text goes on; let go of those that end.

        Args:
            rows: whose the rows are.
            final: what the model made of their last tokens, `[rows, d_model]`.
        """
        going = [i for i, one in enumerate(rows) if one.last is None]
        choices: dict[int, Choice] = {}
        if going:
            logits = self._batch.logits(final if len(going) == len(rows) else final[going])
            chosen = choose(logits, [rows[i].chooser for i in going])
            choices = dict(zip(going, chosen, strict=True))
        steps = [(one, one.take(choices.get(i))) for i, one in enumerate(rows)]
        for one, step in reversed(steps):  # from the last on: what moves into a gap stays
            if step is not None and step.finish is not None:
                self._leave(one)
        return [(one.request.id, step) for one, step in steps if step is not None]

    def _reserve(self, tokens: int) -> None:
        together = [*self._rows, *self._joining]
        self._batch.cache.reserve(len(together), tokens, max(one.longest for one in together))

    def _leave(self, running: Running) -> None:
        """Take a request out, and give all memory back after the last."""
        if running.slot:
            self._operator.release(running.slot)
            self._slots.add(running.slot)
        if running in self._waiting:
            self._waiting.remove(running)
        else:
            self._leave_batch(running)
        if self.idle:
            self._batch.cache.release()

    def _leave_batch(self, running: Running) -> None:
        """Take a row out of the batch; the last ones close the gap, so that all are neighbours."""
        cache = self._batch.cache
        row = [*self._rows, *self._joining].index(running)
        cache.wipe(row)
        if running in self._joining:
            self._joining.remove(running)
        else:
            self._decoding = None
            last = self._rows.pop()
            if last is not running:
                self._rows[row] = last
                cache.move(len(self._rows), row, last.done)
            for one in self._joining:
                cache.move(len(self._rows) + 1, len(self._rows), one.done)
