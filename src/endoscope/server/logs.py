"""Logs for machines: one JSON object a line, and never what a client or the model said."""

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, TextIO

_LOGGER = logging.getLogger("endoscope.server")
LEVELS = ("debug", "info", "warning", "error")


class JsonLines(logging.Formatter):
    """One object a line.

    Our own records have an event and fields. Of those of libraries only the fixed part is kept:
    what they put into it may quote a request. Of an exception its type and where it was raised are
    written, not its message, which may quote one as well.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
        }
        fields = getattr(record, "fields", None)
        if fields is None:
            fixed = str(record.msg).partition("\n")[0]
            line |= {"event": "library", "logger": record.name, "message": fixed}
        else:
            line |= {"event": record.msg, **fields}
        if record.exc_info and record.exc_info[0] is not None:
            line |= {"error": record.exc_info[0].__name__, "where": where(record.exc_info[2])}
        return json.dumps(line, ensure_ascii=False, default=str)


def where(trace: TracebackType | None) -> list[str]:
    """Return the places that an exception came through, the last one first, as `file:line`."""
    frames = traceback.extract_tb(trace)
    return [f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in reversed(frames)][:8]


class _StandardError(logging.StreamHandler[TextIO]):
    """Writes to what is standard error now, whatever it was at the start."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def start(level: str = "info", stream: TextIO | None = None) -> None:
    """Write logs of this process as JSON lines to standard error."""
    handler = _StandardError() if stream is None else logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    _LOGGER.setLevel(level.upper())


def log(
    event: str, level: str = "info", *, error: BaseException | None = None, **fields: Any
) -> None:
    """Write one line.

    Args:
        event: what happened, one word of a small vocabulary.
        level: one of `LEVELS`.
        error: an exception; its type and place are written, never its message.
        fields: figures and names. Never text of a client or of the model.
    """
    known = {key: value for key, value in fields.items() if value is not None}
    _LOGGER.log(getattr(logging, level.upper()), event, exc_info=error, extra={"fields": known})
