"""What became of a version, as a report and as an event."""

from __future__ import annotations

import traceback
from dataclasses import replace

from sync_daemon.domain import keys
from sync_daemon.domain.digests import CommitId
from sync_daemon.domain.errors import Interrupted, SyncError
from sync_daemon.domain.events import (
    Event,
    InternalError,
    VersionFailed,
    VersionPassed,
    VersionPublished,
    VersionRefused,
    VersionUnchanged,
)
from sync_daemon.domain.manifest import Current
from sync_daemon.domain.plan import Plan
from sync_daemon.domain.report import Bytes, Failure, Files, Status, VersionReport
from sync_daemon.domain.trees import TreePlan
from sync_daemon.domain.wanted import Wanted
from sync_daemon.domain.words import plural
from sync_daemon.engine.move import Receipts
from sync_daemon.ports import Emit


def planned(
    wanted: Wanted, commit: CommitId, plan: Plan, warnings: tuple[str, ...]
) -> VersionReport:
    """Report a plan: nothing was moved."""
    total = len(plan.files)
    return VersionReport(
        wanted.model,
        wanted.version,
        "planned",
        commit,
        files=Files(total, 0, total - len(plan.fetches), len(plan.removed)),
        bytes=Bytes(plan.total_bytes, 0, 0, plan.total_bytes - plan.fetch_bytes),
        warnings=warnings,
        plan=plan,
    )


def moved(report: VersionReport, plan: Plan, receipts: Receipts) -> VersionReport:
    """Add what was really moved; what was planned is not repeated."""
    stored = [m.receipt for m in receipts.values() if m.uploaded]
    files = replace(report.files, uploaded=len(stored), reused=report.files.total - len(stored))
    sizes = replace(report.bytes, reused=plan.total_bytes - sum(r.size for r in stored))
    return replace(report, files=files, bytes=sizes, plan=None)


def unchanged(wanted: Wanted, report: VersionReport, pointer: Current) -> VersionReport:
    """Report a version that already is as declared, and what a full run had to restore."""
    key = keys.manifest(wanted.model, wanted.version, pointer.manifest)
    restored = report.files.uploaded
    reasons = (f"blobs that were missing and are restored: {restored}",) if restored else ()
    return replace(report, status="unchanged", manifest=key, reasons=reasons)


def with_tree(
    report: VersionReport, plan: TreePlan, stored: int, warnings: tuple[str, ...]
) -> VersionReport:
    """Add what was done for the plain copies; `stored` is in bytes."""
    reasons, copied = report.reasons, len(plan.copies)
    if report.status == "unchanged" and not plan.idle:
        done = f"{plural(copied, 'file')} copied, {len(plan.removes)} removed"
        reasons = (*reasons, f"its tree {plan.key} was completed: {done}")
    return replace(
        report,
        tree=plan.key,
        files=replace(report.files, copied=copied),
        bytes=replace(report.bytes, copied=stored),
        reasons=reasons,
        warnings=(*report.warnings, *warnings),
    )


def without_tree(report: VersionReport, folder: str, error: SyncError) -> VersionReport:
    """Report that the plain copies could not be made: the version itself stays published, and
    is no success. A refusal stays one."""
    before = "published" if report.status == "published" else "it stays as it was published"
    message = f"{before}, but its tree {folder} is not whole: {error}"
    if report.status == "refused":
        return replace(report, warnings=(*report.warnings, message))
    failure = Failure(error.kind, message, error.hint or "the next run goes on with it")
    status: Status = "interrupted" if isinstance(error, Interrupted) else "failed"
    return replace(report, status=status, error=failure)


def held(wanted: Wanted, pointer: Current) -> VersionReport:
    """Report a version that a rollback holds."""
    reason = f"held by a rollback; `sync-daemon accept {wanted}` lets it follow again"
    return VersionReport(wanted.model, wanted.version, "held", pointer.commit, reasons=(reason,))


def refused(wanted: Wanted, commit: CommitId | None, reasons: tuple[str, ...]) -> VersionReport:
    """Report a version that was not let through, with every reason."""
    return VersionReport(wanted.model, wanted.version, "refused", commit, reasons=reasons)


def stopped(wanted: Wanted, status: Status, error: Exception) -> VersionReport:
    """Report an error. One that nobody foresaw is a fault of this program, and says so."""
    if isinstance(error, SyncError):
        failure = Failure(error.kind, str(error), error.hint)
    else:
        hint = "this is a fault of sync-daemon: please report it with the log"
        failure = Failure("internal_error", f"{type(error).__name__}: {error}", hint)
    reasons = (failure.message,) if status == "skipped" else ()
    return VersionReport(wanted.model, wanted.version, status, reasons=reasons, error=failure)


def tell_trace(wanted: Wanted, error: Exception, emit: Emit) -> None:
    """Emit where in the program an error came from that nobody expected."""
    trace = "".join(traceback.format_exception(error))
    emit(InternalError(model=wanted.model, version=wanted.version, trace=trace))


def tell(report: VersionReport, emit: Emit) -> None:
    """Emit the event of a report; a plan is told by the command that asked for it."""
    if (event := _event(report)) is not None:
        emit(event)


def _event(report: VersionReport) -> Event | None:
    model, version = report.model, report.version
    match report.status:
        case "published":
            return VersionPublished(
                model=model,
                version=version,
                commit=report.commit or "",
                manifest=report.manifest or "",
                files=report.files.total,
                fetched_bytes=report.bytes.fetched,
                uploaded_bytes=report.bytes.uploaded,
                seconds=round(report.seconds, 3),
            )
        case "unchanged":
            return VersionUnchanged(model=model, version=version, commit=report.commit or "")
        case "refused":
            return VersionRefused(
                model=model, version=version, reasons=report.reasons, commit=report.commit
            )
        case "failed":
            error = report.error or Failure("internal_error", "no error was recorded")
            return VersionFailed(
                model=model,
                version=version,
                kind=error.kind,
                error=error.message,
                hint=error.hint,
            )
        case "planned":
            return None
    reasons = report.reasons or ((report.error.message,) if report.error else ())
    return VersionPassed(model=model, version=version, status=report.status, reasons=reasons)
