"""The end of the line: manifest, then pointer (I4); and the record of what was refused."""

from __future__ import annotations

from contextlib import suppress

from sync_daemon.domain import canonical, keys
from sync_daemon.domain.digests import CommitId, Digest
from sync_daemon.domain.errors import PreconditionFailed
from sync_daemon.domain.listing import Resolved
from sync_daemon.domain.manifest import Current, FileEntry, Manifest, Source
from sync_daemon.domain.trees import carry
from sync_daemon.domain.wanted import Wanted
from sync_daemon.engine.facts import is_plain, read_facts
from sync_daemon.engine.locks import Lock
from sync_daemon.engine.tools import Tools
from sync_daemon.engine.vault import Vault

Pointer = tuple[Current, str]
"""A version's pointer and the etag it was read with."""


def describe(
    wanted: Wanted,
    resolved: Resolved,
    files: tuple[FileEntry, ...],
    *,
    origin_type: str,
    licence: str | None,
    vault: Vault,
) -> Manifest:
    """Return the manifest of these files."""
    repository = wanted.repository
    return Manifest(
        model=wanted.model,
        version=wanted.version,
        source=Source(
            origin_type, repository.name, repository.kind, wanted.revision, resolved.commit
        ),
        selection=wanted.selection.digest,
        files=files,
        licence=licence if is_plain(licence) else None,
        facts=read_facts(files, lambda entry, start, stop: vault.read(entry.sha256, start, stop)),
        requires=wanted.requires,
    )


def publish(
    manifest: Manifest,
    resolved: Resolved,
    current: Pointer | None,
    lock: Lock,
    tools: Tools,
    *,
    folder: str | None,
) -> Pointer:
    """Make `manifest` the version's current one and return its pointer; `folder` is the tree
    that is to be made of it, if one is.

    Raises LockLost when the lock is not ours any more, PreconditionFailed when somebody
    published in between: nothing has changed then.
    """
    pointer, etag = current or (None, None)
    tools.locks.check(lock)
    digest = tools.vault.publish_manifest(manifest)
    new = Current(
        commit=resolved.commit,
        selection=manifest.selection,
        manifest=digest,
        published_at=tools.clock.now(),
        previous=_before(pointer, digest),
        pin=resolved.pin,
        tree=carry(pointer.tree if pointer else None, folder),
    )
    tools.locks.check(lock)
    return new, tools.vault.publish_current(manifest.model, manifest.version, new, etag)


def _before(pointer: Current | None, digest: Digest) -> Digest | None:
    """Return what a rollback leads to: never the manifest that is current itself."""
    if pointer is None:
        return None
    return pointer.previous if pointer.manifest == digest else pointer.manifest


def is_current(
    wanted: Wanted,
    resolved: Resolved,
    before: Manifest | None,
    current: Pointer | None,
    files: tuple[FileEntry, ...],
) -> bool:
    """Tell whether the version already is exactly this: then nothing is published again."""
    if before is None or current is None or current[0].hold:
        return False
    same = current[0].matches(resolved.commit, wanted.selection.digest)
    return same and before.files == files and before.requires == wanted.requires


def record_refusal(
    wanted: Wanted, commit: CommitId, reasons: tuple[str, ...], vault: Vault
) -> None:
    """Keep why a version was refused, once for each commit."""
    body = canonical.encode(
        {
            "model": wanted.model,
            "version": wanted.version,
            "commit": commit,
            "repo": wanted.repository.name,
            "reasons": list(reasons),
        }
    )
    key = keys.quarantine(wanted.model, wanted.version, commit)
    with suppress(PreconditionFailed):
        vault.retry(f"write {key}", lambda: vault.store.put(key, body, if_absent=True))
