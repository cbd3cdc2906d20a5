"""The straight line for one version of one model: everything that syncs calls this function.

    resolve -> list -> admit -> plan -> transfer -> publish (-> tree)

Each arrow is one frozen value. A dry run is the same line, stopped after the plan.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

from sync_daemon import meter
from sync_daemon.domain import keys
from sync_daemon.domain.admission import admit
from sync_daemon.domain.alert_rules import MOVED_UPSTREAM
from sync_daemon.domain.errors import Deferred, Interrupted, LockedElsewhere, SyncError
from sync_daemon.domain.events import VersionPlanned, VersionWarning
from sync_daemon.domain.listing import Listing, Resolved
from sync_daemon.domain.manifest import Current, Manifest
from sync_daemon.domain.plan import make_plan, with_tree
from sync_daemon.domain.report import MovedFile, VersionReport
from sync_daemon.domain.wanted import Wanted
from sync_daemon.engine import outcome, trees
from sync_daemon.engine.cost import price, publishing
from sync_daemon.engine.move import Receipts, entries, gather, transfer
from sync_daemon.engine.publish import Pointer, describe, is_current, publish, record_refusal
from sync_daemon.engine.tools import How, Tools


def sync_version(wanted: Wanted, tools: Tools, how: How) -> VersionReport:
    """Bring one version up to date, tell about it and report. Never raises (I6)."""
    started = tools.clock.monotonic()
    with meter.use(meter.Meter((wanted.model, wanted.version))) as spent:
        try:
            report = _sync(wanted, tools, how)
        except (LockedElsewhere, Deferred) as error:
            report = outcome.stopped(wanted, "skipped", error)
        except Interrupted as error:
            report = outcome.stopped(wanted, "interrupted", error)
        except SyncError as error:
            report = outcome.stopped(wanted, "failed", error)
        except Exception as error:  # noqa: BLE001 - one version never stops the others
            outcome.tell_trace(wanted, error, tools.emit)
            report = outcome.stopped(wanted, "failed", error)
    report = replace(
        report,
        origin_requests=spent.origin_requests,
        store_requests=spent.store_requests,
        bytes=replace(report.bytes, fetched=spent.fetched_bytes, uploaded=spent.uploaded_bytes),
        seconds=tools.clock.monotonic() - started,
        moved=tuple(MovedFile(*file) for file in spent.files()),
    )
    outcome.tell(report, tools.emit)
    return report


def _sync(wanted: Wanted, tools: Tools, how: How) -> VersionReport:  # noqa: PLR0911 - a line and its exits
    resolved = tools.catalog.resolve(wanted)
    current = tools.vault.current(wanted.model, wanted.version)
    if (stay := _settle(wanted, resolved, current, tools, how)) is not None:
        return trees.keep(wanted, stay, current, tools, how)
    origin = tools.catalog.origin(wanted.origin)
    listing = _list(wanted, resolved, tools)
    verdict = admit(listing, wanted.selection)
    _warn(wanted, verdict.warnings, tools)
    if not verdict.allowed:
        return _refuse(wanted, resolved, verdict.reasons, tools, how)
    with tools.locks.hold(str(wanted)) if how.apply else nullcontext() as lock:
        current = tools.vault.current(wanted.model, wanted.version)
        if (stay := _settle(wanted, resolved, current, tools, how)) is not None:
            # somebody published, or held it, while we were listing
            return trees.keep(wanted, stay, current, tools, how, lock=lock)
        before = _published(wanted, current, tools)
        held = gather(wanted, verdict.files, before, tools)
        plan = make_plan(
            verdict.files,
            before.files if before else (),
            held,
            lambda file: price(file, origin, tools.part_size),
        )
        plan = replace(plan, cost=plan.cost + publishing(plan))
        impossible = trees.reasons(wanted, resolved, verdict.files, tools)
        if reasons := (*tools.outlook.reasons(plan), *impossible):
            return _refuse(wanted, resolved, reasons, tools, how)
        doubts = tools.outlook.warnings(plan) + tools.damage.of_blobs(held.digests)
        _warn(wanted, doubts, tools)
        if lock is None and wanted.trees:
            plan = with_tree(plan, trees.outline(wanted, resolved, verdict.files, tools))
        report = outcome.planned(wanted, resolved.commit, plan, verdict.warnings + doubts)
        if lock is None:
            return report
        tools.emit(
            VersionPlanned(
                model=wanted.model,
                version=wanted.version,
                commit=resolved.commit,
                files=len(plan.files),
                fetch_files=len(plan.fetches),
                fetch_bytes=plan.fetch_bytes,
                total_bytes=plan.total_bytes,
            )
        )
        moved = transfer(wanted, resolved.commit, plan, origin, tools)
        report = _warn_of_damage(wanted, outcome.moved(report, plan, moved), moved, tools)
        files = entries(plan, moved)
        if current is not None and is_current(wanted, resolved, before, current, files):
            report = outcome.unchanged(wanted, report, current[0])
            return trees.keep(wanted, report, current, tools, how, lock=lock)
        manifest = describe(
            wanted,
            resolved,
            files,
            origin_type=origin.type,
            licence=listing.licence,
            vault=tools.vault,
        )
        folder = trees.folder(wanted, resolved)
        pointer = publish(manifest, resolved, current, lock, tools, folder=folder)
        key = keys.manifest(wanted.model, wanted.version, pointer[0].manifest)
        report = replace(report, status="published", manifest=key)
        return trees.keep(wanted, report, pointer, tools, how, lock=lock, manifest=manifest)


def _warn(wanted: Wanted, messages: tuple[str, ...], tools: Tools) -> None:
    for message in messages:
        tools.emit(VersionWarning(model=wanted.model, version=wanted.version, message=message))


def _warn_of_damage(
    wanted: Wanted, report: VersionReport, moved: Receipts, tools: Tools
) -> VersionReport:
    """Name blobs that the store had when their bytes came, and that are known to be damaged."""
    there = [one.receipt.sha256 for one in moved.values() if not one.receipt.uploaded]
    warnings = tools.damage.of_blobs(there)
    _warn(wanted, warnings, tools)
    return replace(report, warnings=report.warnings + warnings)


def _list(wanted: Wanted, resolved: Resolved, tools: Tools) -> Listing:
    origin = tools.catalog.origin(wanted.origin)
    return tools.retry(
        f"list {wanted.repository.name}", lambda: origin.list(wanted.repository, resolved.commit)
    )


def _published(wanted: Wanted, current: Pointer | None, tools: Tools) -> Manifest | None:
    """Return the manifest that is current, or None: there is none, or it was lost."""
    if current is None:
        return None
    try:
        return tools.vault.manifest(wanted.model, wanted.version, current[0].manifest)
    except FileNotFoundError:
        message = f"its manifest {current[0].manifest} is gone from the store"
        tools.emit(VersionWarning(model=wanted.model, version=wanted.version, message=message))
        return None


def _settle(
    wanted: Wanted, resolved: Resolved, current: Pointer | None, tools: Tools, how: How
) -> VersionReport | None:
    """Return the report of a version for which nothing is to be done, or None."""
    if how.accept:
        return None
    if current is None:
        lost = _why_lost(wanted, resolved, tools) if resolved.pin else ()
        return _refuse(wanted, resolved, lost, tools, how) if lost else None
    pointer = current[0]
    if pointer.hold:
        return outcome.held(wanted, pointer)
    if pointer.matches(resolved.commit, wanted.selection.digest):
        return None if how.full else _unchanged(wanted, pointer, tools)
    if not pointer.pin:
        return None
    return _refuse(wanted, resolved, _why_pinned(wanted, resolved, current, tools), tools, how)


def _unchanged(wanted: Wanted, pointer: Current, tools: Tools) -> VersionReport:
    """Report a version whose manifest nobody reads; what verify found of it is told again."""
    key = keys.manifest(wanted.model, wanted.version, pointer.manifest)
    warnings = tools.damage.of_manifest(key)
    _warn(wanted, warnings, tools)
    report = VersionReport(
        wanted.model, wanted.version, "unchanged", pointer.commit, warnings=warnings
    )
    return outcome.unchanged(wanted, report, pointer)


def _why_pinned(
    wanted: Wanted, resolved: Resolved, current: Pointer, tools: Tools
) -> tuple[str, ...]:
    """Say how a published pin would change by itself, which it never does (I3)."""
    pointer = current[0]
    advice = f"`sync-daemon accept {wanted}` lets it through; or give it a new version name"
    reasons = []
    if pointer.commit != resolved.commit:
        manifest, now = _published(wanted, current, tools), wanted.revision
        published = manifest.source.revision if manifest else now
        what = (
            f"{resolved.kind} {now} {MOVED_UPSTREAM}"
            if published == now
            else f"the YAML changes a published pin from {published} to {now}"
        )
        reasons.append(f"{what}: {pointer.commit} would become {resolved.commit}; {advice}")
    if pointer.selection != wanted.selection.digest:
        reasons.append(f"the YAML changes include or exclude of a published pin; {advice}")
    return tuple(reasons)


def _why_lost(wanted: Wanted, resolved: Resolved, tools: Tools) -> tuple[str, ...]:
    """A pin whose pointer was lost is still a pin: its manifests say what it was (I3)."""
    known = {
        manifest.source.commit for manifest in tools.vault.manifests(wanted.model, wanted.version)
    }
    if not known or resolved.commit in known:
        return ()
    reason = (
        f"it was published at {', '.join(sorted(known))}, its current.json is gone, and"
        f" {resolved.kind} {wanted.revision} now means {resolved.commit};"
        f" `sync-daemon accept {wanted}` publishes that"
    )
    return (reason,)


def _refuse(
    wanted: Wanted, resolved: Resolved, reasons: tuple[str, ...], tools: Tools, how: How
) -> VersionReport:
    if how.apply:
        try:
            record_refusal(wanted, resolved.commit, reasons, tools.vault)
        except SyncError as error:  # the refusal stands, with or without its record
            message = f"why it was refused could not be kept: {error}"
            tools.emit(VersionWarning(model=wanted.model, version=wanted.version, message=message))
    return outcome.refused(wanted, resolved.commit, reasons)
