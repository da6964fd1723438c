"""Estimating a direction and measuring it on what it has not seen."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

from endoscope.artifacts import Card, DataRef
from endoscope.directions.command import command_line
from endoscope.directions.contrast import Contrast
from endoscope.directions.evidence import agreement, alignment, erased, separability
from endoscope.directions.methods import METHODS, Estimate
from endoscope.directions.sources import Source
from endoscope.engine import Model
from endoscope.errors import InputError
from endoscope.models import Site

KIND = "direction"
HELD_OUT = 0.3  # of the units


class Fitted(NamedTuple):
    """What a direction is made of."""

    site: Site
    estimate: Estimate
    card: Card


def fit_sites(
    model: Model,
    source: Source,
    sites: Sequence[Site],
    *,
    method: str,
    rank: int,
    held_out: Source | None,
    name: str | None,
    seed: int,
    progress: bool,
) -> Iterator[Fitted]:
    """Estimate a direction at each site, from one reading of the source (see `Direction.fit`)."""
    if method not in METHODS:
        raise InputError(f"No method is called {method!r}.", f"Known: {', '.join(METHODS)}.")
    for site in sites:  # before the work, which may be minutes of generation
        model.loaded.anatomy.check(site)
    whole = source.read(model, sites, progress=progress)
    others = held_out.read(model, sites, progress=progress) if held_out else None
    tested = source.ref if held_out is None else held_out.ref
    for site in sites:
        if others is None:
            train, test = whole[site].split(1 - HELD_OUT, Random(seed))
        else:
            train, test = whole[site], others[site]
            _check_labels(train, test)
        estimate = METHODS[method](train, rank)
        norm = model.typical_norm(site)
        evidence = (
            *separability(estimate.basis, train, test, tested, seed),
            *erased(estimate, test, tested, seed),
            *alignment(estimate.basis, test, tested, seed),
            *agreement(METHODS[method], train, len(estimate.basis), norm, source.ref, seed),
        )
        command = command_line(model, source, site, method, rank, held_out, seed)
        title = name or Path(source.ref.name).name.partition(".")[0]
        card = card_of(model, site, method, title, source.ref, command, seed)
        details = {
            **card.details,
            **source.options,
            "labels": list(train.labels),
            "typical_norm": norm,
        }
        update = {"evidence": evidence, "details": details}
        yield Fitted(site, estimate, card.model_copy(update=update))


def card_of(
    model: Model, site: Site, method: str, name: str, data: DataRef, command: str, seed: int
) -> Card:
    """Return the card of a direction, without evidence."""
    return Card(
        kind=KIND,
        name=name,
        model=model.fingerprint,
        model_name=model.name,
        adapter=model.adapter,
        data=data,
        command=command,
        sites=(str(site),),
        seed=seed,
        details={"method": method},
    )


def _check_labels(train: Contrast, test: Contrast) -> None:
    if train.labels != test.labels:
        raise InputError(
            "The held-out material has other labels than what was fitted on.",
            f"Those are: {', '.join(train.labels)}.",
        )
