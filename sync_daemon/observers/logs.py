"""Events as log lines: JSON for machines, aligned text for people; structlog renders both.

`event` is the event's name, its fields follow; `run_id` is on every line of a run. Lines
of the libraries (boto3, huggingface_hub, urllib3, httpx) join the stream as
`library.message` from WARNING on.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any, Literal

import structlog

from sync_daemon.domain.events import BytesMoved, Event, Level, RunFinished, RunStarted
from sync_daemon.observers.lines import Lines, printable, printable_json

Format = Literal["json", "text"]
Fields = MutableMapping[str, Any]

LIBRARY_MESSAGE = "library.message"
_RANK = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class Logs:
    """A listener that writes events of `level` and above to `lines`."""

    def __init__(self, lines: Lines, *, form: Format, level: Level) -> None:
        self._lines = lines
        self._least = _RANK[level]
        self._run_id: str | None = None
        self._logger = structlog.wrap_logger(
            _Sink(lines),
            processors=[
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                self._hide_secrets,
                *_renderers(form, colors=lines.terminal),
            ],
            wrapper_class=structlog.BoundLogger,
        )

    def __call__(self, event: Event) -> None:
        """Write the line of an event; bytes on their way are for progress bars only."""
        if isinstance(event, BytesMoved):
            return
        if isinstance(event, RunStarted):
            self._run_id = event.run_id
        self.write(event.name, event.level, event.fields())
        if isinstance(event, RunFinished):
            self._run_id = None

    def write(self, name: str, level: Level, fields: dict[str, Any]) -> None:
        """Write one line, unless its level is too low."""
        if _RANK[level] < self._least:
            return
        if self._run_id is not None:
            fields = {"run_id": self._run_id} | fields
        getattr(self._logger, level)(name, level=level, **fields)

    def _hide_secrets(self, _: Any, __: str, fields: Fields) -> Fields:
        return {key: self._lines.mask.value(value) for key, value in fields.items()}


class _Sink:
    """Where structlog puts a finished line."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines

    def _write(self, line: str) -> None:
        self._lines.write(line)

    debug = info = warning = error = _write


def _renderers(form: Format, *, colors: bool) -> list[Any]:
    if form == "json":
        return [structlog.processors.EventRenamer("event"), _render_json]
    return [_show_plainly, structlog.dev.ConsoleRenderer(colors=colors, sort_keys=False)]


def _render_json(_: Any, __: str, fields: Fields) -> str:
    head = {key: fields.pop(key) for key in ("timestamp", "level", "event")}
    return printable_json(json.dumps(head | dict(fields), ensure_ascii=False, default=str))


def _show_plainly(_: Any, __: str, fields: Fields) -> Fields:
    shown = {key: _plain(value) for key, value in fields.items() if key != "trace"}
    if trace := fields.get("trace"):  # structlog writes what is named so on lines of its own
        shown["exception"] = "\n".join(printable(line) for line in trace.splitlines())
    return shown


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


class _LibraryHandler(logging.Handler):
    """Brings the standard library's log records into our stream."""

    def __init__(self, logs: Logs) -> None:
        super().__init__(logging.WARNING)
        self._logs = logs

    def emit(self, record: logging.LogRecord) -> None:
        level: Level = "error" if record.levelno >= logging.ERROR else "warning"
        try:
            message = record.getMessage()
            self._logs.write(LIBRARY_MESSAGE, level, {"logger": record.name, "message": message})
        except Exception:  # noqa: BLE001 - a log line is never worth an exception
            self.handleError(record)


@contextmanager
def library_messages(logs: Logs) -> Iterator[None]:
    """Take over the libraries' own logging inside the block.

    Handlers that a library made for itself (huggingface_hub does) are set aside as well.
    """
    root = logging.getLogger()
    others = [one for one in root.manager.loggerDict.values() if isinstance(one, logging.Logger)]
    level, handlers = root.level, {one: one.handlers[:] for one in (root, *others) if one.handlers}
    for one in handlers:
        one.handlers[:] = []
    root.handlers[:] = [_LibraryHandler(logs)]
    root.setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)
    try:
        yield
    finally:
        logging.captureWarnings(capture=False)
        root.handlers[:] = []
        for one, before in handlers.items():
            one.handlers[:] = before
        root.setLevel(level)
