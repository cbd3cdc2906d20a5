"""Secrets that are mounted as files: `token_file` fills in `token`, and so on.

A secret and its file together are refused: nobody could tell which one holds.
"""

import os
import stat
from collections.abc import Iterator
from typing import Any

from sync_daemon.config.document import Document
from sync_daemon.config.environment import FromEnvironment
from sync_daemon.config.problems import Path
from sync_daemon.config.units import UnitError

_LONGEST = 65_536
_NAMES = (
    *("token", "access_key", "secret_key"),
    *("webhook_secret", "api_token", "alertmanager"),
)


def read_secret_files(document: Document) -> None:
    """Put the contents of all secret files into the tree; note what cannot be read."""
    for path, section in _places(document.tree):
        for name in _NAMES:
            if f"{name}_file" in section:
                _read_into(document, path, section, name)


def _places(tree: dict[str, Any]) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the sections that may hold secrets."""
    yield from _mapping(tree, ("schedule",))
    yield from _mapping(tree, ("alerts",))
    yield from _mapping(tree, ("store", "credentials"))
    yield from _mapping(tree, ("pull",))
    yield from _items(tree, (), "mirror_sites")
    origins = tree.get("origins")
    for name in origins if isinstance(origins, dict) else ():
        for path, origin in _mapping(tree, ("origins", name)):
            yield path, origin
            yield from _items(origin, path, "endpoints")


def _items(section: dict[str, Any], path: Path, key: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the mappings of a list."""
    items = section.get(key)
    for index, item in enumerate(items if isinstance(items, tuple) else ()):
        if isinstance(item, dict):
            yield (*path, key, index), item


def _mapping(tree: dict[str, Any], path: tuple[str, ...]) -> Iterator[tuple[Path, dict[str, Any]]]:
    value: Any = tree
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    if isinstance(value, dict):
        yield path, value


def _read_into(document: Document, path: Path, section: dict[str, Any], name: str) -> None:
    key = f"{name}_file"
    where, file_name = (*path, key), section[key]
    if name in section:
        document.add(where, f"stands beside {name}", "keep one of the two", at_key=True)
        return
    if not isinstance(file_name, str):
        return  # the type is reported with all other types
    try:
        section[name] = FromEnvironment(read_secret(file_name))
    except UnitError as error:
        document.add(where, str(error), error.hint)


def read_secret(file_name: str) -> str:
    """Read one mounted secret without its final newline, nor the mark of the encoding that some
    editors begin a file with; raises UnitError."""
    hint = "the file must exist and be readable by this user"
    try:
        text = _read_regular(file_name).decode("utf-8-sig")
    except OSError as error:
        raise UnitError(message=f"cannot be read: {error.strerror}", hint=hint) from None
    except ValueError:  # not UTF-8, or no possible file name
        raise UnitError(message="cannot be read as UTF-8 text", hint=hint) from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text or "\n" in text:
        raise UnitError(
            message="does not hold exactly one line", hint="write the secret, and nothing else"
        )
    return text


def _read_regular(file_name: str) -> bytes:
    """Read a small regular file; a pipe or device would make us wait for ever."""
    handle = os.open(file_name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(handle, "rb") as file:  # noqa: PTH123  a descriptor has no path
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise UnitError(message="is not a regular file", hint="name the file itself")
        content = file.read(_LONGEST + 1)
    if len(content) > _LONGEST:
        raise UnitError(message="is too large for a secret", hint="is this the right file?")
    return content
