"""Arguments of the Python API, by type: what is wrong is told by name, with what to write.

The command line has only texts; from Python `version=2.0` or `include="*.json"` come in too.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NoReturn

from sync_daemon.domain.errors import ConfigurationError

_SECRET = "token"  # noqa: S105 - the name of an argument


def check_texts(given: Mapping[str, object]) -> None:
    """Raise ConfigurationError unless each of these is a text or None."""
    for name, value in given.items():
        if value is not None and not isinstance(value, str):
            shown = "..." if name == _SECRET or isinstance(value, bytes) else value
            _refuse(name, value, f'a text: {name}="{shown}"')


def check_number(name: str, value: object) -> None:
    """Raise ConfigurationError unless it is a whole number or None."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        _refuse(name, value, f"a whole number: {name}=16")


def texts(name: str, value: object) -> tuple[str, ...]:
    """Return the entries; a bare text is one. Raises ConfigurationError."""
    if isinstance(value, str):
        return (value,)
    entries = tuple(value) if isinstance(value, Iterable) else (value,)
    found = tuple(one for one in entries if isinstance(one, str))
    if len(found) < len(entries):
        _refuse(name, value, f'texts: {name}=["..."]')
    return found


def path(name: str, value: object) -> Path | None:
    """Return a path or None. Raises ConfigurationError."""
    if value is None:
        return None
    if not isinstance(value, str | os.PathLike):
        _refuse(name, value, f'a path: {name}="DIR"')
    return Path(value)


def path_or_usual(name: str, value: object, usual: Callable[[], Path]) -> Path | None:
    """Return a path or None; True means the usual one. Raises ConfigurationError."""
    if isinstance(value, bool):
        return usual() if value else None
    return path(name, value)


def _refuse(name: str, value: object, wanted: str) -> NoReturn:
    message = f"{name} is of the type {type(value).__name__}"
    raise ConfigurationError(message, hint=f"write {wanted}")
