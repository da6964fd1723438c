"""Sites: places in the forward pass that can be read and written."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from endoscope.errors import InputError

SiteKind = Literal["resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out"]
KINDS: tuple[SiteKind, ...] = get_args(SiteKind)

_TEXT = re.compile(r"(?P<kind>[a-z_]+)\.(?P<layer>\d+)")


@dataclass(frozen=True, order=True)
class Site:
    """A place in the forward pass: what is read there, and in which layer.

    `resid_pre`, `resid_mid` and `resid_post` are the residual stream before a block, between its
    attention and its MLP, and after it. `attn_out` and `mlp_out` are what the two add to the
    stream, after a post-norm where the architecture has one.

    Example:
        >>> Site.parse("resid_post.12")
        Site('resid_post.12')
    """

    layer: int
    kind: SiteKind

    @classmethod
    def parse(cls, text: "str | Site") -> "Site":
        """Read the text form, `kind.layer`; TransformerLens hook names are accepted too.

        Raises:
            InputError: the text is not a site.
        """
        if isinstance(text, Site):
            return text
        from endoscope.models.names import transformer_lens

        text = transformer_lens.site_text(text) or text
        match = _TEXT.fullmatch(text)
        if match is None or match["kind"] not in KINDS:
            raise InputError(
                f"{text!r} is not a site.",
                f"Write kind.layer, such as resid_post.12; kinds: {', '.join(KINDS)}.",
            )
        return cls(layer=int(match["layer"]), kind=match["kind"])

    def __str__(self) -> str:
        return f"{self.kind}.{self.layer}"

    def __repr__(self) -> str:
        return f"Site('{self}')"


def parse_sites(sites: "str | Site | Iterable[str | Site]") -> tuple[Site, ...]:
    """Read one site or several, from text (commas allowed) or as they are, without repeats.

    Raises:
        InputError: one of them is not a site, or there is none.
    """
    if isinstance(sites, Site):
        return (sites,)
    parts = sites.split(",") if isinstance(sites, str) else list(sites)
    parsed = tuple(dict.fromkeys(Site.parse(p.strip() if isinstance(p, str) else p) for p in parts))
    if not parsed:
        raise InputError("No site was given.", "Name at least one, such as resid_post.12.")
    return parsed
