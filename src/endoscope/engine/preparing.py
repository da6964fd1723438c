"""What a request must be to run on a model: checked before anything runs."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from threading import Lock

from endoscope.engine.requests import Request
from endoscope.engine.running import Running
from endoscope.errors import InputError
from endoscope.interventions import Compiled, Intervention
from endoscope.models import Anatomy, Site, Vocabulary
from endoscope.readouts import Readout

Compile = Callable[[Sequence[Intervention]], Compiled]
KEPT = 64  # sets of interventions that are kept ready


class Preparing:
    """Checks requests and makes them ready; any thread may call it.

    Args:
        anatomy: of the model.
        vocabulary: of the model.
        ends: its end-of-text tokens.
        compile: makes interventions ready.
        unscored: says how many tokens at the start of a text were added to it (BOS).
        check: refuses a site that cannot be read.

    Attributes:
        compile: makes interventions ready, the same objects once.
    """

    def __init__(
        self,
        anatomy: Anatomy,
        vocabulary: Vocabulary,
        ends: frozenset[int],
        compile: Compile,
        unscored: Callable[[Sequence[int]], int],
        check: Callable[[Site], None],
    ) -> None:
        self._anatomy = anatomy
        self._vocabulary = vocabulary
        self._ends = ends
        self.compile = _kept(compile)
        self._unscored = unscored
        self._check = check

    def __call__(self, request: Request) -> Running:
        """Return a request ready to run.

        Raises:
            InputError: its tokens, its length, a readout or an intervention do not fit the model.
        """
        self._check_tokens(request)
        for name, readout in request.readouts.items():
            self._check_readout(name, readout)
        return Running(
            request,
            self.compile(request.interventions) if request.interventions else None,
            self._vocabulary,
            ends=self._ends,
            unscored=self._unscored(request.token_ids),
        )

    def _check_tokens(self, request: Request) -> None:
        ids, asked, limit = (
            request.token_ids,
            request.sampling.max_tokens,
            self._anatomy.max_tokens,
        )
        if not ids:
            raise InputError("A prompt has no tokens.", "Give one at least, such as BOS.")
        if not all(0 <= token < self._anatomy.vocabulary_size for token in ids):
            raise InputError(
                "A prompt has a token id that the model does not know.",
                f"Give ids from 0 to {self._anatomy.vocabulary_size - 1}.",
            )
        if limit is not None and len(ids) + asked > limit:
            raise InputError(
                f"A prompt of {len(ids)} tokens and {asked} new ones are more than the {limit} "
                "that this model reads.",
                "Shorten the prompt or ask for fewer tokens.",
            )

    def _check_readout(self, name: str, readout: Readout) -> None:
        for site in readout.spec.sites:
            self._check(site)
        width = readout.spec.width(self._anatomy.d_model)
        if readout.head.n_features != width:
            raise InputError(
                f"The readout {name!r} takes {readout.head.n_features} features; its sites have "
                f"{width} here.",
                "Give a probe fitted on this model.",
            )


def _kept(compile: Compile) -> Compile:
    """Compile the same objects once: requests that share what is compiled share its memory."""
    kept: OrderedDict[tuple[int, ...], tuple[tuple[Intervention, ...], Compiled]] = OrderedDict()
    lock = Lock()

    def once(interventions: Sequence[Intervention]) -> Compiled:
        key = tuple(map(id, interventions))
        with lock:
            if key in kept:  # the objects are alive: their ids are theirs
                kept.move_to_end(key)
                return kept[key][1]
        compiled = compile(interventions)
        with lock:
            kept[key] = (tuple(interventions), compiled)
            if len(kept) > KEPT:
                kept.popitem(last=False)
        return compiled

    return once
