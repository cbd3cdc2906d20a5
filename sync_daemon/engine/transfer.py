"""Moves blobs: parallel ranges from an origin, ordered SHA-256, parallel parts into the store.

One `Transfer` serves all jobs of a process. Its limits are global: `connections` workers,
each of which carries one part at a time through

    take a buffer -> fetch the range into it -> hash it in order -> store it from the same buffer

and one memory budget. A file of one part is sent in one PUT after its digest was proven; a
larger one is a multipart upload that is completed only if the digest is right, and aborted
otherwise: a blob key never shows bytes that do not hash to its name (I2). A file whose
digest is not known beforehand goes to `staging/` and is copied inside the store.

Small files overtake large ones, but leave a quarter of the workers to them; one large file
never takes more than half of the memory.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import uuid
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Self

from sync_daemon import meter
from sync_daemon.domain import keys
from sync_daemon.domain.digests import Digest
from sync_daemon.domain.errors import DigestMismatch, Interrupted, PreconditionFailed, StoreRefused
from sync_daemon.domain.events import BlobFailed, BlobStored
from sync_daemon.engine.blob import Blob, Fetch, Receipt, Streamed
from sync_daemon.engine.buffers import Buffers
from sync_daemon.engine.fill import Filler
from sync_daemon.engine.pace import Pace
from sync_daemon.engine.retry import Retry
from sync_daemon.engine.throttle import Throttle
from sync_daemon.ports import Clock, Emit, ObjectStore, Part

MIB = 1024**2


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
        self._pace = Pace(limits.workers)
        self._filler = Filler(
            retry, throttle, clock, emit, self._pace, limits.min_speed, limits.patience
        )
        self._changed = threading.Condition()
        self._buffers = Buffers(limits.memory)
        self._order = itertools.count()
        self._small: list[tuple[int, int, Blob]] = []
        self._large: list[Blob] = []
        self._known: dict[object, Future[Receipt]] = {}
        self._small_running = 0
        self._large_running = 0
        self._closed = False
        self._workers = [
            threading.Thread(target=self._work, name=f"transfer-{number}", daemon=True)
            for number in range(limits.workers)
        ]

    def __enter__(self) -> Self:
        for worker in self._workers:
            worker.start()
        return self

    def __exit__(self, *exc: object) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for worker in self._workers:
            worker.join()

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
            self._known[fetch.identity] = blob.future
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
        least = -(-size // self._store.capabilities().max_parts) if size > MIB else 0
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
        self._changed.notify_all()

    def _next(self) -> tuple[Blob, int] | None:
        with self._changed:
            while True:
                if self._stop.is_set():
                    self._interrupt()
                elif (blob := self._choose()) is not None:
                    return blob, self._begin(blob)
                if self._closed and not self._small and not self._large:
                    return None
                self._changed.wait(1.0)

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
        blob.started = blob.started or self._clock.monotonic()
        if blob.parts == 1:
            heapq.heappop(self._small)
            self._small_running += 1
        else:
            self._large_running += 1
            if blob.next_part == blob.parts:
                self._large.remove(blob)
        blob.pin(number, self._buffers.take(blob.size if blob.parts == 1 else blob.part_size))
        return number

    def _interrupt(self) -> None:
        for blob in [*(blob for *_, blob in self._small), *self._large]:
            blob.fail(Interrupted(f"{blob.fetch}: stopped; the next run takes it up again"))
            if not blob.in_flight:
                blob.future.set_exception(blob.failure)
        self._small.clear()
        self._large.clear()

    def _give_back(self, buffer: bytearray) -> None:
        with self._changed:
            self._buffers.give(buffer, keep=len(buffer) >= self._limits.part_size)
            self._changed.notify_all()

    # -- one part --------------------------------------------------------------------

    def _work(self) -> None:
        while (task := self._next()) is not None:
            blob, number = task
            with meter.use(blob.fetch.meter):
                try:
                    self._carry(blob, number)
                except BaseException as error:  # noqa: BLE001 - it is the blob's to report
                    blob.fail(error)
                if self._leave(blob):
                    self._settle(blob)

    def _carry(self, blob: Blob, number: int) -> None:
        if blob.serial:
            self._retry(f"fetch {blob.fetch}", lambda: self._carry_serially(blob))
            return
        start, stop = blob.span(number)
        view = memoryview(blob.buffers[number])[: stop - start]
        hashing = Streamed(blob.hash, number, view)
        self._filler.fill(
            blob.fetch, start, view, alive=lambda: self._alive(blob), filled=hashing.advance
        )
        hashing.finish()
        if blob.parts > 1:
            self._store_part(blob, number, view)
            blob.unpin(number)

    def _carry_serially(self, blob: Blob) -> None:
        """All parts from one answer, through one buffer; a break begins the file again."""
        buffer = blob.buffers[0]
        self._abort(blob)
        blob.reset()
        blob.next_part = blob.parts
        blob.buffers[0] = buffer
        with self._filler.open(blob.fetch, 0, blob.size) as reader:
            for number in range(blob.parts):
                start, stop = blob.span(number)
                view = memoryview(buffer)[: stop - start]
                alive = lambda: self._alive(blob)  # noqa: E731
                for _ in self._filler.pump(blob.fetch, reader, view, alive):
                    pass
                blob.hash.update(view)
                self._store_part(blob, number, view)

    def _alive(self, blob: Blob) -> bool:
        if self._stop.is_set():
            blob.fail(Interrupted(f"{blob.fetch}: stopped; the next run takes it up again"))
        return blob.failure is None

    def _store_part(self, blob: Blob, number: int, view: memoryview) -> None:
        upload = self._ensure_upload(blob)

        def put() -> Part:
            start = blob.span(number)[0]
            return self._store.put_part(blob.key, upload, number + 1, start, view)

        blob.stored[number] = self._retry(f"store part {number + 1} of {blob.fetch}", put)
        meter.active().add(uploaded=len(view))

    def _ensure_upload(self, blob: Blob) -> str:
        with blob.upload_lock:
            if blob.upload is None:
                digest = blob.fetch.file.sha256
                blob.key = keys.blob(digest) if digest else keys.staging(uuid.uuid4().hex)
                begin = f"begin the upload of {blob.fetch}"
                blob.upload = self._retry(begin, lambda: self._store.create_upload(blob.key))
            return blob.upload

    # -- the end of a blob -----------------------------------------------------------

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
        try:
            receipt = self._finish(blob)
        except DigestMismatch as error:
            self._abort(blob)
            blob.drop_buffers()
            if blob.restarts:
                self._report(blob, error)
                return
            blob.restarts += 1
            blob.reset()
            with self._changed:
                self._enqueue(blob)
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits for the future
            self._abort(blob)
            blob.drop_buffers()
            self._report(blob, error)
        else:
            blob.drop_buffers()
            self._tell(blob, receipt)
            blob.future.set_result(receipt)

    def _finish(self, blob: Blob) -> Receipt:
        if blob.failure is not None:
            raise blob.failure
        digest = blob.hash.verify()
        if blob.parts == 1:
            uploaded = self._put_whole(digest, memoryview(blob.buffers[0])[: blob.size], blob)
            return Receipt(digest, blob.size, uploaded)
        upload = self._ensure_upload(blob)
        parts = [blob.stored[number] for number in range(blob.parts)]
        self._retry(
            f"complete the upload of {blob.fetch}",
            lambda: self._store.complete_upload(blob.key, upload, parts),
        )
        uploaded = True
        if blob.fetch.file.sha256 is None:
            uploaded = self._unstage(blob, digest)
        return Receipt(digest, blob.size, uploaded)

    def _put_whole(self, digest: Digest, view: memoryview, blob: Blob) -> bool:
        try:
            self._retry(
                f"store {blob.fetch}",
                lambda: self._store.put(keys.blob(digest), view, if_absent=True),
            )
        except PreconditionFailed:
            return False
        meter.active().add(uploaded=len(view))
        return True

    def _unstage(self, blob: Blob, digest: Digest) -> bool:
        """Give staged bytes their name. The copy is whole or not there (ports.ObjectStore)."""
        target = keys.blob(digest)
        held = self._retry(f"look for {blob.fetch}", lambda: self._store.stat(target))
        if held is None or held.size != blob.size:
            self._retry(f"name {blob.fetch}", lambda: self._store.copy(blob.key, target))
        self._retry(f"unstage {blob.fetch}", lambda: self._store.delete(blob.key))
        return held is None

    def _abort(self, blob: Blob) -> None:
        """Leave nothing behind. What cannot be removed now is for a later clean-up."""
        if blob.upload is None:
            return
        upload, blob.upload = blob.upload, None
        try:
            self._store.abort_upload(blob.key, upload)
        except Exception as error:  # noqa: BLE001 - the first failure is the one to report
            self._emit(_failed(blob, error))

    def _report(self, blob: Blob, error: BaseException) -> None:
        if not isinstance(error, Interrupted):
            self._emit(_failed(blob, error))
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


def _failed(blob: Blob, error: BaseException) -> BlobFailed:
    kind = getattr(error, "kind", type(error).__name__)
    return BlobFailed(
        model=blob.fetch.model, path=blob.fetch.file.path, kind=kind, error=str(error)
    )
