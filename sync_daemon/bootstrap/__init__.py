"""Settings -> objects: the one place where things are wired.

Everything is a plain constructor call. What must be closed is closed by the context
manager that made it, in the opposite order: transfer workers, heartbeat, connections.
"""

from sync_daemon.bootstrap.engines import (
    engine,
    engine_over,
    engine_parts,
    limits,
    off_peak,
    rate,
    retry,
    verifier,
)
from sync_daemon.bootstrap.sources import (
    declared,
    entries,
    origins,
)
from sync_daemon.bootstrap.storage import (
    administration,
    find_keys,
    home,
    says_minio,
    store,
    upload_life,
)

__all__ = [
    "administration",
    "declared",
    "engine",
    "engine_over",
    "engine_parts",
    "entries",
    "find_keys",
    "home",
    "limits",
    "off_peak",
    "origins",
    "rate",
    "retry",
    "says_minio",
    "store",
    "upload_life",
    "verifier",
]
