"""Moves blobs: parallel ranges from an origin, ordered SHA-256, parallel parts into the store.

One `Transfer` serves all jobs of a process. Its limits are global: `connections` workers,
each of which carries one piece at a time through

    take a buffer -> fetch the range into it -> hash it in order -> store it from the same buffer

and one memory budget. This module decides who carries which piece when; mover.py carries.
From a slow origin several pieces fill one part: parts are whole sooner, wait less for their
turn to be hashed, and many connections need little memory.

Small files overtake large ones, but leave a quarter of the workers to them; one large file
never takes more than half of the memory.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from sync_daemon import meter
from sync_daemon.domain import parts
from sync_daemon.domain.errors import (
    Deferred,
    DigestMismatch,
    Interrupted,
    StoreRefused,
    SyncError,
    UploadGone,
)
from sync_daemon.domain.events import BlobFailed, BlobRestarted, BlobStored
from sync_daemon.engine.blob import Blob, Fetch, Piece, Receipt
from sync_daemon.engine.buffers import Buffer, Buffers
from sync_daemon.engine.fill import Filler
from sync_daemon.engine.hours import Hours
from sync_daemon.engine.journal import Journals
from sync_daemon.engine.mover import Mover
from sync_daemon.engine.pace import Pace
from sync_daemon.engine.retry import Retry
from sync_daemon.engine.throttle import Throttle
from sync_daemon.ports import Clock, Emit, ObjectStore

MIB = 1024**2

_THROTTLED = 0.1
"""Share of a file's time that waits for the bandwidth limit must take to explain its speed."""

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
        """Connections that the memory can feed: each wants a piece at work, and one waiting."""
        return max(1, min(self.connections, self.memory // (2 * self.piece_size)))

    @property
    def piece_size(self) -> int:
        """Bytes that are asked for at once from a slow origin."""
        return parts.piece_size(self.part_size)


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
        hours: Hours | None = None,
    ) -> None:
        self._store = store
        self._limits = limits
        self._retry = retry
        self._clock = clock
        self._emit = emit
        self._stop = stop
        self._hours = hours or Hours()
        self._throttle = throttle
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
        Raises StoreRefused when the file is too large for the memory, Deferred when it is
        too large for this hour.
        """
        part_size = self.part_size(fetch.file.size)
        if self.waits(fetch.file.size):
            raise self._hours.put_off(fetch)
        with self._changed:
            known = self._known.get(fetch.identity)
            if known is not None and not (known.done() and known.exception()):
                return known, False
            blob = Blob(fetch, part_size, self._give_back)
            blob.started = self._clock.monotonic()
            blob.waited = self._throttle.waited
            self._known[fetch.identity] = blob.future
        try:
            self._mover.resume(blob)
        except Exception as error:  # noqa: BLE001 - others may be waiting for the future
            self._report(blob, error)
            return blob.future, True
        if blob.begun:
            self._settle(blob)
        else:
            with self._changed:
                self._enqueue(blob)
        return blob.future, True

    def waits(self, size: int) -> bool:
        """Tell whether a file of so many bytes may not move at this hour."""
        return self._hours.hold_back(size)

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
        least, most = self._limits.part_size, capabilities.max_parts
        needed = parts.memory_needed(size, least, most)
        if needed > self._limits.memory:
            message, hint = parts.explain_memory(size, needed)
            raise StoreRefused(message, hint=hint)
        return parts.part_size(size, least, most)

    # -- scheduling: everything here holds the lock ----------------------------------

    def _enqueue(self, blob: Blob) -> None:
        if blob.parts == 1:
            heapq.heappush(self._small, (blob.size, next(self._order), blob))
        else:
            self._large.append(blob)
            self._growing.add(blob)
        self._changed.notify_all()

    def _next(self) -> tuple[Blob, Piece | None] | None:
        """Return a blob and the piece of it to carry, or None for the piece: to be ended."""
        with self._changed:
            while True:
                stopped = self._stop.is_set()
                self._interrupt() if stopped else self._put_off()
                if self._idle:
                    return self._idle.pop(), None
                if not stopped and (blob := self._choose()) is not None:
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
        if self._large_running >= self._pace.limit:
            return False
        if not blob.needs_buffer:
            return True
        half = max(2, self._limits.memory // (2 * blob.part_size))
        return len(blob.buffers) < half and self._buffers.fits(blob.part_size)

    def _begin(self, blob: Blob) -> Piece:
        small = blob.parts == 1
        if blob.needs_buffer:
            size = blob.size if small else blob.part_size
            blob.pin(blob.cursor // blob.part_size, self._buffers.take(size))
        whole = small or blob.serial or self._pace.fast
        piece = blob.take_piece(blob.part_size if whole else parts.piece_size(blob.part_size))
        blob.in_flight += 1
        if small:
            heapq.heappop(self._small)
            self._small_running += 1
        else:
            self._large_running += 1
            if blob.begun:
                self._large.remove(blob)
        return piece

    def _interrupt(self) -> None:
        """Begin nothing more. What nobody works on is idle, and to be ended."""
        self._give_up(
            lambda blob: Interrupted(f"{blob.fetch}: stopped; the next run takes it up again")
        )

    def _put_off(self) -> None:
        """Begin no more of what is too large for this hour."""
        if not self._hours.is_open():
            self._give_up(self._too_late)

    def _too_late(self, blob: Blob) -> Deferred | None:
        """Say that a blob must wait. One that no later run could take up is ended, once begun."""
        if (blob.cursor and not blob.resumable) or not self.waits(blob.size):
            return None
        return self._hours.put_off(blob.fetch)

    def _give_up(self, why: Callable[[Blob], SyncError | None]) -> None:
        """Take away what there is a reason for; those at work end the blob when they are done."""
        waiting = [*(blob for *_, blob in self._small), *self._large]
        gone = {blob: error for blob in waiting if (error := why(blob)) is not None}
        for blob, error in gone.items():
            blob.fail(error)
            if not blob.in_flight:
                self._idle.append(blob)
        if gone:
            self._small = [one for one in self._small if one[2] not in gone]
            heapq.heapify(self._small)
            self._large = [blob for blob in self._large if blob not in gone]

    def _give_back(self, buffer: Buffer) -> None:
        with self._changed:
            self._buffers.give(buffer, keep=len(buffer) >= self._limits.part_size)
            self._changed.notify_all()

    # -- one piece -------------------------------------------------------------------

    def _work(self) -> None:
        while (task := self._next()) is not None:
            blob, piece = task
            with meter.use(blob.fetch.meter):
                if piece is None:
                    self._settle(blob)
                    continue
                try:
                    self._mover.carry(blob, piece)
                except BaseException as error:  # noqa: BLE001 - it is the blob's to report
                    blob.fail(error)
                if self._leave(blob):
                    self._settle(blob)

    def _leave(self, blob: Blob) -> bool:
        """Note that a worker is done with a piece; return whether it was the last one."""
        with self._changed:
            blob.in_flight -= 1
            if blob.parts == 1:
                self._small_running -= 1
            else:
                self._large_running -= 1
            if blob.failure is not None and blob in self._large:
                self._large.remove(blob)
            self._changed.notify_all()
            over = blob.failure is not None or blob.begun
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
            self._mover.keep(blob, error)
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
        if isinstance(error, DigestMismatch):
            blob.fetch.distrust(error)
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
            self._note(blob, getattr(error, "kind", type(error).__name__))
            self._emit(
                BlobFailed(
                    model=blob.fetch.model,
                    path=blob.fetch.file.path,
                    kind=getattr(error, "kind", type(error).__name__),
                    error=str(error),
                    origin=blob.fetch.origin.name,
                )
            )
        _let_go(error)
        blob.future.set_exception(error)

    def _tell(self, blob: Blob, receipt: Receipt) -> None:
        waited, seconds = self._throttle.waited - blob.waited, self._note(blob)
        self._emit(
            BlobStored(
                model=blob.fetch.model,
                path=blob.fetch.file.path,
                sha256=receipt.sha256,
                size=receipt.size,
                seconds=seconds,
                origin=blob.fetch.origin.name,
                throttled=waited > _THROTTLED * seconds,
            )
        )

    def _note(self, blob: Blob, error: str = "") -> float:
        """Put a file into the account of its version; return its seconds."""
        seconds = round(self._clock.monotonic() - blob.started, 3)
        blob.fetch.meter.note(blob.fetch.file.path, blob.size, seconds, error)
        return seconds


def _let_go(error: BaseException) -> None:
    """Drop the frames that an expected error holds, and with them the buffers: it is kept for
    as long as the run lasts."""
    seen: BaseException | None = error
    while isinstance(error, SyncError) and seen is not None:
        seen.__traceback__ = None
        seen = seen.__cause__ or seen.__context__
