"""Tiny random models, one an architecture, with a byte-level tokenizer: no downloads."""

import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer, decoders, pre_tokenizers, processors
from tokenizers import models as token_models

from endoscope.engine import Model
from endoscope.models import Anatomy, LoadedModel, TextTokenizer

_SIZE = {
    "vocab_size": 260,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 512,
}
_MOE = {"num_local_experts": 4, "num_experts_per_tok": 2}
_DEEPSEEK = {
    "num_key_value_heads": 4,
    "moe_intermediate_size": 24,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "n_group": 2,
    "topk_group": 1,
    "n_shared_experts": 1,
    "first_k_dense_replace": 1,
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 8,
    "v_head_dim": 8,
}

CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", {}),
    "gemma3": ("Gemma3TextConfig", {"sliding_window": 8}),
    "gpt2": ("GPT2Config", {"n_embd": 32, "n_layer": 3, "n_head": 4}),
    "gpt_neox": ("GPTNeoXConfig", {}),
    "gpt_neox_serial": ("GPTNeoXConfig", {"use_parallel_residual": False}),
    "bert": ("BertConfig", {}),
    "qwen2": ("Qwen2Config", {}),
    "qwen3": ("Qwen3Config", {}),
    "gemma2": ("Gemma2Config", {"sliding_window": 8}),
    "mistral": ("MistralConfig", {"sliding_window": None}),
    "mixtral": ("MixtralConfig", _MOE),
    "olmo2": ("Olmo2Config", {}),
    "deepseek_v3": ("DeepseekV3Config", _DEEPSEEK),
}


def byte_tokenizer() -> Any:
    """A byte-level tokenizer whose ids are bytes, with a BOS: splits every multi-byte character."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate([*alphabet, "<bos>", "<eos>", "<pad>"])}
    raw = Tokenizer(token_models.BPE(vocab=vocabulary, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    raw.decoder = decoders.ByteLevel()
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=raw, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>"
    )
    fast.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", vocabulary["<bos>"])]
    )
    return fast


def tiny_module(name: str, seed: int = 0, **options: Any) -> Any:
    """A random model of one architecture, in fp32, in evaluation mode."""
    class_name, settings = CONFIGS[name]
    config = getattr(transformers, class_name)(**(_SIZE | settings | options))
    torch.manual_seed(seed)
    kind = transformers.AutoModel if name == "bert" else transformers.AutoModelForCausalLM
    module = kind.from_config(config, dtype=torch.float32).eval()
    for parameter in module.parameters():  # defaults leave biases at 0 and norms at 1: too kind
        parameter.data += 0.1 * torch.randn_like(parameter)
    return module.requires_grad_(False)


def save_tiny(folder: Path, name: str = "llama", seed: int = 0) -> Path:
    """Write a tiny model to a folder, as its users would have it."""
    tiny_module(name, seed).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder


def save_gappy(folder: Path) -> Path:
    """A tiny model whose vocabulary lacks U+0004 and has no BOS: a text may have no tokens."""
    file = save_tiny(folder) / "tokenizer.json"
    settings = json.loads(file.read_text())
    del settings["model"]["vocab"]["\u0104"]  # as byte-level vocabularies write it
    file.write_text(json.dumps(settings | {"post_processor": None}))
    return folder


def write_gguf(
    path: Path,
    name: str = "llama",
    types: Mapping[str, Any] | None = None,
    more: Callable[[Any], None] = lambda writer: None,
    **options: Any,
) -> Path:
    """A tiny model with a byte-level vocabulary, as llama.cpp would write it.

    Args:
        path: of the file.
        name: of the architecture.
        types: of tensors, by the last part of what the file calls them; the others are in float32.
        more: says more of the model.
        options: of its configuration.
    """
    import gguf

    module = tiny_module(name, **options)
    config = module.config
    writer = gguf.GGUFWriter(path, name)
    more(writer)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_head_count(config.num_attention_heads)
    if name == "gpt2":
        writer.add_feed_forward_length(4 * config.hidden_size)
        writer.add_layer_norm_eps(config.layer_norm_epsilon)
    else:
        writer.add_feed_forward_length(config.intermediate_size)
        writer.add_head_count_kv(config.num_key_value_heads)
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
        writer.add_rope_dimension_count(config.head_dim)
        writer.add_key_length(config.head_dim)
        writer.add_vocab_size(config.vocab_size)
    _add_vocabulary(writer, config.vocab_size)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH[name.upper()], config.num_hidden_layers)
    for key, value in module.state_dict().items():
        if key == "lm_head.weight" and config.tie_word_embeddings:
            continue
        given = str(names.get_name(key, try_suffixes=(".weight", ".bias")))
        array = _as_llama_cpp_has_it(key, value.numpy(), config)
        kind = gguf.GGMLQuantizationType.F32
        if array.ndim > 1:
            kind = (types or {}).get(given.split(".")[-2], kind)
        writer.add_tensor(given, gguf.quantize(array, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_vocabulary(writer: Any, size: int) -> None:
    vocabulary = byte_tokenizer().get_vocab()
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    merges = ["a b", "c d"][: size - len(tokens)]  # as many as there is room for what they make
    tokens += [one.replace(" ", "") for one in merges]
    tokens += [f"<unused{i}>" for i in range(size - len(tokens))]
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(vocabulary["<bos>"])
    writer.add_eos_token_id(vocabulary["<eos>"])


def _as_llama_cpp_has_it(key: str, array: Any, config: Any) -> Any:
    kind = config.model_type
    if kind == "llama" and ("q_proj" in key or "k_proj" in key):  # rotary pairs are neighbours
        by_head = array.reshape(-1, 2, config.head_dim // 2, array.shape[1])
        array = by_head.swapaxes(1, 2).reshape(array.shape)
    if kind.startswith("gemma") and "norm" in key:
        array = array + 1
    if kind == "gpt2" and array.ndim == 2 and ".h." in key:
        array = array.T
    return np.ascontiguousarray(array)


@cache
def _loaded(name: str) -> tuple[Any, Any]:
    return tiny_module(name), byte_tokenizer()


def tiny_model(name: str = "llama", folder: Path | None = None) -> Model:
    """An open tiny model. Give the folder of `save_tiny` where a fingerprint is needed."""
    module, tokenizer = _loaded(name)
    return Model(
        LoadedModel(
            name=f"tiny-{name}",
            module=module,
            tokenizer=TextTokenizer(tokenizer),
            anatomy=Anatomy(module),
            device=torch.device("cpu"),
            dtype=torch.float32,
            folder=folder or Path("nowhere"),
        )
    )
