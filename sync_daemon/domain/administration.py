"""What an administrator sets at a store, as values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class UploadRules:
    """How long a server keeps an unfinished upload, and how often it looks for old ones.

    None: it does not say. `fixed`: a variable of the server's own environment decides.
    """

    expiry: timedelta | None
    interval: timedelta | None
    fixed: bool = False


@dataclass(frozen=True, slots=True)
class Account:
    """A user of a server, with what gives it rights."""

    policies: frozenset[str]
    groups: frozenset[str] = frozenset()
    enabled: bool = True
