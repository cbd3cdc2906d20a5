"""Moves blobs: parallel ranges from an origin, ordered SHA-256, parallel parts into the store.

One `Transfer` serves all jobs of a process. Its limits are global: `connections` workers,
each of which carries one piece at a time through

    take a buffer -> fetch the range into it -> hash it in order -> store it from the same buffer

and one memory budget. queue.py decides who carries which piece when; mover.py carries.
From a slow origin several pieces fill one part: parts are whole sooner, wait less for their
turn to be hashed, and many connections need little memory.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from contextlib import suppress
from typing import Self

from sync_daemon import meter
from sync_daemon.domain import parts
from sync_daemon.domain.errors import (
    DigestMismatch,
    Interrupted,
    OriginLied,
    OriginRefused,
    OriginUnavailable,
    StoreRefused,
    SyncError,
    UploadGone,
)
from sync_daemon.domain.events import BlobFailed, BlobRestarted, BlobStored
from sync_daemon.engine.blob import Blob, Fetch, Receipt
from sync_daemon.engine.fill import Filler
from sync_daemon.engine.hours import Hours
from sync_daemon.engine.journal import Journals
from sync_daemon.engine.limits import Limits
from sync_daemon.engine.mover import Mover
from sync_daemon.engine.queue import Queue
from sync_daemon.engine.retry import Retry
from sync_daemon.engine.throttle import Throttle
from sync_daemon.ports import Clock, Emit, ObjectStore

_THROTTLED = 0.1
"""Share of a file's time that waits for the bandwidth limit must take to explain its speed."""

_OF_ORIGIN = (OriginUnavailable, OriginRefused, OriginLied)
"""Errors that name the origin as their cause in events; the store's do not."""

SAVE_EVERY = 2.0
"""Seconds between two writes of a growing file's journal."""


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
        self._hours = hours or Hours()
        self._throttle = throttle
        self._queue = Queue(limits, self._hours, stop)
        pace = self._queue.pace
        filler = Filler(retry, throttle, clock, emit, pace, limits.min_speed, limits.patience)
        self.journals = Journals(store, retry)
        largest = max(limits.part_size, limits.memory // 4)
        self._mover = Mover(store, filler, self.journals, retry, clock, emit, stop, largest)
        self._lock = threading.Lock()
        self._known: dict[object, Future[Receipt]] = {}
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
        self._queue.close()
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
        with self._lock:
            known = self._known.get(fetch.identity)
            if known is not None and not (known.done() and known.exception()):
                return known, False
            blob = Blob(fetch, part_size, self._queue.give_back)
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
            self._enqueue(blob)
        return blob.future, True

    def waits(self, size: int) -> bool:
        """Tell whether a file of so many bytes may not move at this hour."""
        return self._hours.hold_back(size)

    def forget(self) -> None:
        """Forget what was moved: the next run proves each blob again (I1)."""
        with self._lock:
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

    def _enqueue(self, blob: Blob) -> None:
        if blob.parts > 1:
            with self._lock:
                self._growing.add(blob)
        self._queue.add(blob)

    def _work(self) -> None:
        while (task := self._queue.next()) is not None:
            blob, piece = task
            with meter.use(blob.fetch.meter):
                if piece is None:
                    self._settle(blob)
                    continue
                try:
                    self._mover.carry(blob, piece)
                except BaseException as error:  # noqa: BLE001 - it is the blob's to report
                    blob.fail(error)
                if self._queue.leave(blob):
                    self._settle(blob)

    def _settle(self, blob: Blob) -> None:
        """End a blob, or begin it anew, once nobody works on it any more."""
        with self._lock:
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
            with self._lock:
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
                    origin=blob.fetch.origin.name if isinstance(error, _OF_ORIGIN) else None,
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
                uploaded=receipt.uploaded,
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
