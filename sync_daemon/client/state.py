"""What `pull` put into a directory: a small file there, so that the next pull knows its own."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NAME = ".sync-daemon.json"
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Placed:
    """A file as it was when it was placed: digest, bytes, time in nanoseconds."""

    sha256: str
    size: int
    mtime_ns: int

    def fits(self, status: os.stat_result) -> bool:
        """Tell whether the file looks untouched."""
        return (self.size, self.mtime_ns) == (status.st_size, status.st_mtime_ns)


@dataclass(frozen=True, slots=True)
class State:
    """What lies in a directory, by paths; `foreign`: the file is there and none of ours."""

    about: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, Placed] = field(default_factory=dict)
    foreign: bool = field(default=False, compare=False)


def read_state(folder: Path) -> State:
    """Return what the directory's file says; nothing if there is none."""
    try:
        raw = json.loads((folder / NAME).read_bytes())
        files = {path: _parse(one) for path, one in raw["files"].items()}
        if raw["format"] != FORMAT:
            return State(foreign=True)
        return State({key: str(raw.get(key, "")) for key in ("model", "version", "commit")}, files)
    except FileNotFoundError:
        return State()
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return State(foreign=True)


def write_state(folder: Path, state: State) -> None:
    """Replace the directory's file. Raises OSError."""
    document = {
        "format": FORMAT,
        **state.about,
        "files": {path: _encode(one) for path, one in sorted(state.files.items())},
    }
    fresh = folder / f"{NAME}.{os.getpid()}"
    fresh.write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    fresh.replace(folder / NAME)


def _parse(raw: Mapping[str, Any]) -> Placed:
    return Placed(str(raw["sha256"]), int(raw["size"]), int(raw["mtime_ns"]))


def _encode(one: Placed) -> dict[str, Any]:
    return {"sha256": one.sha256, "size": one.size, "mtime_ns": one.mtime_ns}
