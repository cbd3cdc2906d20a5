"""The stores that the contract is proven for, and what each is known for, as data."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sync_daemon.domain.errors import PreconditionFailed, StoreUnavailable, SyncError
from sync_daemon.ports import ChecksumKind, ObjectStore
from sync_daemon.stores.local import LocalStore
from sync_daemon.stores.memory import MemoryStore
from sync_daemon.stores.s3 import S3Store
from sync_daemon.stores.s3_copy import CopyLimits
from tests.support.servers import BUCKET, NAMED, S3Server

MIB = 1024 * 1024
SERVERS = ("moto", "minio", "seaweedfs", *(["named"] if NAMED in os.environ else []))
STORES = ("memory", "local", *SERVERS)

CHECKSUMS: dict[str, ChecksumKind] = {
    "moto": "none",
    "minio": "crc32c",
    "seaweedfs": "crc64nvme",
}
"""The cheapest checksum that a server really verifies; of a named one nothing is known."""


@dataclass(frozen=True)
class Backend:
    """A store under test. `races` tells whether its conditional writes hold under a race, and
    `losers` what those get who do not win it: Ceph 16 answers some with a fault."""

    name: str
    store: ObjectStore
    races: bool = True
    losers: tuple[type[SyncError], ...] = (PreconditionFailed,)
    refused_keys: frozenset[str] = field(default_factory=frozenset)


def connect(server: S3Server, prefix: str = "", **options: Any) -> S3Store:
    """Open the bucket of a server. Objects above 6 MiB are copied in parts."""
    defaults: dict[str, Any] = {
        "endpoint": server.endpoint,
        "access_key": server.access_key,
        "secret_key": server.secret_key,
        "copy_limits": CopyLimits(single=6 * MIB, part=5 * MIB),
    }
    return S3Store(BUCKET, prefix, **{**defaults, **options})


def open_backend(name: str, folder: Callable[[], Path], request: pytest.FixtureRequest) -> Backend:
    """Open a store by its name; a server starts when it is asked for the first time."""
    if name == "memory":
        return Backend(name, MemoryStore())
    if name == "local":
        return Backend(name, LocalStore(folder()))
    server = request.getfixturevalue(f"{name}_server")
    losers = (PreconditionFailed, *((StoreUnavailable,) if name == "named" else ()))
    return Backend(name, connect(server, "contract"), races=name != "moto", losers=losers)
