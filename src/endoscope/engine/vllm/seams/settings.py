"""What is decided when a model is loaded, from vLLM's own configuration."""

import logging
from dataclasses import dataclass
from typing import Any

import torch

import endoscope
from endoscope.engine.vllm.ordering import EDGES
from endoscope.engine.vllm.seams.names import FAMILIES
from endoscope.models.sites import KINDS, Site, SiteKind

logger = logging.getLogger(__name__)

KEY = "endoscope"
"""Our part of `--additional-config` (`{"endoscope": {"kinds": ["attn_out"]}}`), of a request's
`extra_args` and of what goes with an output."""

STAGES, ROWS = 2, 64
"""How much room buffers have: interventions of a request at a site, and rows of all requests'."""


@dataclass(frozen=True)
class Settings:
    """How a model is armed.

    Attributes:
        family: its `model_type`.
        kinds: the kinds of site within blocks; those between blocks are there in any case.
        sites: the only ones that are there; None: all of these kinds.
        buffers: whether they have buffers, so that graphs can be replayed.
        stages: of buffers.
        rows: of buffers.
    """

    family: str
    kinds: tuple[SiteKind, ...]
    sites: tuple[Site, ...] | None
    buffers: bool
    stages: int
    rows: int

    @classmethod
    def of(cls, config: Any) -> "Settings | None":
        """Return the settings of a configuration (`VllmConfig`); None: it is not supported.

        They are written into it, as vLLM keeps compiled models by its configuration: one that was
        compiled without our operation must not be taken.
        """
        if unsupported(config) is not None:
            return None
        family = config.model_config.hf_text_config.model_type
        given = dict(config.additional_config or {})
        asked = dict(given.get(KEY) or {})
        named = [Site.parse(site) for site in asked.get("sites") or ()]
        wanted = {*asked.get("kinds", ()), *(site.kind for site in named)} - set(EDGES)
        kinds = tuple(kind for kind in KINDS if kind in wanted)
        replays = config.compilation_config.cudagraph_mode.has_full_cudagraphs() or (
            config.compilation_config.cudagraph_mode.has_piecewise_cudagraphs()
        )
        sites = tuple(named) if named or replays else None
        if sites == ():
            logger.warning(
                "Graphs are replayed, and no sites are named: nothing can be read or changed. Use "
                '--additional-config \'{"endoscope": {"sites": ["resid_post.12"]}}\', or '
                "--enforce-eager."
            )
        stages, rows = int(asked.get("stages", STAGES)), int(asked.get("rows", ROWS))
        buffers = replays or bool(asked.get("buffers"))
        asked |= {"kinds": list(kinds), "buffers": buffers, "stages": stages, "rows": rows}
        asked["version"] = endoscope.__version__
        config.additional_config = given | {KEY: asked}
        return cls(family, kinds, sites, buffers, stages, rows)


def unsupported(config: Any) -> str | None:
    """Say why requests of a configuration cannot be read or changed; None: they can.

    Models that Endoscope does not know run as they would without it; it is requests for it that
    are refused, by this.
    """
    model, parallel = config.model_config, config.parallel_config
    family = getattr(model.hf_text_config, "model_type", "")
    for there, why in (
        (family not in FAMILIES, f"{family} models are not known to Endoscope on vLLM"),
        (model.is_multimodal_model, "models that see or hear are not known to Endoscope on vLLM"),
        (config.speculative_config is not None, "not under speculative decoding"),
        (parallel.prefill_context_parallel_size > 1, "not under context parallelism"),
        (parallel.use_ubatching, "not with batches that overlap (--enable-dbo)"),
        (
            parallel.use_sequence_parallel_moe,
            "not with experts and tensors in parallel on several data-parallel ranks, where each "
            "worker has a part of the tokens",
        ),
        (
            config.kv_transfer_config is not None,
            "not with a KV connector: what it keeps may be filed by tokens alone, and plain and "
            "steered requests would then share it",
        ),
        (
            family == "deepseek_v3" and model.dtype == torch.float16,
            "deepseek_v3 not in float16, in which vLLM scales its stream; use bfloat16",
        ),
        (config.lora_config is not None, "not with adapters: probes are of the base model"),
    ):
        if there:
            return f"This server cannot read or steer: {why}."
    return None
