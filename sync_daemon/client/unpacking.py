"""Unpacks the archives of a version in its output, once each time that they are new."""

from __future__ import annotations

from collections.abc import Sequence, Set as AbstractSet
from pathlib import Path

from sync_daemon.client.archives import SUFFIXES, is_archive, unpack
from sync_daemon.client.placing import OutputRefused
from sync_daemon.domain.manifest import FileEntry


def unpack_all(
    output: Path, entries: Sequence[FileEntry], fresh: AbstractSet[str]
) -> tuple[Path, ...]:
    """Unpack each archive that is `fresh`, or was not unpacked yet, beside itself.

    Raises OutputRefused when that would replace files of the version, ArchiveRefused, StoreFull.
    """
    archives = [entry.path for entry in entries if is_archive(entry.path)]
    paths = [entry.path for entry in entries]
    for archive in archives:
        name = target_of(archive)
        if clash := next((one for one in paths if f"{one}/".startswith(f"{name}/")), None):
            message = f"{output}: {archive} cannot be unpacked: {clash} is a file of the version"
            raise OutputRefused(message, hint="pull without --unpack")
    return tuple(
        unpack(output / archive)
        for archive in archives
        if archive in fresh or not (output / target_of(archive)).exists()
    )


def target_of(archive: str) -> str:
    """Return the path that an archive becomes."""
    suffix = next(one for one in SUFFIXES if archive.endswith(one))
    return archive.removesuffix(suffix)
