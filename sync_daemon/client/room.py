"""Refuses a pull for which the disk has no room, before it fetches a byte."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from sync_daemon.domain.errors import SyncError
from sync_daemon.domain.plan import Plan
from sync_daemon.engine.limits import Limits
from sync_daemon.engine.outlook import Outlook
from sync_daemon.ports import ObjectStore

_UPLOADS = ".tmp/uploads"
_BLOCK = 512


class RoomOutlook(Outlook):
    """Judges plans by the free space of the cache as well."""

    def __init__(self, limits: Limits, store: ObjectStore, root: Path) -> None:
        super().__init__(limits)
        self._store = store
        self._root = root

    def reasons(self, plan: Plan) -> tuple[str, ...]:
        """Return why a plan cannot be carried out."""
        return (*super().reasons(plan), *self._full(plan))

    def _full(self, plan: Plan) -> tuple[str, ...]:
        try:
            free = self._store.free_bytes()
        except SyncError:
            return ()
        needed = plan.fetch_bytes - self._begun()
        if free is None or needed <= free:
            return ()
        reason = (
            f"{needed:,} bytes are to be fetched, and {free:,} are free in {self._root}: make room,"
            " select fewer files, or put the cache elsewhere (--cache)"
        )
        return (reason,)

    def _begun(self) -> int:
        """Return the bytes of unfinished files: they are on the disk, and will not come again."""
        size = 0
        for data in (self._root / _UPLOADS).glob("*/data"):
            with suppress(OSError):
                size += data.stat().st_blocks * _BLOCK
        return size
