"""Random streams against their oracle, as many as wanted.

    python -m tests.guard.fuzz_stream 100000 [first seed]

Prints the seeds that fail.
"""

import sys
import traceback
from random import Random

from tests.guard.streams import check, random_case

from endoscope.guard import finding


def one(seed: int) -> None:
    """Make, stream and compare the case of a seed; one in fifty is long."""
    random = Random(seed)
    fragments = random.choice([2, 4, 8, 16, 30])
    if seed % 50 == 0:
        fragments = random.choice([200, 600])
    finding.PATIENT = random.choice([4, 64, 1024])
    check(random, random_case(random, fragments))


def main(count: int, first: int = 0) -> int:
    """Run seeds; return how many failed."""
    failed = 0
    for seed in range(first, first + count):
        try:
            one(seed)
        except Exception as error:
            failed += 1
            where = traceback.extract_tb(error.__traceback__)[-1]
            print(f"seed {seed}: {type(error).__name__} at {where.name}:{where.lineno}", flush=True)
        if (seed + 1) % 1000 == 0:
            print(f"{seed + 1 - first} streams, {failed} failed", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])) > 0)
