"""Activations for every token of texts, in memory or in a store."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from endoscope.activations import Activations, ActivationStore
from endoscope.artifacts import Fingerprint
from endoscope.engine.base import Engine
from endoscope.engine.batching import Row
from endoscope.errors import InputError
from endoscope.interventions import Compiled
from endoscope.models import Encoded, Site, TextTokenizer
from endoscope.progress import progress as progress_bar

Text = str | Sequence[dict[str, str]]
"""A text, or a conversation: `[{"role": ..., "content": ...}, ...]`."""


class Prepared(NamedTuple):
    """A text made ready to run.

    Attributes:
        id: its name.
        text: what was encoded (for a conversation, what the chat template made of it).
        row: the sequence to run and the part of it to keep.
        offsets: the characters of each kept token.
    """

    id: str
    text: str
    row: Row
    offsets: list[tuple[int, int]]

    @property
    def token_ids(self) -> Sequence[int]:
        """The ids of the kept tokens."""
        return self.row.ids[self.row.start :]


def check_texts(texts: Sequence[Text]) -> None:
    """Refuse what is no list of texts and conversations.

    Raises:
        InputError: it is one text, or something else altogether.
    """
    if isinstance(texts, str):
        raise InputError("One text was given where texts are expected.", "Put it in a list.")
    if not isinstance(texts, Collection):
        raise InputError("No texts were given.", "Give a list of them.")
    for strange in (t for t in texts if not isinstance(t, str | list | tuple)):
        raise InputError(f"A text is a string or a list of messages, not {type(strange).__name__}.")


def named(texts: Sequence[Text], ids: Sequence[str] | None) -> list[str]:
    """Return a name for each text: those that were given, or their numbers.

    Raises:
        InputError: what was given is no list of texts, or the ids do not fit them.
    """
    check_texts(texts)
    names = [str(i) for i in range(len(texts))] if ids is None else list(ids)
    if len(names) != len(texts):
        raise InputError(f"{len(names)} ids were given for {len(texts)} texts.")
    if len(set(names)) != len(names):
        raise InputError("Two texts have the same id.", "Give each its own.")
    return names


def prepare(
    texts: Sequence[Text],
    tokenizer: TextTokenizer,
    ids: Sequence[str] | None,
    readings: int,
    *,
    reply: bool = False,
) -> list[Prepared]:
    """Encode texts for one reading or two; with `reply`, conversations end where the model speaks.

    Raises:
        InputError: a text cannot be encoded, or the ids do not fit the texts.
    """
    names = named(texts, ids)
    if readings not in (1, 2):
        raise InputError(f"A text can be read once or twice, not {readings} times.")
    plain = [text if isinstance(text, str) else tokenizer.chat(text, reply=reply) for text in texts]
    encoded = tokenizer.encode_batch(plain, special=readings == 1)
    if readings == 1:
        rows = [Row(one.ids) for one in encoded]
    else:
        before = tokenizer.prefix()
        between = tokenizer.encode("\n", special=False).ids
        rows = [_twice(one, before, between) for one in encoded]
    return [
        Prepared(name, text, row, one.offsets)
        for name, text, row, one in zip(names, plain, rows, encoded, strict=True)
    ]


def _twice(text: Encoded, before: list[int], between: list[int]) -> Row:
    first = [*before, *text.ids, *between]
    return Row([*first, *text.ids], start=len(first))


def read(
    engine: Engine,
    documents: Sequence[Prepared],
    sites: Sequence[Site],
    *,
    batch_tokens: int,
    progress: bool,
    interventions: Compiled | None = None,
) -> Iterator[tuple[list[int], dict[Site, Tensor]]]:
    """Run documents and yield, batch by batch, their numbers and the values of their tokens.

    Raises:
        InputError: the model has no such site, or a document is longer than the model can read.
    """
    for site in sites:
        engine.check(site)
    check_lengths(engine, [(document.id, document.row) for document in documents])
    rows = [document.row for document in documents]
    total = sum(len(row.ids) for row in rows)
    with progress_bar("Reading tokens", total, show=progress) as advance:
        for batch, values in engine.read(
            rows, sites, batch_tokens=batch_tokens, interventions=interventions
        ):
            yield batch, values
            advance(sum(len(rows[number].ids) for number in batch))


def check_lengths(engine: Engine, rows: Iterable[tuple[str, Row]]) -> None:
    """Refuse rows that are longer than the model can read; each comes with its document's id.

    Raises:
        InputError: one of them is.
    """
    limit = engine.anatomy.max_tokens
    for name, row in rows:
        if limit is not None and len(row.ids) > limit:
            raise InputError(
                f"Document {name!r} has {len(row.ids)} tokens; this model reads {limit}.",
                "Cut it into shorter ones.",
            )


def capture(
    engine: Engine,
    documents: Sequence[Prepared],
    sites: Sequence[Site],
    fingerprint: Fingerprint,
    *,
    batch_tokens: int,
    progress: bool,
    interventions: Compiled | None = None,
) -> Activations:
    """Read all tokens of all documents into memory, in the order of the documents."""
    starts = [0]
    for document in documents:
        starts.append(starts[-1] + document.row.kept)
    # Made whole at the start and filled in place: joining parts at the end would need twice the
    # memory.
    values: dict[Site, Tensor] = {}
    for batch, read_values in read(
        engine,
        documents,
        sites,
        batch_tokens=batch_tokens,
        progress=progress,
        interventions=interventions,
    ):
        for site, value in read_values.items():
            if site not in values:
                values[site] = torch.empty((starts[-1], value.shape[1]), dtype=value.dtype)
            parts = torch.split(value, [documents[number].row.kept for number in batch])
            for number, part in zip(batch, parts, strict=True):
                values[site][starts[number] : starts[number + 1]] = part
    if not values:  # every document is empty
        values = {site: torch.empty((0, engine.anatomy.d_model)) for site in sites}
    return _activations(documents, {site: values[site] for site in sites}, fingerprint)


def capture_to(
    store: ActivationStore,
    engine: Engine,
    documents: Sequence[Prepared],
    *,
    batch_tokens: int,
    progress: bool,
    interventions: Compiled | None = None,
) -> None:
    """Read documents into a store, leaving out those that it holds already."""
    texts = [document.text for document in documents]
    ids = [document.id for document in documents]
    missing = [documents[position] for position in store.missing(ids, texts)]
    empty = [document for document in missing if not document.row.ids]
    if empty:  # nothing to run, but they belong to the store
        values = {site: torch.empty((0, store.d_model)) for site in store.sites}
        store.append(_activations(empty, values, store.fingerprint), [one.text for one in empty])
    for batch, values in read(
        engine,
        missing,
        store.sites,
        batch_tokens=batch_tokens,
        progress=progress,
        interventions=interventions,
    ):
        members = [missing[number] for number in batch]
        store.append(
            _activations(members, values, store.fingerprint), [one.text for one in members]
        )
    store.finish(order=ids)


def _activations(
    documents: Sequence[Prepared], values: dict[Site, Tensor], fingerprint: Fingerprint
) -> Activations:
    kept = torch.tensor([document.row.kept for document in documents], dtype=torch.long)
    offsets = [pair for document in documents for pair in document.offsets]
    return Activations(
        values=values,
        token_ids=torch.tensor(
            [token for document in documents for token in document.token_ids], dtype=torch.long
        ),
        offsets=torch.tensor(offsets, dtype=torch.long).reshape(-1, 2),
        documents=torch.arange(len(documents)).repeat_interleave(kept),
        document_ids=[document.id for document in documents],
        fingerprint=fingerprint,
    )
