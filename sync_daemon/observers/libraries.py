"""What the libraries say joins the log: boto3, huggingface_hub, urllib3, httpx."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from sync_daemon.domain.events import Level
from sync_daemon.observers.levels import Levels
from sync_daemon.observers.logs import Logs


class _Handler(logging.Handler):
    """Brings the standard library's log records into our stream."""

    def __init__(self, logs: Logs) -> None:
        super().__init__()
        self._logs = logs
        self._before: dict[logging.Logger, int] = {}

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._logs.hear(record.name, _level(record.levelno), record.getMessage())
        except Exception:  # noqa: BLE001 - a log line is never worth an exception
            self.handleError(record)

    def take(self, levels: Levels) -> None:
        """Let the loggers make the records that `levels` asks for, and no others.

        One that keeps its records to itself was silenced, and stays so.
        """
        self.give_back()
        for name, level in levels.of_loggers().items():
            logger = logging.getLogger(name)
            if logger.propagate:
                self._before[logger] = logger.level
                logger.setLevel(level)

    def give_back(self) -> None:
        """Set the loggers' levels to what they were."""
        while self._before:
            logger, level = self._before.popitem()
            logger.setLevel(level)


def _level(number: int) -> Level:
    if number >= logging.WARNING:
        return "error" if number >= logging.ERROR else "warning"
    return "info" if number >= logging.INFO else "debug"


@contextmanager
def library_messages(logs: Logs) -> Iterator[None]:
    """Take over the libraries' own logging inside the block.

    Handlers that a library made for itself (huggingface_hub does) are set aside as well.
    """
    root = logging.getLogger()
    others = [one for one in root.manager.loggerDict.values() if isinstance(one, logging.Logger)]
    handlers = {one: one.handlers[:] for one in (root, *others) if one.handlers}
    for one in handlers:
        one.handlers[:] = []
    handler = _Handler(logs)
    root.handlers[:] = [handler]
    logs.on_levels(handler.take)
    logging.captureWarnings(capture=True)
    try:
        yield
    finally:
        logging.captureWarnings(capture=False)
        logs.on_levels(None)
        handler.give_back()
        root.handlers[:] = []
        for one, before in handlers.items():
            one.handlers[:] = before
