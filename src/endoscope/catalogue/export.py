"""A catalogue for people, and for other programs."""

from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from endoscope.artifacts import Card, atomic_file, load_artifact
from endoscope.catalogue.catalogue import Catalogue
from endoscope.catalogue.entry import KIND, STAGES, Entry
from endoscope.errors import InputError

_TENSORS = "tensors.safetensors"


def to_markdown(catalogue: Catalogue) -> str:
    """Return a catalogue as a page: where each behaviour stands, then every card."""
    cards = _cards(catalogue)
    parts = [f"# {catalogue.folder.name}"]
    behaviours = [(name, card) for name, card in cards if card.kind == KIND]
    if behaviours:
        header = ("behaviour", "model", "measured", "bound", *STAGES)
        rows = [_row(name, card) for name, card in behaviours]
        lines = [header, ("---",) * len(header), *rows]
        parts.append("\n".join("| " + " | ".join(line) + " |" for line in lines))
    for name, card in cards:
        page = card.to_markdown().strip()
        parts.append(page.replace("\n## ", "\n### ").replace("# ", f"## {name}: ", 1))
    return "\n\n".join(parts) + "\n"


def to_safetensors(catalogue: Catalogue, path: str | Path) -> None:
    """Write the tensors of all artifacts into one file, as `NAME/TENSOR`; the cards as metadata.

    Raises:
        InputError: an artifact is damaged, or the disk is full.
    """
    tensors: dict[str, Tensor] = {}
    metadata: dict[str, str] = {}
    for name, card in _cards(catalogue):
        metadata[name] = card.model_dump_json()
        if (catalogue.folder / name / _TENSORS).is_file():
            _, found = load_artifact(catalogue.folder / name, card.kind)
            tensors |= {f"{name}/{key}": value for key, value in found.items()}
    with atomic_file(path, size=sum(one.nbytes for one in tensors.values())) as temporary:
        save_file(tensors, temporary, metadata=metadata)


def _cards(catalogue: Catalogue) -> list[tuple[str, Card]]:
    found = list(catalogue.cards())
    if not found:
        raise InputError(f"{catalogue.folder} has no cards.", "Give the folder of a catalogue.")
    return found


def _row(name: str, card: Card) -> tuple[str, ...]:
    entry = Entry.of(card)
    mean = next(one for one in card.evidence if one.metric == "mean")
    days = {step.stage: f"{step.on:%Y-%m-%d}" for step in entry.history}
    measured = f"{mean.value:.3f} [{mean.low:.3f}, {mean.high:.3f}]"
    stages = (days.get(stage, "") for stage in STAGES)
    return (name, card.model_name, measured, str(entry.bound), *stages)
