"""What `vllm serve` loads where `VLLM_PLUGINS` names it (entry point `vllm.endpoint_plugins`)."""

from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from endoscope.directions import Direction
from endoscope.engine import Model
from endoscope.engine.vllm.ordering import Ordering
from endoscope.engine.vllm.seams.settings import KEY
from endoscope.interventions import Intervention
from endoscope.models import Site, load, parse_sites
from endoscope.probes import Probe
from endoscope.readouts import Readout
from endoscope.server.loading import fitting, readout_of
from endoscope.server.stock.client import typical_norms
from endoscope.server.stock.middleware import Asking


@dataclass
class Loaded:
    """What requests can name, and what makes orders of it.

    Attributes:
        ordering: of the model.
        probes: by name.
        directions: by name.
        check: refuses interventions that do not fit the model.
    """

    ordering: Ordering
    probes: Mapping[str, Readout]
    directions: Mapping[str, Direction]
    check: Callable[[Sequence[Intervention]], object]


class Plugin:
    """Lets vLLM's server take the `endoscope` object, and send readings back.

    Probes and directions that requests can name stand in
    `--additional-config '{"endoscope": {"probes": {"tone": FOLDER}, "directions": {...}}}'`.
    """

    name = "endoscope"
    required_tasks = ("generate",)

    def __init__(self) -> None:
        self.loaded: Loaded | None = None

    def attach_router(self, app: FastAPI) -> None:
        """Stand before the paths that generate."""
        app.add_middleware(Asking, plugin=self)

    async def init_state(self, engine_client: Any, state: Any, args: Namespace) -> None:
        """Load what requests can name, and measure the norms of the model's sites.

        Raises:
            InputError: something does not exist, or does not fit the model.
        """
        if engine_client is None:
            return
        settings = (args.additional_config or {}).get(KEY, {})
        known = load(args.model, device="cpu", weights=False)
        norms: dict[Site, float] = {}
        named = parse_sites(settings["sites"]) if settings.get("sites") else []
        ordering = Ordering(known, norms.__getitem__, settings.get("kinds", ()), named)
        model = Model(known)
        probes = {
            name: readout_of(Probe.load(path), model, ordering.check)
            for name, path in _named(settings, "probes")
        }
        directions = {
            name: fitting(Direction.load(path), model)
            for name, path in _named(settings, "directions")
        }
        norms |= await typical_norms(engine_client, known, ordering)
        self.loaded = Loaded(ordering, probes, directions, ordering.compile)


def _named(settings: Mapping[str, Any], what: str) -> list[tuple[str, Path]]:
    return [(str(name), Path(path)) for name, path in settings.get(what, {}).items()]
