"""Activations in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from endoscope.artifacts import Fingerprint
from endoscope.errors import InputError
from endoscope.models.sites import Site


@dataclass(frozen=True, eq=False, repr=False)
class Activations:
    """Values at sites for the tokens of documents. Rows are tokens, document after document.

    Attributes:
        values: for each site, `[tokens, d_model]`, floating point.
        token_ids: `[tokens]`, int64.
        offsets: `[tokens, 2]`, int64: start and end of each token in its text, in Unicode code
            points, end exclusive.
        documents: `[tokens]`, int64, ascending: each token's document as an index into
            `document_ids`.
        document_ids: names of the documents, each once. A document may have no rows.
        fingerprint: of the model that was read.

    Raises:
        ValueError: shapes, dtypes or the order of the documents are not as above.
    """

    values: dict[Site, Tensor]
    token_ids: Tensor
    offsets: Tensor
    documents: Tensor
    document_ids: list[str]
    fingerprint: Fingerprint

    def __post_init__(self) -> None:
        tokens = len(self.documents)
        if not self.values:
            raise ValueError("activations need at least one site")
        for name, found, wanted in (
            ("token_ids", self.token_ids, (tokens,)),
            ("offsets", self.offsets, (tokens, 2)),
            ("documents", self.documents, (tokens,)),
        ):
            if found.shape != wanted or found.dtype != torch.int64:
                raise ValueError(f"{name} must be {wanted} int64, not {_describe(found)}")
        wanted = (tokens, self.d_model)
        for site, found in self.values.items():
            if found.shape != wanted or not found.is_floating_point():
                raise ValueError(f"{site} must be {wanted} floating point, not {_describe(found)}")
        if tokens:
            first, last = int(self.documents[0]), int(self.documents[-1])
            if (
                first < 0
                or last >= len(self.document_ids)
                or bool((self.documents.diff() < 0).any())
            ):
                raise ValueError("documents must be ascending indices into document_ids")
        if len(set(self.document_ids)) != len(self.document_ids):
            raise ValueError("document_ids must be different from each other")

    @property
    def sites(self) -> tuple[Site, ...]:
        """The sites that were read."""
        return tuple(self.values)

    @property
    def d_model(self) -> int:
        """Width of the model."""
        return next(iter(self.values.values())).shape[-1]

    @property
    def dtype(self) -> torch.dtype:
        """Of the values."""
        return next(iter(self.values.values())).dtype

    @property
    def nbytes(self) -> int:
        """Bytes that the values take."""
        return sum(value.nbytes for value in self.values.values())

    def __len__(self) -> int:
        return len(self.documents)

    def __getitem__(self, site: Site | str) -> Tensor:
        """Return the values at a site, `[tokens, d_model]`.

        Raises:
            InputError: that site was not read.
        """
        return self.values[find_site(site, self.sites)]

    def rows(self, document: int) -> slice:
        """Return where a document's rows are.

        Args:
            document: its index in `document_ids`.
        """
        if not 0 <= document < len(self.document_ids):
            raise IndexError(f"there are {len(self.document_ids)} documents, none at {document}")
        edges = self.documents.new_tensor([document, document + 1])
        start, end = torch.searchsorted(self.documents.contiguous(), edges).tolist()
        return slice(start, end)

    def document(self, document: int) -> "Activations":
        """Return the rows of one document, without copying them.

        Args:
            document: its index in `document_ids`.
        """
        rows = self.rows(document)
        return Activations(
            values={site: value[rows] for site, value in self.values.items()},
            token_ids=self.token_ids[rows],
            offsets=self.offsets[rows],
            documents=torch.zeros_like(self.documents[rows]),
            document_ids=[self.document_ids[document]],
            fingerprint=self.fingerprint,
        )

    def to(self, dtype: torch.dtype) -> "Activations":
        """Return the same with values of another dtype."""
        return replace(self, values={site: value.to(dtype) for site, value in self.values.items()})

    @staticmethod
    def concatenate(parts: Sequence["Activations"]) -> "Activations":
        """Put the documents of several activations one after another.

        Raises:
            ValueError: there are no parts, or they differ in sites, d_model or dtype, are of
                different models, or have a document in common.
        """
        if not parts:
            raise ValueError("there is nothing to concatenate")
        first = parts[0]
        for part in parts:
            if set(part.sites) != set(first.sites):
                raise ValueError("the parts have different sites")
            if (part.d_model, part.dtype) != (first.d_model, first.dtype):
                raise ValueError("the parts have different d_model or dtype")
            if part.fingerprint.relation(first.fingerprint) != "same":
                raise ValueError("the parts are of different models")
        ids: list[str] = []
        documents = []
        for part in parts:
            documents.append(part.documents + len(ids))
            ids.extend(part.document_ids)
        return Activations(
            values={site: torch.cat([part[site] for part in parts]) for site in first.sites},
            token_ids=torch.cat([part.token_ids for part in parts]),
            offsets=torch.cat([part.offsets for part in parts]),
            documents=torch.cat(documents),
            document_ids=ids,
            fingerprint=first.fingerprint,
        )

    def __repr__(self) -> str:
        sites = ", ".join(map(str, self.sites))
        dtype = str(self.dtype).removeprefix("torch.")
        return (
            f"Activations({len(self.document_ids):,} documents, {len(self):,} tokens, "
            f"{sites}, {dtype} [{len(self)}, {self.d_model}], {self.nbytes / 1e6:,.1f} MB)"
        )


def find_site(site: Site | str, sites: Sequence[Site]) -> Site:
    """Return the site meant, if it is one of these.

    Raises:
        InputError: it is not, or it is no site at all.
    """
    site = Site.parse(site)
    if site not in sites:
        raise InputError(
            f"{site} was not read.", f"There are: {', '.join(map(str, sorted(sites)))}."
        )
    return site


def _describe(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"
