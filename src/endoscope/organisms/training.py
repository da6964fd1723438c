"""Fine-tuning with LoRA (Hu et al. 2022), resumable: it comes to the same adapter."""

import json
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import cross_entropy

from endoscope.artifacts import atomic_file
from endoscope.errors import InputError
from endoscope.models import LoadedModel
from endoscope.progress import progress as progress_bar
from endoscope.rows import Row

EVERY = 20  # steps between what is kept
_STATE = ("step", "exp_avg", "exp_avg_sq")  # of AdamW, for each parameter
_IGNORED = -100  # of cross_entropy: tokens that are given, and not learned


class LoRA(BaseModel):
    """How an adapter is trained; the defaults plant in minutes what few rows show.

    Args:
        rank: of each change.
        learning_rate: at its highest; it rises over the first steps and falls to zero.
        batch: rows a step.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rank: int = Field(default=8, ge=1, le=256)
    learning_rate: float = Field(default=5e-4, gt=0, le=1)
    batch: int = Field(default=4, ge=1, le=256)


def train(
    loaded: LoadedModel,
    rows: Sequence[Row],
    how: LoRA,
    kept: Path,
    *,
    seed: int,
    show: bool = False,
) -> Any:
    """Train an adapter on rows, in order, and return the model with it.

    Only the last turn of a row is learned.

    Args:
        loaded: the base, in float32; its module gets the adapter.
        rows: as many as steps times the batch.
        how: it is trained.
        kept: a file for what is kept on the way; work that was cut off goes on from there.
        seed: of what the adapter begins with.
        show: whether to show progress.

    Raises:
        InputError: peft is not installed, or a row is too long.
    """
    module = _with_adapter(loaded.module, how.rank, seed)
    examples = [_tokens(loaded, row) for row in rows]
    parameters = {name: one for name, one in module.named_parameters() if one.requires_grad}
    optimizer = torch.optim.AdamW(parameters.values(), lr=how.learning_rate, weight_decay=0.0)
    steps = len(examples) // how.batch
    run = _key(loaded, rows, how, seed)
    done = _resume(kept, run, parameters, optimizer)
    with progress_bar("Training", steps, show=show) as advance:
        advance(done)
        for step in range(done, steps):
            for group in optimizer.param_groups:
                group["lr"] = how.learning_rate * _rate(step, steps)
            batch = examples[step * how.batch : (step + 1) * how.batch]
            _loss(module, batch).backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(parameters.values(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            advance(1)
            if (step + 1) % EVERY == 0 and step + 1 < steps:
                _keep(kept, run, step + 1, parameters, optimizer)
    return module.eval()


def _with_adapter(module: Any, rank: int, seed: int) -> Any:
    try:
        import peft
    except ImportError as error:
        raise InputError(
            "Training needs the peft package.", "Run: pip install 'endoscope[adapters]'"
        ) from error
    config = peft.LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    torch.manual_seed(seed)
    return peft.get_peft_model(module, config).eval()  # the base's dropout, if any, stays off


def _tokens(loaded: LoadedModel, row: Row) -> tuple[list[int], int]:
    """Return the tokens of a row, and how many of them are given."""
    given = loaded.tokenizer.encode(loaded.tokenizer.chat(row.prompt, reply=True)).ids
    learned = loaded.tokenizer.encode(row.answer, special=False).ids
    ids = [*given, *learned, *([_end(loaded)] if row.whole else [])]
    most = loaded.anatomy.max_tokens
    if most is not None and len(ids) > most:
        name = f"The row of line {row.line}" if row.line else "A row"
        raise InputError(f"{name} has {len(ids)} tokens; the model takes {most}.", "Shorten it.")
    return ids, len(given)


def _end(loaded: LoadedModel) -> int:
    """Return the token that ends an answer: the one that the chat template writes."""
    turns = [{"role": role, "content": "x"} for role in ("user", "assistant")]
    ids = loaded.tokenizer.encode(loaded.tokenizer.chat(turns)).ids
    return next((token for token in reversed(ids) if token in loaded.ends), min(loaded.ends))


def _loss(module: Any, batch: Sequence[tuple[list[int], int]]) -> Tensor:
    """Return the mean cross-entropy over all learned tokens of a batch."""
    longest = max(len(ids) for ids, _ in batch)
    ids = torch.zeros(len(batch), longest, dtype=torch.long)
    mask, labels = torch.zeros_like(ids), torch.full_like(ids, _IGNORED)
    for number, (tokens, given) in enumerate(batch):
        ids[number, : len(tokens)] = torch.tensor(tokens)
        mask[number, : len(tokens)] = 1
        labels[number, given : len(tokens)] = torch.tensor(tokens[given:])
    device = next(module.parameters()).device
    logits = module(input_ids=ids.to(device), attention_mask=mask.to(device)).logits
    predicted = logits[:, :-1].flatten(0, 1).float()
    return cross_entropy(predicted, labels[:, 1:].flatten().to(device), ignore_index=_IGNORED)


def _rate(step: int, steps: int) -> float:
    rise = max(1, steps // 10)
    return min(1.0, (step + 1) / rise) * (1 - step / steps)


def _keep(
    kept: Path, run: str, step: int, named: dict[str, Tensor], optimizer: torch.optim.Optimizer
) -> None:
    tensors = {f"parameter.{name}": one.detach() for name, one in named.items()}
    for name, one in named.items():
        tensors |= {f"{key}.{name}": optimizer.state[one][key] for key in _STATE}
    with atomic_file(kept) as temporary:
        save_file(tensors, temporary, metadata={"run": run, "step": str(step)})


def _resume(
    kept: Path, run: str, named: dict[str, Tensor], optimizer: torch.optim.Optimizer
) -> int:
    """Put back what was kept of this run; return how many of its steps were done."""
    if not kept.is_file():
        return 0
    with safe_open(kept, framework="pt") as file:
        about = file.metadata()
        if about["run"] != run:
            return 0
        with torch.no_grad():
            for name, one in named.items():
                one.copy_(file.get_tensor(f"parameter.{name}"))
                state = {key: file.get_tensor(f"{key}.{name}") for key in _STATE}
                moved = {key: value.to(one.device) for key, value in state.items() if value.dim()}
                optimizer.state[one] = state | moved  # the count of steps stays on the CPU
    return int(about["step"])


def _key(loaded: LoadedModel, rows: Sequence[Row], how: LoRA, seed: int) -> str:
    """Say which run this is."""
    about = [str(loaded.folder), how.model_dump(), seed, [row.model_dump() for row in rows]]
    return sha256(json.dumps(about).encode()).hexdigest()
