"""What kind of artifact a folder is."""

import json
from pathlib import Path

CARD_FILE = "card.json"


def kind_of(folder: Path) -> str | None:
    """Return the kind on a folder's card, or None if it is no artifact."""
    try:
        card = json.loads((folder / CARD_FILE).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    kind = card.get("kind") if isinstance(card, dict) else None
    return kind if isinstance(kind, str) else None
