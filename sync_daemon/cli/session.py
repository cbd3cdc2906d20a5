"""What a verb works with: its arguments, the settings, and the ways to speak."""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from sync_daemon.cli.output import Output
from sync_daemon.config import STANDARD_INPUT, Secret, Settings, find_config, load
from sync_daemon.domain.errors import ConfigurationError
from sync_daemon.domain.events import Level
from sync_daemon.observers.fanout import Fanout, Listener
from sync_daemon.observers.lines import Lines, printable
from sync_daemon.observers.logs import Format, Logs, library_messages
from sync_daemon.observers.mask import Mask

_SECRET_VARIABLES = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "HF_TOKEN")


@dataclass(frozen=True, slots=True)
class Session:
    """One call of the program. `out` is for data, `talk` for everything else."""

    arguments: argparse.Namespace
    environ: Mapping[str, str]
    out: Output
    talk: Lines
    stop: threading.Event = field(default_factory=threading.Event)

    def settings(self) -> Settings:
        """Read the configuration; from now on its secrets are masked in all that is written.

        Raises ConfigurationError.
        """
        settings = self.read_settings()
        for warning in settings.warnings:
            self.notice("config.warning", "warning", str(warning))
        return settings

    def read_settings(self) -> Settings:
        """Read the configuration and say nothing of its warnings."""
        path = find_config(self.arguments.config, self.environ, Path.cwd())
        text, source = _read(path)
        settings = load(text, environ=self.environ, source=source)
        mask = Mask([*_secrets(settings), *_secrets_around(self.environ)])
        self.out.mask = self.talk.mask = mask
        return settings

    @contextmanager
    def listening(self, *more: Listener) -> Iterator[Fanout]:
        """Give the `emit` whose events become log lines, and are told to `more` listeners."""
        logs = self._logs()
        with ExitStack() as stack:
            stack.enter_context(library_messages(logs))
            yield Fanout((logs, *more), self.talk.write)

    def notice(self, name: str, level: Level, message: str, **fields: Any) -> None:
        """Say something that is no event of the engine: a log line, or a plain one to people."""
        if self.log_format() == "json":
            self._logs().write(name, level, {"message": message} | fields)
            return
        self.talk.write(f"{level}: {printable(message)}")
        if hint := fields.get("hint"):
            self.talk.write(f"hint: {printable(hint)}")

    def log_format(self) -> Format:
        """Return what log lines look like: JSON where nobody is looking."""
        chosen: Format | Literal["auto"] = self.arguments.log_format
        if chosen != "auto":
            return chosen
        return "text" if self.talk.terminal else "json"

    def _logs(self) -> Logs:
        return Logs(self.talk, form=self.log_format(), level=self.arguments.log_level)


def _read(path: Path | str) -> tuple[bytes, str]:
    if path == STANDARD_INPUT:
        return sys.stdin.buffer.read(), "standard input"
    try:
        return Path(path).read_bytes(), str(path)
    except OSError as error:
        message = f"{path}: cannot be read: {error.strerror}"
        hint = "is it readable for this user?"
        raise ConfigurationError(message, hint=hint) from error


def _secrets(value: Any) -> Iterator[str]:
    """Yield the text of every secret within settings."""
    if isinstance(value, Secret):
        yield value.reveal()
        if "@" in value.reveal() and (found := _password_in(value.reveal())):
            yield found  # a proxy's, without the rest of its URL
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _secrets(item)
    elif isinstance(value, tuple):
        for item in value:
            yield from _secrets(item)
    elif hasattr(type(value), "model_fields"):
        for name in type(value).model_fields:
            yield from _secrets(getattr(value, name))


def _secrets_around(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield what the libraries find by themselves."""
    for name in _SECRET_VARIABLES:
        if found := environ.get(name):
            yield found
    for name, value in environ.items():
        if name.lower().endswith("_proxy") and (found := _password_in(value)):
            yield found


def _password_in(url: str) -> str | None:
    try:
        password = urlsplit(url).password
    except ValueError:
        return None
    return unquote(password) if password else None
