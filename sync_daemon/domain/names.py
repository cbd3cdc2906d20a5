"""Names, parsed once at the edge: a value of one of these types is safe to use as a key.

They are strings, so that they sort, hash, compare and print as one; their constructors
refuse what is hostile (path traversal, control characters) or what some store or reader
cannot hold.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Self

from sync_daemon.domain.errors import InvalidName

MAX_PATH_BYTES = 1024
"""Longest object key of S3, in bytes of UTF-8."""

_SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_VERSION = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]|%2F){0,95}")
_SEGMENTS = 2
_RULE = "letters, digits, '.', '_' and '-', at most 96, the first a letter or digit"


class ModelName(str):
    """A model's name in this mirror: one or two segments, `llama-7b` or `meta/llama-7b`."""

    __slots__ = ()

    def __new__(cls, value: str) -> Self:
        segments = value.split("/")
        if len(segments) > _SEGMENTS or not all(_SEGMENT.fullmatch(part) for part in segments):
            message = f"model name {value!r}: one or two segments of {_RULE}"
            raise InvalidName(message)
        return super().__new__(cls, value)


class GroupName(str):
    """A folder that plain copies of several models share: one segment, `nlp`."""

    __slots__ = ()

    def __new__(cls, value: str) -> Self:
        if not _SEGMENT.fullmatch(value):
            message = f"group name {value!r}: one segment of {_RULE}"
            raise InvalidName(message)
        return super().__new__(cls, value)


class VersionName(str):
    """A version's name: one segment; a tag's slash is written `%2F`."""

    __slots__ = ()

    def __new__(cls, value: str) -> Self:
        if not _VERSION.fullmatch(value):
            message = f"version name {value!r}: {_RULE}"
            raise InvalidName(message, hint="give the version a name of its own in the YAML")
        return super().__new__(cls, value)

    @classmethod
    def of_tag(cls, tag: str) -> Self:
        """Return the version that stands for `tag`: `release/v1` becomes `release%2Fv1`."""
        return cls(tag.replace("/", "%2F"))


class RepoPath(str):
    """A file's path inside a repository: relative, `/`-separated, free of tricks.

    Everything else is legal and kept exactly: spaces, `#`, `+`, `%20`, any Unicode
    normal form, emoji, a leading or trailing dot.
    """

    __slots__ = ()

    def __new__(cls, value: str) -> Self:
        if problem := _path_problem(value):
            message = f"file name {value!r}: {problem}"
            raise InvalidName(message, hint="exclude it in the YAML, or have it renamed upstream")
        return super().__new__(cls, value)


def _path_problem(value: str) -> str | None:
    try:
        encoded = value.encode()
    except UnicodeEncodeError:
        return "is not valid Unicode"
    if len(encoded) > MAX_PATH_BYTES:
        return f"is longer than {MAX_PATH_BYTES} bytes"
    if "\\" in value:
        return "contains a backslash"
    if any(unicodedata.category(char) == "Cc" for char in value):
        return "contains a control character"
    for segment in value.split("/"):
        if segment in {"", ".", ".."}:
            return f"has the segment {segment!r}: absolute or escaping paths are refused"
    return None


def find_file_and_folder(paths: Iterable[RepoPath]) -> RepoPath | None:
    """Return the first path that is a file and also a folder of another one, or None.

    Object stores hold both; file systems, and thus readers of a tree, cannot.
    """
    files = set(paths)
    for path in sorted(files):
        parent = path
        while "/" in parent:
            parent = RepoPath(parent.rpartition("/")[0])
            if parent in files:
                return parent
    return None
