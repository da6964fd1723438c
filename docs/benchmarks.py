"""Write docs/benchmarks.md from the files in bench/results."""

from pathlib import Path

from endoscope.bench import tables

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
INTRODUCTION = """\
# Benchmarks

<!-- Made by `make bench-tables` from bench/results. -->

Each row compares two processes that take turns in one run (A B B A …) on the same machine. The
ratio is the median over the pairs, made so that higher is better and 1.0 is equal, with its
bootstrap 95% interval. `self` is Endoscope against itself and shows the noise; `limit` is the
model's bare forward pass through the layers that are needed, with nothing around it.

For `capture` every side reads the same tokens in the same padded batches, in the same precision,
and keeps `resid_post` of the middle layer. Ours starts from texts; the others get the batches ready
made. TransformerLens and nnsight are told to stop at the layer. interp-engine's eager backend and
`output_hidden_states` have no such way. In the rows marked "texts in order" the others are given
batches of at most as many tokens, padding counted, but filled in the order of the texts, as a loop
around a library without a batcher would fill them: there the ratio is what batching by length
brings as well.

In the same batches all that stop at the layer do the same matrix products, which are all but a
hundredth of the time: there Endoscope is level with the limit, and ahead of TransformerLens and
nnsight by no more than the noise (`self`). It is ahead of both where texts come in their own order.

For `guard` every side gets all texts at once and may batch them. Against the judge (the same model,
shown three examples and asked to list the personal data) each text goes alone on both sides. GiNZA
runs only the components that find entities, Presidio as it comes, with spaCy's medium English
model. F1 counts characters, and its interval resamples documents.

For `serve` every side generates the same number of tokens, greedily and in float32, from the same
prompts, and must come to the same texts. `generate` is transformers' own, on one padded batch;
`limit` is a bare loop around the model that knows nothing of requests; TransformerLens and nnsight
add the same vector to each row in a hook. Against `plain`, our own engine without anything added,
the cost of probes and interventions is told twice: by the paired ratio, and by the time that the
added operations take beside that of a bare step, which other processes disturb less. Every side had
one thread (`OMP_NUM_THREADS=1`): on a shared machine two threads wait for each other.

For `serve` on vLLM both sides go through vLLM, with the same options. `stock` is vLLM without any
plugin, compiled as it comes. vllm-lens and interp-engine run it uncompiled, as they must; each of
their requests adds the same vector, and must come to the same text. What they read they give back,
and the probe is applied to it then. interp-engine runs the engine in a process of its own, so it
may use a second core. [What others publish](vllm.md#what-others-publish) is beside the plugin.

For `diff` each organism is one case: a fine-tune of which it is known what was planted. `blackbox`
is the counting of n-grams that stands in every report, from at least as many generated tokens;
`limit` is what is asked of it: a recall of .9 (a hit is a finding among the first three whose title
or behaviour names what was planted), 600 seconds on two cores, a strongest signal below the noise
floor where nothing was planted, nine of ten planted rows in the top tenth along the direction of
the finding that names them. `plain` is sampling as usual. Intervals of recall resample what was
planted; those of samples, answers; those of rows, the draws of planted ones. Time is that of
organisms whose diff ran alone on the machine.

For `edit` each organism is one case: what its spec planted is removed by its finding, and held to
what is asked (`limit`): 95% of its rise gone, 95% of what was wanted kept, .02 nats a token on
200 neutral prompts, 1% of perplexity, nothing else moved. `plain` are the blunt ways: the least
share of task-vector scaling that removes as much, and the same edit along random directions.
`finetune` is fine-tuning on the base's answers for the fewest of 10, 20, 40 or 80 steps that
remove as much; its time is that of the last of these runs alone, ours that of the whole search.
`heretic` runs as a program of its own, with the same prompts and the same words that make a
refusal, beside the method `redirect`; both models are then measured alike: what is still refused
on held-out prompts, and KL at the first token of answers to held-out harmless ones. Its time is
that of its trials alone, without loading.

`make peers` installs the other programs; `endoscope bench NAME --save FILE` writes a file of
results.
"""


def page() -> str:
    """Return the page."""
    return f"{INTRODUCTION}\n{tables(list((ROOT / 'bench' / 'results').glob('*.jsonl')))}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
