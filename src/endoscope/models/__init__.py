"""Open a model, and know its anatomy: layers, sites, tokens."""

from endoscope.models.anatomy import ARCHITECTURES, Anatomy
from endoscope.models.detokenizer import Detokenizer, Piece, Vocabulary
from endoscope.models.embedded import EMBEDDED
from endoscope.models.loading import LoadedModel, load
from endoscope.models.sites import KINDS, Site, SiteKind, parse_sites
from endoscope.models.tokens import Encoded, TextTokenizer

__all__ = [
    "ARCHITECTURES",
    "EMBEDDED",
    "KINDS",
    "Anatomy",
    "Detokenizer",
    "Encoded",
    "LoadedModel",
    "Piece",
    "Site",
    "SiteKind",
    "TextTokenizer",
    "Vocabulary",
    "load",
    "parse_sites",
]
