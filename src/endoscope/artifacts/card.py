"""Cards: what an artifact is, where it came from, and what speaks for it."""

import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    NonNegativeInt,
    StringConstraints,
    model_validator,
)

from endoscope.artifacts.fingerprint import Fingerprint, Sha256

CARD_FORMAT = 1
_PACKAGES = ("torch", "transformers", "safetensors", "numpy", "scipy")


def installed_versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that figures depend on."""
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DataRef(_Record):
    """Which data, without the data.

    Attributes:
        name: what people call it.
        sha256: of the file, or of whatever stands for the whole of it.
        rows: how many documents.
        licence: under which the data may be used, if known.
    """

    name: str
    sha256: Sha256
    rows: NonNegativeInt
    licence: str | None = None


class Evidence(_Record):
    """One figure on named held-out data.

    Attributes:
        metric: what was measured, such as `f1_characters`.
        value: the figure.
        low: lower end of its 95% confidence interval.
        high: upper end.
        n: how many units (documents, unless the note says otherwise) it was measured on.
        data: the held-out data.
        split: which part of it, such as `test`.
        baseline: None for a figure of the artifact itself; else the name of what it is compared
            with, whose figure this is.
        label: the class that the figure is about, or None for all together.
        note: what a reader must know.
    """

    metric: str
    value: float
    low: float
    high: float
    n: NonNegativeInt
    data: DataRef
    split: str
    baseline: str | None = None
    label: str | None = None
    note: str | None = None

    @model_validator(mode="after")
    def _ordered(self) -> "Evidence":
        if self.low > self.high:
            raise ValueError("low must not be above high")
        return self

    def __str__(self) -> str:
        subject = " ".join(part for part in (self.metric, self.label) if part)
        whose = f", {self.baseline}" if self.baseline else ""
        return (
            f"{subject} {self.value:.3f} [{self.low:.3f}, {self.high:.3f}] "
            f"n={self.n:,} on {self.data.name}/{self.split}{whose}"
        )


class Card(_Record):
    """An artifact's manifest.

    Attributes:
        kind: what the artifact is, such as `probe`.
        name: what people call it.
        model: fingerprint of the model that it belongs to.
        model_name: the name under which that model was opened.
        adapter: the folder of the PEFT adapter that was given beside that name, if one was.
        data: what it was made from.
        command: the command line that makes it and its figures again, or where it was made if no
            command line can say it.
        sites: in text form, such as `resid_post.12`.
        seed: of everything random, if anything was.
        evidence: figures on held-out data, those of baselines among them.
        notes: what a reader must know: limits above all.
        details: settings of this kind of artifact, such as look-ahead and thresholds.
        tensors_sha256: of the file with the tensors; set when the artifact is saved.
        created: when, in UTC.
        endoscope: version of Endoscope that made it.
        versions: of Python and the libraries that it was made with.
        format: of the card and its folder.
    """

    kind: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z_]*$")]
    name: str
    model: Fingerprint
    model_name: str
    adapter: str | None = None
    data: DataRef
    command: str
    sites: tuple[str, ...] = ()
    seed: int | None = None
    evidence: tuple[Evidence, ...] = ()
    notes: str = ""
    details: dict[str, JsonValue] = {}
    tensors_sha256: Sha256 | None = None
    created: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))
    endoscope: str = Field(default_factory=lambda: version("endoscope"))
    versions: dict[str, str] = Field(default_factory=installed_versions)
    format: int = CARD_FORMAT

    def __repr__(self) -> str:
        lines = [f"{self.kind} {self.name!r}, endoscope {self.endoscope}, {self.created:%Y-%m-%d}"]
        lines += [f"  {name:<8}  {text}" for name, text in self._facts().items()]
        lines += [f"  {'evidence' if i == 0 else '':<8}  {e}" for i, e in enumerate(self.evidence)]
        return "\n".join(lines)

    def to_markdown(self) -> str:
        """Return the card as a page of Markdown, with the evidence as a table."""
        parts = [f"# {self.name}", f"{self.kind.capitalize()}, made on {self.created:%Y-%m-%d}."]
        if self.notes:
            parts.append(self.notes)
        facts = {
            **self._facts(),
            **{name.replace("_", " "): str(value) for name, value in self.details.items()},
            "versions": ", ".join(
                f"{n} {v}" for n, v in {"endoscope": self.endoscope, **self.versions}.items()
            ),
        }
        parts.append(_table(("", ""), list(facts.items())))
        if self.evidence:
            header = ("metric", "class", "of", "value", "95% interval", "n", "data", "note")
            parts += ["## Evidence", _table(header, [_evidence_row(e) for e in self.evidence])]
        parts += ["## To make it again", f"```\n{self.command}\n```"]
        return "\n\n".join(parts) + "\n"

    _repr_markdown_ = to_markdown  # notebooks show the page

    def _facts(self) -> dict[str, str]:
        data = f"{self.data.name}, {self.data.rows:,} rows, sha256 {self.data.sha256[:12]}"
        adapter = f" with {self.adapter}" if self.adapter else ""
        facts = {
            "model": f"{self.model_name}{adapter}, {self.model}",
            "sites": ", ".join(self.sites),
            "data": f"{data}, {self.data.licence}" if self.data.licence else data,
            "seed": "" if self.seed is None else str(self.seed),
        }
        return {name: text for name, text in facts.items() if text}


def _evidence_row(figure: Evidence) -> tuple[str, ...]:
    return (
        figure.metric,
        figure.label or "all",
        figure.baseline or "this artifact",
        f"{figure.value:.3f}",
        f"{figure.low:.3f} to {figure.high:.3f}",
        f"{figure.n:,}",
        f"{figure.data.name}, {figure.split}",
        figure.note or "",
    )


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in cells)
