"""What a verb works with: its arguments, the settings, and the ways to speak."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from sync_daemon.cli.hiding import secrets_around, secrets_in
from sync_daemon.cli.output import Output
from sync_daemon.cli.stopping import Stop
from sync_daemon.config import STANDARD_INPUT, Log, Settings, find_config, load
from sync_daemon.config.load import Further, Storeless
from sync_daemon.domain.errors import ConfigurationError
from sync_daemon.domain.events import Level
from sync_daemon.observers.fanout import Fanout, Listener
from sync_daemon.observers.journald import PRIORITIES
from sync_daemon.observers.levels import Levels
from sync_daemon.observers.libraries import library_messages
from sync_daemon.observers.lines import Lines, printable
from sync_daemon.observers.logfile import LogFile, Place
from sync_daemon.observers.logs import Format, Logs


@dataclass(frozen=True, slots=True)
class Session:
    """One call of the program. `out` is for data, `talk` for everything else."""

    arguments: argparse.Namespace
    environ: Mapping[str, str]
    out: Output
    talk: Lines
    stop: Stop = field(default_factory=Stop)
    logs: Logs = field(init=False)

    def __post_init__(self) -> None:
        """Begin with what the arguments say of log lines; the YAML says the rest."""
        levels = Levels(self.arguments.log_level or Log.model_fields["level"].default)
        object.__setattr__(self, "logs", Logs(self.talk, form=self.log_format(), levels=levels))

    def settings(self) -> Settings:
        """Read the configuration; from now on its secrets are masked in all that is written.

        Verbs that work, and not only look, write to its log file as well. Raises
        ConfigurationError, also when that cannot be opened.
        """
        settings = self._read_settings()
        if self.arguments.command.graceful:
            self._open(settings.log)
        self._keep_to(settings.log)
        for warning in settings.warnings:
            self.notice("config.warning", "warning", str(warning))
        return settings

    def read_settings(
        self, *, storeless: Storeless = "nobody", further: Further = lambda _: ()
    ) -> Settings:
        """Read the configuration and say nothing of its warnings, nor write to its log file.

        `storeless` says who may leave the store out, and `further` looks for more that is
        wrong, as for `load`.
        """
        settings = self._read_settings(storeless=storeless, further=further)
        self._keep_to(settings.log)
        return settings

    def config_path(self) -> Path | str:
        """Return where the configuration is read from; `-` is standard input. Raises
        ConfigurationError."""
        return find_config(self.arguments.config, self.environ, Path.cwd())

    def _read_settings(
        self, *, storeless: Storeless = "nobody", further: Further = lambda _: ()
    ) -> Settings:
        text, source = _read(self.config_path())
        settings = load(
            text, environ=self.environ, source=source, storeless=storeless, further=further
        )
        more = (*secrets_in(settings), *secrets_around(self.environ))
        self.out.mask = self.talk.mask = mask = self.talk.mask.with_more(more)
        if self.logs.file is not None:
            self.logs.file.mask = mask
        return settings

    def _keep_to(self, log: Log) -> None:
        self.logs.levels = Levels(self.arguments.log_level or log.level, log.levels)

    def _open(self, log: Log) -> None:
        former = self.logs.file
        place = Place(log.file, log.rotate.size, log.rotate.keep) if log.file else None
        if place == (former.place if former else None):
            return
        self.logs.file = LogFile(place, self.talk.mask, self._complain) if place else None
        if former is not None:
            former.close()

    def _complain(self, message: str) -> None:
        self.notice("log.file_failed", "warning", f"{message}; this is told once")

    def close(self) -> None:
        """Close the log file, if there is one."""
        if self.logs.file is not None:
            self.logs.file.close()

    @contextmanager
    def listening(self, *more: Listener) -> Iterator[Fanout]:
        """Give the `emit` whose events become log lines, and are told to `more` listeners."""
        with library_messages(self.logs):
            complain = partial(self.talk.write, priority=PRIORITIES["warning"])
            yield Fanout((self.logs, *more), complain)

    def notice(self, name: str, level: Level, message: str, **fields: Any) -> None:
        """Say something that is no event of the engine: a log line, or a plain one to people."""
        plainly = self.log_format() != "json"
        self.logs.write(name, level, {"message": message} | fields, only_file=plainly)
        if plainly:
            self.talk.write(f"{level}: {printable(message)}", PRIORITIES[level])
            if hint := fields.get("hint"):
                self.talk.write(f"hint: {printable(hint)}", PRIORITIES[level])

    def log_format(self) -> Format:
        """Return what log lines look like: JSON where nobody is looking."""
        chosen: Format | Literal["auto"] = self.arguments.log_format
        if chosen != "auto":
            return chosen
        return "text" if self.talk.terminal else "json"


def _read(path: Path | str) -> tuple[bytes, str]:
    if path == STANDARD_INPUT:
        return sys.stdin.buffer.read(), "standard input"
    try:
        return Path(path).read_bytes(), str(path)
    except OSError as error:
        message = f"{path}: cannot be read: {error.strerror}"
        hint = "is it readable for this user?"
        raise ConfigurationError(message, hint=hint) from error
