"""Many requests on vLLM, with the interface of `endoscope.engine.core.Core`."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any
from uuid import uuid4

from vllm import SamplingParams
from vllm.outputs import RequestOutput
from vllm.sampling_params import RequestOutputKind
from vllm.v1.engine.llm_engine import LLMEngine

from endoscope.engine.batching import Row
from endoscope.engine.preparing import Preparing
from endoscope.engine.requests import Request, Step
from endoscope.engine.running import Running
from endoscope.engine.sampling import Choice
from endoscope.engine.vllm.orders import Order
from endoscope.engine.vllm.remote import RemoteReadings
from endoscope.engine.vllm.reports import Report, first_fault
from endoscope.engine.vllm.seams import frontend
from endoscope.engine.vllm.seams.settings import KEY
from endoscope.errors import InputError
from endoscope.interventions import Compiled


class VllmCore:
    """Runs requests on an engine of vLLM, which batches, schedules and caches as it does.

    What a text is, where it ends and what is held is decided here, token by token, by the same
    code as on `transformers`. All of its methods are called by who holds the engine's lock.

    Args:
        engine: vLLM's.
        prepare: checks a request and makes it ready to run.
        order: what is asked of the workers for it.
    """

    def __init__(
        self, engine: LLMEngine, prepare: Preparing, order: Callable[[Running], Order]
    ) -> None:
        self.prepare = prepare
        self._engine = engine
        self._order = order
        self._running: dict[str, Running] = {}  # by the name that vLLM has for it
        self._names: dict[str, str] = {}  # by the request's own
        self._internal: dict[str, str] = {}  # what vLLM wants back to abort
        self._cancelled: list[str] = []
        self._read: dict[str, RequestOutput | None] = {}  # texts that are read, and not generated
        self._kept: list[tuple[str, Step]] = []  # came while somebody read, or never began

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return not (self._running or self._kept or self._read)

    def add(self, request: Request) -> None:
        """Let a request wait for its turn.

        Raises:
            InputError: it cannot run on this model, or its id is in use.
        """
        if request.id in self._names:
            raise InputError("A request of this id is running.", "Give each its own.")
        self.enter(self.prepare(request))

    def enter(self, running: Running) -> None:
        """Let a request that `prepare` gave wait for its turn."""
        request, name = running.request, uuid4().hex
        reads = bool(request.readouts)
        if reads:
            running.readings = RemoteReadings(request.readouts, running.unscored)
        try:
            order = self._order(running)
            self._submit(name, request.token_ids, _params(running, order, reads))
        except Exception as error:  # vLLM's limits are its own; the others go on
            self._kept.append((request.id, running.end("error", f"vLLM refuses it: {error}")))
            return
        self._running[name] = running
        self._names[request.id] = name

    def cancel(self, request_id: str) -> None:
        """End a request before its next token; the next step says so. Unknown ones are ignored."""
        if request_id in self._names:
            self._cancelled.append(request_id)

    def intervene(self, request_id: str, more: Compiled) -> None:
        """Never called: `VllmEngine.intervene` refuses."""
        raise NotImplementedError

    def step(self) -> list[tuple[str, Step]]:
        """Wait for the next tokens and return what came of them, request by request."""
        kept, self._kept = self._kept, []
        return kept or self._advance()

    def _advance(self) -> list[tuple[str, Step]]:
        out: list[tuple[str, Step]] = []
        cancelled, self._cancelled = self._cancelled, []
        for request_id in cancelled:
            if (name := self._names.get(request_id)) is not None:
                out.append((request_id, self._running[name].end("cancelled")))
                self._leave(name)
        if out or not (self._running or self._read):
            return out
        for output in self._engine.step():
            if (running := self._running.get(output.request_id)) is not None:
                out += [(running.request.id, step) for step in self._steps(running, output)]
            elif output.request_id in self._read and output.finished:
                self._read[output.request_id] = output
        return out

    def read(
        self, rows: Sequence[Row], order: Callable[[Row], Order], **params: Any
    ) -> Iterator[tuple[int, RequestOutput, list[Report]]]:
        """Run texts through the model, beside whatever runs; yield each as it is done.

        Args:
            rows: the texts.
            order: what is asked for each.
            params: of vLLM's sampling.

        Yields:
            The number of the row, vLLM's output and the reports of the workers.

        Raises:
            InputError: a worker could not do it.
        """
        names: dict[str, int] = {}
        try:
            for number, row in enumerate(rows):
                name, asked = uuid4().hex, order(row)
                extra = {KEY: asked.text} if asked.asks else None
                options = SamplingParams(max_tokens=1, detokenize=False, extra_args=extra, **params)
                self._submit(name, row.ids, options)
                names[name], self._read[name] = number, None
            while names:
                self._kept += self._advance()
                for name in [name for name in names if self._read[name] is not None]:
                    number, output = names.pop(name), self._read.pop(name)
                    reports = self._forget(name)
                    if fault := first_fault(reports):
                        raise InputError(fault, "Give what fits this model.")
                    assert output is not None
                    yield number, output, reports
        finally:
            for name in names:
                del self._read[name]
                self._abort(name)

    def _submit(self, name: str, ids: Sequence[int], params: SamplingParams) -> None:
        frontend.expect(name)
        try:
            self._internal[name] = self._engine.add_request(
                name, {"prompt_token_ids": list(ids)}, params
            )
        except BaseException:
            frontend.forget(name)
            raise

    def _steps(self, running: Running, output: RequestOutput) -> list[Step]:
        for report in frontend.take(output.request_id):
            running.fault = running.fault or report.fault
            if isinstance(running.readings, RemoteReadings):
                running.readings.report(report)
                running.fault = running.fault or running.readings.fault
        completion = output.outputs[0]
        steps: list[Step] = []
        for number, token in enumerate(completion.token_ids):
            choice = None if running.last else _choice(running, token, completion, number)
            step = running.take(choice)
            if step is not None:
                steps.append(step)
                if step.finish is not None:
                    break
        if output.finished and not (steps and steps[-1].finish):
            steps.append(running.end("error", "vLLM ended the request."))
        if steps and steps[-1].finish is not None:
            self._leave(output.request_id, ended=output.finished)
        return steps

    def _leave(self, name: str, *, ended: bool = False) -> None:
        del self._names[self._running.pop(name).request.id]
        if ended:
            self._forget(name)
        else:
            self._abort(name)

    def _forget(self, name: str) -> list[Report]:
        """Let go of a request that vLLM has done with; return what was reported last."""
        del self._internal[name]
        reports = frontend.take(name)
        frontend.forget(name)
        return reports

    def _abort(self, name: str) -> None:
        internal = self._internal[name]
        self._forget(name)
        with suppress(KeyError):  # it has ended meanwhile
            self._engine.abort_request([internal], internal=True)


def _params(running: Running, order: Order, reads: bool) -> SamplingParams:
    """What vLLM is to do. Where readouts read, it goes on until the last token was read."""
    sampling = running.request.sampling
    return SamplingParams(
        max_tokens=sampling.max_tokens + reads,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k or 0,
        seed=None if sampling.seed is None else sampling.seed % 2**63,
        logprobs=sampling.logprobs,
        ignore_eos=True,
        stop_token_ids=None if reads else sorted(running.ends),
        detokenize=False,
        output_kind=RequestOutputKind.DELTA,
        extra_args={KEY: order.text} if order.asks else None,
    )


def _choice(running: Running, token: int, completion: Any, number: int) -> Choice:
    if running.request.sampling.logprobs is None:
        return Choice(token, True)
    found = completion.logprobs[number]
    most = running.request.sampling.logprobs
    ranked = sorted(found.items(), key=lambda pair: pair[1].rank)[:most]
    top = tuple((one, value.logprob) for one, value in ranked)
    return Choice(token, True, found[token].logprob, top)
