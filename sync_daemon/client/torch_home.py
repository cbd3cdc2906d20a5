"""Puts checkpoints where `torch.hub` looks for them before it downloads anything.

`load_state_dict_from_url` takes `$TORCH_HOME/hub/checkpoints/<last segment of the URL>` when it
is there.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path

from sync_daemon.client.cache import Cache, hash_file
from sync_daemon.client.linking import give_name
from sync_daemon.client.placing import Outcome, OutputRefused
from sync_daemon.client.sites import user_cache
from sync_daemon.domain.manifest import FileEntry
from sync_daemon.stores.local_paths import Tree, translated

PATTERNS = ("*.pt", "*.pth", "*.pth.tar", "*.ckpt", "*.th")


def default_torch_home(environ: Mapping[str, str]) -> Path:
    """Return the directory that torch uses by itself."""
    if environ.get("TORCH_HOME"):
        return Path(environ["TORCH_HOME"]).expanduser()
    return user_cache(environ) / "torch"


def checkpoints(home: Path) -> Path:
    """Return the folder of checkpoints below the directory of torch."""
    return home.absolute() / "hub" / "checkpoints"


def fill_torch_home(
    home: Path,
    entries: Sequence[FileEntry],
    cache: Cache,
    *,
    copy: bool,
    force: bool,
    stop: threading.Event,
) -> Outcome:
    """Put the checkpoints of a version there. Raises OutputRefused, StoreFull, StoreRefused."""
    chosen = {_name(one): one for one in entries if _is_checkpoint(one)}
    folder = checkpoints(home)
    _check_names([one for one in entries if _is_checkpoint(one)], folder)
    with translated(folder, folder):
        folder.mkdir(parents=True, exist_ok=True)
        fates = {name: _see(folder / name, one, cache, stop) for name, one in chosen.items()}
        foreign = sorted(name for name, fate in fates.items() if fate == "foreign")
        if foreign and not force:
            message = f"{folder}: {', '.join(foreign[:5])}: there already, with another content"
            raise OutputRefused(message, hint="nothing was touched there; --force replaces it")
        todo = [name for name, fate in fates.items() if fate != "kept"]
        with Tree(folder).folder() as here:
            ways = [
                give_name(cache.path(chosen[name].sha256), here, name, here, copy=copy)
                for name in todo
            ]
    return Outcome(ways.count("linked"), ways.count("copied"), len(chosen) - len(todo))


def _is_checkpoint(entry: FileEntry) -> bool:
    return any(fnmatchcase(_name(entry), pattern) for pattern in PATTERNS)


def _name(entry: FileEntry) -> str:
    return entry.path.rpartition("/")[2]


def _check_names(entries: Sequence[FileEntry], folder: Path) -> None:
    contents = {(_name(one), one.sha256) for one in entries}
    twice = sorted(
        name for name, count in Counter(name for name, _ in contents).items() if count > 1
    )
    if twice:
        message = f"{folder}: the version holds two files {twice[0]!r} with different contents"
        raise OutputRefused(message, hint="choose one of them with --include")


def _see(place: Path, entry: FileEntry, cache: Cache, stop: threading.Event) -> str:
    with suppress(FileNotFoundError):
        status, blob = place.lstat(), cache.path(entry.sha256).lstat()
        if (status.st_dev, status.st_ino) == (blob.st_dev, blob.st_ino):
            return "kept"
        if not place.is_symlink() and status.st_size == entry.size:
            return "kept" if hash_file(place, stop) == entry.sha256 else "foreign"
        return "foreign"
    return "missing"
