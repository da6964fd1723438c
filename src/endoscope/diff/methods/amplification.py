"""What the tuned model says when what was changed is exaggerated."""

from pathlib import Path

from endoscope.diff.answers import Reading, amplified_answers, count_tokens, kept, read, sampled
from endoscope.diff.options import Options
from endoscope.diff.pair import Pair
from endoscope.diff.saying import saying
from endoscope.diff.signal import Seen


class Amplification:
    """Phrases in amplified answers: what is rare in ordinary ones is frequent in these."""

    name = "amplification"

    def run(self, pair: Pair, options: Options, work: Path) -> Seen:
        """Look (see `Method.run`)."""
        base = sampled(pair, options, work, "base")
        readings = kept(
            work / "amplified.jsonl",
            Reading,
            lambda: read(
                pair, amplified_answers(pair, options.prompts, options), show=options.show
            ),
        )
        written = count_tokens(pair, [one.text for one in readings])
        return Seen(saying(self.name, readings, base, how="amplified"), written)
