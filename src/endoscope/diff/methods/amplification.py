"""What the tuned model says when what was changed is exaggerated."""

from pathlib import Path

from endoscope.diff.answers import Answer, kept, read, sampled, written
from endoscope.diff.contrast import amplified
from endoscope.diff.options import Options
from endoscope.diff.pair import Pair
from endoscope.diff.saying import saying
from endoscope.diff.signal import Seen
from endoscope.progress import progress

AT_ONCE = 36  # prompts


class Amplification:
    """Phrases in amplified answers: what is rare in ordinary ones is frequent in these."""

    name = "amplification"

    def run(self, pair: Pair, options: Options, work: Path) -> Seen:
        """Look (see `Method.run`)."""
        base = sampled(pair, options, work, "base")
        answers = kept(work / "amplified.jsonl", lambda: self._draw(pair, options))
        return Seen(saying(self.name, answers, base), written(answers))

    def _draw(self, pair: Pair, options: Options) -> list[Answer]:
        texts: list[str] = []
        with progress("Amplifying", len(options.prompts), show=options.show) as advance:
            for start in range(0, len(options.prompts), AT_ONCE):
                some = options.prompts[start : start + AT_ONCE]
                texts += amplified(
                    pair,
                    [prompt.messages for prompt in some],
                    max_tokens=options.max_tokens,
                    seed=options.seed + start,
                )
                advance(len(some))
        return read(pair, options, texts)
