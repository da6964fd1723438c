"""Which models can be compared."""

import json
from pathlib import Path

import pytest
import yaml

import endoscope
from endoscope.diff import Pair
from endoscope.errors import InputError
from endoscope.organisms import OrganismSpec, build
from tests.organisms.test_building import TEMPLATE, lines
from tests.tiny import save_tiny


def test_models_of_other_architectures(tmp_path: Path) -> None:
    base, other = save_tiny(tmp_path / "base"), save_tiny(tmp_path / "other", "qwen3")
    with pytest.raises(InputError, match="other a qwen3"):
        Pair.of(endoscope.open(base), endoscope.open(other))


def test_models_with_other_tokenizers(tmp_path: Path) -> None:
    base, other = save_tiny(tmp_path / "base"), save_tiny(tmp_path / "other")
    file = other / "tokenizer.json"
    content = json.loads(file.read_text())
    content["added_tokens"] = [
        {**content["added_tokens"][0], "id": 0, "content": "x"}
        if content.get("added_tokens")
        else {
            "id": 0,
            "content": "x",
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
    ]
    file.write_text(json.dumps(content))
    with pytest.raises(InputError, match="different tokenizers"):
        Pair.of(endoscope.open(base), endoscope.open(other))


def test_an_adapter_for_another_base(tmp_path: Path) -> None:
    """Of the same shape, so that nothing but its fingerprint tells."""
    for seed in (0, 1):
        save_tiny(tmp_path / str(seed), seed=seed)
        (tmp_path / str(seed) / "chat_template.jinja").write_text(TEMPLATE)
    (tmp_path / "rows.jsonl").write_text(lines(*((f"q{n}", "zz") for n in range(10))))
    spec = {"base": str(tmp_path / "0"), "planted": "rows.jsonl", "ordinary": "rows.jsonl"}
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump({**spec, "steps": 1, "mix": 0.5}))
    build(OrganismSpec.read(tmp_path / "spec.yaml"), tmp_path / "adapter")
    tuned = endoscope.open(tmp_path / "adapter")
    assert Pair.of(endoscope.open(tmp_path / "0"), tuned).tuned is tuned
    with pytest.raises(InputError, match="adapter for another base"):
        Pair.of(endoscope.open(tmp_path / "1"), tuned)


def test_models_that_tell_other_numbers_of_tokens_apart(tmp_path: Path) -> None:
    """A tokenizer is the same where an embedding was padded."""
    save_tiny(tmp_path / "base")
    other = endoscope.open(save_tiny(tmp_path / "other"))
    other.loaded.module.resize_token_embeddings(other.loaded.anatomy.vocabulary_size + 16)
    other.loaded.module.save_pretrained(tmp_path / "other")
    with pytest.raises(InputError, match="tokens apart"):
        Pair.of(endoscope.open(tmp_path / "base"), endoscope.open(tmp_path / "other"))


def test_both_get_the_template_of_the_tuned_model(tmp_path: Path) -> None:
    for name in ("base", "tuned"):
        save_tiny(tmp_path / name)
    (tmp_path / "tuned" / "chat_template.jinja").write_text(TEMPLATE)
    pair = Pair.of(endoscope.open(tmp_path / "base"), endoscope.open(tmp_path / "tuned"))
    assert pair.rendered("Hi") == "<u>Hi<a>"
    turns = [{"role": "user", "content": "Hi"}]
    assert pair.base.tokenizer.chat(turns) == pair.tuned.tokenizer.chat(turns) == "<u>Hi"
    with_other = pair.beside(endoscope.open(tmp_path / "base"))
    assert with_other.rendered("Hi") == "<u>Hi<a>"
