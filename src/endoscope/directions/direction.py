"""Directions: what a model represents, as a vector or a subspace at a site."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from endoscope.activations import Activations
from endoscope.artifacts import (
    Card,
    DataRef,
    Evidence,
    check_model,
    load_artifact,
    save_artifact,
)
from endoscope.directions.command import FROM_PYTHON
from endoscope.directions.evidence import separability
from endoscope.directions.fitting import KIND, card_of, fit_sites
from endoscope.directions.methods import Erasure, Estimate
from endoscope.directions.methods.unembedding import unembedding
from endoscope.directions.sources import Source
from endoscope.engine import Model
from endoscope.errors import InputError
from endoscope.models import Site, parse_sites


@dataclass(frozen=True, eq=False, repr=False)
class Direction:
    """A unit vector, or an orthonormal basis, at a site, and what speaks for it.

    Attributes:
        site: where it is.
        basis: orthonormal, `[k, d_model]`, float32; where there are two classes it points to the
            second (the positive).
        card: what it is, and what speaks for it.
        erasure: with `leace`, the factors of the affine map that erases the concept.

    Example:
        >>> source = ContrastingTexts.read_file("sea.pairs.jsonl")
        >>> direction = Direction.fit(model, source, site="resid_post.16")
        >>> with model.intervene(add(direction, strength=0.25)):
        ...     model.generate(["Describe a market."])
    """

    site: Site
    basis: Tensor
    card: Card
    erasure: Erasure | None = None

    @classmethod
    def fit(
        cls,
        model: Model,
        source: Source,
        *,
        site: str | Site,
        method: str = "mean",
        rank: int = 1,
        held_out: Source | None = None,
        name: str | None = None,
        seed: int = 0,
        progress: bool = False,
    ) -> "Direction":
        """Estimate a direction, and measure it on what it has not seen.

        The units of the source (its pairs, questions, documents or groups of documents) are
        divided: 70% are fitted on, 30% measured on. With `held_out` all are fitted on.

        Args:
            model: whose activations are read.
            source: of classes that are told apart.
            site: where, such as `"resid_post.16"`.
            method: `mean`, `logistic`, `pca` or `leace`.
            rank: how many vectors, for `pca`.
            held_out: other material of the same classes to measure on.
            name: on the card; the name of the source if left out.
            seed: of everything random.
            progress: show a bar.

        Raises:
            InputError: the site does not exist, the method cannot do this, or there are too few
                units.
        """
        found = cls.fit_at(
            model,
            source,
            site,
            method=method,
            rank=rank,
            held_out=held_out,
            name=name,
            seed=seed,
            progress=progress,
        )
        if len(found) != 1:
            raise InputError("A direction has one site.", "For several, use Direction.fit_at.")
        return found[0]

    @classmethod
    def fit_at(
        cls,
        model: Model,
        source: Source,
        sites: str | Site | Sequence[str | Site],
        *,
        method: str = "mean",
        rank: int = 1,
        held_out: Source | None = None,
        name: str | None = None,
        seed: int = 0,
        progress: bool = False,
    ) -> "list[Direction]":
        """Estimate a direction at each of several sites, from one reading of the source.

        Arguments as for `fit`; the same units are held out at every site.
        """
        found = fit_sites(
            model,
            source,
            parse_sites(sites),
            method=method,
            rank=rank,
            held_out=held_out,
            name=name,
            seed=seed,
            progress=progress,
        )
        return [cls.make(site, estimate, card) for site, estimate, card in found]

    @classmethod
    def unembedding(
        cls,
        model: Model,
        token: str,
        *,
        site: str | Site,
        held_out: Source | None = None,
        name: str | None = None,
        seed: int = 0,
        progress: bool = False,
    ) -> "Direction":
        """Make the direction of a token's row of the unembedding, less the mean of all rows.

        What all rows have in common moves all logits alike, which changes nothing. (nostalgebraist
        2020, "interpreting GPT: the logit lens".) The gain of the final norm is left out.

        Args:
            model: whose unembedding it is.
            token: a text that is one token, such as `" sea"`.
            site: where the direction is to be used.
            held_out: material to measure it on; without any the card has no evidence.
            name: on the card; the token if left out.
            seed: of the bootstrap.
            progress: show a bar.

        Raises:
            InputError: the text is not one token, or the site does not exist.
        """
        (where,) = parse_sites(site)
        model.loaded.anatomy.check(where)
        token_id, estimate = unembedding(model, token)
        data = DataRef(
            name=f"unembedding of token {token_id}", sha256=model.fingerprint.digest, rows=1
        )
        card = card_of(model, where, "unembedding", name or token.strip(), data, FROM_PYTHON, seed)
        if held_out is not None:
            test = held_out.read(model, [where], progress=progress)[where]
            evidence = separability(estimate.basis, None, test, held_out.ref, seed)
            card = card.model_copy(update={"evidence": tuple(evidence)})
        return cls.make(where, estimate, card)

    @classmethod
    def make(cls, site: Site, estimate: Estimate, card: Card) -> "Direction":
        """Make a direction of what a method found; the card says which method."""
        erasure = estimate.erasure
        if erasure is not None:
            erasure = Erasure(*(factor.float() for factor in erasure))
        return cls(site, estimate.basis.float(), card, erasure)

    @property
    def name(self) -> str:
        """What people call it."""
        return self.card.name

    @property
    def method(self) -> str:
        """How it was estimated: `mean`, `logistic`, `pca`, `leace` or `unembedding`."""
        return str(self.card.details["method"])

    @property
    def rank(self) -> int:
        """How many vectors the basis has."""
        return len(self.basis)

    @property
    def vector(self) -> Tensor:
        """The unit vector, `[d_model]`.

        Raises:
            InputError: this is a subspace of several.
        """
        if self.rank != 1:
            raise InputError(f"{self.name} is a subspace of {self.rank} vectors.", "Use its basis.")
        return self.basis[0]

    def project(self, acts: Activations | Tensor) -> Tensor:
        """Return the coordinates of activations within the basis, `[tokens, k]` float32.

        Args:
            acts: with this direction's site, or the values at it, `[tokens, d_model]`.

        Raises:
            InputError: the site was not read, the activations are of a foreign model, or their
                width is another. (Those of a derived one give a warning.)
        """
        if isinstance(acts, Activations):
            check_model(self.card.model, acts.fingerprint, f"The direction {self.name}")
            acts = acts[self.site]
        if acts.shape[-1] != self.basis.shape[1]:
            raise InputError(
                f"{self.name} has {self.basis.shape[1]} numbers, these activations have "
                f"{acts.shape[-1]}.",
                "Read them from the model that it was made with.",
            )
        return acts.float() @ self.basis.to(acts.device).T

    def with_evidence(self, evidence: Sequence[Evidence]) -> "Direction":
        """Return the same direction with this evidence on its card instead."""
        return replace(self, card=self.card.model_copy(update={"evidence": tuple(evidence)}))

    def save(self, folder: str | Path) -> Card:
        """Save the direction, whole or not at all, and return its card.

        Raises:
            InputError: the disk is full, or something else than a direction is there.
        """
        factors = {} if self.erasure is None else self.erasure._asdict()
        return save_artifact(folder, self.card, {"basis": self.basis, **factors})

    @classmethod
    def load(cls, folder: str | Path) -> "Direction":
        """Load a direction.

        Raises:
            InputError: there is none, or it is damaged or of another version; says what to do.
        """
        card, tensors = load_artifact(folder, KIND)
        try:
            (site,) = parse_sites(card.sites)
            basis, erases = tensors["basis"], card.details["method"] == "leace"
            erasure = Erasure(*(tensors[key] for key in Erasure._fields)) if erases else None
        except (KeyError, ValueError) as error:
            raise InputError(
                f"The card of {folder} lacks settings of a direction ({type(error).__name__}).",
                f"Make it again: {card.command}",
            ) from error
        return cls(site, basis, card, erasure)

    def __repr__(self) -> str:
        what = f"{self.method} at {self.site}, [{self.rank}, {self.basis.shape[1]}]"
        figure = next((e for e in self.card.evidence if e.baseline is None), None)
        return f"Direction({self.name!r}: {what}{f'; {figure}' if figure else ''})"
