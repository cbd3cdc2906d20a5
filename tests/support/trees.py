"""Models with plain copies: how they are declared, synced and looked at."""

import json
import os
from dataclasses import replace

from sync_daemon.domain import keys
from sync_daemon.domain.names import GroupName, ModelName, VersionName
from sync_daemon.domain.report import RunReport, VersionReport
from sync_daemon.domain.wanted import Wanted, WantedTags
from sync_daemon.engine.tools import How
from sync_daemon.ports import ObjectStore
from tests.support.fakes import (
    FakeOrigin,
    running,
    wanted,
)
from tests.support.invariants import read_all

FILES = {
    "config.json": b'{"a": 1}',
    "empty": b"",
    "sub/é 🦙#+%20.txt": b"odd",
    "model.bin": os.urandom(4000),
}
NEXT = FILES | {"config.json": b'{"a": 2}', "new/one.bin": os.urandom(2000)}
LATER = {name: data for name, data in NEXT.items() if name != "empty"}
FULL = How(full=True)
ACCEPT = How(accept=True)


def with_tree(entry: Wanted | None = None, group: str | None = None) -> Wanted:
    return replace(entry or wanted(), trees=True, group=GroupName(group) if group else None)


def run(
    store: ObjectStore, origin: FakeOrigin, *entries: Wanted | WantedTags, how: How | None = None
) -> RunReport:
    with running(store, origin, attempts=1) as engine:
        return engine.run(entries or (with_tree(),), how or How())


def one(report: RunReport) -> VersionReport:
    (version,) = report.versions
    return version


def folder(store: ObjectStore, key: str) -> dict[str, bytes]:
    return {
        info.key.removeprefix(key): read_all(store, info.key) if info.size else b""
        for info in store.list(key)
    }


def pointer(store: ObjectStore, version: str = "main", model: str = "m") -> dict[str, object]:
    data = store.get(keys.current(ModelName(model), VersionName(version))).data
    return dict(json.loads(data))


def pinned(origin: FakeOrigin, files: dict[str, bytes], tag: str = "v1") -> Wanted:
    origin.tag("org/m", tag, origin.commit("org/m", files))
    return with_tree(wanted(version="1", revision=tag))
