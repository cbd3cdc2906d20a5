"""What can go wrong, and what it means to the caller.

    SyncError                     message for a person, and a hint what to do next
     +- ConfigurationError        nothing was touched (exit 2)
     +- InvalidName               a name that no store or reader may be shown
     +- Unavailable               trying again can help, and is done
     |   +- OriginUnavailable
     |   |   +- TooSlow
     |   +- StoreUnavailable      the store cannot be reached (exit 3 when nothing else worked)
     +- OriginRefused             the origin says no, and will say so again
     |   +- RepositoryNotFound, RevisionNotFound, OriginFileNotFound, Forbidden
     |   +- OriginChanged         something else is there since it was listed
     +- OriginLied                an answer that contradicts the listing or the protocol; tried
     |   |                         again too, since a proxy or one of many servers may be to blame
     |   +- DigestMismatch        not tried again: the whole file begins anew, once
     +- StoreRefused              missing bucket, no permission, unknown format
     +- StoreFull                 the store has no room: never retried
     +- PreconditionFailed        a conditional write lost: somebody else was first
     +- UploadGone                the store no longer knows a multipart upload
     +- LockedElsewhere, LockLost
     +- Interrupted               the stop event was set
         +- Deferred              a large file, outside the window in which such may move

Adapters translate their SDK's errors into these; nobody matches on text.
A named thing that is not there raises the builtin FileNotFoundError.
"""

from __future__ import annotations


class SyncError(Exception):
    """Base of all errors that this program raises on purpose.

    `hint` tells a person what to do next; it never contains a secret.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint

    @property
    def kind(self) -> str:
        """Stable snake_case name for reports and log lines, e.g. `repository_not_found`."""
        name = type(self).__name__
        return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")


class ConfigurationError(SyncError):
    """The configuration or the command line is wrong; nothing was touched."""


class InvalidName(SyncError, ValueError):
    """A name that is hostile, or that some store or reader cannot hold."""


class Unavailable(SyncError):
    """Trying again can help. `retry_after` is the server's own wish, in seconds."""

    def __init__(
        self, message: str, *, hint: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class OriginUnavailable(Unavailable):
    """An origin did not answer, or answered with a fault of its own."""


class TooSlow(OriginUnavailable):
    """Below the minimum speed: however much came, the attempt was in vain."""


class StoreUnavailable(Unavailable):
    """The store did not answer, or answered with a fault of its own."""


class OriginRefused(SyncError):
    """The origin says no; asking again gives the same answer."""


class RepositoryNotFound(OriginRefused):
    """No such repository, or one that this token may not see: origins do not tell which."""


class RevisionNotFound(OriginRefused):
    """The repository has no such commit, tag or branch."""


class OriginFileNotFound(OriginRefused):
    """The origin listed a file and then does not have it."""


class Forbidden(OriginRefused):
    """The origin asks for a (better) token, or for its licence to be accepted."""


class OriginChanged(OriginRefused):
    """Other content took the place of what was listed: only a new listing can help."""


class OriginLied(SyncError):
    """An answer that contradicts the origin's own listing or the protocol.

    Another attempt, or another endpoint, may tell the truth.
    """


class DigestMismatch(OriginLied):
    """The bytes received are not the bytes promised."""


class StoreRefused(SyncError):
    """The store says no: no such bucket, no permission, an unknown format."""


class StoreFull(StoreRefused):
    """The store has no room left."""


class PreconditionFailed(SyncError):
    """A conditional write lost against another writer (412, or 409 on some servers)."""


class UploadGone(SyncError):
    """The store does not know this multipart upload (any more)."""


class LockedElsewhere(SyncError):
    """Another process holds the lock, and is alive as far as the store can tell."""


class LockLost(SyncError):
    """Our lock could not be refreshed in time; this process must not publish."""


class Interrupted(SyncError):
    """The stop event was set: the work can be taken up again later."""


class Deferred(Interrupted):
    """Large files may not move now: this one goes on in the next window."""
