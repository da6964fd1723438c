"""The activations of documents: read chunk by chunk, or kept on disk and read once."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from endoscope.activations import Activations
from endoscope.documents import Message
from endoscope.engine import Model
from endoscope.probes.data import ProbeData
from endoscope.progress import progress as progress_bar
from endoscope.readouts import FeatureSpec

Content = str | list[Message]
DOCUMENTS_AT_ONCE = 256  # whose activations are held while scoring


def read(
    model: Model,
    contents: Sequence[Content],
    spec: FeatureSpec,
    *,
    ids: Sequence[str] | None = None,
    progress: bool,
) -> Iterator[Activations]:
    """Yield the activations of each document, in order; their numbers are ids if none are given."""
    names = [str(number) for number in range(len(contents))] if ids is None else ids
    for acts in _chunks(model, contents, names, spec, progress):
        for document in range(len(acts.document_ids)):
            yield acts.document(document)


def read_all(
    model: Model,
    data: ProbeData,
    spec: FeatureSpec,
    *,
    keep: str | Path | None = None,
    progress: bool = False,
) -> Activations:
    """Return the activations of all documents; bfloat16, as half the memory serves as well.

    Args:
        model: reads those documents that are not kept yet.
        data: the documents.
        spec: which sites are read, and how often.
        keep: a folder in which every file of data has a store of its own; work that was cut off
            goes on there.
        progress: show a bar.

    Raises:
        InputError: the store there was made with another model, other sites or readings.
    """
    contents, ids = data.contents, data.ids
    if keep is not None:
        folder = Path(keep) / f"{Path(data.name).stem}-{data.sha256[:12]}"
        return model.capture_to(
            folder, contents, spec.sites, ids=ids, readings=spec.readings, progress=progress
        ).load()
    chunks = _chunks(model, contents, ids, spec, progress)
    return Activations.concatenate([acts.to(torch.bfloat16) for acts in chunks])


def _chunks(
    model: Model,
    contents: Sequence[Content],
    ids: Sequence[str],
    spec: FeatureSpec,
    progress: bool,
) -> Iterator[Activations]:
    with progress_bar("reading", len(contents), show=progress) as advance:
        for start in range(0, len(contents), DOCUMENTS_AT_ONCE):
            part = slice(start, start + DOCUMENTS_AT_ONCE)
            acts = model.capture(contents[part], spec.sites, readings=spec.readings, ids=ids[part])
            yield acts
            advance(len(acts.document_ids))
