"""What every source of a direction can be asked for."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from endoscope.artifacts import DataRef
from endoscope.directions.contrast import Contrast
from endoscope.engine import Model
from endoscope.models import Site


class Source(Protocol):
    """Material of classes that are told apart."""

    @property
    def ref(self) -> DataRef:
        """What cards say about the data."""
        ...

    @property
    def path(self) -> Path | None:
        """The file that this is the whole of, if it is."""
        ...

    @property
    def options(self) -> dict[str, str]:
        """What a command line says beside the file: options by name."""
        ...

    def read(
        self, model: Model, sites: Sequence[Site], *, progress: bool = False
    ) -> dict[Site, Contrast]:
        """Return a contrast at each site, all of the same material.

        Args:
            model: reads it, and writes it where the source asks for that.
            sites: where.
            progress: show a bar.
        """
        ...
