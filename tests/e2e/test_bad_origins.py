"""Every kind of trouble at every place of an origin, and what comes of it.

Each cell of the table is one run against the Hub double over a store that already holds an
older version. Passing trouble ends with the new version published; lasting trouble ends soon,
with a reason, the old version untouched and nothing left behind, and the next run without it
goes on. With a second endpoint that is well, lasting trouble ends with success too, and with
an event that says why the first one was left. `make faults` prints the table.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sync_daemon import bootstrap
from sync_daemon.config import Settings
from sync_daemon.config.load import load
from sync_daemon.domain.exits import EXIT_FAILED, EXIT_UNREACHABLE
from sync_daemon.domain.report import RunReport, VersionReport
from sync_daemon.engine.run import Engine
from sync_daemon.engine.tools import How
from sync_daemon.ports import Emit, ObjectStore
from sync_daemon.stores.local import LocalStore
from tests.e2e.conftest import Mirror
from tests.support.fakes import Hasty, Recorder, running
from tests.support.hub import Hub, Synthetic
from tests.support.invariants import check_store
from tests.support.rehash import Folder, Version, rehash
from tests.support.troubles import (
    LARGE,
    LIED,
    LINK,
    LITTLE,
    METADATA,
    MIB,
    MISMATCH,
    PARTS,
    PUBLISHED,
    TROUBLES,
    Place,
    Scene,
    Trouble,
)

TOKEN = "hf_good"
ATTEMPTS = 3
RANGES = 8
"""Requests for the large file that may be under way together when the first one gives up."""

BOUND = 20.0
"""Seconds in which every run must end."""

OLD = {
    "config.json": b'{"old": 1}',
    "vocab.txt": b"a\nb\n",
    "notes.md": b"# old",
    "old.bin": b"o" * 5000,
}
NEW: dict[str, dict[str, Any]] = {
    LITTLE: {"config.json": b'{"new": "%s"}' % (b"x" * 40_000), "one.bin": Synthetic(300_000, 1)},
    LARGE: {"big.safetensors": Synthetic(12 * MIB + 17, seed=2)},
}
KINDS = ("passing", "lasting", "two endpoints")
CELLS = [
    pytest.param(trouble, place, lasting, id=f"{trouble.name}-{place.name}-{word}")
    for trouble in TROUBLES
    for place in trouble.places
    for lasting, word in ((False, "passing"), (True, "lasting"))
    if lasting or trouble.passes
]


TWO = [
    pytest.param(trouble, place, id=f"{trouble.name}-{place.name}-two endpoints")
    for trouble in TROUBLES
    for place in trouble.places
    if trouble.outcome(place, lasting=True) != PUBLISHED
]


class Leaping(Hasty):
    """Real time that leaps over every wait: to origins, limits on requests seem to be kept."""

    def __init__(self) -> None:
        super().__init__()
        self._leapt = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self._leapt

    def wait(self, seconds: float) -> bool:
        self._leapt += seconds
        return self.stop.is_set()


@contextmanager
def wired(store: ObjectStore, settings: Settings, emit: Emit) -> Iterator[Engine]:
    """The engine as bootstrap makes it, with a clock that does not wait."""
    with (
        bootstrap.origins(settings, emit, Leaping()) as origins,
        running(
            store,
            *origins.values(),
            emit=emit,
            limits=bootstrap.limits(settings),
            attempts=settings.transfer.attempts,
            clock=Hasty(),
            rate=bootstrap.rate(settings),
        ) as engine,
    ):
        yield engine


@dataclass(frozen=True)
class Run:
    """How a run ended, how long it took and what it told on the way."""

    report: RunReport
    seconds: float
    told: Recorder

    @property
    def version(self) -> VersionReport:
        return self.report.versions[0]

    @property
    def outcome(self) -> str:
        """ "published", or the kind of error."""
        error = self.version.error
        return error.kind if error else self.version.status

    @property
    def waits(self) -> list[float]:
        return [event.fields()["wait"] for event in self.told.named("request.retried")]


@dataclass
class Bench:
    """Two Hubs with the same repositories, and a store that holds their older version."""

    hub: Hub
    elsewhere: Hub
    aged: Path
    commits: dict[str, str] = field(default_factory=dict)
    rows: dict[tuple[str, str], dict[str, Run]] = field(default_factory=dict)

    def settings(self, repo: str, *endpoints: str) -> Settings:
        places = [self.hub.endpoint, *endpoints]
        document = {
            "version": 1,
            "store": {"url": f"file://{self.aged}"},
            "origins": {"hf": {"type": "huggingface", "endpoints": places, "token": TOKEN}},
            "transfer": {"part_size": "5MiB", "memory": "40MiB", "read_timeout": "1s"},
            "models": [{"name": "m", "repo": repo}],
        }
        return load(json.dumps(document).encode(), environ={})

    def run(self, root: Path, repo: str, *endpoints: str) -> Run:
        """Run with the Hub and these endpoints after it."""
        settings, told = self.settings(repo, *endpoints), Recorder()
        began = time.monotonic()
        with closing(LocalStore(root)) as store, wired(store, settings, told) as engine:
            report = engine.run(bootstrap.entries(settings), How())
        return Run(report, time.monotonic() - began, told)

    def age(self, repo: str) -> None:
        """Publish the older version into a store of its own, then put the new one beside it."""
        for hub in (self.hub, self.elsewhere):
            hub.repo(repo).commit(OLD, lfs=["*.bin"])
        root = self.aged / repo
        root.mkdir(parents=True)
        assert self.run(root, repo).outcome == PUBLISHED
        for hub in (self.hub, self.elsewhere):
            made = next(one for one in hub.repos if one.name == repo)
            self.commits[repo] = made.commit(NEW[repo], lfs=["*.bin", "*.safetensors"])

    def scene(self, place: Place) -> Scene:
        base, commit = self.elsewhere.endpoint, self.commits[place.repo]
        api = f"{base}/api/models/{place.repo}"
        urls = {
            "refs": f"{api}/refs",
            "info": f"{api}/revision/{commit}",
            "tree": f"{api}/tree/{commit}?recursive=true",
        }
        return Scene(
            place, urls.get(place.where, f"{base}/{place.repo}/resolve/{commit}/{place.path}")
        )

    def keep(self, trouble: Trouble, place: Place, kind: str, run: Run) -> None:
        self.rows.setdefault((trouble.name, place.name), {})[kind] = run

    def clear(self) -> None:
        for hub in (self.hub, self.elsewhere):
            hub.faults.clear()
            hub.clear()


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with Hub() as hub, Hub() as elsewhere:
        hub.page_size = elsewhere.page_size = 4
        made = Bench(hub, elsewhere, tmp_path_factory.mktemp("aged"))
        for repo in (LITTLE, LARGE):
            made.age(repo)
        yield made
    print_table(made.rows)


def print_table(rows: dict[tuple[str, str], dict[str, Run]]) -> None:
    """Print what came of each cell; pytest shows it with -s."""
    print(f"\n| trouble | place | {' | '.join(KINDS)} | seconds | reason and advice |")
    print("|---|---|---|---|---|---:|---|")
    for (trouble, place), runs in rows.items():
        words = " | ".join(runs[kind].outcome if kind in runs else "" for kind in KINDS)
        worst = max(run.seconds for run in runs.values())
        error = runs["lasting"].version.error if "lasting" in runs else None
        reason = f"{error.message} ({error.hint})" if error else ""
        print(f"| {trouble} | {place} | {words} | {worst:.1f} | {reason} |")
    every = [(kind, run) for runs in rows.values() for kind, run in runs.items()]
    for kind in KINDS:
        ends = Counter(run.outcome for other, run in every if other == kind)
        print(f"{kind}: {ends.total()} cells, {dict(ends)}")


def check_nothing_is_left(root: Path) -> None:
    """Blobs hash to their names, and every upload has a journal that names it."""
    with closing(LocalStore(root)) as store:
        assert check_store(store) == 1
    folder = root / ".tmp" / "uploads"
    begun = {one.name for one in folder.iterdir()} if folder.is_dir() else set()
    journals = {
        json.loads(one.read_bytes())["upload"] for one in (root / "uploads").rglob("*.json")
    }
    assert begun <= journals
    assert not list((root / "staging").rglob("*"))


def check_secret(bench: Bench) -> None:
    """The token was shown to the Hub and to nobody else."""
    cdn = [one for one in bench.hub.requests if one.server == "cdn"]
    assert not [one for one in (*cdn, *bench.elsewhere.requests) if one.authorization]
    assert any(one.authorization == f"Bearer {TOKEN}" for one in bench.hub.requests)


def check_new(root: Path, bench: Bench, repo: str) -> None:
    """The new version is published, all of it right, and nothing unfinished is left."""
    version = rehash(Folder(root))["m@main"]
    assert version.commit == bench.commits[repo]
    assert set(version.files) == OLD.keys() | NEW[repo].keys()
    for path, content in NEW[repo].items():
        if isinstance(content, Synthetic):
            assert version.files[path] == content.sha256
    check_nothing_is_left(root)
    assert not list((root / "uploads").rglob("*.json"))


def check_failed(run: Run, place: Place, root: Path, before: Version) -> None:
    """The reason says where and what to do, the exit code tells it, the old version is whole."""
    error = run.version.error
    assert run.version.status == "failed"
    assert error is not None
    assert error.hint, f"no word on what to do: {error}"
    named = ("127.0.0.1", place.repo) if place in METADATA else (place.path,)
    assert any(name in error.message for name in named), error
    assert run.report.exit_code in {EXIT_FAILED, EXIT_UNREACHABLE}
    assert TOKEN not in repr(run.report)
    assert rehash(Folder(root))["m@main"] == before
    check_nothing_is_left(root)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("trouble", "place", "lasting"), CELLS)
def test_trouble_ends_as_the_table_says(
    bench: Bench, tmp_path: Path, trouble: Trouble, place: Place, *, lasting: bool
) -> None:
    root, repo = tmp_path / "store", place.repo
    shutil.copytree(bench.aged / repo, root)
    before = rehash(Folder(root))["m@main"]
    bench.clear()
    faults = trouble.faults(bench.scene(place), lasting=lasting)
    bench.hub.faults.add(*faults)
    run = bench.run(root, repo)
    bench.keep(trouble, place, "lasting" if lasting else "passing", run)
    assert all(bench.hub.faults.hits(fault) for fault in faults), "it never struck"
    assert run.outcome in trouble.outcome(place, lasting=lasting).split(" or "), run.version
    assert run.seconds < BOUND
    if run.outcome in {LIED, MISMATCH}:
        most = ATTEMPTS * (RANGES if place in {PARTS, LINK} else 1)
        assert max(bench.hub.faults.hits(fault) for fault in faults) <= most, "attempts multiply"
    assert not run.waits or max(run.waits) >= trouble.wait
    check_secret(bench)
    if run.outcome != PUBLISHED:
        check_failed(run, place, root, before)
        bench.clear()
        assert bench.run(root, repo).outcome == PUBLISHED, "the next run goes on"
    check_new(root, bench, repo)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("trouble", "place"), TWO)
def test_lasting_trouble_at_one_endpoint_is_healed_by_another(
    bench: Bench, tmp_path: Path, trouble: Trouble, place: Place
) -> None:
    root, repo = tmp_path / "store", place.repo
    shutil.copytree(bench.aged / repo, root)
    bench.clear()
    faults = trouble.faults(bench.scene(place), lasting=True)
    bench.hub.faults.add(*faults)
    run = bench.run(root, repo, bench.elsewhere.endpoint)
    bench.keep(trouble, place, "two endpoints", run)
    assert all(bench.hub.faults.hits(fault) for fault in faults), "it never struck"
    assert run.outcome == PUBLISHED, run.version
    assert run.seconds < BOUND
    check_new(root, bench, repo)
    rests = [event.fields() for event in run.told.named("endpoint.rested")]
    assert {one["endpoint"] for one in rests} == {bench.hub.endpoint}
    assert all(one["reason"] for one in rests)
    first = next(one for one in run.report.endpoints if one.endpoint == bench.hub.endpoint)
    assert 0 < first.failures <= first.requests
    assert bench.elsewhere.requests, "the other one helped"
    cdn = [one for one in bench.hub.requests if one.server == "cdn"]
    assert not [one for one in cdn if one.authorization], "tokens are for endpoints only"


COMMAND_CELLS = [
    ("status 503", "LFS, parts", EXIT_UNREACHABLE),
    ("corrupt bytes", "LFS, parts", EXIT_FAILED),
    ("stall in the middle", "small file", EXIT_FAILED),
    ("lost Link header", "tree", EXIT_FAILED),
    ("login page with 200", "refs", EXIT_FAILED),
]


@pytest.mark.parametrize("mirror", ["minio"], indirect=True)
@pytest.mark.parametrize(("name", "where", "code"), COMMAND_CELLS)
def test_the_command_ends_in_time_and_leaves_the_old_version_in_minio(
    mirror: Mirror, hub: Hub, name: str, where: str, code: int
) -> None:
    trouble = next(one for one in TROUBLES if one.name == name)
    place = next(one for one in trouble.places if one.name == where)
    hub.page_size = 4
    repo = hub.repo(place.repo)
    repo.commit(OLD, lfs=["*.bin"])
    limits = {"part_size": "5MiB", "memory": "40MiB", "read_timeout": "1s", "attempts": 2}
    mirror.write({"name": "m", "repo": place.repo}, transfer=limits)
    mirror.sync()
    before = mirror.published()
    commit = repo.commit(NEW[place.repo], lfs=["*.bin", "*.safetensors"])
    hub.faults.add(*trouble.faults(Scene(place, ""), lasting=True))
    report = mirror.sync(code=code, timeout=BOUND)["m@main"]
    assert report["status"] == "failed"
    assert report["error"]["kind"] == trouble.outcome(place, lasting=True)
    assert report["error"]["hint"]
    assert mirror.published() == before
    for key in mirror.place.keys("blobs/"):
        assert hashlib.sha256(mirror.place.read(key)).hexdigest() == key.rpartition("/")[2]
    hub.faults.clear()
    assert mirror.sync()["m@main"]["status"] == "published"
    assert mirror.published()["m@main"].commit == commit
    assert not list(mirror.place.keys("uploads/"))
    assert not unfinished(mirror.place)


def unfinished(place: Any) -> list[Any]:
    """Return the uploads that MinIO has begun for any of our large files."""
    found = []
    for content in NEW[LARGE].values():
        key = f"{place.prefix}blobs/sha256/{content.sha256[:2]}/{content.sha256}"
        listed = place.client.list_multipart_uploads(Bucket=place.name, Prefix=key)
        found += listed.get("Uploads", [])
    return found
