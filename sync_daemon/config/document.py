"""Nodes -> plain values with a map of where each stands in the file.

Mappings become dicts, lists tuples. Bare words get the types of YAML 1.1, save for its
surprises (dates, `22:00` as a number of minutes, leading zeros as octal), which stay
text. Duplicate keys, keys without a value and unset variables are collected.
"""

import re
from collections.abc import Iterator, Mapping as Map
from dataclasses import dataclass, field
from typing import Any

from sync_daemon.config.environment import FromEnvironment, expand
from sync_daemon.config.nodes import (
    Mapping,
    Node,
    Scalar,
    Sequence,
    Spot,
    Unreadable,
    read_nodes,
)
from sync_daemon.config.problems import Path, Problem, clip, show_path
from sync_daemon.config.units import UnitError

_MAX_REPEATED = 10_000
"""Values that aliases may add to those that are written out."""

_NULL = {"", "~", "null", "Null", "NULL"}
_BOOL = re.compile(r"(yes|Yes|YES|on|On|ON|true|True|TRUE)|no|No|NO|off|Off|OFF|false|False|FALSE")
_INT = re.compile(r"[-+]?(0|[1-9][0-9_]{0,20})")
_FLOAT = re.compile(r"[-+]?([0-9][0-9_]*\.[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
_MERGE = "<<"
_NO_VALUE = "has no value"


@dataclass(frozen=True, slots=True)
class Position:
    """Where a value stands, where its key stands, and a bare word as it was written."""

    value: Spot
    key: Spot
    bare: str | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """The values of a file, their positions, and what was found wrong so far."""

    source: str
    tree: dict[str, Any]
    positions: Map[Path, Position]
    problems: list[Problem] = field(default_factory=list)
    _told: set[str] = field(default_factory=set)

    def add(self, path: Path, message: str, hint: str = "", *, at_key: bool = False) -> None:
        """Note a problem, unless the same place has one already."""
        problem = self.describe(path, message, hint, at_key=at_key)
        if problem.path not in self._told:
            self._told.add(problem.path)
            self.problems.append(problem)

    def has(self, path: Path) -> bool:
        """Whether the file says anything at this place."""
        return path in self.positions

    def describe(
        self, path: Path, message: str, hint: str = "", *, at_key: bool = False
    ) -> Problem:
        """Make a problem; a place that is not in the file takes that of what surrounds it."""
        at, missing = path, False
        while at and at not in self.positions:
            at, missing = at[:-1], True
        position = self.positions[at]
        spot = position.key if at_key or missing else position.value
        return Problem(spot.line, spot.column, show_path(path), message, hint, self.source)


def read_document(text: bytes, environ: Map[str, str], source: str) -> Document:
    """Read a file as far as it can be read; raises Unreadable when that is not at all."""
    root = read_nodes(text)
    if isinstance(root, Scalar) and root.plain and root.text in _NULL:
        raise Unreadable(root.spot, "the file is empty", "config/mirror.example.yaml shows one")
    if not isinstance(root, Mapping):
        raise Unreadable(root.spot, "the top of the file must be keys and values")
    return _Builder(environ, source).build(root)


class _Builder:
    def __init__(self, environ: Map[str, str], source: str) -> None:
        self._environ = environ
        self._positions: dict[Path, Position] = {}
        self._document = Document(source, {}, self._positions)
        self._seen: set[int] = set()
        self._repeated = 0

    def build(self, root: Mapping) -> Document:
        self._positions[()] = Position(root.spot, root.spot)
        self._document.tree.update(self._mapping(root, ()))
        return self._document

    def _build(self, node: Node, path: Path, key: Spot) -> Any:
        self._count(node, 1)
        bare = node.text if isinstance(node, Scalar) and node.plain else None
        self._positions[path] = Position(node.spot, key, bare)
        if isinstance(node, Scalar):
            return self._scalar(node, path)
        if isinstance(node, Mapping):
            return self._mapping(node, path)
        return self._sequence(node, path)

    def _count(self, node: Node, weight: int) -> None:
        if id(node) not in self._seen:
            self._seen.add(id(node))
            return
        self._repeated += weight
        if self._repeated > _MAX_REPEATED:
            raise Unreadable(node.spot, f"aliases repeat more than {_MAX_REPEATED:,} values")

    def _sequence(self, node: Sequence, path: Path) -> tuple[Any, ...]:
        items = []
        for index, item in enumerate(node.items):
            value = self._build(item, (*path, index), item.spot)
            if value is None:
                self._document.add((*path, index), _NO_VALUE, "remove it or fill it in")
            items.append("" if value is None else value)
        return tuple(items)

    def _mapping(self, node: Mapping, path: Path) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key, spot, value_node in self._pairs(node, path):
            here = (*path, key)
            value = self._build(value_node, here, spot)
            if value is None:
                self._document.add(here, _NO_VALUE, "give it one or leave the key out", at_key=True)
            elif value != "" or not isinstance(value, FromEnvironment):
                values[key] = value
        return values

    def _pairs(self, node: Mapping, path: Path) -> Iterator[tuple[str, Spot, Node]]:
        """Yield keys once: own ones first, then those merged in by `<<`."""
        taken: dict[str, Spot] = {}
        merged: list[Node] = []
        for key, value in node.pairs:
            if not isinstance(key, Scalar):
                raise Unreadable(key.spot, "a key must be a word")
            if key.plain and key.text == _MERGE:
                merged.append(value)
            elif key.text in taken:
                self._duplicate(path, key, taken[key.text])
            else:
                taken[key.text] = key.spot
                yield key.text, key.spot, value
        for source in merged:
            yield from self._merge(source, path, taken)

    def _merge(
        self, source: Node, path: Path, taken: dict[str, Spot]
    ) -> Iterator[tuple[str, Spot, Node]]:
        self._count(source, 1 + len(source.pairs) if isinstance(source, Mapping) else 1)
        if isinstance(source, Sequence):
            for item in source.items:
                yield from self._merge(item, path, taken)
            return
        if not isinstance(source, Mapping):
            raise Unreadable(source.spot, "'<<' takes a mapping, or a list of them")
        for key, spot, value in self._pairs(source, path):
            if key not in taken:
                taken[key] = spot
                yield key, spot, value

    def _duplicate(self, path: Path, key: Scalar, first: Spot) -> None:
        message = f"is given twice, first on line {first.line}"
        where = show_path((*path, key.text))
        self._document.problems.append(
            Problem(key.spot.line, key.spot.column, where, message, "", self._document.source)
        )

    def _scalar(self, node: Scalar, path: Path) -> Any:
        if "$" in node.text:
            return self._expanded(node, path)
        return _typed(node.text) if node.plain else node.text

    def _expanded(self, node: Scalar, path: Path) -> str:
        try:
            return expand(node.text, self._environ)
        except UnitError as error:
            self._document.add(path, str(error), error.hint)
            return FromEnvironment("")


def _typed(text: str) -> Any:
    if text in _NULL:
        return None
    if switch := _BOOL.fullmatch(text):
        return bool(switch[1])
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text.replace("_", ""))
    return text


def quote(text: str) -> str:
    """Show a bare word in the quotes that it lacks."""
    return f'"{clip(text)}"'
