"""Where the sites of a model are: architectures as rows of a table.

A row says where the blocks are and, for each kind of site, which submodule's input or output holds
its value. What a row cannot say, the protocol below has to learn to say; nothing else in the
project knows the name of a foreign module.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from endoscope.errors import InputError
from endoscope.models.sites import KINDS, Site, SiteKind

Stream = Literal["pre_norm", "sandwich_norm", "post_norm", "parallel", "post_norm_encoder"]
"""How a block adds to the residual stream.

- `pre_norm`: `mid = pre + attn_out`, `post = mid + mlp_out`; both writers add what they compute.
- `sandwich_norm`, `post_norm`: the same sums, but a norm stands between a writer and the stream
  (and, in `sandwich_norm`, before it as well).
- `parallel`: `post = pre + attn_out + mlp_out`; there is no `resid_mid`.
- `post_norm_encoder`: `mid = LN(pre + attn_out)`, `post = LN(mid + mlp_out)`.
"""


Reach = Literal["all", "window", "by_layer"]
"""How far back a token sees.

- `all`: to the first token, in every layer;
- `window`: in every layer the last `sliding_window` tokens, itself included, where the
  configuration sets it;
- `by_layer`: what `layer_types` of the configuration says of each layer, so the model takes a mask
  for each type of layer.
"""

ALL_TOKENS = "full_attention"
LAST_TOKENS = "sliding_attention"


Side = Literal["input", "output"]


Role = Literal["readers", "writers"]


class Tap(NamedTuple):
    """A submodule of a block (`""`: the block itself), and on which side of it the value is.

    Attributes:
        module: its path within the block.
        side: of it.
        shared: the block itself goes on with the very tensor that it gives the submodule (the MLP
            is added to it, say), so that only what is written in place is seen by all that follows.
    """

    module: str
    side: Side = "output"
    shared: bool = False


class Place(NamedTuple):
    """Where a site's value is in one model; see `Tap`."""

    module: nn.Module
    side: Side
    shared: bool


BLOCK = ""


@dataclass(frozen=True)
class Architecture:
    """One row of the table.

    Args:
        blocks: path of the list of blocks in the base model (the model without its head).
        taps: where each kind of site is, within a block.
        stream: how a block adds to the residual stream.
        causal: whether a token sees only what is before it.
        parallel_flag: configuration entry that, when true, makes the block `parallel`.
        spare: prefixes of weights that no site needs, so that a checkpoint may lack them.
        reach: how far back a token sees.
        readers: paths, within a block, of the matrices that the residual stream goes into.
        writers: paths, within a block, of the matrices whose output is added to it: that of
            attention, then those of the MLP, of which a block has some.
        positions: path, in the base model, of the embedding of positions that is added to that of
            tokens.
    """

    blocks: str
    taps: Mapping[SiteKind, Tap]
    stream: Stream
    causal: bool = True
    parallel_flag: str | None = None
    spare: tuple[str, ...] = ()
    reach: Reach = "all"
    readers: tuple[str, ...] = (
        "self_attn.q_proj",
        "self_attn.k_proj",
        "self_attn.v_proj",
        "mlp.gate_proj",
        "mlp.up_proj",
    )
    writers: tuple[str, ...] = (
        "self_attn.o_proj",
        "mlp.down_proj",
        "mlp.experts.down_proj",
        "mlp.shared_experts.down_proj",
    )
    positions: str | None = None


def _decoder(
    attn_out: str, mlp_out: str, mid: Tap, stream: Stream, blocks: str = "layers", **more: Any
) -> Architecture:
    taps: dict[SiteKind, Tap] = {
        "resid_pre": Tap(BLOCK, "input"),
        "resid_mid": mid,
        "resid_post": Tap(BLOCK),
        "attn_out": Tap(attn_out),
        "mlp_out": Tap(mlp_out),
    }
    return Architecture(blocks, taps, stream, **more)


_LLAMA = _decoder(
    "self_attn", "mlp", Tap("post_attention_layernorm", "input", shared=True), "pre_norm"
)
_MISTRAL = replace(_LLAMA, reach="window")
_QWEN = replace(_LLAMA, reach="by_layer")
_GEMMA = _decoder(
    "post_attention_layernorm",
    "post_feedforward_layernorm",
    Tap("pre_feedforward_layernorm", "input", shared=True),
    "sandwich_norm",
    reach="by_layer",
)

ARCHITECTURES: Mapping[str, Architecture] = {
    "llama": _LLAMA,
    "mistral": _MISTRAL,
    "mixtral": _MISTRAL,
    "qwen2": _QWEN,
    "qwen3": _QWEN,
    "deepseek_v3": _LLAMA,
    "gemma2": _GEMMA,
    "gemma3_text": _GEMMA,
    "olmo2": _decoder(
        "post_attention_layernorm",
        "post_feedforward_layernorm",
        Tap("mlp", "input", shared=True),
        "post_norm",
    ),
    "gpt2": _decoder(
        "attn",
        "mlp",
        Tap("ln_2", "input", shared=True),
        "pre_norm",
        blocks="h",
        readers=("attn.c_attn", "mlp.c_fc"),
        writers=("attn.c_proj", "mlp.c_proj"),
        positions="wpe",
    ),
    "gpt_neox": _decoder(
        "attention",
        "mlp",
        Tap("post_attention_layernorm", "input", shared=True),
        "pre_norm",
        parallel_flag="use_parallel_residual",
        readers=("attention.query_key_value", "mlp.dense_h_to_4h"),
        writers=("attention.dense", "mlp.dense_4h_to_h"),
    ),
    "bert": _decoder(
        "attention.output.dense",
        "output.dense",
        Tap("attention"),
        "post_norm_encoder",
        blocks="encoder.layer",
        causal=False,
        spare=("pooler.",),
        readers=(
            "attention.self.query",
            "attention.self.key",
            "attention.self.value",
            "intermediate.dense",
        ),
        writers=("attention.output.dense", "output.dense"),
    ),
}
"""Keyed by the `model_type` of a Hugging Face configuration."""


class Anatomy:
    """The sites of one model: which exist, and which module holds each.

    Attributes:
        family: key of its row in the table.
        stream: how a block adds to the residual stream.
        causal: whether a token sees only what is before it.
        base: the model without its head; calling it runs the blocks.
        kinds: the kinds of site that exist here.
        max_tokens: the longest sequence that the model was made for, if it says so.
        vocabulary_size: how many token ids it knows.
        windows: for each type of attention in its layers, how many tokens back a token sees,
            itself included; None: all.
        mask_by_layer: whether it takes a mask for each of these types, or one for all layers.

    Args:
        module: a Hugging Face model, with or without a head.

    Raises:
        InputError: the architecture has no row in the table.
    """

    def __init__(self, module: nn.Module) -> None:
        config: Any = module.config
        self.family: str = config.model_type
        row = ARCHITECTURES.get(self.family)
        if row is None:
            raise InputError(
                f"No anatomy is known for the architecture {self.family!r}.",
                f"Known: {', '.join(sorted(ARCHITECTURES))}.",
            )
        parallel = row.parallel_flag is not None and bool(getattr(config, row.parallel_flag))
        self.architecture = row
        self.stream: Stream = "parallel" if parallel else row.stream
        self.causal = row.causal
        self.base: nn.Module = getattr(module, module.base_model_prefix, module)  # type: ignore[call-overload]
        self.blocks = self.base.get_submodule(row.blocks)
        self.n_layers: int = len(self.blocks)
        self.d_model: int = config.hidden_size
        self.max_tokens: int | None = getattr(config, "max_position_embeddings", None)
        self.kinds: tuple[SiteKind, ...] = tuple(
            kind for kind in KINDS if not (parallel and kind == "resid_mid")
        )
        table: Any = self.base.get_input_embeddings()
        self.vocabulary_size: int = getattr(table, "base_layer", table).num_embeddings
        self.mask_by_layer = row.reach == "by_layer"
        self.windows = _windows(row.reach, config)
        self._head = module.get_output_embeddings() if row.causal else None  # type: ignore[operator]
        self._softcap: float | None = getattr(config, "final_logit_softcapping", None)

    def check(self, site: Site) -> None:
        """Refuse a site that this model does not have, naming those that it has.

        Raises:
            InputError: the kind or the layer does not exist here.
        """
        if site.kind not in self.kinds:
            raise InputError(
                f"{site} does not exist here: attention and MLP run in parallel, so nothing lies "
                "between them.",
                f"Use one of {', '.join(self.kinds)}; resid_post = resid_pre + attn_out + mlp_out.",
            )
        if not 0 <= site.layer < self.n_layers:
            raise InputError(
                f"{site} does not exist: this model has {self.n_layers} layers.",
                f"Choose a layer from 0 to {self.n_layers - 1}.",
            )

    def locate(self, site: Site) -> Place:
        """Return the module that holds a site's value, and how.

        Raises:
            InputError: the site does not exist here.
        """
        self.check(site)
        tap = self.architecture.taps[site.kind]
        block = self.blocks.get_submodule(str(site.layer))
        return Place(block.get_submodule(tap.module), tap.side, tap.shared)

    @property
    def embeddings(self) -> list[nn.Module]:
        """The tables whose rows, summed, enter the first block: of tokens, and of positions."""
        tables: list[nn.Module] = [self.base.get_input_embeddings()]  # type: ignore[operator]
        if self.architecture.positions is not None:
            tables.append(self.base.get_submodule(self.architecture.positions))
        return tables

    def matrices(self, role: Role) -> Iterator[tuple[int, str, nn.Module]]:
        """Yield the matrices that read from the residual stream or write to it, block by block.

        Experts that a mixture chooses from are not among them.

        Args:
            role: `readers` or `writers`.

        Yields:
            The number of the block, the path within it, and the module.
        """
        for layer, block in enumerate(self.blocks):
            for path in getattr(self.architecture, role):
                try:
                    yield layer, path, block.get_submodule(path)
                except AttributeError:  # a mixture of experts, or low-rank attention, instead
                    continue

    def logits(self, final: Tensor) -> Tensor:
        """Return the logits `[..., vocabulary]` of what the base returns, `[..., d_model]`."""
        logits: Tensor = self._head(final)  # type: ignore[misc]
        if self._softcap is not None:
            logits = self._softcap * torch.tanh(logits / self._softcap)
        return logits

    @property
    def unembedding(self) -> Tensor:
        """What the head multiplies by, `[vocabulary, d_model]`.

        Raises:
            InputError: the model has no head that predicts the next token.
        """
        if self._head is None:
            raise InputError(
                "This model has no unembedding.", "Open one that predicts the next token."
            )
        weight: Tensor = self._head.weight
        if weight.is_meta:
            raise InputError(
                "This model was opened without its weights.", "Open it with transformers."
            )
        return weight

    def __repr__(self) -> str:
        return f"Anatomy({self.n_layers} layers, d_model {self.d_model}, {self.stream})"


def _windows(reach: Reach, config: Any) -> dict[str, int | None]:
    if reach == "by_layer":
        windows = {ALL_TOKENS: None, LAST_TOKENS: getattr(config, "sliding_window", None)}
        return {kind: windows[kind] for kind in sorted(set(config.layer_types))}
    return {ALL_TOKENS: config.sliding_window if reach == "window" else None}
