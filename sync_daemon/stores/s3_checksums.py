"""Checksums that travel with the bytes, so that the server can refuse damaged ones.

The hardware CRCs cost about 0.05 CPU seconds per GiB, MD5 about 1.3: performance.md.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from awscrt import checksums as crt

from sync_daemon.ports import Buffer, ChecksumKind

ALGORITHMS: Mapping[ChecksumKind, str] = MappingProxyType(
    {"crc64nvme": "CRC64NVME", "crc32c": "CRC32C"}
)
"""What S3 calls the kinds that have to be declared when an upload is created."""

PREFERENCE: tuple[ChecksumKind, ...] = ("crc32c", "crc64nvme", "md5")
"""The cheapest first."""


@dataclass(frozen=True, slots=True)
class Checksum:
    """One checksum: the headers that tell it, and its value alone."""

    headers: Mapping[str, str]
    value: str = ""


NONE = Checksum({})


def compute(kind: ChecksumKind, data: Buffer) -> Checksum:
    """Return the checksum of `data` as the server is to be told."""
    if kind == "none":
        return NONE
    return _declare(kind, _encode(_DIGESTS[kind](data)))


def compute_wrong(kind: ChecksumKind, data: Buffer) -> Checksum:
    """Return a checksum that `data` does not have: an honest server refuses it."""
    digest = bytearray(_DIGESTS[kind](data))
    digest[0] ^= 0xFF
    return _declare(kind, _encode(digest))


def _declare(kind: ChecksumKind, value: str) -> Checksum:
    """Return a checksum whose value is known already."""
    if kind == "md5":
        return Checksum({"Content-MD5": value}, value)
    return Checksum({f"x-amz-checksum-{kind}": value}, value)


def declare_algorithm(kind: ChecksumKind) -> Mapping[str, str]:
    """Return the headers by which an upload is created whose parts have such checksums."""
    return {"x-amz-checksum-algorithm": ALGORITHMS[kind]} if kind in ALGORITHMS else {}


def name_algorithm(kind: ChecksumKind, checksum: Checksum) -> Checksum:
    """Add the algorithm's name: Ceph checks a PutObject only when it is given."""
    if kind not in ALGORITHMS:
        return checksum
    named = {"x-amz-sdk-checksum-algorithm": ALGORITHMS[kind]}
    return Checksum({**checksum.headers, **named}, checksum.value)


def _crc64nvme(data: Buffer) -> bytes:
    value: int = crt.crc64nvme(data)
    return value.to_bytes(8, "big")


def _crc32c(data: Buffer) -> bytes:
    value: int = crt.crc32c(data)
    return value.to_bytes(4, "big")


def _md5(data: Buffer) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


def _encode(digest: bytes | bytearray) -> str:
    return base64.b64encode(digest).decode()


_DIGESTS: Mapping[ChecksumKind, Callable[[Buffer], bytes]] = MappingProxyType(
    {"crc64nvme": _crc64nvme, "crc32c": _crc32c, "md5": _md5}
)
