"""Opening what a server is to serve."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from endoscope.artifacts import check_model
from endoscope.directions import Direction
from endoscope.engine import Model
from endoscope.engine import open as open_model
from endoscope.engine.requests import Limits as EngineLimits
from endoscope.errors import InputError
from endoscope.guard import Policy
from endoscope.models import Site, SiteKind
from endoscope.probes import Probe
from endoscope.readouts import Readout
from endoscope.server.auth import Keys
from endoscope.server.guards_loading import check_sites, load_guards
from endoscope.server.served import Limits, Served
from endoscope.server.variants import VariantFile, make_variants


@dataclass(frozen=True)
class Options:
    """What `endoscope serve` is told.

    Attributes:
        model: embedded model, folder, GGUF file or hub id.
        adapter: a folder with a PEFT adapter.
        device: where it runs; on vLLM, where the models run that guards read beside it.
        dtype: in which precision.
        variants: files, by name; a name of None is the one in the file.
        guards: policies, by name.
        probes: folders, by name.
        directions: folders, by name.
        limits: how much clients may ask for.
        keys: who may ask.
        engine: what runs the model.
        kinds: on vLLM, the kinds of site within blocks that requests can name.
        vllm: other options of vLLM.
    """

    model: str
    adapter: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    variants: Sequence[tuple[str | None, Path]] = ()
    guards: Mapping[str, str] = field(default_factory=dict)
    probes: Mapping[str, Path] = field(default_factory=dict)
    directions: Mapping[str, Path] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    keys: Keys = field(default_factory=Keys)
    engine: str = "transformers"
    kinds: Sequence[SiteKind] = ()
    vllm: Mapping[str, Any] = field(default_factory=dict)


def _vllm(options: Options) -> dict[str, Any]:
    """What vLLM is opened with, for what clients may ask for."""
    if options.engine != "vllm":
        return dict(options.vllm)  # which are refused there
    wanted = {"kinds": options.kinds, "max_num_seqs": options.limits.requests}
    return wanted | dict(options.vllm)


def load(options: Options) -> Served:
    """Open a model and all that goes with it.

    Raises:
        InputError: something does not exist, or does not fit the model.
    """
    # What cannot be had is said before the model is opened, which may take minutes.
    files = [VariantFile.read(path, name) for name, path in options.variants]
    probes = {name: Probe.load(folder) for name, folder in options.probes.items()}
    directions = {name: Direction.load(folder) for name, folder in options.directions.items()}
    policies = {name: Policy.load(where) for name, where in options.guards.items()}
    on_vllm = options.engine == "vllm"
    if on_vllm and options.device != "auto" and not options.guards:
        raise InputError(
            "On vLLM, --device is for the models that guards read, and there are no guards.",
            "Leave it out: vLLM takes the device that it was built for.",
        )
    model = open_model(
        options.model,
        adapter=options.adapter,
        device="auto" if on_vllm else options.device,
        dtype=options.dtype,
        engine=options.engine,
        **_vllm(options),
    )
    served = serve_model(
        model,
        probes={
            name: readout_of(probe, model, model.engine.check) for name, probe in probes.items()
        },
        directions={name: fitting(direction, model) for name, direction in directions.items()},
        limits=options.limits,
        keys=options.keys,
    )
    guards = load_guards(policies, model, model.engine.compile, options.device)
    served = replace(served, guards=guards)
    return replace(served, variants=make_variants(files, served))


def serve_model(
    model: Model,
    *,
    name: str | None = None,
    probes: Mapping[str, Readout] | None = None,
    directions: Mapping[str, Direction] | None = None,
    limits: Limits | None = None,
    keys: Keys | None = None,
) -> Served:
    """Return what serves an open model, without guards and variants.

    Raises:
        InputError: the model cannot generate.
    """
    limits = limits or Limits()
    streams = model.engine.streams(EngineLimits(requests=limits.requests))
    return Served(
        name=name or _name(model),
        engine=streams,
        tokenizer=model.tokenizer,
        context=model.loaded.anatomy.max_tokens,
        fingerprint=f"fp_{model.fingerprint.short}",
        check=model.engine.compile,
        alive=lambda: streams.alive,
        probes=probes or {},
        directions=directions or {},
        limits=limits,
        keys=keys or Keys(),
    )


def _name(model: Model) -> str:
    """What clients call a model: of a path its last part."""
    path = Path(model.name)
    return path.stem if path.exists() else model.name


def readout_of(probe: Probe, model: Model, check: Callable[[Site], None]) -> Readout:
    """Return what requests can name a probe for.

    Args:
        probe: as it was saved.
        model: the one that is served.
        check: refuses sites that the engine does not read.

    Raises:
        InputError: it is of another model, cannot score a stream, or reads elsewhere than the
            engine was started for.
    """
    check_model(probe.card.model, model.fingerprint, f"probe {probe.name}")
    readout = probe.readout
    if readout.spec.readings != 1:
        raise InputError(
            f"The probe {probe.name} reads the whole text twice, so it cannot score a stream.",
            "Fit one with --readings 1.",
        )
    check_sites(readout, check, f"probe {probe.name}")
    return readout


def fitting(direction: Direction, model: Model) -> Direction:
    """Return a direction that requests can name.

    Raises:
        InputError: it is of another model.
    """
    check_model(direction.card.model, model.fingerprint, f"direction {direction.name}")
    return direction
