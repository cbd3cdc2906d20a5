"""Re-hashes a mirror without a line of sync-daemon: only hashlib, json and the layout's words.

As a script:  python tests/support/rehash.py DIRECTORY
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


class Place(Protocol):
    """Where a mirror lies."""

    def keys(self, prefix: str) -> Iterator[str]: ...
    def read(self, key: str) -> bytes: ...


@dataclass(frozen=True)
class Folder:
    """A mirror in a directory."""

    root: Path

    def keys(self, prefix: str) -> Iterator[str]:
        for path in (self.root / prefix).rglob("*"):
            if path.is_file():
                yield path.relative_to(self.root).as_posix()

    def read(self, key: str) -> bytes:
        return (self.root / key).read_bytes()


@dataclass(frozen=True)
class Bucket:
    """A mirror in a bucket; `client` is a boto3 client."""

    client: Any
    name: str
    prefix: str

    def keys(self, prefix: str) -> Iterator[str]:
        pages = self.client.get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=self.name, Prefix=self.prefix + prefix):
            for entry in page.get("Contents", ()):
                yield entry["Key"].removeprefix(self.prefix)

    def read(self, key: str) -> bytes:
        data: bytes = self.client.get_object(Bucket=self.name, Key=self.prefix + key)["Body"].read()
        return data


@dataclass(frozen=True)
class Version:
    """A published version as a reader sees it."""

    manifest: str
    commit: str
    files: dict[str, str]


def rehash(place: Place) -> dict[str, Version]:
    """Return the published versions by `model@version`; every byte they name was re-hashed.

    Raises AssertionError for anything that is missing, of another size or of another hash.
    """
    proven: dict[str, int] = {}

    def prove(digest: str) -> int:
        if digest not in proven:
            data = place.read(f"blobs/sha256/{digest[:2]}/{digest}")
            assert hashlib.sha256(data).hexdigest() == digest, digest
            proven[digest] = len(data)
        return proven[digest]

    found = {}
    for key in place.keys("models/"):
        if not key.endswith("/current.json"):
            continue
        folder = key.removesuffix("/current.json")
        pointer = json.loads(place.read(key))
        manifest = f"{folder}/manifests/{pointer['manifest']}.json"
        data = place.read(manifest)
        assert hashlib.sha256(data).hexdigest() == pointer["manifest"], manifest
        document = json.loads(data)
        assert document["origin"]["commit"] == pointer["commit"]
        for file in document["files"]:
            assert prove(file["sha256"]) == file["size"], file
        assert document["size"] == sum(file["size"] for file in document["files"])
        model, _, version = folder.removeprefix("models/").rpartition("/")
        files = {file["path"]: file["sha256"] for file in document["files"]}
        found[f"{model}@{version}"] = Version(manifest, pointer["commit"], files)
    return found


def distinct_bytes(place: Place) -> int:
    """Return the bytes of all blobs together."""
    return sum(len(place.read(key)) for key in place.keys("blobs/"))


if __name__ == "__main__":
    printer: Callable[[str], None] = print
    for name, version in sorted(rehash(Folder(Path(sys.argv[1]))).items()):
        printer(f"{name}: {len(version.files)} files right, commit {version.commit}")
