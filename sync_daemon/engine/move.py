"""The middle of the line: what is held already, and the transfer of what is not."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass

from sync_daemon import meter
from sync_daemon.domain.digests import CommitId, Digest
from sync_daemon.domain.errors import Deferred, Interrupted, OriginLied, SyncError, Unavailable
from sync_daemon.domain.listing import RemoteFile
from sync_daemon.domain.manifest import FileEntry, Manifest
from sync_daemon.domain.plan import Held, Plan, content_key, known_digest
from sync_daemon.domain.wanted import Wanted
from sync_daemon.engine.blob import Fetch, Receipt
from sync_daemon.engine.siblings import oids_of
from sync_daemon.engine.tools import Tools
from sync_daemon.ports import Origin


@dataclass(frozen=True, slots=True)
class Moved:
    """A receipt. `here` is False when another version that wants the same content moved it."""

    receipt: Receipt
    here: bool

    @property
    def uploaded(self) -> bool:
        """Whether this version put bytes into the store."""
        return self.here and self.receipt.uploaded


Receipts = Mapping[object, Moved]


def gather(
    wanted: Wanted, files: tuple[RemoteFile, ...], before: Manifest | None, tools: Tools
) -> Held:
    """Find what may be reused, each blob proven present with its size (I1)."""
    oids = oids_of(before, wanted.repository) if before else {}
    if any(file.git_oid and not file.lfs and file.git_oid not in oids for file in files):
        oids = tools.siblings.oids(wanted) | oids
    known = {digest for file in files if (digest := known_digest(file, oids))}
    tools.vault.unmark(known)
    return Held(tools.vault.prove(known), oids)


def transfer(
    wanted: Wanted, commit: CommitId, plan: Plan, origin: Origin, tools: Tools
) -> Receipts:
    """Move what is missing. Every file is tried, then the first failure is raised (I6).

    While large files wait for their hours, so does what no digest is known of: until the
    version is published nobody could tell that it is here, and each run would fetch it anew.
    """
    spent = meter.active()
    incomplete = any(tools.transfer.waits(file.size) for file in plan.fetches)
    waiting: list[BaseException] = []
    asked: list[tuple[RemoteFile, Future[Receipt], bool]] = []
    errors: list[BaseException] = []
    for file in plan.fetches:
        fetch = Fetch(wanted.model, wanted.version, origin, wanted.repository, commit, file, spent)
        if incomplete and file.sha256 is None and not tools.transfer.waits(file.size):
            waiting.append(Deferred(f"{fetch}: waits for the large files of {wanted}"))
            continue
        try:
            asked.append((file, *tools.transfer.submit(fetch)))
        except SyncError as refused:
            errors.append(refused)
    moved: dict[object, Moved] = {}
    for file, future, here in asked:
        if (error := future.exception()) is not None:
            errors.append(error)
            continue
        receipt = future.result()
        if receipt.size != file.size:
            errors.append(_wrong_size(file, receipt))
            continue
        tools.vault.unmark((receipt.sha256,))
        tools.vault.remember(receipt.sha256, receipt.size)
        moved[content_key(file)] = Moved(receipt, here)
    if errors or waiting:
        raise _summary([*errors, *waiting], len(plan.fetches))
    return moved


def _wrong_size(file: RemoteFile, receipt: Receipt) -> OriginLied:
    message = f"{file.path}: listed with {file.size} bytes, but its content has {receipt.size}"
    return OriginLied(message, hint="the origin contradicts itself; tell its operator")


def _summary(errors: list[BaseException], asked: int) -> BaseException:
    """One error that stands for all: an interruption, else the first that will not heal.
    That files wait for the window is told only if there is nothing worse."""
    if not (worse := [error for error in errors if not isinstance(error, Deferred)]):
        return _waiting(errors)
    lasting = [error for error in worse if not isinstance(error, Unavailable)]
    if stopped := [error for error in worse if isinstance(error, Interrupted)]:
        failed = [error for error in worse if not isinstance(error, Interrupted)]
        return _interruption(stopped, failed, asked)
    first = (lasting or worse)[0]
    if len(errors) == 1 or not isinstance(first, SyncError):
        return first
    message = f"{len(errors)} of {asked} files failed, the first: {first}"
    return type(first)(message, hint=first.hint)


def _interruption(
    stopped: list[Interrupted], failed: list[BaseException], asked: int
) -> BaseException:
    """A file that was stopped did not fail; one that failed before is named all the same."""
    if len(stopped) == asked == 1:
        return stopped[0]
    message = f"interrupted with {len(stopped)} of {asked} files on their way"
    if failed:
        message += f"; {len(failed)} failed, the first: {failed[0]}"
    return Interrupted(message, hint=stopped[0].hint or "the next run takes them up again")


def _waiting(errors: list[BaseException]) -> Deferred:
    first = errors[0]
    message = str(first) if len(errors) == 1 else f"{len(errors)} files wait, the first: {first}"
    return Deferred(message, hint=first.hint if isinstance(first, Deferred) else None)


def entries(plan: Plan, moved: Receipts) -> tuple[FileEntry, ...]:
    """Return the stored files of a plan, whose digests were all computed from their bytes."""

    def digest(file: RemoteFile, held: Digest | None) -> Digest:
        return held or moved[content_key(file)].receipt.sha256

    return tuple(
        FileEntry(
            f.remote.path, f.remote.size, digest(f.remote, f.held), f.remote.git_oid, f.remote.lfs
        )
        for f in plan.files
    )
