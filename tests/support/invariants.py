"""I1, I2 and I4, as a reader checks them who shares no code with the writer's path."""

from __future__ import annotations

import hashlib
import json
import re

from sync_daemon.ports import ObjectStore

_POINTER = re.compile(r"(models/.+/)current\.json")


def read_all(store: ObjectStore, key: str) -> bytes:
    data = bytearray()
    buffer = bytearray(1024**2)
    with store.open(key) as reader:
        while count := reader.readinto(memoryview(buffer)):
            data += buffer[:count]
    return bytes(data)


def check_store(store: ObjectStore) -> int:
    """Assert the invariants over everything in `store`; return the number of pointers.

    Every blob and manifest hashes to its name (I2); every pointer names a stored manifest
    (I4); every manifest, current or not, names only stored blobs of the right size (I1).
    """
    sizes: dict[str, int] = {}
    for info in store.list("blobs/"):
        data = read_all(store, info.key)
        assert hashlib.sha256(data).hexdigest() == info.key.rpartition("/")[2], f"I2: {info.key}"
        assert len(data) == info.size, f"I2: {info.key}"
        sizes[info.key.rpartition("/")[2]] = info.size
    manifests: set[str] = set()
    pointers = []
    for info in store.list("models/"):
        if _POINTER.fullmatch(info.key):
            pointers.append(info.key)
            continue
        data = read_all(store, info.key)
        name = info.key.rpartition("/")[2].removesuffix(".json")
        assert hashlib.sha256(data).hexdigest() == name, f"manifest {info.key}"
        manifests.add(info.key)
        for file in json.loads(data)["files"]:
            assert sizes.get(file["sha256"]) == file["size"], f"I1: {file['path']} of {info.key}"
    for key in pointers:
        folder = key.removesuffix("current.json")
        target = json.loads(read_all(store, key))["manifest"]
        assert f"{folder}manifests/{target}.json" in manifests, f"I4: {key}"
    return len(pointers)
