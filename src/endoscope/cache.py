"""Where things are kept that can be made again."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return the cache folder: `ENDOSCOPE_CACHE`, else `endoscope` in the user's cache folder."""
    if chosen := os.environ.get("ENDOSCOPE_CACHE"):
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "endoscope"
