"""Heads: from features to class logits.

A head is fitted elsewhere; here it only scores, from tensors and a little configuration, so that
whatever runs a model can carry one. Logits are computed in float64 where the device has it: heads
are small, and the score of a token must not depend on how many others it was scored with.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, Self

import torch
from torch import Tensor

from endoscope.errors import InputError


class Head(Protocol):
    """What scores features: a linear projection of each token's, and what is made of those.

    Attributes:
        kind: its name in the registry and in files.
        labels: names of the classes; the first means "nothing here".
    """

    kind: ClassVar[str]
    labels: tuple[str, ...]

    @property
    def history(self) -> int:
        """How many tokens before it a token's logits depend on."""
        ...

    @property
    def n_features(self) -> int:
        """The number of features of a token."""
        ...

    @property
    def projection(self) -> Tensor:
        """What the logits depend on: `[outputs, n_features]`."""
        ...

    def combine(
        self, projected: Tensor, documents: Tensor | None = None, *, first: int = 0
    ) -> Tensor:
        """Return logits for projected features `[tokens, outputs]`.

        Args:
            projected: of the tokens.
            documents: as for calling the head.
            first: the first token whose logits are wanted.

        Returns:
            `[tokens - first, labels]`.
        """
        ...

    def __call__(self, features: Tensor, documents: Tensor | None = None) -> Tensor:
        """Return logits `[tokens, labels]` for features `[tokens, n_features]`.

        `documents` (`[tokens]`, ascending) says where documents begin; None means one document.
        """
        ...

    def config(self) -> dict[str, Any]:
        """Return what a file needs beside the tensors."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors by name."""
        ...

    @classmethod
    def from_tensors(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Self:
        """Make the head again from what `config` and `tensors` gave."""
        ...


def exact(tensor: Tensor) -> Tensor:
    """Return a tensor in the precision of logits."""
    return tensor.float() if tensor.device.type == "mps" else tensor.double()


def _projected(head: Head, features: Tensor) -> Tensor:
    weight = exact(head.projection.to(features.device)).T
    return torch.cat([exact(block) @ weight for block in torch.split(features, 8192)])


class LinearHead:
    """Logits that are affine in the features.

    Args:
        weight: `[labels, n_features]`.
        bias: `[labels]`.
        labels: names of the classes.
    """

    kind: ClassVar[str] = "linear"
    history = 0

    def __init__(self, weight: Tensor, bias: Tensor, labels: tuple[str, ...]) -> None:
        _check_shapes(weight, (len(labels), weight.shape[-1]))
        _check_shapes(bias, (len(labels),))
        self.weight = weight.float()
        self.bias = bias.float()
        self.labels = labels

    @property
    def n_features(self) -> int:
        """The number of features of a token."""
        return self.weight.shape[1]

    @property
    def projection(self) -> Tensor:
        """The weight, `[labels, n_features]`."""
        return self.weight

    def combine(
        self, projected: Tensor, documents: Tensor | None = None, *, first: int = 0
    ) -> Tensor:
        """Return logits `[tokens - first, labels]` for projected features `[tokens, labels]`."""
        return projected[first:] + exact(self.bias.to(projected.device))

    def __call__(self, features: Tensor, documents: Tensor | None = None) -> Tensor:
        """Return logits `[tokens, labels]`."""
        return self.combine(_projected(self, features))

    def config(self) -> dict[str, Any]:
        """Return what a file needs beside the tensors."""
        return {"kind": self.kind, "labels": list(self.labels)}

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors by name."""
        return {"weight": self.weight, "bias": self.bias}

    @classmethod
    def from_tensors(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Self:
        """Make the head again from what `config` and `tensors` gave."""
        return cls(tensors["weight"], tensors["bias"], tuple(config["labels"]))


class LogisticHead(LinearHead):
    """Multinomial logistic regression."""

    kind = "logistic"


class MassMeanHead(LinearHead):
    """Difference of class means, corrected by the covariance within classes.

    Marks & Tegmark 2023, "The geometry of truth"; with several classes this is linear discriminant
    analysis.
    """

    kind = "mass_mean"


class AttentionHead:
    """Softmax attention over the last `window` tokens, for text that is judged as a whole.

    Each of the queries weighs the tokens of the window and averages their values; the averages
    add up to the log-odds of each class against class 0. The logits of a token are those of the
    window that ends there, so a document's score is a pooling (usually the maximum) over windows:
    a short passage counts as much in a long document as in a short one.

    Attention probes: Kantamneni et al. 2025, "Are sparse autoencoders useful?"; McKenzie et al.
    2025, "Detecting high-stakes interactions with activation probes". Rolling windows: Kramár et
    al. 2026, "Building production-ready probes for Gemini".

    Args:
        query: `[queries, n_features]`.
        value: `[queries, labels - 1, n_features]`.
        bias: `[labels - 1]`.
        labels: names of the classes.
        window: tokens in a window.
    """

    kind: ClassVar[str] = "attention"

    def __init__(
        self, query: Tensor, value: Tensor, bias: Tensor, labels: tuple[str, ...], window: int
    ) -> None:
        _check_shapes(value, (query.shape[0], len(labels) - 1, query.shape[-1]))
        _check_shapes(bias, (len(labels) - 1,))
        if window < 1:
            raise ValueError(f"a window of {window} tokens")
        self.query, self.value, self.bias = query.float(), value.float(), bias.float()
        self.labels = labels
        self.window = window

    @property
    def history(self) -> int:
        """How many tokens before it a token's logits depend on."""
        return self.window - 1

    @property
    def n_features(self) -> int:
        """The number of features of a token."""
        return self.query.shape[1]

    @property
    def projection(self) -> Tensor:
        """Queries, then the values of each: `[queries * labels, n_features]`."""
        return torch.cat([self.query, self.value.flatten(0, 1)])

    def combine(
        self, projected: Tensor, documents: Tensor | None = None, *, first: int = 0
    ) -> Tensor:
        """Return logits `[tokens - first, labels]`, those of class 0 zero."""
        queries = len(self.query)
        attention, values = projected[:, :queries], projected[:, queries:]
        bias = exact(self.bias.to(projected.device))
        values = torch.unflatten(values, 1, (queries, -1))
        return _attend(attention, values, documents, bias, self.window, first)

    def __call__(self, features: Tensor, documents: Tensor | None = None) -> Tensor:
        """Return logits `[tokens, labels]`, those of class 0 zero."""
        return self.combine(_projected(self, features), documents)

    def config(self) -> dict[str, Any]:
        """Return what a file needs beside the tensors."""
        return {"kind": self.kind, "labels": list(self.labels), "window": self.window}

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors by name."""
        return {"query": self.query, "value": self.value, "bias": self.bias}

    @classmethod
    def from_tensors(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Self:
        """Make the head again from what `config` and `tensors` gave."""
        query, value, bias = tensors["query"], tensors["value"], tensors["bias"]
        return cls(query, value, bias, tuple(config["labels"]), int(config["window"]))


def rolling_attention(
    features: Tensor,
    documents: Tensor | None,
    query: Tensor,
    value: Tensor,
    bias: Tensor,
    window: int,
) -> Tensor:
    """Return `[tokens, labels]`: attention over the window that ends at each token.

    Shapes as in `AttentionHead`; differentiable, so that training runs what scoring runs.
    """
    values = torch.unflatten(features @ value.flatten(0, 1).T, 1, value.shape[:2])
    return _attend(features @ query.T, values, documents, bias, window)


def _attend(
    attention: Tensor,
    values: Tensor,
    documents: Tensor | None,
    bias: Tensor,
    window: int,
    first: int = 0,
) -> Tensor:
    """Attend to `[tokens, queries]` scores of `[tokens, queries, labels - 1]` values."""
    tokens = len(attention)
    reach = torch.arange(min(window, max(tokens, 1)), device=attention.device)
    source = torch.arange(first, tokens, device=attention.device)[:, None] - reach
    outside = source < 0
    source = source.clamp(min=0)
    if documents is not None:
        outside |= documents[source] != documents[first:, None]

    scores = attention[source].masked_fill(outside[:, :, None], float("-inf"))
    weights = torch.softmax(scores, dim=1)
    odds = torch.einsum("twq,twqc->tc", weights, values[source]) + bias
    return torch.cat([odds.new_zeros(len(odds), 1), odds], dim=1)


HEADS: dict[str, type[LogisticHead] | type[MassMeanHead] | type[AttentionHead]] = {
    head.kind: head for head in (LogisticHead, MassMeanHead, AttentionHead)
}
"""Heads by the name that files and the command line use."""


def head_from_tensors(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Head:
    """Make a head from what its `config` and `tensors` gave.

    Raises:
        InputError: the kind is unknown, or configuration and tensors do not fit together.
    """
    kind = config.get("kind")
    if kind not in HEADS:
        raise InputError(f"No head is called {kind!r}.", f"Known: {', '.join(sorted(HEADS))}.")
    labels = config.get("labels")
    if not isinstance(labels, list | tuple) or not all(isinstance(name, str) for name in labels):
        raise InputError("The labels of a head are no list of names.")
    if len(labels) < 2 or len(set(labels)) < len(labels):
        raise InputError("A head needs two labels or more, each once.", "The first means nothing.")
    try:
        return HEADS[kind].from_tensors(config, tensors)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"The head's tensors do not fit its configuration ({type(error).__name__}).",
            "The file is broken; fit the probe again.",
        ) from error


def _check_shapes(tensor: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != shape:
        raise ValueError(f"expected a tensor of shape {shape}, got {tuple(tensor.shape)}")
