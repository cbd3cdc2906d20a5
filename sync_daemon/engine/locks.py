"""Locks in the store: who is working on what, judged by the store's clock alone.

A lock is an object that is only ever replaced by compare-and-swap. Its holder writes it
again every 15 seconds; one that was not written for 60 seconds by the store's clock is
stale and may be taken over, and so may, at once, the lock of a process that is gone from
this very host. It is released by writing "released", never by DELETE, because some
servers execute a stale conditional DELETE (MinIO, Ceph 16).

In a store without conditional writes the same code runs, but two writers may both win:
the documented single-writer mode.
"""

from __future__ import annotations

import json
import math
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sync_daemon.domain import canonical, keys
from sync_daemon.domain.errors import LockedElsewhere, LockLost, PreconditionFailed, Unavailable
from sync_daemon.domain.events import LockLostEvent, LockTakenOver
from sync_daemon.engine.owner import Owner, is_gone, this_process
from sync_daemon.engine.retry import Retry
from sync_daemon.ports import Clock, Content, Emit, ObjectStore

HEARTBEAT = 15.0
EXPIRY = 60.0
SILENCE = 40.0
"""Seconds without a refresh after which a holder writes nothing more."""
FRESH = 1.0
"""Seconds since a refresh within which a lock is taken for ours without asking."""


@dataclass(slots=True, eq=False)
class Lock:
    """A lock that this process holds. `ident` tells it from any other, also of this process."""

    scope: str
    ident: str
    etag: str
    refreshed: float
    beat: int = 0
    lost: str | None = None
    released: bool = False
    mutex: threading.Lock = field(default_factory=threading.Lock)

    @property
    def key(self) -> str:
        """Where it lies in the store."""
        return keys.lock(self.scope)


@dataclass(frozen=True, slots=True)
class Body:
    """What a lock object says. One that cannot be read is held by nobody known: it expires."""

    ident: str = ""
    state: str = "held"
    owner: Owner | None = None
    scope: str = ""
    beat: int = 0

    @classmethod
    def parse(cls, data: bytes) -> Body:
        """Read a lock object."""
        try:
            raw = json.loads(data)
            owner = Owner(**raw["owner"])
            return cls(raw["id"], raw["state"], owner, str(raw["scope"]), int(raw["beat"]))
        except (ValueError, TypeError, KeyError):
            return cls()

    def encode(self) -> bytes:
        """Return the object."""
        owner = {name: getattr(self.owner, name) for name in Owner.__slots__}
        return canonical.encode(
            {
                "scope": self.scope,
                "id": self.ident,
                "state": self.state,
                "beat": self.beat,
                "owner": owner,
            }
        )


def why_free(body: Body, here: Owner, age: float) -> str | None:
    """Return why anybody may take a lock that was written `age` seconds ago by the store's
    clock, or None: somebody holds it."""
    if body.state == "released":
        return "released"
    if body.owner is not None and is_gone(body.owner, here):
        return "its process has ended"
    return f"not refreshed for {age:.0f} s" if age > EXPIRY else None


class Locks:
    """Takes, refreshes and releases locks; one per process. Close it at the end."""

    def __init__(self, store: ObjectStore, retry: Retry, clock: Clock, emit: Emit) -> None:
        self._store = store
        self._retry = retry
        self._clock = clock
        self._emit = emit
        self._here = this_process()
        self._held: set[Lock] = set()
        self._given_up: set[str] = set()
        self._changed = threading.Condition()
        self._closed = False
        self._heart: threading.Thread | None = None

    @contextmanager
    def hold(self, scope: str) -> Iterator[Lock]:
        """Hold the lock of `scope` inside the block. Raises LockedElsewhere at once."""
        lock = self._take(scope)
        with self._changed:
            self._held.add(lock)
            self._start_heart()
        try:
            yield lock
        finally:
            with self._changed:
                self._held.discard(lock)
            self._release(lock)

    def check(self, lock: Lock) -> None:
        """Raise LockLost unless the lock is ours beyond doubt: call it before publishing.

        A lock whose last refresh is older than a second is refreshed: the heartbeat would only
        later learn that somebody has released it (`unlock --force`).
        """
        silent = self._clock.monotonic() - lock.refreshed
        if lock.lost is None and silent > SILENCE:
            lock.lost = f"it could not be refreshed for {silent:.0f} s"
        if lock.lost is None and silent > FRESH:
            self._refresh(lock)
        if lock.lost is not None:
            message = f"the lock of {lock.scope} is lost: {lock.lost}"
            raise LockLost(message, hint="nothing was published; the next run completes it")

    def give_up(self) -> None:
        """Release what is still held, in the last moment of a process that cannot wait for its
        threads: they find their lock lost, and publish nothing."""
        with self._changed:
            held = tuple(self._held)
        for lock in held:
            lock.refreshed = -math.inf
            self._release(lock)

    def close(self) -> None:
        """End the heartbeat."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._heart is not None:
            self._heart.join()

    def _take(self, scope: str) -> Lock:
        lock = Lock(scope, uuid.uuid4().hex, "", self._clock.monotonic())
        data = self._body(lock, "held")
        try:
            lock.etag = self._retry(
                f"lock {scope}", lambda: self._store.put(lock.key, data, if_absent=True)
            )
        except PreconditionFailed:
            self._take_over(lock, data)
        except Unavailable:  # it may have been written all the same
            self._given_up.add(lock.ident)
            raise
        return lock

    def _take_over(self, lock: Lock, data: bytes) -> None:
        found, body = self._look(lock)
        if body.ident == lock.ident:  # our own write, whose answer was lost
            lock.etag = found.etag
            return
        reason = self._why_free(body, found)
        if reason is None:
            message = f"{lock.scope} is locked by {body.owner}"
            raise LockedElsewhere(message, hint="it is being worked on; wait for it to end")
        try:
            lock.etag = self._retry(
                f"lock {lock.scope}", lambda: self._store.put(lock.key, data, if_match=found.etag)
            )
        except PreconditionFailed as error:
            found, again = self._look(lock)
            if again.ident != lock.ident:
                message = f"{lock.scope} was locked by another a moment ago"
                raise LockedElsewhere(message) from error
            lock.etag = found.etag
        if body.state != "released":
            self._emit(LockTakenOver(scope=lock.scope, owner=str(body.owner), reason=reason))

    def _look(self, lock: Lock) -> tuple[Content, Body]:
        try:
            found = self._retry(f"read the lock of {lock.scope}", lambda: self._store.get(lock.key))
        except FileNotFoundError as error:  # the store said that it is there
            message = f"{lock.key} was written by another, and is not there"
            raise LockedElsewhere(message, hint="run again") from error
        return found, Body.parse(found.data)

    def _why_free(self, body: Body, found: Content) -> str | None:
        if body.ident in self._given_up:
            return "this process could not release it"
        return why_free(body, self._here, (self._store.now() - found.modified).total_seconds())

    def _body(self, lock: Lock, state: str) -> bytes:
        return Body(lock.ident, state, self._here, lock.scope, lock.beat).encode()

    def _release(self, lock: Lock) -> None:
        with lock.mutex:
            again, lock.released = lock.released, True
            if again or lock.lost is not None:
                return
            try:
                data = self._body(lock, "released")
                self._retry(
                    f"unlock {lock.scope}",
                    lambda: self._store.put(lock.key, data, if_match=lock.etag),
                )
            except Exception as error:  # noqa: BLE001 - it expires by itself
                self._given_up.add(lock.ident)
                self._tell_lost(lock, f"could not be released: {error}")

    def _tell_lost(self, lock: Lock, error: str) -> None:
        self._emit(LockLostEvent(scope=lock.scope, error=error))

    def _start_heart(self) -> None:
        if self._heart is None:
            self._heart = threading.Thread(target=self._beat, name="lock-heartbeat", daemon=True)
            self._heart.start()

    def _beat(self) -> None:
        while True:
            with self._changed:
                if self._closed or (self._changed.wait(HEARTBEAT) and self._closed):
                    return
                held = [lock for lock in self._held if lock.lost is None]
            for lock in held:
                self._refresh(lock)

    def _refresh(self, lock: Lock) -> None:
        with lock.mutex:
            if lock.released:
                return
            lock.beat += 1
            try:
                self._write_again(lock)
            except Unavailable as error:
                self._tell_lost(lock, f"not refreshed: {error}")
            except Exception as error:  # noqa: BLE001 - a heartbeat must outlive any answer
                lock.lost = str(error)
                self._tell_lost(lock, lock.lost)

    def _write_again(self, lock: Lock) -> None:
        began = self._clock.monotonic()
        try:
            lock.etag = self._store.put(lock.key, self._body(lock, "held"), if_match=lock.etag)
        except PreconditionFailed as error:
            found = self._store.get(lock.key)
            body = Body.parse(found.data)
            if body.ident != lock.ident:
                who = "released by" if body.state == "released" else "taken over by"
                message = f"it was {who} {body.owner}"
                raise PreconditionFailed(message) from error
            lock.etag = found.etag  # an earlier refresh went through, only its answer was lost
        else:
            lock.refreshed = began
