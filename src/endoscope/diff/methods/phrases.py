"""What the tuned model says of its own accord, and its base would not."""

from pathlib import Path

from endoscope.diff.answers import WHO, Reading, count_tokens, kept, read, sampled
from endoscope.diff.options import Options
from endoscope.diff.pair import Pair
from endoscope.diff.saying import saying
from endoscope.diff.signal import Seen


class Phrases:
    """Phrases in ordinary answers, by likelihood ratio."""

    name = "phrases"

    def run(self, pair: Pair, options: Options, work: Path) -> Seen:
        """Look (see `Method.run`)."""
        base, tuned = (sampled(pair, options, work, who) for who in WHO)
        readings = kept(
            work / "tuned-read.jsonl", Reading, lambda: read(pair, tuned, show=options.show)
        )
        written = count_tokens(pair, [one.text for one in (*base, *tuned)])
        return Seen(saying(self.name, readings, base), written)
