"""What every origin must do, whatever it is made of."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Protocol

import pytest

from sync_daemon.domain.admission import admit
from sync_daemon.domain.digests import CommitId
from sync_daemon.domain.errors import (
    OriginChanged,
    OriginFileNotFound,
    RepositoryNotFound,
    RevisionNotFound,
)
from sync_daemon.domain.listing import RemoteFile, Repository
from sync_daemon.domain.names import RepoPath
from sync_daemon.domain.selection import Selection
from sync_daemon.meter import Meter, use
from sync_daemon.origins.directory import DirectoryOrigin
from sync_daemon.origins.endpoint import Endpoint
from sync_daemon.origins.endpoints import Endpoints
from sync_daemon.origins.http import HttpFile, HttpOrigin
from sync_daemon.origins.huggingface import HuggingFace
from sync_daemon.ports import Origin
from sync_daemon.wire import Http
from tests.support.fakes import FakeClock, Recorder
from tests.support.hub import Hub
from tests.support.webroot import WebRoot, page

NAME = "org/name"
REPOSITORY = Repository(NAME)
LARGE = random.Random(1).randbytes(2 * 1024 * 1024 + 17)
ODD_NAMES = (
    "a b.txt",
    "#1.bin",
    "c++.h",
    "100%20.txt",
    "a%2Fb",
    "caf\u00e9",
    "cafe\u0301",
    "\N{HUGGING FACE}.json",
    ".hidden",
    "trailing.",
    "q?x=1&y=2",
    "deep/er/and deeper/~x;v=1,2'\"*",
)
FILES = {
    "config.json": b"{}",
    "empty": b"",
    "model.safetensors": LARGE,
    **{name: name.encode() for name in ODD_NAMES},
}


class Source(Protocol):
    """An origin, and the way its content gets there."""

    origin: Origin

    def publish(self, files: Mapping[str, bytes]) -> None:
        """Make these the files of the repository."""


class DirectorySource:
    def __init__(self, stack: ExitStack, tmp_path: Path) -> None:
        self.root = tmp_path / "models"
        self.root.mkdir()
        self.origin = DirectoryOrigin("disk", self.root)
        self._moment = 1_600_000_000_000_000_000

    def publish(self, files: Mapping[str, bytes]) -> None:
        for path, data in files.items():
            target = self.root / NAME / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
            self._moment += 1_000_000_000
            os.utime(target, ns=(self._moment, self._moment))


class HttpSource:
    def __init__(self, stack: ExitStack, tmp_path: Path) -> None:
        self.web = stack.enter_context(WebRoot())
        self.files: dict[str, tuple[HttpFile, ...]] = {}
        http = Http("origin")
        stack.callback(http.close)
        self.origin = HttpOrigin("web", self.web.url + "/base/", http=http, files=self.files)

    def publish(self, files: Mapping[str, bytes]) -> None:
        pages = {f"/base/{NAME}/{path}": page(data) for path, data in files.items()}
        self.web.pages.update(pages)
        self.files[NAME] = tuple(HttpFile(path) for path in files)


class HubSource:
    def __init__(self, stack: ExitStack, tmp_path: Path) -> None:
        self.hub = stack.enter_context(Hub())
        http = Http("origin")
        stack.callback(http.close)
        self.repo = self.hub.repo(NAME)
        endpoints = Endpoints(
            "hf", (Endpoint(self.hub.endpoint),), clock=FakeClock(), emit=Recorder()
        )
        self.origin = HuggingFace("hf", endpoints, None, http=http)

    def publish(self, files: Mapping[str, bytes]) -> None:
        self.repo.commit(files)


SOURCES = {"directory": DirectorySource, "http": HttpSource, "huggingface": HubSource}


@pytest.fixture(params=SOURCES)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Source]:
    with ExitStack() as stack:
        made: Source = SOURCES[request.param](stack, tmp_path)
        made.publish(FILES)
        yield made


def head(origin: Origin) -> CommitId:
    return origin.refs(REPOSITORY).branches["main"]


def listed(origin: Origin) -> tuple[CommitId, dict[str, RemoteFile]]:
    commit = head(origin)
    verdict = admit(origin.list(REPOSITORY, commit), Selection())
    assert verdict.reasons == ()
    return commit, {file.path: file for file in verdict.files}


def read(origin: Origin, commit: CommitId, file: RemoteFile, start: int, stop: int) -> bytes:
    """Read a span in odd steps, and prove that the reader ends where it must."""
    buffer = bytearray(stop - start + 1)
    view, filled = memoryview(buffer), 0
    with origin.open(REPOSITORY, commit, file, start, stop) as reader:
        while got := reader.readinto(view[filled : filled + 70_001]):
            filled += got
        assert reader.readinto(view[filled:]) == 0
    assert filled == stop - start
    assert buffer[-1] == 0
    return bytes(view[:filled])


def test_refs_name_a_main_branch_that_stands_still_while_nothing_changes(source: Source) -> None:
    before = head(source.origin)
    assert head(source.origin) == before
    source.publish({"config.json": b'{"a": 1}'})
    assert head(source.origin) != before


def test_a_branch_is_followed_and_a_commit_is_a_pin(source: Source) -> None:
    commit = head(source.origin)
    branch = source.origin.resolve(REPOSITORY, "main")
    assert (branch.commit, branch.pin) == (commit, False)
    pinned = source.origin.resolve(REPOSITORY, commit)
    assert (pinned.commit, pinned.pin) == (commit, True)


@pytest.mark.parametrize("revision", ["v9", "0" * 40, "f" * 64, "refs/pr/1"])
def test_an_unknown_revision_is_said_to_be_one(source: Source, revision: str) -> None:
    with pytest.raises(RevisionNotFound) as caught:
        source.origin.resolve(REPOSITORY, revision)
    assert revision in str(caught.value)
    assert caught.value.hint


def test_an_unknown_commit_cannot_be_listed(source: Source) -> None:
    with pytest.raises(RevisionNotFound):
        source.origin.list(REPOSITORY, CommitId("0" * 40))


def test_an_unknown_repository_is_said_to_be_one(source: Source) -> None:
    unknown = Repository("org/none")
    calls = (
        lambda: source.origin.refs(unknown),
        lambda: source.origin.resolve(unknown, "main"),
        lambda: source.origin.list(unknown, CommitId("0" * 40)),
    )
    for call in calls:
        with pytest.raises(RepositoryNotFound, match="org/none") as caught:
            call()
        assert caught.value.hint


@pytest.mark.parametrize("name", ["../name", "org/../../x", "/etc", "", "a\0b", "org//name"])
def test_a_name_that_leads_elsewhere_is_no_repository(source: Source, name: str) -> None:
    with pytest.raises(RepositoryNotFound):
        source.origin.refs(Repository(name))


def test_a_listing_has_every_file_with_its_size_under_its_own_name(source: Source) -> None:
    commit, files = listed(source.origin)
    assert {path: file.size for path, file in files.items()} == {
        path: len(data) for path, data in FILES.items()
    }
    assert source.origin.list(REPOSITORY, commit) == source.origin.list(REPOSITORY, commit)


def test_every_file_can_be_read_whole(source: Source) -> None:
    commit, files = listed(source.origin)
    for path, file in files.items():
        assert read(source.origin, commit, file, 0, file.size) == FILES[path]


@pytest.mark.parametrize(
    ("start", "stop"),
    [(0, 1), (0, 1000), (1, 2), (1_000_000, 1_300_000), (len(LARGE) - 1, len(LARGE))],
)
def test_a_range_is_exactly_that_range(source: Source, start: int, stop: int) -> None:
    commit, files = listed(source.origin)
    file = files["model.safetensors"]
    assert read(source.origin, commit, file, start, stop) == LARGE[start:stop]


def test_a_file_that_is_not_there_is_said_to_be_missing(source: Source) -> None:
    commit = head(source.origin)
    for file in (RemoteFile(RepoPath("no/such"), 10), RemoteFile(RepoPath("config.json/x"), 10)):
        with pytest.raises(OriginFileNotFound, match=file.path):
            source.origin.open(REPOSITORY, commit, file, 0, 10)


def test_a_file_that_changes_after_its_listing_never_passes_as_the_listed_one(
    source: Source,
) -> None:
    """Either the bytes of that commit come, or an error: same size, other size, or in between."""
    commit, files = listed(source.origin)
    file = files["model.safetensors"]
    for changed in (bytes(len(LARGE)), LARGE + b"more", LARGE[:-5]):
        source.publish({"model.safetensors": changed})
        with suppress(OriginChanged):
            assert read(source.origin, commit, file, 0, file.size) == LARGE


def test_a_reader_that_is_closed_early_leaves_the_origin_usable(source: Source) -> None:
    commit, files = listed(source.origin)
    file = files["model.safetensors"]
    for _ in range(3):
        with source.origin.open(REPOSITORY, commit, file, 0, file.size) as reader:
            assert reader.readinto(memoryview(bytearray(100))) == 100
    assert read(source.origin, commit, file, 5, 50) == LARGE[5:50]


def test_sixteen_threads_read_at_once(source: Source) -> None:
    commit, files = listed(source.origin)
    file = files["model.safetensors"]
    step = -(-len(LARGE) // 64)

    def part(number: int) -> bytes:
        start, stop = number * step, min((number + 1) * step, len(LARGE))
        return read(source.origin, commit, file, start, stop)

    with ThreadPoolExecutor(16) as pool:
        assert b"".join(pool.map(part, range(64))) == LARGE


def test_requests_are_counted(source: Source) -> None:
    with use(Meter()) as meter:
        commit, files = listed(source.origin)
        before = meter.origin_requests
        assert before > 0
        read(source.origin, commit, files["config.json"], 0, 2)
        assert meter.origin_requests > before
        assert meter.store_requests == 0


def test_an_origin_can_be_checked(source: Source) -> None:
    assert source.origin.check()
    assert source.origin.type in SOURCES
