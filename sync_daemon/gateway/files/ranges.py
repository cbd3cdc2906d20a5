"""Which bytes a request asks for: Range, If-Range, If-Match and If-None-Match (RFC 9110).

One range is answered, several at once are not: the whole file is a legal answer, and the clients
that ask for several have no use for multipart/byteranges. Header values that make no sense are
passed over, as the RFC says.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

LONGEST_RANGE = 64
"""Characters of one range, with blanks: nobody can make the pattern work for long on more."""

_RANGE = re.compile(r"(?i:bytes)[ \t]*=[ \t]*(\d{0,19})[ \t]*-[ \t]*(\d{0,19})[ \t]*,?", re.ASCII)
_TAG = re.compile(r'(?:W/)?"[^"]*"')


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes `start` to `stop` (exclusive) of a file. `partial`: they were asked for by a range."""

    start: int
    stop: int
    partial: bool = False

    @property
    def length(self) -> int:
        """How many bytes these are."""
        return self.stop - self.start


def parse_range(header: str | None, size: int) -> Span | None:
    """Return the bytes of a file of `size` that a Range header means; None: no such bytes (416).

    The whole file for no header, several ranges, another unit or nonsense.
    """
    whole = Span(0, size)
    text = (header or "").strip()
    match = _RANGE.fullmatch(text) if len(text) <= LONGEST_RANGE else None
    if match is None or not (match[1] or match[2]):
        return whole
    if not match[1]:
        length = int(match[2])
        return Span(max(0, size - length), size, partial=True) if length and size else None
    start = int(match[1])
    if match[2] and int(match[2]) < start:
        return whole
    if start >= size:
        return None
    stop = min(int(match[2]) + 1, size) if match[2] else size
    return Span(start, stop, partial=True)


def holds_tag(header: str, etag: str, *, weak: bool) -> bool:
    """Tell whether a list of entity tags, or `*`, has `etag` (with its quotes).

    The weak comparison is that of If-None-Match, the strong one that of If-Match and If-Range.
    """
    if header.strip() == "*":
        return True
    tags = _TAG.findall(header)
    return etag in ([tag.removeprefix("W/") for tag in tags] if weak else tags)
