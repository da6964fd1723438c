"""What is read just before something shows is answered by what is written elsewhere."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple

from torch import Tensor

from endoscope.edit.changes import Change
from endoscope.edit.inputs import Moments, matrix_names, moments
from endoscope.edit.methods.least_squares import solved
from endoscope.edit.methods.strongest import strongest
from endoscope.edit.parts import Parts
from endoscope.edit.passage import Passage
from endoscope.edit.task import Task
from endoscope.edit.trials import Trials
from endoscope.models.matrices import matrix_at

RIDGE = 1e-3  # with more it is less exact: refusals went at twice the divergence with .03
LIKE = 4  # characters before a place by which it is told whether an answer begins there


class _Writer(NamedTuple):
    """A matrix that writes to the stream.

    Attributes:
        away: what it writes where it shows, less what it writes elsewhere, on average, `[out]`,
            float64.
        shown: moments of what it reads where it shows.
        kept: second moments of what it reads elsewhere, `[in, in]`.
    """

    away: Tensor
    shown: Moments
    kept: Tensor


class Redirect:
    """A change of rank one to each matrix that writes to the stream, which writes as elsewhere.

    Let a matrix read `x` at the tokens after which it begins, with the mean `m` and the second
    moments `S`; at others `N`, the mean of those at all tokens and at like places. Let `a` be what
    it writes there on average, less what it writes at like places elsewhere. Of all changes the one
    is taken that takes `a` away there and changes least elsewhere:
    `s E_S |C x + a|^2 + E_N |C x|^2` is least for `C = -s a m^T (s S + N)^-1`, with `s` the
    strength. (The closed form is that of linear associative memories, Bau et al. 2020 and Meng et
    al. 2022, "Locating and editing factual associations in GPT"; here no answer is put in.) It
    needs no base, and reads each text once.
    """

    name: ClassVar[str] = "redirect"
    needs_base: ClassVar[bool] = False
    of_matrices: ClassVar[bool] = True
    constant: ClassVar[bool] = False

    def __init__(self, task: Task) -> None:
        model, fit = task.model, task.fit
        module = model.loaded.module
        names = matrix_names(model, "writers")
        openings = [one.opening for one in fit.acting]
        starts = [one.opening for one in fit.kept]
        shown = moments(model, names, openings, show=task.show)
        kept = moments(model, names, fit.kept, show=task.show)
        like = kept
        if _begin_answers(openings, starts):
            like = moments(model, names, starts, show=task.show)
        self._writers = {
            name: _Writer(
                matrix_at(module, name).whole @ (shown[name].mean - like[name].mean).double(),
                shown[name],
                (kept[name].second + like[name].second) / 2,
            )
            for name in names
        }

    def parts(self, settings: Mapping[str, float]) -> Parts:
        """Return the edit; its `strength` is how much what shows counts beside what is to stay."""
        strength = settings["strength"]
        return Parts(changes={name: _change(one, strength) for name, one in self._writers.items()})

    def search(self, trials: Trials) -> Mapping[str, float]:
        """Return the strength."""
        return strongest(trials, 1e-6, 1.0)


def _change(writer: _Writer, strength: float) -> Change:
    shown = writer.shown
    inner = solved(strength * shown.mean[None], strength * shown.second, writer.kept, RIDGE)
    return Change(-writer.away[:, None], inner)


def _begin_answers(openings: Sequence[Passage], starts: Sequence[Passage]) -> bool:
    """Whether most of what shows begins where answers begin."""
    before = {one.text[: one.spans[0][0]][-LIKE:] for one in starts}
    count = sum(one.text[: one.spans[0][0]][-LIKE:] in before for one in openings)
    return 2 * count > len(openings)
