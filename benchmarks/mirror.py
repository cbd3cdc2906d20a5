"""What the benchmarks of the whole product share: a store, the command, and its engine.

`run` starts the installed command as its user does and reads its report; `sync_into` puts the
engine together in this process, over any store, for what the command cannot show. The origin
is the tests' double of the Hub, so that these scripts need the repository, not the package
alone.
"""

from __future__ import annotations

import json
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from rig import KEY, SECRET, Buckets, minio

from sync_daemon import bootstrap
from sync_daemon.config import load
from sync_daemon.domain.report import RunReport
from sync_daemon.engine.tools import How
from sync_daemon.ports import Buffer, Capabilities, Emit, ObjectStore, Origin, Part
from sync_daemon.stores.memory import MemoryStore
from tests.support.daemon import Daemon

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Site:
    """A store as mirror.yaml names it, and the environment with its keys."""

    folder: Path
    store: Mapping[str, str]
    env: Mapping[str, str] = field(default_factory=dict)

    def daemon(self, document: Mapping[str, Any]) -> Daemon:
        """Write mirror.yaml (JSON is YAML) with this store and return the command."""
        made = Daemon(self.folder / "mirror.yaml", self.env)
        made.write(json.dumps({"version": 1, "store": self.store, **document}))
        return made


@dataclass(frozen=True, slots=True)
class Ran:
    """One `run-once --json`. `seconds` holds the start of the process, `rss` is in bytes."""

    report: Mapping[str, Any]
    seconds: float
    rss: int

    @property
    def versions(self) -> Sequence[Mapping[str, Any]]:
        """The entries of the report."""
        found: Sequence[Mapping[str, Any]] = self.report["models"]
        return found

    def total(self, group: str, name: str) -> int:
        """Add up a number of the report over its versions, e.g. `requests`, `origin`."""
        return sum(one[group][name] for one in self.versions)

    def inner_seconds(self) -> float:
        """Return the seconds of the slowest version, without the start of the process."""
        return float(max(one["seconds"] for one in self.versions))


@contextmanager
def site(folder: Path, *, in_minio: bool) -> Iterator[Site]:
    """Yield an empty store: a directory, or a bucket of a MinIO that ends with the block."""
    if not in_minio:
        yield Site(folder, {"url": f"file://{folder}/store"})
        return
    with minio(folder) as endpoint, bucket(folder, endpoint, Buckets(endpoint)) as made:
        yield made


@contextmanager
def bucket(folder: Path, endpoint: str, buckets: Buckets) -> Iterator[Site]:
    """Yield a fresh bucket of a MinIO that runs; it is emptied afterwards."""
    env = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
    with buckets.fresh() as name:
        yield Site(folder, {"url": f"s3://{name}/hub", "endpoint": endpoint}, env)


def run(daemon: Daemon) -> Ran:
    """Run once; a run that fails ends the benchmark."""
    began = time.monotonic()
    with daemon.start("run-once", "--json") as process, _watching(process) as peak:
        out, err = process.communicate()
    seconds = time.monotonic() - began
    if process.returncode:
        raise SystemExit(f"run-once ended with {process.returncode}:\n{err[-2000:]}")
    return Ran(json.loads(out), seconds, peak())


@contextmanager
def _watching(process: subprocess.Popen[str]) -> Iterator[Callable[[], int]]:
    """Poll the peak of a process. What wait4 tells holds the parent's, from before the exec."""
    peak, over = [0], threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            peak[0] = peak_rss(process.pid) or peak[0]

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield lambda: peak[0]
    finally:
        over.set()
        watcher.join()


def peak_rss(pid: int | str = "self") -> int:
    """Return the peak resident size of a process in bytes; 0 when it has ended."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = re.search(r"VmHWM:\s+(\d+) kB", text)
    return int(found[1]) * 1024 if found else 0


def apart(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what a function returns in a fresh process: its memory and its lock are its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, *args, **kwargs).result()


class Discarding(MemoryStore):
    """A store that accepts the parts of large files and forgets them; small objects stay."""

    def __init__(self) -> None:
        super().__init__(capabilities=Capabilities())

    def put_part(self, key: str, upload: str, number: int, offset: int, data: Buffer) -> Part:
        """Say that the part is stored."""
        del key, upload, offset
        return Part(number, len(data), f"{number}-{len(data)}")

    def complete_upload(self, key: str, upload: str, parts: Sequence[Part]) -> None:
        """Say that the object is made."""
        del parts
        self.abort_upload(key, upload)


def sync_into(
    store: ObjectStore,
    document: Mapping[str, Any],
    emit: Emit,
    instead: Mapping[str, Origin] | None = None,
) -> RunReport:
    """Run once in this process, over `store`; what is not published ends the benchmark.

    `instead` has origins that take the place of those of the same name.
    """
    text = json.dumps({"version": 1, "store": {"url": "file:///nowhere"}, **document})
    settings = load(text.encode(), environ={})
    stop = threading.Event()
    with (
        bootstrap.origins(settings, emit) as origins,
        bootstrap.engine_over(
            store, {**origins, **(instead or {})}, settings, emit, stop
        ) as engine,
    ):
        report = engine.run(bootstrap.entries(settings), How())
    if report.status != "ok":
        raise SystemExit(f"the run was {report.status}: {report.to_json()['models']}")
    return report


def hub_origin(endpoint: str) -> dict[str, Any]:
    """Return the `origins` of a mirror.yaml that knows the Hub double alone."""
    return {"hf": {"type": "huggingface", "endpoints": [endpoint]}}


def numbers(text: str) -> tuple[int, ...]:
    """Read `300,1000` from the command line."""
    return tuple(int(one) for one in text.split(","))


def markdown(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
