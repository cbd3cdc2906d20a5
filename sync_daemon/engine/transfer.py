"""Moves blobs: parallel ranges from an origin, ordered SHA-256, parallel parts into the store.

One `Transfer` serves all jobs of a process. Its limits are global: `connections` workers,
each of which carries one part at a time through

    take a buffer -> fetch the range into it -> hash it in order -> store it from the same buffer

and one memory budget. This module decides who carries which part when; mover.py carries.

Small files overtake large ones, but leave a quarter of the workers to them; one large file
never takes more than half of the memory.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from sync_daemon import meter
from sync_daemon.domain.errors import (
    DigestMismatch,
    Interrupted,
    StoreRefused,
    SyncError,
    UploadGone,
)
from sync_daemon.domain.events import BlobFailed, BlobRestarted, BlobStored
from sync_daemon.engine.blob import Blob, Fetch, Receipt
from sync_daemon.engine.buffers import Buffers
from sync_daemon.engine.fill import Filler
from sync_daemon.engine.journal import Journals
from sync_daemon.engine.mover import Mover
from sync_daemon.engine.pace import Pace
from sync_daemon.engine.retry import Retry
from sync_daemon.engine.throttle import Throttle
from sync_daemon.ports import Clock, Emit, ObjectStore

MIB = 1024**2

SAVE_EVERY = 2.0
"""Seconds between two writes of a growing file's journal."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Global limits of all transfers together. Sizes in bytes, times in seconds."""

    connections: int = 16
    part_size: int = 32 * MIB
    memory: int = 1024 * MIB
    min_speed: int = 16 * 1024
    patience: float = 30.0

    @property
    def workers(self) -> int:
        """Connections that the memory can feed: each wants one buffer at work, one waiting."""
        return max(1, min(self.connections, self.memory // (2 * self.part_size)))


class Transfer:
    """Moves files into the store; a context manager whose end waits for its workers."""

    def __init__(
        self,
        store: ObjectStore,
        limits: Limits,
        *,
        throttle: Throttle,
        retry: Retry,
        clock: Clock,
        emit: Emit,
        stop: threading.Event,
    ) -> None:
        self._store = store
        self._limits = limits
        self._retry = retry
        self._clock = clock
        self._emit = emit
        self._stop = stop
        self._pace = Pace(limits.workers, self._wake)
        filler = Filler(retry, throttle, clock, emit, self._pace, limits.min_speed, limits.patience)
        self.journals = Journals(store, retry)
        largest = max(limits.part_size, limits.memory // 4)
        self._mover = Mover(store, filler, self.journals, retry, clock, emit, stop, largest)
        self._changed = threading.Condition()
        self._buffers = Buffers(limits.memory)
        self._order = itertools.count()
        self._small: list[tuple[int, int, Blob]] = []
        self._large: list[Blob] = []
        self._idle: list[Blob] = []
        self._known: dict[object, Future[Receipt]] = {}
        self._small_running = 0
        self._large_running = 0
        self._closed = False
        self._ended = threading.Event()
        self._growing: set[Blob] = set()
        self._saver = threading.Thread(target=self._save_journals, name="journals", daemon=True)
        self._workers = [
            threading.Thread(target=self._work, name=f"transfer-{number}", daemon=True)
            for number in range(limits.workers)
        ]

    def __enter__(self) -> Self:
        for thread in (*self._workers, self._saver):
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for worker in self._workers:
            worker.join()
        self._ended.set()
        self._saver.join()

    def submit(self, fetch: Fetch) -> tuple[Future[Receipt], bool]:
        """Ask for a file; also return whether it is this call that has it moved.

        The same content asked for twice is moved once: the second caller gets the same
        future. A failed one is forgotten, so that whoever asks again tries again.
        Raises StoreRefused when the file is too large for the memory.
        """
        part_size = self.part_size(fetch.file.size)
        with self._changed:
            known = self._known.get(fetch.identity)
            if known is not None and not (known.done() and known.exception()):
                return known, False
            blob = Blob(fetch, part_size, self._give_back)
            blob.started = self._clock.monotonic()
            self._known[fetch.identity] = blob.future
        try:
            self._mover.resume(blob)
        except Exception as error:  # noqa: BLE001 - others may be waiting for the future
            self._report(blob, error)
            return blob.future, True
        if blob.next_part == blob.parts:
            self._settle(blob)
        else:
            with self._changed:
                self._enqueue(blob)
        return blob.future, True

    def forget(self) -> None:
        """Forget what was moved: the next run proves each blob again (I1)."""
        with self._changed:
            self._known = {key: kept for key, kept in self._known.items() if not kept.done()}

    def part_size(self, size: int) -> int:
        """Return the part size for a file: the configured one, or more where the store's
        limit on the number of parts demands it, in whole MiB.

        Raises StoreRefused when that takes more memory than there is.
        """
        if size <= self._limits.part_size:
            return self._limits.part_size
        capabilities = self._retry("ask what the store can do", self._store.capabilities)
        least = -(-size // capabilities.max_parts)
        if least <= self._limits.part_size:
            return self._limits.part_size
        grown = -(-least // MIB) * MIB
        if grown * 4 > self._limits.memory:
            message = f"a file of {size} bytes needs parts of {grown // MIB} MiB, four at a time"
            raise StoreRefused(message, hint=f"set transfer.memory to {4 * grown // MIB}MiB")
        return grown

    # -- scheduling: everything here holds the lock ----------------------------------

    def _enqueue(self, blob: Blob) -> None:
        if blob.parts == 1:
            heapq.heappush(self._small, (blob.size, next(self._order), blob))
        else:
            self._large.append(blob)
            self._growing.add(blob)
        self._changed.notify_all()

    def _next(self) -> tuple[Blob, int | None] | None:
        """Return a blob and the part of it to carry, or None for the part: to be ended."""
        with self._changed:
            while True:
                if self._stop.is_set():
                    if (idle := self._interrupt()) is not None:
                        return idle, None
                elif (blob := self._choose()) is not None:
                    return blob, self._begin(blob)
                if self._closed and not (self._small or self._large or self._idle):
                    return None
                self._changed.wait(1.0)

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _choose(self) -> Blob | None:
        small = self._small[0][2] if self._small else None
        if small is not None and not self._buffers.fits(small.size):
            small = None
        share = max(1, len(self._workers) * 3 // 4)
        if small is not None and (not self._large or self._small_running < share):
            return small
        return next((blob for blob in self._large if self._may_begin(blob)), small)

    def _may_begin(self, blob: Blob) -> bool:
        half = max(2, self._limits.memory // (2 * blob.part_size))
        if self._large_running >= self._pace.limit or len(blob.buffers) >= half:
            return False
        return self._buffers.fits(blob.part_size)

    def _begin(self, blob: Blob) -> int:
        number = blob.next_part
        blob.next_part = blob.parts if blob.serial else number + 1
        blob.in_flight += 1
        if blob.parts == 1:
            heapq.heappop(self._small)
            self._small_running += 1
        else:
            self._large_running += 1
            if blob.next_part == blob.parts:
                self._large.remove(blob)
        blob.pin(number, self._buffers.take(blob.size if blob.parts == 1 else blob.part_size))
        return number

    def _interrupt(self) -> Blob | None:
        """Begin nothing more; return a blob that nobody works on, to be ended."""
        for blob in [*(blob for *_, blob in self._small), *self._large]:
            blob.fail(Interrupted(f"{blob.fetch}: stopped; the next run takes it up again"))
        self._idle += [blob for *_, blob in self._small]
        self._idle += [blob for blob in self._large if not blob.in_flight]
        self._small.clear()
        self._large.clear()
        return self._idle.pop() if self._idle else None

    def _give_back(self, buffer: bytearray) -> None:
        with self._changed:
            self._buffers.give(buffer, keep=len(buffer) >= self._limits.part_size)
            self._changed.notify_all()

    # -- one part --------------------------------------------------------------------

    def _work(self) -> None:
        while (task := self._next()) is not None:
            blob, number = task
            with meter.use(blob.fetch.meter):
                if number is None:
                    self._settle(blob)
                    continue
                try:
                    self._mover.carry(blob, number)
                except BaseException as error:  # noqa: BLE001 - it is the blob's to report
                    blob.fail(error)
                if self._leave(blob):
                    self._settle(blob)

    def _leave(self, blob: Blob) -> bool:
        """Note that a worker is done with a part; return whether it was the last one."""
        with self._changed:
            blob.in_flight -= 1
            if blob.parts == 1:
                self._small_running -= 1
            else:
                self._large_running -= 1
            if blob.failure is not None and blob in self._large:
                self._large.remove(blob)
            self._changed.notify_all()
            over = blob.failure is not None or blob.next_part == blob.parts
            return over and blob.in_flight == 0

    def _settle(self, blob: Blob) -> None:
        """End a blob, or begin it anew, once nobody works on it any more."""
        with self._changed:
            self._growing.discard(blob)
        try:
            receipt = self._mover.finish(blob)
        except (DigestMismatch, UploadGone) as error:
            self._mover.abort(blob)
            blob.drop_buffers()
            self._begin_anew(blob, error)
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits for the future
            self._mover.keep(blob)
            blob.drop_buffers()
            self._report(blob, error)
        else:
            blob.drop_buffers()
            self._tell(blob, receipt)
            blob.future.set_result(receipt)

    def _save_journals(self) -> None:
        while not self._ended.wait(SAVE_EVERY):
            with self._changed:
                growing = tuple(self._growing)
            for blob in growing:
                with meter.use(blob.fetch.meter), suppress(Exception):  # it must outlive any
                    self._mover.save(blob)

    def _begin_anew(self, blob: Blob, error: SyncError) -> None:
        if blob.restarts:
            self._report(blob, error)
            return
        blob.restarts += 1
        self._emit(
            BlobRestarted(
                model=blob.fetch.model,
                path=blob.fetch.file.path,
                kind=error.kind,
                error=str(error),
            )
        )
        blob.reset()
        with self._changed:
            self._enqueue(blob)

    def _report(self, blob: Blob, error: BaseException) -> None:
        if not isinstance(error, Interrupted):
            self._emit(
                BlobFailed(
                    model=blob.fetch.model,
                    path=blob.fetch.file.path,
                    kind=getattr(error, "kind", type(error).__name__),
                    error=str(error),
                )
            )
        blob.future.set_exception(error)

    def _tell(self, blob: Blob, receipt: Receipt) -> None:
        self._emit(
            BlobStored(
                model=blob.fetch.model,
                path=blob.fetch.file.path,
                sha256=receipt.sha256,
                size=receipt.size,
                seconds=round(self._clock.monotonic() - blob.started, 3),
            )
        )
