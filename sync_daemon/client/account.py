"""What a pull has done so far, also when it fails in the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from sync_daemon.client.hub_cache import find_snapshot
from sync_daemon.client.placing import Outcome
from sync_daemon.client.report import NO_BYTES, NOTHING, PullReport, Sizes, Status
from sync_daemon.client.request import ORIGIN, Request
from sync_daemon.domain.digests import CommitId
from sync_daemon.domain.errors import SyncError
from sync_daemon.domain.listing import RemoteFile
from sync_daemon.domain.manifest import Manifest
from sync_daemon.domain.report import Failure, VersionReport
from sync_daemon.engine.run import Engine


@dataclass(slots=True)
class Account:
    """What is known so far of a pull that may still fail."""

    commit: CommitId | None = None
    files: int = 0
    fetched_files: int = 0
    sizes: Sizes = NO_BYTES
    outcome: Outcome = NOTHING
    endpoints: dict[str, list[int]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    plan: tuple[RemoteFile, ...] | None = None

    def count(self, report: VersionReport, engine: Engine) -> None:
        """Add what a run of the engine did."""
        self.fetched_files += report.files.uploaded
        self.sizes = replace(self.sizes, fetched=self.sizes.fetched + report.bytes.fetched)
        self.warnings += [one for one in report.warnings if one not in self.warnings]
        self.tally(engine)

    def tally(self, engine: Engine) -> None:
        """Add the requests since the last run began."""
        record = engine.origins[ORIGIN].record
        for one in record.tallies() if record else ():
            counts = self.endpoints.setdefault(one.endpoint, [0, 0])
            counts[0] += one.requests
            counts[1] += one.failures

    def measure(self, manifest: Manifest) -> None:
        """Note how large the version is."""
        self.files = len(manifest.files)
        self.sizes = replace(self.sizes, total=manifest.size)

    def add(self, outcome: Outcome) -> None:
        """Add what was put into one place."""
        self.outcome = replace(
            self.outcome,
            linked=self.outcome.linked + outcome.linked,
            copied=self.outcome.copied + outcome.copied,
            kept=self.outcome.kept + outcome.kept,
            removed=self.outcome.removed + outcome.removed,
        )

    def report(
        self,
        request: Request,
        status: Status,
        cause: SyncError | None,
        names: Mapping[str, str],
        seconds: float,
    ) -> PullReport:
        """Return what became of the request; `names` are those of the mirrors, by URL."""
        done, hub = status == "ok", request.hub_cache
        reused = max(0, self.sizes.total - self.sizes.fetched) if done else self.sizes.reused
        found = find_snapshot(hub, request.repository, self.commit or "") if hub and done else None
        return PullReport(
            request,
            status,
            self.commit,
            snapshot=found,
            files=self.files,
            fetched_files=self.fetched_files,
            bytes=replace(self.sizes, reused=reused),
            outcome=self.outcome,
            seconds=seconds,
            site=_main_site(self.endpoints, names),
            endpoints=tuple(
                {"url": url, "name": names.get(url), "requests": asked, "failures": failed}
                for url, (asked, failed) in self.endpoints.items()
            ),
            warnings=tuple(self.warnings),
            error=Failure(cause.kind, str(cause), cause.hint) if cause else None,
            plan=tuple((one.path, one.size) for one in self.plan or ())
            if request.dry_run
            else None,
            cause=cause,
        )


def _main_site(endpoints: Mapping[str, Sequence[int]], names: Mapping[str, str]) -> str | None:
    if not endpoints:
        return None
    best = max(endpoints, key=lambda url: endpoints[url][0] - endpoints[url][1])
    return names.get(best, best)
