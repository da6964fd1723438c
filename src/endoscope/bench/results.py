"""Files of results, and the tables in the documentation that are made from them."""

import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from endoscope.artifacts import atomic_file
from endoscope.bench.rows import Failure, Row


def machine() -> dict[str, Any]:
    """Describe this machine: what somebody needs to know who compares figures."""
    described: dict[str, Any] = {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        described["memory_gib"] = round(pages / 2**30)
    return described


def save(
    path: Path, rows: Iterable[Row | Failure], versions: Mapping[str, str], command: str
) -> None:
    """Write results as JSON lines, the first of which says where they come from.

    Args:
        path: the file; it appears whole or not at all.
        rows: the results.
        versions: what ran, by distribution.
        command: what makes the file again.
    """
    origin = {
        "command": command,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "versions": dict(sorted(versions.items())),
    }
    lines = [{"origin": origin}, *(row.as_json() for row in rows)]
    with atomic_file(path) as partial:
        partial.write_text(
            "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8"
        )


def tables(files: Sequence[Path]) -> str:
    """Return files of results as Markdown: a heading, a table and its origin for each."""
    return "\n".join(_table(path) for path in sorted(files))


def _table(path: Path) -> str:
    first, *rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    origin = first["origin"]
    shape = origin["machine"]
    out = [f"## {path.stem}", ""]
    out += [
        "| case | against | ours | theirs | ratio | 95% interval |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for row in rows:
        case = row["case"].replace("|", r"\|")  # or it would end its cell
        if "error" in row:
            out.append(f"| {case} | {row['against']} | | | {row['error']} | |")
            continue
        unit = row["unit"]
        out.append(
            f"| {case} | {row['against']} | {figure(row['ours'])} {unit} "
            f"| {figure(row['theirs'])} {unit} | {row['ratio']:.2f} "
            f"| {row['low']:.2f} – {row['high']:.2f} |"
        )
    versions = ", ".join(f"{name} {version}" for name, version in origin["versions"].items())
    out += [
        "",
        f"`{origin['command']}`, {origin['date']}, on {shape['cores']} cores of {shape['cpu']}, "
        f"{shape.get('memory_gib', '?')} GiB, {shape['system']}, Python {shape['python']}. "
        f"Versions: {versions}.",
        "",
    ]
    return "\n".join(out)


def figure(value: float) -> str:
    """Write a figure with three significant digits or so."""
    if value >= 100:
        return f"{value:,.0f}"
    if value >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 0.1 or not value else f"{value:.4f}"


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
