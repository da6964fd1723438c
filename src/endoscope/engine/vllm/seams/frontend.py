"""What users' side of vLLM does: requests get a salt, and reports are put aside for who asked.

The salt keeps what a changed request caches from others, and a request that is read reads nothing
from a cache. Both are decided here, where all of vLLM's entry points make a request of a prompt.
"""

from collections.abc import Iterable
from functools import wraps
from typing import Any

from vllm.exceptions import VLLMValidationError
from vllm.v1.engine.input_processor import InputProcessor
from vllm.v1.engine.output_processor import OutputProcessor

from endoscope.engine.vllm.orders import Order, parse
from endoscope.engine.vllm.reports import Report
from endoscope.engine.vllm.seams.settings import KEY, unsupported
from endoscope.errors import InputError

_expected: dict[str, list[Report]] = {}
_held = False


def holds() -> bool:
    """Whether this process does so: vLLM has loaded the plugin."""
    return _held


def expect(request_id: str) -> None:
    """Keep the reports of a request, until `forget`."""
    _expected[request_id] = []


def take(request_id: str) -> list[Report]:
    """Return the reports of a request that came since the last call."""
    reports = _expected[request_id]
    _expected[request_id] = []
    return reports


def forget(request_id: str) -> None:
    """Keep no more reports of a request."""
    _expected.pop(request_id, None)


def take_hold() -> None:
    """Have this process do so."""
    global _held
    InputProcessor.process_inputs = _processing(InputProcessor.process_inputs)
    OutputProcessor.process_outputs = _reporting(OutputProcessor.process_outputs)
    _held = True


def _checked(name: str, text: Any, config: Any) -> Order:
    if reason := unsupported(config):
        raise InputError(reason)
    # Where nobody takes the reports, a worker's refusal would reach nobody.
    if not isinstance(text, str) or name not in _expected:
        raise InputError("`endoscope` is no order.", "Send it through the engine.")
    return parse(text)


def _processing(original: Any) -> Any:
    @wraps(original)
    def process_inputs(self: Any, *args: Any, **named: Any) -> Any:
        request = original(self, *args, **named)
        params = request.sampling_params
        text = params.extra_args.get(KEY) if params is not None and params.extra_args else None
        if text is not None:
            try:
                order = _checked(request.request_id, text, self.vllm_config)
            except InputError as error:
                raise VLLMValidationError(str(error), parameter=KEY) from None
            request.cache_salt = order.salt(request.cache_salt, request.prompt_token_ids)
            if order.reads_all:
                params.skip_reading_prefix_cache = True
        return request

    return process_inputs


def _report(processor: Any, output: Any, reports: Iterable[Report]) -> None:
    state = processor.request_states.get(output.request_id)
    if state is not None and state.external_req_id in _expected:
        _expected[state.external_req_id] += reports


def _reporting(original: Any) -> Any:
    @wraps(original)
    def process_outputs(self: Any, outputs: Any, *args: Any, **named: Any) -> Any:
        for one in outputs:
            if one.num_nans_in_logits:  # `runner.not_finite`, where VLLM_COMPUTE_NANS_IN_LOGITS is
                _report(self, one, [Report(fault="The model's output is not finite.")])
            beside = one.ec_transfer_params
            if not beside or KEY not in beside:
                continue
            one.ec_transfer_params = {k: v for k, v in beside.items() if k != KEY} or None
            _report(self, one, map(Report.read, beside[KEY]))
        return original(self, outputs, *args, **named)

    return process_outputs
