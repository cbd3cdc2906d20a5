"""What `verify` found, as values: which object is damaged, how, and who needs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from sync_daemon.domain import canonical
from sync_daemon.domain.digests import Digest
from sync_daemon.domain.events import VerifyFinished
from sync_daemon.domain.names import ModelName, RepoPath, VersionName

Kind = Literal["missing", "wrong_size", "corrupt", "unreadable"]


@dataclass(frozen=True, slots=True)
class Use:
    """Who needs an object: a version, and of a blob the manifest and the path in it."""

    model: ModelName
    version: VersionName
    manifest: Digest | None = None
    path: RepoPath | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the fields that have a value."""
        return canonical.present(
            model=self.model, version=self.version, manifest=self.manifest, path=self.path
        )


@dataclass(frozen=True, slots=True)
class Damage:
    """One damaged object. `size` is what it should have, `found` what it has, in bytes."""

    kind: Kind
    key: str
    message: str
    uses: tuple[Use, ...]
    size: int | None = None
    found: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the object of `verify --json`."""
        return {
            "kind": self.kind,
            "key": self.key,
            "message": self.message,
            "size": self.size,
            "found": self.found,
            "uses": [use.to_json() for use in self.uses],
        }


@dataclass(frozen=True, slots=True)
class Verification:
    """What was proven. `blobs` and `bytes` count every referenced blob once.

    `unreferenced` (blobs, bytes) is what no manifest names, None when only some models were
    asked for: it is no damage, a run may be at work.
    """

    deep: bool
    versions: int
    manifests: int
    blobs: int
    bytes: int
    hashed: int
    damage: tuple[Damage, ...]
    unreferenced: tuple[int, int] | None
    seconds: float

    @property
    def hit(self) -> tuple[str, ...]:
        """The versions that need a damaged object, as MODEL@VERSION."""
        uses = (use for damage in self.damage for use in damage.uses)
        return tuple(sorted({f"{use.model}@{use.version}" for use in uses}))

    def finished(self, job: str, *, complete: bool) -> VerifyFinished:
        """Return the event that tells of it; `complete`: of all models, every byte was read."""
        return VerifyFinished(
            job=job,
            versions=self.versions,
            blobs=self.blobs,
            bytes=self.bytes,
            damage=len(self.damage),
            seconds=round(self.seconds, 3),
            complete=complete,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the object of `verify --json`."""
        extra = self.unreferenced
        return {
            "status": "damaged" if self.damage else "ok",
            "deep": self.deep,
            "versions": self.versions,
            "manifests": self.manifests,
            "blobs": self.blobs,
            "bytes": self.bytes,
            "hashed_bytes": self.hashed,
            "damage": [damage.to_json() for damage in self.damage],
            "damaged_versions": list(self.hit),
            "unreferenced": {"blobs": extra[0], "bytes": extra[1]} if extra else None,
            "seconds": round(self.seconds, 3),
        }
