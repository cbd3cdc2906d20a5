"""What the straight line works with: made once a run, shared by all versions."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from sync_daemon.engine.catalog import Catalog
from sync_daemon.engine.known import KnownDamage
from sync_daemon.engine.locks import Locks
from sync_daemon.engine.outlook import Outlook
from sync_daemon.engine.retry import Retry
from sync_daemon.engine.siblings import Siblings
from sync_daemon.engine.transfer import Transfer
from sync_daemon.engine.vault import Vault
from sync_daemon.ports import Clock, Emit

COPIES = 16
"""Objects that are copied inside the store at once, for the trees of all versions together."""


@dataclass(frozen=True, slots=True)
class Tools:
    """`part_size` in bytes, for the plan's estimate of requests; `copying` counts copies."""

    vault: Vault
    catalog: Catalog
    transfer: Transfer
    locks: Locks
    siblings: Siblings
    retry: Retry
    clock: Clock
    emit: Emit
    part_size: int
    outlook: Outlook
    damage: KnownDamage = field(default_factory=KnownDamage)
    copying: threading.BoundedSemaphore = field(
        default_factory=lambda: threading.BoundedSemaphore(COPIES)
    )


@dataclass(frozen=True, slots=True)
class How:
    """`full`: list again and prove every blob. `apply` False: stop after the plan.
    `accept`: a person lets a moved pin or a held version through."""

    full: bool = False
    apply: bool = True
    accept: bool = False
