"""Content hashes: SHA-256 names a blob, a git oid is what an origin promises of a small file."""

from __future__ import annotations

import hashlib
import re
from typing import Self

from sync_daemon.domain.errors import InvalidName

_SHA256 = re.compile(r"[0-9a-f]{64}")
_SHA1 = re.compile(r"[0-9a-f]{40}")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


class Digest(str):
    """A SHA-256 in 64 lower-case hex digits."""

    __slots__ = ()

    def __new__(cls, value: str) -> Self:
        if not _SHA256.fullmatch(value):
            message = f"{value!r} is not a SHA-256 (64 lower-case hex digits)"
            raise InvalidName(message)
        return super().__new__(cls, value)

    @classmethod
    def of(cls, data: bytes | bytearray | memoryview) -> Self:
        """Return the digest of `data`."""
        return cls(hashlib.sha256(data).hexdigest())


class GitOid(str):
    """A git object id of the SHA-1 kind, 40 lower-case hex digits."""

    __slots__ = ()

    def __new__(cls, value: str) -> Self:
        if not _SHA1.fullmatch(value):
            message = f"{value!r} is not a git object id (40 lower-case hex digits)"
            raise InvalidName(message)
        return super().__new__(cls, value)

    @classmethod
    def of_blob(cls, data: bytes | bytearray | memoryview) -> Self:
        """Return the id git gives a file of these bytes: SHA-1 of `blob <size>\\0` + bytes."""
        head = b"blob %d\0" % len(data)
        hasher = hashlib.sha1(head, usedforsecurity=False)
        hasher.update(data)
        return cls(hasher.hexdigest())


class CommitId(str):
    """A full commit id: 40 hex digits (git) or 64 (what stands for one elsewhere)."""

    __slots__ = ()

    def __new__(cls, value: str) -> Self:
        if not _COMMIT.fullmatch(value):
            message = f"{value!r} is not a full commit id (40 or 64 lower-case hex digits)"
            raise InvalidName(message)
        return super().__new__(cls, value)

    @classmethod
    def is_one(cls, value: str) -> bool:
        """Tell whether `value` is a full commit id, and so can never move."""
        return _COMMIT.fullmatch(value) is not None
