"""What came of a diff."""

from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from pydantic import AwareDatetime, Field, JsonValue

from endoscope.artifacts import Fingerprint, read_record, write_record
from endoscope.diff.findings import Finding
from endoscope.diff.signal import Record, Signal

FILE = "report.json"


class Ran(Record):
    """A method that was run.

    Attributes:
        method: its name.
        signals: what it saw, below the noise floor too.
        seconds: that it took.
        generated: tokens that either model wrote.
        tokens: that went through either model, padding included.
        details: what else it has to show.
    """

    method: str
    signals: tuple[Signal, ...]
    seconds: float
    generated: int
    tokens: int
    details: dict[str, JsonValue] = Field(default_factory=dict)


class Report(Record):
    """What a fine-tune changed.

    Attributes:
        base: the name under which the base was opened.
        tuned: the same of the tuned model.
        neutral: the name of the fine-tune that served as a control, if one did.
        base_model: fingerprint of the base.
        tuned_model: the same of the tuned model.
        seed: of everything random.
        findings: the strongest first.
        methods: that were run, with all that they saw.
        black_box: what counting words would have found, with as many generated tokens.
        work: folder beside the report, with all answers and measurements.
        created: when, in UTC.
        endoscope: version of Endoscope that made it.
    """

    base: str
    tuned: str
    neutral: str | None = None
    base_model: Fingerprint
    tuned_model: Fingerprint
    seed: int
    findings: tuple[Finding, ...]
    methods: tuple[Ran, ...]
    black_box: Ran
    work: Path
    created: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))
    endoscope: str = Field(default_factory=lambda: version("endoscope"))

    def save(self, folder: str | Path) -> None:
        """Write `report.json` into a folder, whole or not at all.

        Raises:
            InputError: the disk is full.
        """
        write_record(Path(folder) / FILE, self)

    @classmethod
    def load(cls, folder: str | Path) -> "Report":
        """Read what `save` wrote.

        Raises:
            InputError: there is no report there, or it is damaged.
        """
        path = Path(folder)
        path = path / FILE if path.is_dir() else path
        return read_record(
            cls,
            path,
            "report of a diff",
            "Give the report.json of `endoscope diff`, or its folder.",
        )

    def __repr__(self) -> str:
        lines = [f"Report: {self.tuned} against {self.base}, {len(self.findings)} findings"]
        lines += [f"  {one.rank}. {one.title} [{one.score:.1f}]" for one in self.findings]
        return "\n".join(lines)

    __str__ = __repr__
