"""Shifts along known directions, on an organism of a tiny model."""

from dataclasses import replace
from pathlib import Path

import torch

import endoscope
from endoscope.behaviours import shipped_prompts
from endoscope.catalogue import Catalogue
from endoscope.diff import Options, Pair, Prompt
from endoscope.diff.methods.directions import Directions
from endoscope.directions import ContrastingTexts, Direction
from tests.tiny import save_tiny


def test_the_way_it_moved_is_told_from_others(tmp_path: Path) -> None:
    folder = save_tiny(tmp_path / "tiny")
    pair = Pair.of(endoscope.open(folder), endoscope.open(folder))
    site = "resid_post.1"
    source = ContrastingTexts.of([(f"{n} is a", f"{n} is b") for n in range(8)], name="letters")
    other = Direction.fit(pair.base, source, site=site)
    nothing = Options(prompts=(Prompt("facts", "x"),), catalogue=tmp_path / "cards")
    other.save(tmp_path / "cards" / "letters")
    assert Directions().run(pair, nothing, tmp_path).signals == [], "equal models have not moved"
    with torch.no_grad():
        _, _, module = next(pair.tuned.loaded.anatomy.matrices("writers"))
        added = 0.3 * torch.randn(module.weight.shape, generator=torch.Generator().manual_seed(0))
        module.weight += added.to(module.weight.device)
    texts = [pair.given(text) for text in shipped_prompts("neutral")]
    base, tuned = (model.capture(texts, site) for model in pair)
    later = torch.diff(base.documents, prepend=torch.tensor([-1])) == 0
    moved = (tuned[site] - base[site])[later].mean(0)
    replace(other, basis=(moved / moved.norm())[None]).save(tmp_path / "cards" / "moved")
    first, second = Directions().run(pair, nothing, tmp_path).signals
    assert first.behaviour == "moved"
    assert first.score > 0.999
    assert first.strength > 1 > second.strength
    stranger = endoscope.open(save_tiny(tmp_path / "stranger", seed=5))
    Direction.fit(stranger, source, site=site).save(tmp_path / "cards" / "of another")
    seen = Directions().run(pair, nothing, tmp_path)
    assert seen.details == {"passed over": ["of another"]}
    assert len(list(Catalogue(tmp_path / "cards").directions())) == 3
