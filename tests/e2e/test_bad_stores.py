"""Every kind of trouble at every place of a store, and what comes of it.

Each cell of the table is one run through a proxy into a real MinIO that already holds an
older version. Passing trouble ends with the new version published; lasting trouble ends soon,
with a reason, the old version whole and nothing forgotten, and the next run without it goes
on. `make faults` prints the table.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sync_daemon.cli.call import exit_code
from sync_daemon.domain.errors import SyncError
from sync_daemon.domain.exits import EXIT_FAILED, EXIT_LOCKED, EXIT_OK, EXIT_UNREACHABLE
from sync_daemon.engine.limits import MIB, Limits
from sync_daemon.engine.run import Engine
from sync_daemon.engine.tools import How
from sync_daemon.stores.s3 import S3Store
from tests.e2e.conftest import Mirror
from tests.support.fakes import FakeOrigin, Hasty, Recorder, running, wanted
from tests.support.invariants import check_store, read_all
from tests.support.rehash import Version, rehash
from tests.support.servers import BUCKET, S3Server, make_client
from tests.support.store_troubles import (
    CURRENT,
    DOWN,
    FULL,
    JOURNALS,
    LARGE,
    LITTLE,
    MARKER,
    MARKS,
    PART,
    POINTER,
    PROBE,
    PUBLISHED,
    REFUSED,
    REPEATED,
    STAGED,
    TROUBLES,
    Place,
    Trouble,
)
from tests.support.storeproxy import Fault, StoreProxy

PREFIX = "faults"
ATTEMPTS = 3
PATIENCE, HASTE = 10.0, 0.4
"""Seconds that a run waits for an answer, and how many where none will come."""
BOUND = 8.0
"""Seconds in which every run must end."""
WHOLE_RUN = (MARKER, MARKS, JOURNALS)
"""Places whose failure ends the run before any version."""
LIMITS = Limits(connections=4, part_size=5 * MIB, memory=40 * MIB)


def _neighbours() -> tuple[bytes, bytes]:
    """Two contents whose blobs lie on one shelf, so that they are proven by a listing."""
    shelves: dict[str, bytes] = {}
    for number in itertools.count():
        content = b"neighbour %d" % number
        shelf = hashlib.sha256(content).hexdigest()[:2]
        if shelf in shelves:
            return shelves[shelf], content
        shelves[shelf] = content
    raise AssertionError


LEFT, RIGHT = _neighbours()
BIG = bytes(range(256)) * (5 * MIB // 256) + b"and a second part"
KEPT = {"left.txt": LEFT, "right.txt": RIGHT, "old.bin": b"o" * 5000}
OLD = {**KEPT, "config.json": b'{"old": 1}'}
SMALL = {**KEPT, "config.json": b'{"new": "%s"}' % (b"x" * 500)}
NEW = {
    LITTLE: SMALL,
    LARGE: {**SMALL, "big.safetensors": BIG},
    STAGED: {**SMALL, "big.safetensors": BIG},
}
CELLS = [
    pytest.param(trouble, place, lasting, id=f"{trouble.name}-{place.name}-{word}")
    for trouble in TROUBLES
    for place in trouble.places
    for lasting, word in ((False, "passing"), (True, "lasting"))
    if lasting or trouble.passes(place)
]


def wired(store: S3Store, origin: FakeOrigin, told: Recorder) -> AbstractContextManager[Engine]:
    """The engine as bootstrap makes it, with a clock that does not wait."""
    return running(store, origin, emit=told, limits=LIMITS, attempts=ATTEMPTS, clock=Hasty())


@dataclass(frozen=True)
class Run:
    """How a run ended, how long it took and what it told on the way."""

    outcome: str
    code: int
    message: str
    hint: str | None
    seconds: float


def run(engine: Engine) -> Run:
    """Run once, as `run-once` does."""
    began = time.monotonic()
    try:
        report = engine.run((wanted(),), How())
    except SyncError as error:
        spent = time.monotonic() - began
        return Run(error.kind, exit_code(error), str(error), error.hint, spent)
    one, spent = report.versions[0], time.monotonic() - began
    if one.error is None:
        return Run(one.status, report.exit_code, "", None, spent)
    return Run(one.error.kind, report.exit_code, one.error.message, one.error.hint, spent)


@dataclass(frozen=True)
class Past:
    """The store as it is behind the proxy, for the reader of rehash.py."""

    store: S3Store

    def keys(self, prefix: str) -> Iterator[str]:
        return (info.key for info in self.store.list(prefix))

    def read(self, key: str) -> bytes:
        return read_all(self.store, key)


@dataclass
class Bench:
    """A MinIO, the proxy before it, and the objects of a store that holds the older version."""

    server: S3Server
    proxy: StoreProxy
    store: S3Store
    hasty: S3Store
    direct: S3Store
    origins: dict[str, FakeOrigin]
    aged: dict[str, dict[str, bytes]] = field(default_factory=dict)
    before: dict[str, Version] = field(default_factory=dict)
    rows: dict[tuple[str, str], dict[bool, Run]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.client = make_client(self.server)
        self.place = Past(self.direct)

    def reach(self, trouble: Trouble, place: Place) -> S3Store:
        """Return the way to the store through the proxy; for the probe a new one, as of a
        new process."""
        if place is PROBE:
            return connect(self.proxy.address, self.server)
        return self.hasty if trouble.silent else self.store

    def restore(self, scene: str) -> None:
        """Bring the store back to the older version, and forget unfinished uploads."""
        self.abort_all()
        aged = self.aged.get(scene, {})
        etags = {key: hashlib.md5(data).hexdigest() for key, data in aged.items()}
        held = {info.key: info.etag for info in self.direct.list("")}
        for key in held.keys() - aged.keys():
            self.direct.delete(key)
        for key in etags.keys() - {key for key, etag in held.items() if etags.get(key) == etag}:
            self.direct.put(key, aged[key])
        self.proxy.requests.clear()

    def age(self) -> None:
        """Publish the older version, remember its objects, then put the new one upstream."""
        for scene, origin in self.origins.items():
            self.restore(scene)
            origin.commit("org/m", OLD)
            with wired(self.direct, origin, Recorder()) as engine:
                assert run(engine).outcome == PUBLISHED
            self.aged[scene] = {
                key: self.place.read(key)
                for key in self.place.keys("")
                if not key.startswith(("locks/", "runs/"))
            }
            self.before[scene] = rehash(self.place)["m@main"]
            origin.commit("org/m", NEW[scene])

    def uploads(self) -> dict[str, str]:
        """Unfinished uploads with at least one part, or a journal's promise, and their keys."""
        keys = {one.key for one in self.proxy.requests if one.kind == "CREATE"}
        found = {}
        for key in keys:
            name = PREFIX + "/" + key
            listed = self.client.list_multipart_uploads(Bucket=BUCKET, Prefix=name)
            found.update({one["UploadId"]: one["Key"] for one in listed.get("Uploads", [])})
        return found

    def abort_all(self) -> None:
        for upload, key in self.uploads().items():
            self.client.abort_multipart_upload(Bucket=BUCKET, Key=key, UploadId=upload)

    def is_empty(self, upload: str, key: str) -> bool:
        listed = self.client.list_parts(Bucket=BUCKET, Key=key, UploadId=upload)
        return not listed.get("Parts")

    def journaled(self) -> set[str]:
        keys = self.place.keys("uploads/")
        return {json.loads(self.place.read(key))["upload"] for key in keys}


def connect(endpoint: str, server: S3Server, patience: float = PATIENCE) -> S3Store:
    return S3Store(
        BUCKET,
        PREFIX,
        endpoint=endpoint,
        access_key=server.access_key,
        secret_key=server.secret_key,
        read_timeout=patience,
        patience=patience,
    )


@pytest.fixture(scope="module")
def bench(minio_server: S3Server) -> Iterator[Bench]:
    origins = {scene: FakeOrigin(promise=scene != STAGED) for scene in NEW}
    with ExitStack() as stack:
        proxy = stack.enter_context(StoreProxy(minio_server.endpoint, f"{PREFIX}/"))
        stores = (
            connect(proxy.address, minio_server),
            connect(proxy.address, minio_server, HASTE),
            connect(minio_server.endpoint, minio_server),
        )
        for store in stores:
            stack.enter_context(closing(store)).capabilities()
        made = Bench(minio_server, proxy, *stores, origins)
        made.age()
        yield made
        made.restore(LITTLE)
    print_table(made.rows)


def print_table(rows: dict[tuple[str, str], dict[bool, Run]]) -> None:
    """Print what came of each cell; pytest shows it with -s."""
    print("\n| trouble | place | passing | lasting | exit | seconds | reason and advice |")
    print("|---|---|---|---|---:|---:|---|")
    for (trouble, place), runs in rows.items():
        words = [runs[kind].outcome if kind in runs else "" for kind in (False, True)]
        worst = max(runs.values(), key=lambda one: one.seconds)
        last = runs.get(True, worst)
        reason = f"{last.message} ({last.hint})" if last.message else ""
        print(
            f"| {trouble} | {place} | {words[0]} | {words[1]} | {last.code} |"
            f" {worst.seconds:.1f} | {reason} |"
        )


def check_nothing_is_forgotten(bench: Bench) -> None:
    """The store keeps its invariants; an upload that holds bytes has a journal."""
    assert check_store(bench.direct) == 1
    journaled = bench.journaled()
    for upload, key in bench.uploads().items():
        assert upload in journaled or bench.is_empty(upload, key), f"orphan upload of {key}"


def check_new(bench: Bench, scene: str, *, lost: bool) -> None:
    """The new version is published, all of it right; nothing unfinished is left.

    `lost` admits what a run could not remove because the store did not let it.
    """
    version = rehash(bench.place)["m@main"]
    assert {
        path: hashlib.sha256(data).hexdigest() for path, data in NEW[scene].items()
    } == version.files
    check_nothing_is_forgotten(bench)
    if not lost:
        assert not [key for key in bench.uploads().items() if not bench.is_empty(*key)]
        assert not list(bench.place.keys("uploads/"))
        assert not list(bench.place.keys("staging/"))


def exit_of(ran: Run, place: Place) -> int:
    """Return the exit code that a failure has to give."""
    if ran.outcome == "locked_elsewhere":
        return EXIT_LOCKED
    nothing_done = place.early and ran.outcome == DOWN
    return EXIT_UNREACHABLE if nothing_done or place in WHOLE_RUN else EXIT_FAILED


def check_failed(bench: Bench, ran: Run, trouble: Trouble, place: Place, before: Version) -> None:
    """The reason says what and what to do, the exit code tells it, the old version is whole."""
    assert ran.message
    assert ran.hint, f"no word on what to do: {ran.message}"
    assert ran.code == exit_of(ran, place)
    assert trouble.effective or rehash(bench.place)["m@main"] == before
    check_nothing_is_forgotten(bench)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("trouble", "place", "lasting"), CELLS)
def test_trouble_ends_as_the_table_says(
    bench: Bench, trouble: Trouble, place: Place, *, lasting: bool
) -> None:
    bench.restore(place.scene)
    before, told = bench.before[place.scene], Recorder()
    fault = Fault(place.kind, trouble.effect, times=None if lasting else 1)
    with wired(bench.reach(trouble, place), bench.origins[place.scene], told) as engine:
        with bench.proxy.spoiling(fault):
            ran = run(engine)
        bench.rows.setdefault((trouble.name, place.name), {})[lasting] = ran
        assert fault.struck, "it never struck"
        assert ran.outcome == trouble.outcome(place, lasting=lasting), ran
        assert ran.seconds < BOUND
        waits = [event.fields()["wait"] for event in told.named("request.retried")]
        assert not waits or max(waits) >= trouble.wait
        if trouble.once and place not in REPEATED:
            assert fault.struck == 1, "asked again"
        if ran.outcome != PUBLISHED:
            check_failed(bench, ran, trouble, place, before)
            done = rehash(bench.place)["m@main"] != before
            again = run(engine)
            assert again.outcome == ("unchanged" if done else PUBLISHED), again
            assert again.code == EXIT_OK
        elif place.optional and lasting and trouble.lasting != PUBLISHED:
            assert told.named(place.optional), "nobody was told"
        check_new(bench, place.scene, lost=place.optional is not None or trouble.effective)


def test_an_upload_is_journaled_although_its_first_journal_was_refused(bench: Bench) -> None:
    """Nobody could find its parts otherwise: MinIO lists uploads by their exact key only."""
    bench.restore(LARGE)
    busy = next(one for one in TROUBLES if one.name == "503 SlowDown").effect
    faults = (Fault("PUT journal", busy, times=1), Fault("PART", busy, nth=2))
    with wired(bench.store, bench.origins[LARGE], Recorder()) as engine:
        with bench.proxy.spoiling(*faults):
            assert run(engine).outcome == DOWN
            assert faults[0].struck
            uploads = bench.uploads()
            assert uploads
            assert uploads.keys() <= bench.journaled()
        assert run(engine).outcome == PUBLISHED
        assert not bench.uploads()


COMMAND_CELLS = [
    ("507 XMinioStorageFull", PART, FULL),
    ("507 XMinioStorageFull", POINTER, FULL),
    ("403 AccessDenied", CURRENT, REFUSED),
]


@pytest.mark.parametrize("mirror", ["minio"], indirect=True)
@pytest.mark.parametrize(("name", "place", "kind"), COMMAND_CELLS)
def test_the_command_tells_what_the_store_refused_and_goes_on_later(
    mirror: Mirror, tmp_path: Path, name: str, place: Place, kind: str
) -> None:
    effect = next(one for one in TROUBLES if one.name == name).effect
    folder = tmp_path / "models" / "m"
    folder.mkdir(parents=True)
    mirror.origins.update(local={"type": "directory", "path": str(folder.parent)})
    (folder / "config.json").write_bytes(OLD["config.json"])
    with StoreProxy(mirror.store["endpoint"], mirror.place.prefix) as proxy:  # type: ignore[attr-defined]
        mirror.store["endpoint"] = proxy.address
        model = {"name": "m", "repo": "m", "origin": "local"}
        mirror.write(model, transfer={"part_size": "5MiB", "memory": "40MiB"})
        mirror.sync()
        before = mirror.published()
        (folder / "big.safetensors").write_bytes(BIG)
        with proxy.spoiling(Fault(place.kind, effect)):
            report = mirror.sync(code=EXIT_FAILED, timeout=30)["m@main"]
        assert (report["status"], report["error"]["kind"]) == ("failed", kind)
        assert report["error"]["hint"]
        assert mirror.published() == before
        assert mirror.sync()["m@main"]["status"] == "published"
        assert not list(mirror.place.keys("uploads/"))
