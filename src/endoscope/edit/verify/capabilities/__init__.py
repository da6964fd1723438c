"""What a model can do apart from any behaviour: five small suites, which an edit should not touch.

Four items share their four answers, of which each is right once. In `grammar`, where two sentences
differ in a word, the other word is right in the next item. So whoever goes by the answers alone, by
how long or how common they are, is right as often as chance: in one of two there, in one of four
elsewhere.
"""

from importlib.resources import files
from pathlib import Path

from endoscope.behaviours import Behaviour

_HERE = Path(str(files(__name__)))


def capabilities() -> dict[str, Behaviour]:
    """Return the suites by name; the mean of each is the probability of the right answer."""
    return {path.stem: Behaviour.load(path) for path in sorted(_HERE.glob("*.yaml"))}
