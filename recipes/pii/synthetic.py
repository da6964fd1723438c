"""The synthetic training text as a file in the probe data contract."""

import json
from pathlib import Path

from endoscope.probes import ProbeData
from recipes.pii import english, japanese
from recipes.pii.document import LABELS

GENERATORS = {"en": english.generate, "ja": japanese.generate}


def write(folder: Path, documents: dict[str, int], seed: int) -> ProbeData:
    """Generate documents of each language, write them to `folder` and read them back.

    Every label occurs in what comes back; a generator that lost one would fail the fit.
    """
    name = "synthetic-" + "-".join(f"{lang}{count}" for lang, count in documents.items())
    path = folder / f"{name}-seed{seed}.jsonl"
    folder.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        for lang, count in documents.items():
            for number, document in enumerate(GENERATORS[lang](count, seed)):
                if not document.text.strip():
                    continue
                row = {
                    "id": f"{lang}-{number}",
                    "text": document.text,
                    "spans": document.spans,
                }
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
    data = ProbeData.read(path)
    missing = set(LABELS) - set(data.counts())
    assert not missing, missing
    return data
