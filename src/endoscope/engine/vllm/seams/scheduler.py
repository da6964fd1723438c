"""The scheduler: what workers report of a request goes on with its next output."""

from functools import wraps
from typing import Any

from vllm.v1.core.sched.scheduler import Scheduler

from endoscope.engine.vllm.seams.settings import KEY


def take_hold() -> None:
    """Have schedulers of this process pass reports on."""
    Scheduler.update_from_output = _updating(Scheduler.update_from_output)


def _updating(original: Any) -> Any:
    @wraps(original)
    def update_from_output(self: Any, scheduler_output: Any, output: Any) -> Any:
        reports = getattr(output, KEY, None)
        outputs = original(self, scheduler_output, output)
        waiting: dict[str, list[Any]] = self.__dict__.setdefault("_endoscope", {})
        if not reports and not waiting:
            return outputs
        for name, report in (reports or {}).items():
            waiting.setdefault(name, []).append(report)
        # A step of a long prompt gives no output: its reports wait for the first that does.
        for several in outputs.values():
            for one in several.outputs:
                if one.request_id in waiting:
                    one.ec_transfer_params = {
                        **(one.ec_transfer_params or {}),
                        KEY: waiting.pop(one.request_id),
                    }
        for name in [name for name in waiting if name not in self.requests]:
            del waiting[name]
        return outputs

    return update_from_output
