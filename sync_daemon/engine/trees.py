"""Plain copies of published versions: made after the pointer moved, mended by later runs (I4).

The pointer says which folder is whole, and for which manifest, so that a tree that is as it
should be costs no request. A tree that cannot be made fails its version, which stays
published (I6).
"""

from __future__ import annotations

from dataclasses import replace

from sync_daemon.domain.errors import LockedElsewhere, SyncError
from sync_daemon.domain.listing import RemoteFile, Resolved
from sync_daemon.domain.manifest import Current, Manifest
from sync_daemon.domain.plan import Cost, Plan, PlannedFile, known_digest
from sync_daemon.domain.report import VersionReport
from sync_daemon.domain.trees import (
    TreeFile,
    TreePlan,
    find_folder,
    find_problems,
    is_whole,
    plan_tree,
)
from sync_daemon.domain.wanted import Wanted
from sync_daemon.engine import outcome
from sync_daemon.engine.locks import Lock
from sync_daemon.engine.publish import Pointer
from sync_daemon.engine.tools import How, Tools
from sync_daemon.engine.tree_making import (
    Made,
    Making,
    files_of,
    find_base,
    list_folder,
    trust,
)

_LOCKING = 5
"""Requests around a tree that is made by itself: lock, pointer, unlock."""


def keep(
    wanted: Wanted,
    report: VersionReport,
    current: Pointer | None,
    tools: Tools,
    how: How,
    *,
    lock: Lock | None = None,
    manifest: Manifest | None = None,
) -> VersionReport:
    """Bring the tree in line with the pointer, and put what became of it into the report.

    `lock` is the version's where it is held already, `manifest` the one that was published a
    moment ago. Raises LockedElsewhere for a version that is otherwise as declared.
    """
    if current is None:
        return report
    if not wanted.trees:
        return _say_left(report, current[0], how)
    where = find_folder(wanted, current[0].commit, pin=current[0].pin)
    if is_whole(current[0], where) and not how.full:
        return replace(report, tree=where)
    if not how.apply:
        return _foresee(wanted, report, current[0], where, tools)
    try:
        made = _make(wanted, tools, lock, (current, manifest) if manifest else None)
    except SyncError as error:
        if isinstance(error, LockedElsewhere) and report.status == "unchanged":
            raise
        return outcome.without_tree(report, where, error)
    return outcome.with_tree(report, made.plan, made.stored, made.warnings)


def _make(
    wanted: Wanted, tools: Tools, lock: Lock | None, fresh: tuple[Pointer, Manifest] | None
) -> Made:
    if lock is not None:
        return Making(wanted, tools, lock).run(fresh)
    with tools.locks.hold(str(wanted)) as own:
        return Making(wanted, tools, own).run(None)


def folder(wanted: Wanted, resolved: Resolved) -> str | None:
    """Return the key of the tree of a version that is to be published; None: it has none."""
    if not wanted.trees:
        return None
    return find_folder(wanted, resolved.commit, pin=resolved.pin)


def outline(
    wanted: Wanted, resolved: Resolved, files: tuple[RemoteFile, ...], tools: Tools
) -> TreePlan:
    """Return what a version that is to be published will need for its tree."""
    folder = find_folder(wanted, resolved.commit, pin=resolved.pin)
    found = {key: info.size for key, info in list_folder(folder, tools).items()}
    entries = (TreeFile(file.path, file.size, known_digest(file, {})) for file in files)
    trusted = trust(pin=resolved.pin)
    shares = tools.vault.store.traits.shares
    return plan_tree(folder, entries, found, trusted, shares=shares)


def reasons(
    wanted: Wanted, resolved: Resolved, files: tuple[RemoteFile, ...], tools: Tools
) -> tuple[str, ...]:
    """Return why the tree of a version could not be made."""
    if not wanted.trees:
        return ()
    folder = find_folder(wanted, resolved.commit, pin=resolved.pin)
    room = tools.vault.store.traits.key_bytes
    return find_problems(folder, (file.path for file in files), room)


def _say_left(report: VersionReport, pointer: Current, how: How) -> VersionReport:
    """Tell of a tree that nobody asks for any more, when somebody looks closely."""
    if pointer.tree is None or not how.full:
        return report
    message = f"`trees` is off, and {pointer.tree.key} is still there"
    return replace(report, warnings=(*report.warnings, message))


def _foresee(
    wanted: Wanted, report: VersionReport, pointer: Current, folder: str, tools: Tools
) -> VersionReport:
    """Plan the tree of a version that is otherwise as declared."""
    if report.status != "unchanged":
        return report
    try:
        manifest = tools.vault.manifest(wanted.model, wanted.version, pointer.manifest)
    except FileNotFoundError:
        return report
    files = files_of(manifest)
    if problems := find_problems(
        folder, (file.path for file in files), tools.vault.store.traits.key_bytes
    ):
        return outcome.refused(wanted, pointer.commit, problems)
    found = list_folder(folder, tools)
    plan = plan_tree(
        folder,
        files,
        {key: info.size for key, info in found.items()},
        trust(pin=pointer.pin, base=find_base(wanted, pointer, folder, manifest, tools)),
        shares=tools.vault.store.traits.shares,
    )
    if plan.idle and is_whole(pointer, folder):
        return replace(report, tree=folder)
    held = tuple(
        PlannedFile(RemoteFile(one.path, one.size, one.sha256), one.sha256)
        for one in manifest.files
    )
    cost = Cost(0, plan.requests + _LOCKING)
    return outcome.planned(
        wanted, pointer.commit, Plan(held, (), (), (), cost, plan), report.warnings
    )
