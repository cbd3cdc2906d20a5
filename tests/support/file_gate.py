"""A gateway reduced to its files, on a real socket: what `Files` answers, and nothing else.

One repository `o/m` with the files that a test puts there, at `/o/m/resolve/REVISION/PATH`. A
request with an Authorization header is taken for one with a good token.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sync_daemon.config import Settings, load
from sync_daemon.domain import keys
from sync_daemon.domain.digests import CommitId, Digest, GitOid
from sync_daemon.domain.events import Event
from sync_daemon.domain.manifest import FileEntry, ModelFacts, Source
from sync_daemon.domain.names import ModelName, RepoPath, VersionName
from sync_daemon.gateway.files.handler import Files
from sync_daemon.gateway.published.shelf import Edition, Snapshot
from sync_daemon.gateway.request.callers import ANYBODY, Caller
from sync_daemon.gateway.request.errors import HubError, answer_error
from sync_daemon.ports import ObjectStore
from tests.support.asgi import run_server

COMMIT = "c" * 40
MIB = 1024**2
_PART = 16 * MIB
_EDITION = Edition(
    ModelName("m"),
    VersionName("1.0"),
    Digest("0" * 64),
    Source("directory", "o/m", "model", "main", CommitId(COMMIT)),
    1,
    1,
    None,
    ModelFacts(),
)


def make_settings(text: str = "") -> Settings:
    """Return settings whose section `gateway` is `text`, in YAML's flow style."""
    yaml = f"""
version: 1
store: {{url: "file:///nowhere"}}
models: [{{name: m, repo: o/m}}]
gateway: {{{text}}}
"""
    return load(yaml.encode(), environ={})


def put_file(store: ObjectStore, path: str, data: bytes, *, lfs: bool = True) -> FileEntry:
    """Store a blob and return its entry; large ones go up in parts."""
    entry = make_entry(path, data, lfs=lfs)
    key = keys.blob(entry.sha256)
    if len(data) <= _PART:
        store.put(key, data)
        return entry
    upload = store.create_upload(key)
    view = memoryview(data)
    parts = [
        store.put_part(key, upload, number, start, view[start : start + _PART])
        for number, start in enumerate(range(0, len(data), _PART), 1)
    ]
    store.complete_upload(key, upload, parts)
    return entry


def make_entry(path: str, data: bytes, *, lfs: bool = True) -> FileEntry:
    """Return what a manifest says of a file, stored or not."""
    git_oid = None if lfs else GitOid.of_blob(data)
    return FileEntry(RepoPath(path), len(data), Digest.of(data), git_oid, lfs=lfs)


def make_bytes(size: int) -> bytes:
    """Return bytes that do not repeat."""
    return os.urandom(size)


@dataclass
class Gate:
    """A running gateway. `events` are those that its `Files` emitted."""

    port: int = 0
    entries: dict[str, FileEntry] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def add(self, *entries: FileEntry) -> None:
        self.entries.update({entry.path: entry for entry in entries})

    def path(self, name: str, revision: str = "main") -> str:
        return f"/o/m/resolve/{revision}/{name}"


@contextmanager
def run_gate(
    store: ObjectStore, settings: Settings | None = None, **options: int
) -> Iterator[Gate]:
    """Serve the files of a store with uvicorn, as the gateway does; `options` are of Files."""
    gate = Gate()
    files: list[Files] = []

    async def serve(request: Request) -> Response:
        known = "authorization" in request.headers
        request.state.caller = Caller("somebody", ANYBODY.models) if known else ANYBODY
        if not files:
            files.append(
                Files(store, settings or make_settings(), emit=gate.events.append, **options)
            )
        snapshot = Snapshot(_EDITION, MappingProxyType(gate.entries))  # type: ignore[arg-type]
        entry = gate.entries[request.path_params["path"]]
        by_commit = request.path_params["revision"] == COMMIT
        return await files[0].answer(request, snapshot, entry, by_commit=by_commit)

    async def refuse(_: Request, error: Exception) -> Response:
        assert isinstance(error, HubError)
        return answer_error(error)

    app = Starlette(
        routes=[Route("/o/m/resolve/{revision}/{path:path}", serve, methods=["GET", "HEAD"])],
        exception_handlers={HubError: refuse},
    )
    config = uvicorn.Config(app, log_level="critical", access_log=False, lifespan="off")
    with run_server(uvicorn.Server(config), force=True) as gate.port:
        yield gate
