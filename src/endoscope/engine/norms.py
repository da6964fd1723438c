"""The typical norm of a site: what strengths are multiples of."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib.resources import files

import torch
from torch import Tensor

from endoscope.artifacts import Fingerprint, atomic_file
from endoscope.cache import cache_folder
from endoscope.engine.base import Engine
from endoscope.engine.batching import Row
from endoscope.errors import InputError
from endoscope.models import Site, SiteKind


@cache
def reference_texts() -> tuple[str, ...]:
    """Return the texts that norms are measured on: about 400 tokens, English and Japanese."""
    text = files("endoscope.engine").joinpath("reference.txt").read_text(encoding="utf-8")
    return tuple(text.splitlines())


class TypicalNorms:
    """Median norms over the tokens of the reference texts, the first of each left out.

    The first token is an attention sink in most models, with a norm of its own. All sites of a
    kind are measured at once, and kept in the cache folder.

    Args:
        engine: measures them, without interventions.
        fingerprint: of the model; called when it is needed, as it takes a while the first time.
    """

    def __init__(self, engine: Engine, fingerprint: Callable[[], Fingerprint]) -> None:
        self._engine = engine
        self._fingerprint = fingerprint
        self._known: dict[Site, float] = {}

    def __call__(self, site: Site) -> float:
        """Return the typical norm of a site.

        Raises:
            InputError: the model has no such site.
        """
        self._engine.anatomy.check(site)
        if site not in self._known:
            if (only := self._engine.capabilities.sites) is not None:
                self._known |= self._measure(only)
            else:
                layers = range(self._engine.anatomy.n_layers)
                norms = zip(layers, self._kept(site.kind), strict=True)
                self._known |= {Site(layer, site.kind): norm for layer, norm in norms}
        return self._known[site]

    def _kept(self, kind: SiteKind) -> list[float]:
        """Return the norms of a kind's sites from the cache, or measure and keep them."""
        texts = hashlib.sha256("\n".join(reference_texts()).encode()).hexdigest()
        model = self._fingerprint()  # dtype and tokenizer matter here
        key = f"{model.digest} {model.dtype} {model.tokenizer} {texts} {kind}"
        path = cache_folder() / "norms" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"
        with suppress(OSError, ValueError, KeyError, TypeError):  # no cache, or a broken one
            norms = [float(norm) for norm in json.loads(path.read_bytes())["norms"]]
            if len(norms) == self._engine.anatomy.n_layers:
                return norms
        sites = [Site(layer, kind) for layer in range(self._engine.anatomy.n_layers)]
        measured = self._measure(sites)
        norms = [measured[site] for site in sites]
        with suppress(OSError, InputError), atomic_file(path) as temporary:  # only a convenience
            temporary.write_text(json.dumps({"kind": kind, "norms": norms}), encoding="utf-8")
        return norms

    def _measure(self, sites: Sequence[Site]) -> dict[Site, float]:
        encoded = self._engine.tokenizer.encode_batch(reference_texts())
        rows = [Row(one.ids, start=1) for one in encoded]
        read = self._engine.read(rows, sites, batch_tokens=256)
        return median_norms(values for _, values in read)


def median_norms(parts: Iterable[Mapping[Site, Tensor]]) -> dict[Site, float]:
    """Return the median norm at each site.

    Args:
        parts: what was read of some texts, a part after the other: for each site
            `[tokens, d_model]`.
    """
    found: dict[Site, list[Tensor]] = {}
    for values in parts:
        for site, value in values.items():
            found.setdefault(site, []).append(value.float().norm(dim=1))
    return {site: float(torch.cat(norms).median()) for site, norms in found.items()}
