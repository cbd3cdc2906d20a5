"""Locks as a person sees them, and their release by hand.

A lock object says its scope and its owner; its age is that of the object by the store's
clock. It is released by compare-and-swap, under an id that its owner does not know: an owner
that lives finds that out with its next refresh, at the latest before it publishes, and
publishes nothing.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Literal

from sync_daemon.domain import keys
from sync_daemon.domain.errors import PreconditionFailed
from sync_daemon.domain.events import LockReleased
from sync_daemon.engine.locks import Body, why_free
from sync_daemon.engine.owner import this_process
from sync_daemon.engine.retry import Retry
from sync_daemon.ports import Emit, ObjectStore

READERS = 8
"""Locks that are read at once."""

_TRIES = 5
"""A forced release against a living owner's heartbeat, which comes every 15 seconds."""

Outcome = Literal["held", "released", "refused", "free"]


@dataclass(frozen=True, slots=True)
class Held:
    """A lock that somebody holds or held. `stale` says why anybody may take it, or is None.

    `outcome`: only looked at (`held`), `released`, `refused`, or `free` when it went meanwhile.
    """

    key: str
    body: Body
    etag: str
    age: float
    stale: str | None
    outcome: Outcome = "held"

    @property
    def name(self) -> str:
        """What it is a lock of; the key where the object cannot be read."""
        return self.body.scope or self.key

    @property
    def host(self) -> str | None:
        """Host of the owner, without what tells machines of one name apart."""
        return self.body.owner.host.partition("/")[0] if self.body.owner else None

    def to_json(self) -> dict[str, Any]:
        """Return the object of `unlock --json`."""
        model, _, version = self.body.scope.partition("@")
        return {
            "scope": self.body.scope or None,
            "key": self.key,
            "model": model or None,
            "version": version or None,
            "host": self.host,
            "pid": self.body.owner.pid if self.body.owner else None,
            "age_seconds": round(self.age, 1),
            "stale": self.stale,
            "status": self.outcome,
        }


class Locksmith:
    """Finds and releases the locks of a store."""

    def __init__(self, store: ObjectStore, retry: Retry, emit: Emit) -> None:
        self._store = store
        self._retry = retry
        self._emit = emit
        self._here = this_process()

    def find(self, meant: Callable[[str], bool]) -> tuple[Held, ...]:
        """Return the locks that are not released and whose scope is meant, by scope.

        One that cannot be read has an empty scope.
        """
        listed = self._retry("list locks", lambda: list(self._store.list(keys.LOCKS)))
        with ThreadPoolExecutor(READERS, thread_name_prefix="locks") as pool:
            found = [held for held in pool.map(self.look, (info.key for info in listed)) if held]
        return tuple(sorted((one for one in found if meant(one.body.scope)), key=lambda h: h.name))

    def look(self, key: str) -> Held | None:
        """Return the lock at `key`, or None when it is free."""
        try:
            found = self._retry(f"read {key}", lambda: self._store.get(key))
        except FileNotFoundError:
            return None
        body = Body.parse(found.data)
        if body.state == "released":
            return None
        age = max(0.0, (self._store.now() - found.modified).total_seconds())
        return Held(key, body, found.etag, age, why_free(body, self._here, age))

    def release(self, locks: Iterable[Held], *, force: bool) -> tuple[Held, ...]:
        """Release what is stale, with `force` everything, and return what became of each."""
        return tuple(self._release(held, force=force) for held in locks)

    def _release(self, held: Held, *, force: bool) -> Held:
        ident = uuid.uuid4().hex
        for _ in range(_TRIES):
            if held.stale is None and not force:
                break
            if self._write(held, ident):
                owner = str(held.body.owner) if held.body.owner else "nobody known"
                reason = held.stale or "forced"
                self._emit(LockReleased(scope=held.name, owner=owner, reason=reason))
                return replace(held, outcome="released")
            again = self.look(held.key)
            if again is None:
                return replace(held, outcome="free")
            held = again
        return replace(held, outcome="refused")

    def _write(self, held: Held, ident: str) -> bool:
        """Write "released" unless the lock has changed since it was read."""
        data = Body(ident, "released", self._here, held.body.scope, held.body.beat).encode()
        try:
            self._retry(
                f"unlock {held.name}",
                lambda: self._store.put(held.key, data, if_match=held.etag),
            )
        except PreconditionFailed:
            found = self._retry(f"read {held.key}", lambda: self._store.get(held.key))
            return Body.parse(found.data).ident == ident  # only the answer was lost
        return True
