"""Versions published straight into a store, as a run would leave them, and a gateway on top."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from sync_daemon.config import Settings, load
from sync_daemon.domain import keys
from sync_daemon.domain.access import ModelPattern
from sync_daemon.domain.digests import CommitId, Digest, GitOid
from sync_daemon.domain.events import Event
from sync_daemon.domain.manifest import Current, FileEntry, Manifest, ModelFacts, Source
from sync_daemon.domain.names import ModelName, RepoPath, VersionName
from sync_daemon.domain.tokens import TokenName
from sync_daemon.engine.clock import SystemClock
from sync_daemon.engine.retry import Retry
from sync_daemon.engine.vault import Vault
from sync_daemon.gateway.access.tokens import TokenBook
from sync_daemon.gateway.server import Gateway
from sync_daemon.ports import ObjectStore
from sync_daemon.stores.local import LocalStore
from tests.support.web import Reply

MORNING = datetime(2026, 3, 1, 8, 30, tzinfo=UTC)


def sha1(text: str) -> str:
    """Forty hex digits that stand for a commit."""
    return hashlib.sha1(text.encode()).hexdigest()


def no_retry() -> Retry:
    """One attempt, and nobody listens."""
    return Retry(1, lambda event: None, SystemClock(threading.Event()))


SAMPLE = {"config.json": b"{}", "sub/weights.bin": b"w" * 3000, "sub/deep/x": b"x", "sub.txt": b"t"}
SAMPLE_COMMIT = sha1("org/m main")


@dataclass
class Publisher:
    """Publishes versions into a store."""

    store: ObjectStore

    @property
    def vault(self) -> Vault:
        return Vault(self.store, no_retry())

    def publish(
        self,
        model: str,
        version: str,
        files: Mapping[str, bytes],
        *,
        repo: str | None = None,
        kind: str = "model",
        revision: str = "main",
        commit: str | None = None,
        lfs: Collection[str] = (),
        git: bool = True,
        pin: bool = False,
        licence: str | None = None,
        facts: ModelFacts = ModelFacts(),  # noqa: B008 - immutable
        at: datetime = MORNING,
        selection: str = "all",
    ) -> Manifest:
        """Store blobs, manifest and pointer. `git`: with git oids, as of the Hub."""
        self.vault.open(create=True)
        entries = tuple(
            self._store(path, data, large=path in lfs, git=git)
            for path, data in sorted(files.items())
        )
        manifest = Manifest(
            model=ModelName(model),
            version=VersionName(version),
            source=Source(
                type="huggingface" if git else "directory",
                repo=repo or model,
                repo_type=kind,
                revision=revision,
                commit=CommitId(commit or sha1(f"{repo or model} {revision}")),
            ),
            selection=Digest.of(selection.encode()),
            files=entries,
            licence=licence,
            facts=facts,
        )
        self.point(manifest, at=at, pin=pin)
        return manifest

    def point(self, manifest: Manifest, *, at: datetime = MORNING, pin: bool = False) -> None:
        """Make a manifest current."""
        digest = self.vault.publish_manifest(manifest)
        before = self.vault.current(manifest.model, manifest.version)
        pointer = Current(
            commit=manifest.source.commit,
            selection=manifest.selection,
            manifest=digest,
            published_at=at,
            pin=pin,
        )
        etag = before[1] if before else None
        self.vault.publish_current(manifest.model, manifest.version, pointer, etag)

    def alias(self, model: str, alias: str, version: str) -> None:
        """Let an alias lead to a version."""
        data = json.dumps({"version": version}).encode()
        self.store.put(f"{keys.ALIASES}{model}/{alias}.json", data)

    def _store(self, path: str, data: bytes, *, large: bool, git: bool) -> FileEntry:
        digest = Digest.of(data)
        if self.store.stat(keys.blob(digest)) is None:
            self.store.put(keys.blob(digest), data)
        text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\n"
        pointer = f"{text}size {len(data)}\n".encode()
        oid = GitOid.of_blob(pointer if large else data) if git else None
        return FileEntry(RepoPath(path), len(data), digest, oid, lfs=large and git)


def publish_sample(folder: Path) -> Path:
    """Publish two models, one with the name of a question, and a dataset."""
    publisher = Publisher(LocalStore(folder))
    publisher.publish("m", "1.0", SAMPLE, repo="org/m", lfs=["sub/weights.bin"])
    publisher.publish("secret", "1.0", {"s": b"s"}, repo="org/secret")
    publisher.publish("tree", "main", {"t": b"t"})
    publisher.publish("set", "main", {"d": b"d"}, repo="org/set", kind="dataset")
    return folder


@dataclass
class Serving:
    """A gateway that runs, and what it said."""

    gateway: Gateway
    store: ObjectStore
    events: list[Event] = field(default_factory=list)
    made: dict[str, str] = field(default_factory=dict)

    def ask(
        self,
        path: str,
        method: str = "GET",
        body: bytes | None = None,
        *,
        token: str | None = None,
        **headers: str,
    ) -> Reply:
        """Send one request with exactly this path."""
        connection = HTTPConnection(self.url.removeprefix("http://"), timeout=10)
        return Reply.to(connection, method, path, body, token=token, **headers)

    def token(self, name: str, *models: str) -> str:
        """Return the text of a token that the gateway knows: made when first asked for."""
        if name in self.made:
            return self.made[name]
        patterns = tuple(map(ModelPattern, models or ("*",)))
        book = TokenBook(self.store, no_retry())
        _, secret = book.create(TokenName(name), patterns, datetime.now(UTC))
        self.gateway.load()
        return self.made.setdefault(name, secret)

    @property
    def url(self) -> str:
        return self.gateway.url

    def refresh(self) -> None:
        """See at once what was published since."""
        self.gateway.library.refresh()


def settings_of(folder: Path, **gateway: Any) -> Settings:
    """The settings of a mirror in a directory whose gateway lets everybody in."""
    document = {
        "version": 1,
        "store": {"url": folder.as_uri()},
        "models": [],
        "gateway": {"listen": "127.0.0.1:0", "anonymous": True} | gateway,
    }
    return load(json.dumps(document).encode(), environ={})


@contextmanager
def serving(
    folder: Path,
    store: ObjectStore | None = None,
    *,
    make: Callable[..., Gateway] = Gateway,
    **gateway: Any,
) -> Iterator[Serving]:
    """Serve the store in `folder`, or another one; `make_gateway` adds the pages."""
    events: list[Event] = []
    store = store or LocalStore(folder)
    found = make(settings_of(folder, **gateway), store, events.append)
    found.load()
    found.start()
    try:
        yield Serving(found, store, events)
    finally:
        found.stop()
