"""What a pull did: behind `pull --json`, the exit code, and what the Python API returns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sync_daemon.client.placing import Outcome
from sync_daemon.client.request import Request
from sync_daemon.domain.digests import CommitId
from sync_daemon.domain.errors import SyncError
from sync_daemon.domain.exits import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, EXIT_UNREACHABLE
from sync_daemon.domain.report import Failure

Status = Literal["ok", "planned", "failed", "refused", "interrupted"]

_UNREACHABLE = frozenset(
    {"origin_unavailable", "too_slow", "store_unavailable", "store_refused", "not_in_cache"}
)


class NotInCache(SyncError):
    """Nobody may be asked (`--offline`), and the cache does not hold all of it."""


class VersionRefused(SyncError):
    """A version whose files cannot be pulled as they are, with every reason."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes: of the version, read from mirrors (repeats included), and those that were here."""

    total: int = 0
    fetched: int = 0
    reused: int = 0


NO_BYTES, NOTHING = Sizes(), Outcome()


@dataclass(frozen=True, slots=True)
class PullReport:
    """What became of one request.

    `site` is the mirror that answered most requests. `plan` lists what a dry run would fetch:
    path and bytes. `outcome` sums all places that were filled.
    """

    request: Request
    status: Status
    commit: CommitId | None = None
    snapshot: Path | None = None
    files: int = 0
    fetched_files: int = 0
    bytes: Sizes = NO_BYTES
    outcome: Outcome = NOTHING
    seconds: float = 0.0
    site: str | None = None
    endpoints: tuple[Mapping[str, Any], ...] = ()
    warnings: tuple[str, ...] = ()
    error: Failure | None = None
    plan: tuple[tuple[str, int], ...] | None = field(default=None)
    cause: SyncError | None = field(default=None, compare=False, repr=False)

    @property
    def exit_code(self) -> int:
        """The exit code of `pull`."""
        if self.status in {"ok", "planned"}:
            return EXIT_OK
        if self.status == "interrupted":
            return EXIT_INTERRUPTED
        unreachable = self.error is not None and self.error.kind in _UNREACHABLE
        return EXIT_UNREACHABLE if unreachable and not self.bytes.fetched else EXIT_FAILED

    def raise_for_error(self) -> None:
        """Raise what the report says went wrong, as one of our errors."""
        if self.cause is not None:
            raise self.cause

    def to_json(self) -> dict[str, Any]:
        """Return the object of `pull --json`."""
        request, outcome = self.request, self.outcome
        document: dict[str, Any] = {
            "model": request.model,
            "version": request.version,
            "repo_type": request.repo_type,
            "commit": self.commit,
            "status": self.status,
            "output": str(request.output.absolute()) if request.output else None,
            "hf_cache": str(self.snapshot) if self.snapshot else None,
            "files": {
                "total": self.files,
                "fetched": self.fetched_files,
                "linked": outcome.linked,
                "copied": outcome.copied,
                "kept": outcome.kept,
                "removed": outcome.removed,
            },
            "bytes": {
                "total": self.bytes.total,
                "fetched": self.bytes.fetched,
                "reused": self.bytes.reused,
            },
            "seconds": round(self.seconds, 3),
            "site": self.site,
            "sites": list(self.endpoints),
            "warnings": list(self.warnings),
            "errors": [_failure(self.error)] if self.error else [],
        }
        if self.plan is not None:
            document["plan"] = [{"path": path, "size": size} for path, size in self.plan]
        return document


def _failure(error: Failure) -> dict[str, Any]:
    return {"kind": error.kind, "message": error.message, "hint": error.hint}


def error_of(failure: Failure) -> SyncError:
    """Return the error that a report's failure was, by its kind."""
    kinds = {_kind(one): one for one in _descendants(SyncError)}
    return kinds.get(failure.kind, SyncError)(failure.message, hint=failure.hint)


def _kind(of: type[SyncError]) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in of.__name__).lstrip("_")


def _descendants(of: type[SyncError]) -> Iterator[type[SyncError]]:
    for one in of.__subclasses__():
        yield one
        yield from _descendants(one)
