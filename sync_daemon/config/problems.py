"""What is wrong with a configuration file, and where.

Every check adds a `Problem`; nobody stops at the first. `ConfigError` carries all
of them, one line each, in the order of the file.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from sync_daemon.config.environment import FromEnvironment
from sync_daemon.domain.errors import ConfigurationError

Path = tuple[str | int, ...]
"""Where a value sits in the file: mapping keys and list indexes from the top."""

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")
_LONGEST_KEY = 60


@dataclass(frozen=True, slots=True)
class Problem:
    """One wrong (or, among the warnings, doubtful) thing. Line and column count from 1."""

    line: int
    column: int
    path: str
    message: str
    hint: str = ""
    source: str = "mirror.yaml"

    def __str__(self) -> str:
        where = f"{self.source}:{self.line}:{self.column}"
        what = f"{self.path}: {self.message}" if self.path else self.message
        return f"{where}: {what}, {self.hint}" if self.hint else f"{where}: {what}"


class ConfigError(ConfigurationError):
    """The configuration cannot be used; `problems` holds every reason."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = in_file_order(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def in_file_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Sort by position, and keep one problem for each place and message."""
    return tuple(sorted(set(problems), key=lambda p: (p.line, p.column, p.path, p.message)))


def show_path(path: Path) -> str:
    """Write a path as `models[0].versions[1].name`; odd keys in brackets and quotes."""
    text = ""
    for part in path:
        text += _show_part(part, first=not text)
    return text


def _show_part(part: str | int, *, first: bool) -> str:
    if isinstance(part, int):
        return f"[{part}]"
    if _PLAIN_KEY.fullmatch(part) and len(part) <= _LONGEST_KEY:
        return part if first else f".{part}"
    return f"[{clip(part)!r}]"


def clip(text: str) -> str:
    """Shorten text that is quoted in a message; hide what the environment gave."""
    if isinstance(text, FromEnvironment):
        return "${...}"
    return text if len(text) <= _LONGEST_KEY else text[: _LONGEST_KEY - 1] + "…"
