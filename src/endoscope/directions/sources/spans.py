"""Labelled spans: tokens that differ in what the direction is of, within one text."""

from collections.abc import Sequence

import torch

from endoscope.directions.contrast import Contrast
from endoscope.directions.reading import counting_tokens, pooled, stack
from endoscope.directions.sources.labelled import LabelledDocuments, labels_of, units_of
from endoscope.documents import NOTHING, Document, token_labels
from endoscope.engine import Model
from endoscope.errors import InputError
from endoscope.models import Site


class LabelledSpans(LabelledDocuments):
    """Texts of which spans are labelled: the tokens of one label beside those of another.

    JSON lines `{"id", "text", "spans": [[start, end, label]][, "group"]}`. Tokens outside all spans
    do not count; where all spans have one label, it is told apart from them. A text of which
    several labels are read is its own control: what it is about is in both.
    """

    @staticmethod
    def _check(document: Document) -> None:
        if document.spans is None:
            raise InputError("it has a label for the whole.", 'Give "spans", as others have.')

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes (see `LabelledDocuments.labels`)."""
        found = {span.label for document in self.documents for span in document.spans or ()}
        if len(found) == 1 and self.positive in (None, *found):
            return (NOTHING, *found)
        return labels_of(list(found), self.positive)

    def read(
        self, model: Model, sites: Sequence[Site], *, progress: bool = False
    ) -> dict[Site, Contrast]:
        """Return a contrast at each site; a unit is a group of documents, or else a document.

        Raises:
            InputError: of a class no token is left to be read.
        """
        texts, ids = [str(d.content) for d in self.documents], [d.id for d in self.documents]
        acts = model.capture(texts, sites, ids=ids, progress=progress)
        labels, units = self.labels, units_of(self.documents)
        known = (NOTHING, *sorted({s.label for d in self.documents for s in d.spans or ()}))
        meant = torch.tensor([self._class(label, labels) for label in known])
        places: list[tuple[int, int, torch.Tensor]] = []  # unit, class, rows of the activations
        for number, document in enumerate(self.documents):
            rows = torch.arange(len(acts))[acts.rows(number)]
            classes = meant[token_labels(acts.offsets[rows], document.spans or (), known)]
            counting = counting_tokens(acts.offsets[rows])
            for one in range(len(labels)):
                chosen = rows[counting & (classes == one)]
                if len(chosen):
                    places.append((units[number], one, chosen))
        for one, label in enumerate(labels):
            if all(found != one for _, found, _ in places):
                raise InputError(f"No token of the class {label!r} is left.", "Give more text.")
        kinds = {unit: {one for other, one, _ in places if other == unit} for unit, *_ in places}
        paired = len(labels) == 2 and all(len(one) == 2 for one in kinds.values())
        contrasts = {}
        for site in sites:
            parts = [pooled(acts[site][chosen].double(), self.tokens) for *_, chosen in places]
            of_class, of_unit = [one for _, one, _ in places], [unit for unit, *_ in places]
            contrasts[site] = Contrast(*stack(parts, of_class, of_unit), labels, paired)
        return contrasts

    def _class(self, label: str, labels: Sequence[str]) -> int:
        """Return which class a label is of; -1 for what does not count."""
        if label in labels:
            return labels.index(label)
        return -1 if label == NOTHING else 0
