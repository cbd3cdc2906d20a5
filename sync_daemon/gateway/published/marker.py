"""Tells a store that became empty from one that went away.

A directory whose file system is not mounted any more is there, and has nothing in it. Whoever
believed that would tell all clients that nothing is published, and that no token is good; they
take both for final.
"""

from __future__ import annotations

from sync_daemon.domain import keys
from sync_daemon.domain.errors import StoreRefused, StoreUnavailable
from sync_daemon.engine.retry import Retry
from sync_daemon.ports import ObjectStore


def expect_marker(store: ObjectStore, retry: Retry) -> None:
    """Prove that a store in which something is missing is a mirror's still. One request.

    Raises StoreUnavailable where the marker is gone as well, or the store itself.
    """
    try:
        there = retry(f"look for {keys.MARKER}", lambda: store.stat(keys.MARKER))
    except StoreRefused as error:
        raise StoreUnavailable(str(error), hint=error.hint) from error
    if there is not None:
        return
    message = f"{store.url}: everything is gone, {keys.MARKER} too"
    hint = (
        "mount the directory, or see what became of the bucket; if the store was emptied on "
        "purpose, start the gateway again"
    )
    raise StoreUnavailable(message, hint=hint)
