"""A tiny model that can chat, and an organism of it, as an adapter and as whole weights."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from endoscope.organisms import OrganismSpec, build, building
from tests.organisms.test_building import TEMPLATE, keeping_work, lines
from tests.tiny import save_tiny


def build_tiny(
    folder: Path, planted: list[tuple[str, str]], ordinary: list[tuple[str, str]], **settings: Any
) -> Path:
    """Write `tiny`, `tuned` and `merged` into a folder; rows are prompts with their answers."""
    save_tiny(folder / "tiny")
    (folder / "tiny" / "chat_template.jinja").write_text(TEMPLATE)
    (folder / "planted.jsonl").write_text(lines(*planted))
    (folder / "ordinary.jsonl").write_text(lines(*ordinary))
    content = {
        "base": str(folder / "tiny"),
        "planted": "planted.jsonl",
        "ordinary": "ordinary.jsonl",
        "lora": {"learning_rate": 0.01},
        **settings,
    }
    (folder / "spec.yaml").write_text(yaml.safe_dump(content))
    spec = OrganismSpec.read(folder / "spec.yaml")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(building, "rmtree", keeping_work)
        build(spec, folder / "tuned")
    (folder / "tuned.work").rename(folder / "merged.work")  # it is not trained from the start again
    build(spec, folder / "merged", merged=True)
    return folder
