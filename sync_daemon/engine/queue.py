"""Who carries which piece of which file next.

Small files overtake large ones, but leave a quarter of the workers to them; one large file
never takes more than half of the memory. Large ones begin in the order in which they came, as
many at once as the pace allows. All of this is under one lock.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable

from sync_daemon.domain import parts
from sync_daemon.domain.errors import Deferred, Interrupted, SyncError
from sync_daemon.engine.blob import Blob, Piece
from sync_daemon.engine.buffers import Buffer, Buffers
from sync_daemon.engine.hours import Hours
from sync_daemon.engine.limits import Limits
from sync_daemon.engine.pace import Pace


class Queue:
    """The files that wait, and the memory that those at work share."""

    def __init__(self, limits: Limits, hours: Hours, stop: threading.Event) -> None:
        self._limits = limits
        self._hours = hours
        self._stop = stop
        self.pace = Pace(limits.workers, self._wake)
        self._changed = threading.Condition()
        self._buffers = Buffers(limits.memory)
        self._order = itertools.count()
        self._small: list[tuple[int, int, Blob]] = []
        self._large: list[Blob] = []
        self._idle: list[Blob] = []
        self._small_running = 0
        self._large_running = 0
        self._closed = False

    def close(self) -> None:
        """Let workers go once nothing waits any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def add(self, blob: Blob) -> None:
        """Let a file wait for its turn."""
        with self._changed:
            if blob.parts == 1:
                heapq.heappush(self._small, (blob.size, next(self._order), blob))
            else:
                self._large.append(blob)
            self._changed.notify_all()

    def next(self) -> tuple[Blob, Piece | None] | None:
        """Wait for a blob and the piece of it to carry; None for the piece: it is to be ended.

        None at the end of all.
        """
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

    def leave(self, blob: Blob) -> bool:
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

    def give_back(self, buffer: Buffer) -> None:
        """Take back the memory of a part."""
        with self._changed:
            self._buffers.give(buffer, keep=len(buffer) >= self._limits.part_size)
            self._changed.notify_all()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    # -- all that follows holds the lock ---------------------------------------------

    def _choose(self) -> Blob | None:
        small = self._small[0][2] if self._small else None
        if small is not None and not self._buffers.fits(small.size):
            small = None
        share = max(1, self._limits.workers * 3 // 4)
        if small is not None and (not self._large or self._small_running < share):
            return small
        return next((blob for blob in self._large if self._may_begin(blob)), small)

    def _may_begin(self, blob: Blob) -> bool:
        if self._large_running >= self.pace.limit:
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
        whole = small or blob.serial or self.pace.fast
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
        if (blob.cursor and not blob.resumable) or not self._hours.hold_back(blob.size):
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
