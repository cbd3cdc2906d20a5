"""YAML text -> a tree of nodes that know their line and column.

PyYAML's event stream is used instead of its composer: events need no recursion in C,
so that deep nesting, endless aliases, tags and second documents are refused by us,
with words of our own, before they cost anything.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import yaml
from yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    ScalarEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

MAX_BYTES = 4 * 1024**2
MAX_DEPTH = 32
MAX_VALUES = 200_000

_PARSER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # without libyaml: the same, slower
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufffe\uffff]")
_KINDS = {ScalarEvent: "str", SequenceStartEvent: "seq", MappingStartEvent: "map"}
_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True, slots=True, order=True)
class Spot:
    """Line and column, counted from 1."""

    line: int = 1
    column: int = 1


class Unreadable(Exception):
    """The text is no YAML that we read; nothing more can be said about it."""

    def __init__(self, spot: Spot, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.spot, self.message, self.hint = spot, message, hint


@dataclass(frozen=True, slots=True)
class Scalar:
    """Text as written; `plain` means without quotes."""

    spot: Spot
    text: str
    plain: bool


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list."""

    spot: Spot
    items: list["Node"] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Mapping:
    """Pairs in the order of the file, duplicates included."""

    spot: Spot
    pairs: list[tuple["Node", "Node"]] = field(default_factory=list)


Node = Scalar | Sequence | Mapping
_Start = ScalarEvent | CollectionStartEvent


def read_nodes(text: bytes) -> Node:
    """Parse the one document of a file; raises Unreadable."""
    events = _events(_decode(text))
    next(events)  # the start of the stream
    first = next(events)
    if not isinstance(first, DocumentStartEvent):
        raise Unreadable(Spot(), "the file is empty", "config/mirror.example.yaml shows one")
    node = _Composer(events).compose(next(events), depth=0)
    next(events)  # the end of the document
    extra = next(events)
    if not isinstance(extra, StreamEndEvent):
        raise Unreadable(_spot(extra), "a second document starts here", "keep only one")
    return node


def _decode(text: bytes) -> str:
    if len(text) > MAX_BYTES:
        raise Unreadable(Spot(), f"the file is larger than {MAX_BYTES // 1024**2} MiB")
    try:
        decoded = text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = text[: error.start].decode("utf-8-sig", "replace")
        raise Unreadable(_spot_after(before), "this byte is not UTF-8", "save as UTF-8") from None
    if bad := _UNPRINTABLE.search(decoded):
        spot = _spot_after(decoded[: bad.start()])
        raise Unreadable(spot, f"the character U+{ord(bad[0]):04X} may not stand in YAML")
    return decoded


def _spot_after(text: str) -> Spot:
    return Spot(text.count("\n") + 1, len(text) - text.rfind("\n"))


def _events(text: str) -> Iterator[Event]:
    try:
        yield from yaml.parse(text, Loader=_PARSER)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        spot = Spot(mark.line + 1, mark.column + 1) if mark else Spot()
        raise Unreadable(spot, f"not YAML: {error.problem}", _syntax_hint(text, spot)) from None
    except (yaml.YAMLError, ValueError, RecursionError):  # ValueError: a bad \U escape
        raise Unreadable(Spot(), "not YAML") from None


def _syntax_hint(text: str, spot: Spot) -> str:
    line = next(iter(text.splitlines()[spot.line - 1 :]), "")
    if "${" in line and re.search(r"[\[{]", line.replace("${", "")):
        return 'inside [ ] and { } put "${...}" in quotes'
    if "\t" in line:
        return "indent with spaces, not tabs"
    return ""


def _spot(event: Event) -> Spot:
    mark = event.start_mark
    return Spot(mark.line + 1, mark.column + 1) if mark else Spot()


class _Composer:
    """Builds nodes from events, within bounds."""

    def __init__(self, events: Iterator[Event]) -> None:
        self._events = events
        self._anchors: dict[str, Node] = {}
        self._count = 0

    def compose(self, event: Event, *, depth: int) -> Node:
        self._count += 1
        if self._count > MAX_VALUES:
            raise Unreadable(_spot(event), f"more than {MAX_VALUES:,} values")
        if depth > MAX_DEPTH:
            raise Unreadable(_spot(event), f"nested more than {MAX_DEPTH} deep")
        if isinstance(event, AliasEvent):
            return self._alias(event)
        if not isinstance(event, ScalarEvent | CollectionStartEvent):
            raise Unreadable(_spot(event), "not YAML")  # no parser sends this
        _refuse_tag(event)
        node = self._fill(event, depth)
        if event.anchor:
            self._anchors[event.anchor] = node
        return node

    def _alias(self, event: AliasEvent) -> Node:
        if event.anchor not in self._anchors:  # also one that is still open: it holds itself
            raise Unreadable(_spot(event), "this alias has no anchor that ends before it")
        return self._anchors[event.anchor]

    def _fill(self, event: _Start, depth: int) -> Node:
        if isinstance(event, ScalarEvent):
            plain = event.style in {None, ""} and event.tag is None
            return Scalar(_spot(event), event.value, plain)
        if isinstance(event, SequenceStartEvent):
            return Sequence(_spot(event), list(self._children(depth)))
        keys = self._children(depth)
        return Mapping(_spot(event), list(zip(keys, keys, strict=True)))

    def _children(self, depth: int) -> Iterator[Node]:
        for event in self._events:
            if isinstance(event, CollectionEndEvent):
                return
            yield self.compose(event, depth=depth + 1)


def _refuse_tag(event: _Start) -> None:
    if event.tag not in {None, "!", _TAG + _KINDS[type(event)]}:
        raise Unreadable(_spot(event), "YAML tags (!...) are not supported", "remove the tag")
