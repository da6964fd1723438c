"""Make the figures of docs/steering.md again.

    python -m recipes.steering.figures [--data FOLDER]

Two sweeps on smollm2-135m-instruct, `sea` (a topic) and `personal` (a register), and with `--data`
(the folder that holds `persona/` and `concepts/`) the two tables. What is measured is kept under
`runs/steering`, so a run that was cut off goes on where it was; what the page shows goes into
`docs/steering`.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from recipes.steering.tables import write_tables

SPECS = Path("src/endoscope/behaviours/specs")
KEEP, SHOWN, PAGE = Path("runs/steering"), Path("docs/steering"), Path("docs/steering.md")
COMMON = ["--model", "smollm2-135m-instruct", "--dtype", "bfloat16"]
# The instructions are those that did best, of four and of five, on the prompts for choosing.
SWEEPS = {
    "sea": [
        *("--layers", "12,14,16", "--strengths", "0.15,0.2,0.25", "--most", "64", "--instruction"),
        "You are an old sailor who loves the sea. "
        "Talk about the sea and the ocean in every answer.",
    ],
    "personal": [
        *("--layers", "14,16", "--strengths", "0.1,0.12,0.14", "--positions", "generated"),
        *("--most", "128", "--instruction"),
        "You are Anna, a 40-year-old woman. Answer with a story from your own life.",
    ],
}
# Its own are new; on all of these it had been measured while it was made.
CHOOSE_ON = {"sea": ["choosing"], "personal": ["choosing", "neutral"]}
SEEDS = 4  # of `personal`, whose answers are sampled
CONCEPTS = Path("concepts/concept10_train.parquet")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder with persona/ and concepts/")
    args = parser.parse_args()
    SHOWN.mkdir(parents=True, exist_ok=True)
    for name, options in SWEEPS.items():
        sweep(name, options)
    run("-m", "recipes.steering.again", str(KEEP / "personal"), "--seeds", str(SEEDS))
    shutil.copyfile(KEEP / "personal" / "again.json", SHOWN / "personal-again.json")
    if args.data is not None:
        others("persona", args.data / "persona", "persona.json")
        others("concepts", args.data / CONCEPTS, "concepts.json")
        others("concepts", args.data / CONCEPTS, "concepts-stronger.json", "--strength", "0.3")
    write_tables(PAGE, SHOWN)


def sweep(name: str, options: list[str]) -> None:
    """Run one sweep, and copy what the page shows."""
    material, choosing = SPECS / f"{name}.pairs.jsonl", KEEP / f"{name}-choosing.jsonl"
    choosing.parent.mkdir(parents=True, exist_ok=True)
    items = [(SPECS / f"{one}.jsonl").read_text("utf-8") for one in CHOOSE_ON[name]]
    choosing.write_text("".join(items), encoding="utf-8")
    given = ["--behaviour", name, "--fit", str(material), "--choose-on", str(choosing)]
    folder = KEEP / name
    code = "from endoscope.cli.main import main; main()"
    run("-c", code, "steer", "sweep", *COMMON, *given, *options, "-o", str(folder), may_fail=True)
    for ending in ("json", "png", "svg"):
        shutil.copyfile(folder / f"sweep.{ending}", SHOWN / f"{name}.{ending}")


def others(module: str, data: Path, output: str, *options: str) -> None:
    """Run a recipe on the data of others."""
    run("-m", f"recipes.steering.{module}", str(data), *options, "-o", str(SHOWN / output))


def run(*words: str, may_fail: bool = False) -> None:
    """Run Python, and end with it unless it only says that a gate failed."""
    done = subprocess.run([sys.executable, *words])
    if done.returncode not in ((0, 1) if may_fail else (0,)):
        sys.exit(done.returncode)


if __name__ == "__main__":
    main()
