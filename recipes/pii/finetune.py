"""The baseline that fine-tunes: a LoRA token classifier on the model that the probe reads.

Same synthetic text, same blocks (those up to the probe's site), same readings; but the blocks are
tuned as well, so the classifier needs a forward pass of its own, where the probe reads one that may
run anyway.
"""

import random
from collections.abc import Sequence
from pathlib import Path

import peft
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from endoscope.artifacts import atomic_file
from endoscope.engine import Model
from endoscope.engine.batching import Row, pad, plan
from endoscope.engine.capture import Prepared, prepare
from endoscope.probes import ProbeData, token_labels
from endoscope.progress import progress
from endoscope.readouts import FeatureSpec, TokenScores

RANK = 8
RATE = 5e-4
BATCH_TOKENS = 2048


class LoraClassifier(nn.Module):
    """The first blocks of a model with LoRA on every linear layer, and a linear head.

    Args:
        model: opened for this alone: its blocks are changed in place.
        spec: one site; the blocks up to it are kept. Look-ahead is left out: the second reading
            has seen what follows.
        classes: names of the classes.
    """

    def __init__(self, model: Model, spec: FeatureSpec, classes: tuple[str, ...]) -> None:
        super().__init__()
        self.model, self.spec, self.classes = model, spec, classes
        anatomy = model.loaded.anatomy
        base = anatomy.base
        blocks = spec.sites[0].layer + 1
        base.layers = nn.ModuleList(list(anatomy.blocks)[:blocks])
        base.norm = nn.Identity()
        settings = peft.LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear")
        self.base = peft.get_peft_model(base, settings)
        self.scale = nn.LayerNorm(model.d_model)
        self.head = nn.Linear(model.d_model, len(classes))

    def forward(self, rows: Sequence[Row]) -> list[Tensor]:
        """Return logits of the kept tokens of each row, `[tokens, classes]`."""
        ids, mask = pad(rows, 0, self.model.device)
        hidden = self.base(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        logits = self.head(self.scale(hidden.float()))
        return [logits[i, row.start : len(row.ids)] for i, row in enumerate(rows)]

    def documents(self, texts: Sequence[str]) -> list[Prepared]:
        return prepare(texts, self.model.tokenizer, None, self.spec.readings)

    @torch.no_grad()
    def score(self, texts: Sequence[str]) -> list[TokenScores]:
        """Score the tokens of texts."""
        documents = self.documents(texts)
        scores = [
            TokenScores(torch.zeros(0, 2, dtype=torch.long), torch.zeros(0, 1), self.classes)
        ] * len(texts)
        lengths = [len(d.token_ids) and len(d.row.ids) for d in documents]
        for batch in plan(lengths, BATCH_TOKENS):
            for i, logits in zip(batch, self([documents[i].row for i in batch]), strict=True):
                offsets = torch.tensor(documents[i].offsets)
                inside = offsets[:, 0] < offsets[:, 1]
                scores[i] = TokenScores(offsets[inside], logits.softmax(-1)[inside], self.classes)
        return scores


def finetune(
    model: Model,
    data: ProbeData,
    spec: FeatureSpec,
    classes: tuple[str, ...],
    *,
    seed: int,
    kept: Path,
) -> LoraClassifier:
    """Train for one pass over the documents, or open what an earlier run kept.

    Args:
        model: opened for this alone.
        data: synthetic documents with spans.
        spec: what the probe reads.
        classes: names of the classes.
        seed: of everything random.
        kept: safetensors file for the trained weights.
    """
    torch.manual_seed(seed)
    classifier = LoraClassifier(model, spec, classes)
    trained = {name: p for name, p in classifier.named_parameters() if p.requires_grad}
    if kept.exists():
        classifier.load_state_dict(load_file(kept), strict=False)
    else:
        _train(classifier, data, list(trained.values()), seed)
        with atomic_file(kept) as temporary:
            save_file({name: p.detach() for name, p in trained.items()}, temporary)
    return classifier.eval()


def _train(
    classifier: LoraClassifier, data: ProbeData, trained: list[nn.Parameter], seed: int
) -> None:
    documents = classifier.documents([str(content) for content in data.contents])
    labels = [
        token_labels(
            torch.tensor(document.offsets).reshape(-1, 2), own.spans or (), classifier.classes
        )
        for document, own in zip(documents, data.documents, strict=True)
    ]
    optimiser = torch.optim.AdamW(trained, lr=RATE, weight_decay=0.01)
    batches = plan([len(d.token_ids) and len(d.row.ids) for d in documents], BATCH_TOKENS)
    random.Random(seed).shuffle(batches)
    steps = len(batches)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    with progress("Fine-tuning", steps) as advance:
        for batch in batches:
            logits = torch.cat(classifier([documents[i].row for i in batch]))
            loss = cross_entropy(logits, torch.cat([labels[i] for i in batch]))
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(trained, 1.0)
            optimiser.step()
            schedule.step()
            advance(1)
