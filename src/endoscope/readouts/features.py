"""Which rows of activations become the features of a token."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from endoscope.errors import InputError
from endoscope.models.sites import Site, parse_sites


@dataclass(frozen=True)
class FeatureSpec:
    """The values of one or several sites, at a token and at those that follow it.

    A causal model has not read what follows a token, so a probe on the token alone guesses what
    the next word settles. Two cures, which combine: wait for `look_ahead` tokens, or read the text
    twice and use the second reading (Springer et al. 2024, "Repetition improves language model
    embeddings").

    The features of token t are the sites' values at t, then at t + 1, up to t + look_ahead; within
    each, sites in the order given. Past the end of the document they are zeros: to a linear head,
    whose standardisation is folded into its weights, a missing token then adds exactly nothing.

    Args:
        sites: sites or their text form, such as `"resid_post.9,resid_post.12"`.
        look_ahead: how many following tokens to use; the latency in tokens when scores stream.
        readings: 1, or 2 to score the second reading of the same text.

    Raises:
        InputError: no site, a negative look-ahead, or readings other than 1 and 2.
    """

    sites: tuple[Site, ...]
    look_ahead: int = 0
    readings: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "sites", parse_sites(self.sites))
        if type(self.look_ahead) is not int or self.look_ahead < 0:
            raise InputError(f"look_ahead is {self.look_ahead!r}.", "Give 0 or more tokens.")
        if type(self.readings) is not int or self.readings not in (1, 2):
            raise InputError(f"readings is {self.readings}.", "Give 1 or 2.")

    def width(self, d_model: int) -> int:
        """Return the number of features of a token."""
        return d_model * len(self.sites) * (self.look_ahead + 1)

    def features(self, values: Mapping[Site, Tensor], documents: Tensor) -> Tensor:
        """Return the features of all tokens.

        Args:
            values: for each site `[tokens, d_model]`.
            documents: `[tokens]`, the document of each token, ascending.

        Returns:
            `[tokens, n_features]`, in the type of the values.
        """
        return self.at(values, documents, torch.arange(len(documents), device=documents.device))

    def at(self, values: Mapping[Site, Tensor], documents: Tensor, rows: Tensor) -> Tensor:
        """Return the features of some tokens, `[rows, n_features]`; see `features`."""
        blocks = []
        last = len(documents) - 1
        for step in range(self.look_ahead + 1):
            source = (rows + step).clamp(max=last)
            outside = (rows + step > last) | (documents[source] != documents[rows])
            for site in self.sites:
                block = values[site][source]
                blocks.append(block.masked_fill_(outside[:, None], 0) if step else block)
        return torch.cat(blocks, dim=1)
