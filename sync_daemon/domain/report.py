"""What a run did: behind `run-once --json`, and the run reports in the store."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from sync_daemon.domain.digests import CommitId
from sync_daemon.domain.exits import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_LOCKED,
    EXIT_OK,
    EXIT_UNREACHABLE,
)
from sync_daemon.domain.names import ModelName
from sync_daemon.domain.plan import Plan
from sync_daemon.domain.trees import TreePlan

Mode = Literal["incremental", "full"]
Status = Literal[
    "published", "unchanged", "planned", "refused", "failed", "held", "skipped", "interrupted"
]

_FAILURES = frozenset({"failed", "refused"})
UNREACHABLE = frozenset({"origin_unavailable", "store_unavailable"})
LOCKED = "locked_elsewhere"


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as a report shows it."""

    kind: str
    message: str
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class Files:
    """Files of a version: all of them, and what became of them. `copied` into its tree."""

    total: int = 0
    uploaded: int = 0
    reused: int = 0
    removed: int = 0
    copied: int = 0


@dataclass(frozen=True, slots=True)
class Bytes:
    """Bytes of a version. `fetched` counts every byte read from an origin, repeats included;
    `copied` those that its tree stored anew."""

    total: int = 0
    fetched: int = 0
    uploaded: int = 0
    reused: int = 0
    copied: int = 0


@dataclass(frozen=True, slots=True)
class MovedFile:
    """A file that was fetched, its bytes and seconds; `error` is the kind of what kept it."""

    path: str
    size: int
    seconds: float
    error: str | None = None


@dataclass(frozen=True, slots=True)
class VersionReport:
    """What became of one version. `reasons` say why it was refused, held or skipped; `tree` is
    where its plain copies are, whole.

    `moved` names a hundred files at most: those that failed, then the largest.
    """

    model: ModelName
    version: str
    status: Status
    commit: CommitId | None = None
    manifest: str | None = None
    files: Files = Files()
    bytes: Bytes = Bytes()
    origin_requests: int = 0
    store_requests: int = 0
    seconds: float = 0.0
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    error: Failure | None = None
    plan: Plan | None = None
    moved: tuple[MovedFile, ...] = ()
    tree: str | None = None

    @property
    def idle(self) -> bool:
        """Whether it was as declared already, and nothing had to be moved to know it."""
        spent = self.bytes.fetched or self.bytes.uploaded or self.reasons
        return self.status == "unchanged" and not spent

    def to_json(self) -> dict[str, Any]:
        """Return the object of `run-once --json`; a planned version also has `plan`."""
        counts = {"files": self.files, "bytes": self.bytes}
        document: dict[str, Any] = {
            "model": self.model,
            "version": self.version,
            "status": self.status,
            "commit": self.commit,
            "manifest": self.manifest,
            "tree": self.tree,
            **{name: _as_dict(value) for name, value in counts.items()},
            "requests": {"origin": self.origin_requests, "store": self.store_requests},
            "seconds": round(self.seconds, 3),
            "reasons": list(self.reasons),
            "warnings": list(self.warnings),
            "error": _as_dict(self.error) if self.error else None,
            "moved": [_as_dict(file) for file in self.moved],
        }
        if self.plan is not None:
            document["plan"] = _plan_json(self.plan)
        return document


def _as_dict(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__slots__}


def _plan_json(plan: Plan) -> dict[str, Any]:
    return {
        "added": list(plan.added),
        "changed": list(plan.changed),
        "removed": list(plan.removed),
        "reused": [file.remote.path for file in plan.reused],
        "fetch": [{"path": file.path, "size": file.size} for file in plan.fetches],
        "bytes": {
            "total": plan.total_bytes,
            "fetch": plan.fetch_bytes,
            "reused": plan.total_bytes - sum(f.remote.size for f in plan.files if not f.held),
            "staged": plan.cost.staged,
        },
        "requests": {"origin": plan.cost.origin, "store": plan.cost.store},
        "tree": _tree_json(plan.tree) if plan.tree else None,
    }


def _tree_json(tree: TreePlan) -> dict[str, Any]:
    return {
        "key": tree.key,
        "copy": len(tree.copies),
        "remove": len(tree.removes),
        "bytes": tree.space,
        "requests": tree.requests,
    }


@dataclass(frozen=True, slots=True)
class EndpointTally:
    """Requests of a run to one endpoint of an origin, and how many of them failed."""

    origin: str
    endpoint: str
    requests: int
    failures: int


@dataclass(frozen=True, slots=True)
class PastTally:
    """What a former run, that ended then, counted."""

    ended: datetime
    tally: EndpointTally


@dataclass(frozen=True, slots=True)
class Selected:
    """What was asked for by name; nothing of a kind means all of it."""

    models: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()

    def covers(self, model: str, version: str) -> bool:
        """Tell whether a version was meant."""
        wanted = not self.models or model in self.models
        return wanted and (not self.versions or version in self.versions)

    def to_json(self) -> dict[str, list[str]]:
        """Return both lists."""
        return {"models": list(self.models), "versions": list(self.versions)}


EVERYTHING = Selected()

MOST_NAMED = 2000
"""Files that a stored report names: about 200 KB. Every version may name one, if it must."""


@dataclass(frozen=True, slots=True)
class RunReport:
    """What became of everything that was selected."""

    run_id: str
    mode: Mode
    started: datetime
    seconds: float
    versions: tuple[VersionReport, ...]
    endpoints: tuple[EndpointTally, ...] = ()
    selected: Selected = EVERYTHING

    @property
    def status(self) -> str:
        """`failed`: all of it; `partial`: not all is done, be it that something failed, that the
        run was interrupted, or that others hold every lock; else `ok`, and exit code 0."""
        bad = sum(report.status in _FAILURES for report in self.versions)
        if bad and bad == len(self.versions):
            return "failed"
        return "partial" if bad or self.interrupted or self.locked else "ok"

    @property
    def interrupted(self) -> bool:
        """Whether a signal ended it before all was done; the next run goes on."""
        return any(report.status == "interrupted" for report in self.versions)

    @property
    def locked(self) -> bool:
        """Whether other processes hold the lock of everything that was selected."""
        kinds = {report.error.kind for report in self.versions if report.error}
        return kinds == {LOCKED} and all(one.status == "skipped" for one in self.versions)

    @property
    def exit_code(self) -> int:
        """The exit code of `run-once` (docs/commands.md)."""
        statuses = {report.status for report in self.versions}
        kinds = {report.error.kind for report in self.versions if report.error}
        if self.interrupted:
            return EXIT_INTERRUPTED
        moved = any(report.bytes.fetched or report.bytes.uploaded for report in self.versions)
        if statuses == {"failed"} and kinds <= UNREACHABLE and not moved:
            return EXIT_UNREACHABLE
        if statuses & _FAILURES:
            return EXIT_FAILED
        return EXIT_LOCKED if self.locked else EXIT_OK

    def to_json(self) -> dict[str, Any]:
        """Return the object of `run-once --json`."""
        return {
            "run_id": self.run_id,
            "mode": self.mode,
            "status": self.status,
            "interrupted": self.interrupted,
            "started": self.started.isoformat(timespec="seconds"),
            "seconds": round(self.seconds, 3),
            "selected": self.selected.to_json(),
            "models": [report.to_json() for report in self.versions],
            "endpoints": [_as_dict(tally) for tally in self.endpoints],
        }

    def to_record(self) -> bytes:
        """Return what the store keeps: what changed; what did not, at no cost, is only counted.

        However many versions moved, the files that are named stay within MOST_NAMED or so.
        """
        busy = tuple(report for report in self.versions if not report.idle)
        each = max(1, MOST_NAMED // max(1, len(busy)))
        document = self.to_json()
        document["models"] = [replace(one, moved=one.moved[:each]).to_json() for one in busy]
        document["unchanged"] = len(self.versions) - len(busy)
        return json.dumps(document, ensure_ascii=False, sort_keys=True).encode() + b"\n"


def parse_tally(entry: dict[str, Any]) -> EndpointTally:
    """Read one entry of `endpoints`. Raises LookupError, TypeError or ValueError."""
    origin, endpoint = entry["origin"], entry["endpoint"]
    requests, failures = entry["requests"], entry["failures"]
    if type(requests) is not int or type(failures) is not int or not 0 <= failures <= requests:
        message = f"{requests!r} requests and {failures!r} failures"
        raise ValueError(message)
    return EndpointTally(str(origin), str(endpoint), requests, failures)
