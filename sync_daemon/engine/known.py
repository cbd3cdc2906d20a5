"""What is known to be damaged before a run begins: what verify found, and nobody mended yet.

A run trusts what lies in the store: whoever reads all of it is verify. Its findings fire as
alerts, which are kept beside the models; one request a run tells them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from sync_daemon.domain import keys
from sync_daemon.domain.alerts import parse_book
from sync_daemon.domain.digests import Digest
from sync_daemon.domain.errors import SyncError
from sync_daemon.engine.retry import Retry
from sync_daemon.ports import ObjectStore

_MOST = 5
_DAMAGE = "corrupt_blob"


@dataclass(frozen=True, slots=True)
class KnownDamage:
    """Why an object is known to be damaged, by its key."""

    by_key: Mapping[str, str] = field(default_factory=dict)

    def of_manifest(self, key: str) -> tuple[str, ...]:
        """Return a warning if the manifest of a version that stays as it is is damaged."""
        if key not in self.by_key:
            return ()
        return (f"verify found damage: {self.by_key[key]}; `sync-daemon verify` says what to do",)

    def of_blobs(self, digests: Iterable[Digest]) -> tuple[str, ...]:
        """Return a warning for damaged blobs that are about to be used as they lie there."""
        if not self.by_key:
            return ()
        found = sorted({key for d in digests if (key := keys.blob(d)) in self.by_key})
        if not found:
            return ()
        named = "; ".join(self.by_key[key] for key in found[:_MOST])
        more = f"; and {len(found) - _MOST} more" if len(found) > _MOST else ""
        message = (
            f"verify found damage, and a run does not read what is stored: {named}{more}; delete"
            " the damaged blobs from the store, then `sync-daemon run-once --full` fetches them"
        )
        return (message,)


def read_known_damage(store: ObjectStore, retry: Retry) -> KnownDamage:
    """Read what fires in the store. A book that cannot be read says nothing."""
    with suppress(FileNotFoundError, ValueError, SyncError):
        record = retry(f"read {keys.ALERTS}", lambda: store.get(keys.ALERTS)).data
        labelled = (
            (dict(key[1]), kept)
            for key, kept in parse_book(record).firing.items()
            if key[0] == _DAMAGE
        )
        return KnownDamage(
            {labels["key"]: kept.alert.message for labels, kept in labelled if "key" in labels}
        )
    return KnownDamage()
