"""Shifts along the directions of a catalogue: what is known already, looked for again."""

from pathlib import Path

import torch
from pydantic import JsonValue
from torch import Tensor

from endoscope.behaviours import shipped_prompts
from endoscope.catalogue import Catalogue
from endoscope.diff.options import Options
from endoscope.diff.pair import Pair
from endoscope.diff.signal import Seen, Signal
from endoscope.directions import Direction
from endoscope.errors import InputError

TEXTS = "neutral"
DRAWS = 200  # random directions, for the noise floor
ABOVE = 1.25  # times the most of a random direction


class Directions:
    """How far the mean activation moved along each known direction, against random ones."""

    name = "directions"

    def run(self, pair: Pair, options: Options, work: Path) -> Seen:
        """Look (see `Method.run`)."""
        if options.catalogue is None:
            return Seen([])
        catalogue = Catalogue(options.catalogue)
        if not any(True for _ in catalogue.cards("direction")):
            raise InputError(
                f"{options.catalogue} has no directions.", "Save some there, or leave it out."
            )
        known, passed_over = _usable(catalogue, pair)
        if not known:
            return Seen([], details={"passed over": list(passed_over)})
        sites = list(dict.fromkeys(one.site for _, one in known))
        texts = [pair.given(text) for text in shipped_prompts(TEXTS)]
        base, tuned = (model.capture(texts, sites, progress=options.show) for model in pair)
        later = torch.diff(base.documents, prepend=torch.tensor([-1])) == 0  # not the sink
        changes = {s: (tuned[s].float() - base[s].float())[later].mean(0).cpu() for s in sites}
        found = [
            _signal(name, one, changes[one.site], pair)
            for name, one in known
            if changes[one.site].any()
        ]
        passed: JsonValue = list(passed_over)
        return Seen(sorted(found, key=lambda one: -one.strength), details={"passed over": passed})


def _usable(catalogue: Catalogue, pair: Pair) -> tuple[list[tuple[str, Direction]], list[str]]:
    """Return the directions of one of the models, of one vector each; and the names of others."""
    known: list[tuple[str, Direction]] = []
    passed_over = []
    for name, one in catalogue.directions():
        relations = {one.card.model.relation(model.fingerprint) for model in pair}
        if relations != {"foreign"} and one.rank == 1:
            known.append((name, one))
        else:
            passed_over.append(name)
    return known, passed_over


def _signal(name: str, one: Direction, change: Tensor, pair: Pair) -> Signal:
    """Return how far a change lies along a direction: the cosine."""
    random = torch.Generator().manual_seed(0)
    drawn = torch.randn(DRAWS, len(change), generator=random)
    cosines = torch.cosine_similarity(drawn, change[None], dim=1)
    cosine = float(torch.cosine_similarity(one.vector.cpu().float(), change, dim=0))
    shift = float(change @ one.vector.cpu().float()) / pair.base.typical_norm(one.site)
    way = "towards" if cosine > 0 else "away from"
    return Signal(
        method=Directions.name,
        subject=f"has moved {way} “{one.name}” (direction {name})",
        behaviour=name.rpartition("/")[2] if cosine > 0 else None,
        score=abs(cosine),
        noise_floor=ABOVE * float(cosines.abs().max()),
        evidence={
            "direction": name,
            "site": str(one.site),
            "cosine with the mean difference": round(cosine, 4),
            "shift, in typical norms": round(shift, 5),
        },
    )
