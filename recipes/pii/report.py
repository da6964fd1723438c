"""Writes the tables of `docs/pii-probe.md` from the cards of the shipped probes.

python -m recipes.pii.report
"""

from pathlib import Path

from endoscope.artifacts import Card, Evidence, read_card
from recipes.pii.build import PACKAGE
from recipes.pii.settings import SHIPPED

PAGE = Path("docs/pii-probe.md")
BEGIN, END = "<!-- figures: python -m recipes.pii.report -->", "<!-- end of figures -->"


def main() -> None:
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    cards = [read_card(PACKAGE / shipped.name, "probe") for shipped in SHIPPED]
    tables = "\n".join(table(card) for card in cards)
    PAGE.write_text(f"{before}{BEGIN}\n\n{tables}\n{END}{after}", encoding="utf-8")


def table(card: Card) -> str:
    """One probe: a row for each figure on real text, a column for each way of getting it."""
    figures: dict[tuple[str, str], dict[str, Evidence]] = {}
    columns: list[str] = []
    for evidence in card.evidence:
        if evidence.metric != "f1_characters" or evidence.split != "figures":
            continue
        column = evidence.baseline or evidence.note or ""
        if column not in columns:
            columns.append(column)
        figures.setdefault((evidence.data.name, evidence.label or ""), {})[column] = evidence
    lines = [
        f"### {card.name}",
        "",
        f"{', '.join(card.sites)} of `{card.model_name}`, "
        f"{'two readings' if card.details['readings'] == 2 else 'one reading'}, "
        f"look-ahead {card.details['look_ahead']}.",
        "",
        f"| data | what | {' | '.join(columns)} |",
        f"|---|---|{'---|' * len(columns)}",
    ]
    for (data, what), row in figures.items():
        cells = [_cell(row.get(column)) for column in columns]
        lines.append(f"| {data} | {what} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _cell(evidence: Evidence | None) -> str:
    if evidence is None:
        return ""
    return f"{evidence.value:.3f} [{evidence.low:.3f}, {evidence.high:.3f}]"


if __name__ == "__main__":
    main()
