"""Bytes of a file on the Hub double: in memory, on disk, or made up while they are sent.

A `Content` knows its size and can hand out any range as large buffers, so a two-gibibyte shard
costs neither disk nor memory. Digests are computed when somebody asks and then kept.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK = 1 << 20
LFS_VERSION = "https://git-lfs.github.com/spec/v1"

Buffer: TypeAlias = bytes | bytearray | memoryview


class Content(Protocol):
    """Bytes with a known size, readable from any place."""

    @property
    def size(self) -> int:
        """Length in bytes."""
        ...

    @property
    def sha256(self) -> str:
        """SHA-256 of all bytes as 64 hex digits."""
        ...

    @property
    def identity(self) -> str:
        """Text that differs when the bytes differ; cheap where the digest is dear."""
        ...

    def read(self, start: int, stop: int) -> Iterator[Buffer]:
        """Yield the bytes from `start` up to `stop` in buffers of at most one mebibyte."""
        ...


@dataclass(frozen=True)
class Bytes:
    """Content held in memory."""

    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def identity(self) -> str:
        return self.sha256

    def read(self, start: int, stop: int) -> Iterator[Buffer]:
        view = memoryview(self.data)
        for at in range(start, stop, BLOCK):
            yield view[at : min(at + BLOCK, stop)]


@dataclass(frozen=True)
class Stored:
    """Content of a file on disk, which must not change while the Hub double runs."""

    path: Path

    @cached_property
    def size(self) -> int:
        return self.path.stat().st_size

    @cached_property
    def sha256(self) -> str:
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    @property
    def identity(self) -> str:
        return self.sha256

    def read(self, start: int, stop: int) -> Iterator[Buffer]:
        with self.path.open("rb", buffering=0) as file:
            for at in range(start, stop, BLOCK):
                yield os.pread(file.fileno(), min(BLOCK, stop - at), at)


@dataclass(frozen=True)
class Synthetic:
    """Made-up content of any size: pseudo-random blocks of 1 MiB, each led by its number.

    `head` replaces the first bytes, for files that need a valid beginning. Equal arguments give
    equal bytes on every machine.
    """

    size: int
    seed: int = 0
    head: bytes = b""

    def __post_init__(self) -> None:
        if len(self.head) > min(self.size, BLOCK):
            message = "head must fit into the file and into one block"
            raise ValueError(message)

    @property
    def sha256(self) -> str:
        return _digest_synthetic(self)

    @property
    def identity(self) -> str:
        return f"synthetic:{self.size}:{self.seed}:{self.head.hex()}"

    def read(self, start: int, stop: int) -> Iterator[Buffer]:
        at = start
        while at < stop:
            number, skip = divmod(at, BLOCK)
            end = min(BLOCK, skip + stop - at)
            yield memoryview(self._block(number))[skip:end]
            at += end - skip

    def _block(self, number: int) -> bytearray:
        block = bytearray(_noise(self.seed))
        block[:8] = number.to_bytes(8, "big")
        if number == 0:
            block[: len(self.head)] = self.head
        return block


def synthetic_safetensors(size: int, seed: int = 0) -> Synthetic:
    """Return made-up content of `size` bytes that opens as a safetensors file of one U8 tensor.

    Raises ValueError below 256 bytes, where the header does not fit.
    """
    room = 248
    if size < room + 8:
        message = "a safetensors file of this kind needs at least 256 bytes"
        raise ValueError(message)
    length = size - room - 8
    header = {"weight": {"dtype": "U8", "shape": [length], "data_offsets": [0, length]}}
    text = json.dumps(header).encode().ljust(room)
    return Synthetic(size, seed, room.to_bytes(8, "little") + text)


def as_content(value: bytes | str | Path | Content) -> Content:
    """Return `value` as content; text becomes UTF-8, a path is read when it is asked for."""
    if isinstance(value, bytes):
        return Bytes(value)
    if isinstance(value, str):
        return Bytes(value.encode())
    if isinstance(value, Path):
        return Stored(value)
    return value


@dataclass(frozen=True)
class Blob:
    """One stored file of a repository, with every name that the Hub has for its bytes."""

    content: Content
    lfs: bool

    @property
    def size(self) -> int:
        return self.content.size

    @property
    def sha256(self) -> str:
        return self.content.sha256

    @cached_property
    def pointer(self) -> bytes:
        """Text that git stores in place of a large file."""
        text = f"version {LFS_VERSION}\noid sha256:{self.sha256}\nsize {self.size}\n"
        return text.encode()

    @cached_property
    def oid(self) -> str:
        """Git blob id: of the content, or of the pointer where the file is large."""
        return _git_oid(Bytes(self.pointer) if self.lfs else self.content)

    @property
    def etag(self) -> str:
        """What the Hub calls the file: SHA-256 when large, git blob id when small."""
        return self.sha256 if self.lfs else self.oid

    @cached_property
    def xet_hash(self) -> str:
        """64 hex digits that look like a SHA-256 and are not one."""
        return hashlib.sha256(b"xet:" + self.content.identity.encode()).hexdigest()


def _git_oid(content: Content) -> str:
    digest = hashlib.sha1(b"blob %d\0" % content.size, usedforsecurity=False)
    for buffer in content.read(0, content.size):
        digest.update(buffer)
    return digest.hexdigest()


@lru_cache(maxsize=64)
def _noise(seed: int) -> bytes:
    return random.Random(seed).randbytes(BLOCK)


@lru_cache(maxsize=1024)
def _digest_synthetic(content: Synthetic) -> str:
    digest = hashlib.sha256()
    for buffer in content.read(0, content.size):
        digest.update(buffer)
    return digest.hexdigest()
