"""Where the mirror is stored: `s3://bucket/prefix` or `file:///srv/mirror`."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from sync_daemon.config.units import UnitError

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\\]")
_LONGEST_PREFIX = 512
_ROOT = "name a directory of its own, as file:///srv/mirror"
_HINT = "write s3://BUCKET/PREFIX, file:///absolute/path or file:./relative/path"


@dataclass(frozen=True, slots=True)
class S3Place:
    """A bucket, and the prefix (without slashes at its ends) of all keys; it may be empty."""

    bucket: str
    prefix: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")


@dataclass(frozen=True, slots=True)
class DirectoryPlace:
    """A directory of this machine, absolute."""

    path: Path

    def __str__(self) -> str:
        return f"file://{self.path}"


def parse_place(value: object) -> S3Place | DirectoryPlace:
    """Read `store.url`; a relative path starts at the working directory."""
    if not isinstance(value, str) or _CONTROL.search(value):
        raise UnitError(message="is not the address of a store", hint=_HINT)
    if value.startswith("s3://"):
        return _parse_s3(value.removeprefix("s3://"))
    if value.startswith("file:"):
        return _parse_file(value.removeprefix("file:"))
    raise UnitError(message="is not the address of a store", hint=_HINT)


def _parse_s3(text: str) -> S3Place:
    bucket, _, prefix = text.partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise UnitError(message="has no valid bucket name", hint=_HINT)
    prefix = prefix.removesuffix("/")
    if prefix and any(part in {"", ".", ".."} for part in prefix.split("/")):
        raise UnitError(message="has an empty, '.' or '..' segment in its prefix", hint=_HINT)
    if len(prefix.encode()) > _LONGEST_PREFIX:
        raise UnitError(message=f"has a prefix of more than {_LONGEST_PREFIX} bytes", hint=_HINT)
    return S3Place(bucket, prefix)


def _parse_file(text: str) -> DirectoryPlace:
    """Take the path as it is written: a per cent sign means itself."""
    if text.startswith("//"):
        text = text.removeprefix("//")
        if not text.startswith("/"):
            raise UnitError(message="names a host in a file URL", hint=_HINT)
    if not text:
        raise UnitError(message="has no path", hint=_HINT)
    if not text.startswith("/") and text.partition("/")[0] not in {".", ".."}:
        raise UnitError(message="has a path that begins with neither / nor ./", hint=_HINT)
    path = Path(text).absolute()
    if not os.path.normpath(path).strip("/"):
        raise UnitError(message="is the root directory of this machine", hint=_ROOT)
    return DirectoryPlace(path)
