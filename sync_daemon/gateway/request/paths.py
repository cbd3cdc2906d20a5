"""What a request is about, read from its path as it was sent.

`%2F` means another thing than `/`: `resolve/refs%2Fpr%2F1/a` names a revision with slashes.
So the path is split first and decoded afterwards, segment by segment. A repo id has one
segment or two, and only what follows tells which: all readings that make sense are returned,
the likelier first, and the first that names a repository counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote

from sync_daemon.domain.digests import CommitId

Kind = Literal["api", "file", "page", "health"]
"""What kind of answer a path leads to."""

HEALTH = frozenset({"/healthz", "/readyz"})
STYLE = "/-/style.css"
"""How pages look: the same for everybody. A browser that came in by a deeper path shows no
password for it, so it asks for none."""

KINDS = {"models": "model", "datasets": "dataset", "spaces": "space"}
"""First segment of an API path -> kind of repository. Files of models have no such prefix."""

_FILES = {"datasets": "dataset", "spaces": "space"}
_BARE = frozenset({"refs", "auth-check", "discussions"})
_WITH_REVISION = frozenset({"revision", "paths-info", "commits", "xet-read-token"})
_WITH_PATH = frozenset({"tree", "treesize"})
_OTHER = frozenset({"xet-write-token", "safetensors-metadata", "preupload", "commit", "branch"})
_LONG_REFS = frozenset({"heads", "tags", "pr", "convert"})
_LONGEST_ID = 2
_WHOLE = frozenset({"info", "page"})
"""Readings that take all of a path for the id."""

Rest = tuple[str, str | None, str]
"""What to do, the revision, and the path inside the repository."""


@dataclass(frozen=True, slots=True)
class Target:
    """One reading of a path. `before` and `after` are what stands around the id, as sent."""

    kind: str
    name: str
    action: str
    revision: str | None = None
    path: str = ""
    before: str = ""
    after: str = ""


def kind_of(path: str) -> Kind:
    """Return what kind of answer a path leads to."""
    if path in HEALTH:
        return "health"
    if "/resolve/" in path or path.startswith("/api/resolve-cache/"):
        return "file"
    return "api" if path.startswith("/api/") else "page"


def read_api(segments: Sequence[str]) -> tuple[Target, ...]:
    """Read what follows `/api/` (raw segments). Empty: it is no path of a repository.

    Raises UnicodeDecodeError for escapes that are not UTF-8.
    """
    if len(segments) < 2:  # noqa: PLR2004 - a kind and an id
        return ()
    kind = KINDS.get(segments[0])
    if kind is not None:
        return tuple(_targets(kind, f"/api/{segments[0]}/", segments[1:], _read_action))
    if segments[0] == "resolve-cache" and (kind := KINDS.get(segments[1])):
        before = f"/api/resolve-cache/{segments[1]}/"
        return tuple(_targets(kind, before, segments[2:], _read_cached))
    return ()


def read_file(segments: Sequence[str]) -> tuple[Target, ...]:
    """Read `/{id}/resolve/...`, `/datasets/{id}/resolve/...` (raw segments); as `read_api`."""
    kind = _FILES.get(segments[0])
    if kind is None:
        return tuple(_targets("model", "/", segments, _read_resolve))
    return tuple(_targets(kind, f"/{segments[0]}/", segments[1:], _read_resolve))


def read_page(segments: Sequence[str]) -> tuple[Target, ...]:
    """Read `/NAME`, `/NAME/tree/REVISION` and those below /datasets; as `read_api`."""
    kind = _FILES.get(segments[0], "model")
    before, rest = ("/", segments) if kind == "model" else (f"/{segments[0]}/", segments[1:])
    return tuple(_targets(kind, before, rest, _read_shown))


def likeliest(path: str) -> Target | None:
    """Return what a path is about, as far as the path alone can tell; None: no repository.

    `/api/models/m/refs` may be a model `m/refs`, but who asks for it means the refs of `m`.
    """
    segments = path.split("/")[1:] or [""]
    try:
        if segments[0] == "api":
            found = read_api(segments[1:])
        else:
            found = read_file(segments) or read_page(segments)
    except UnicodeDecodeError:
        return None
    found = tuple(one for one in found if one.name[:1].isalnum())
    return next((one for one in found if one.action not in _WHOLE), next(iter(found), None))


def _targets(
    kind: str, before: str, segments: Sequence[str], read: Callable[[Sequence[str]], Rest | None]
) -> Iterator[Target]:
    for count in range(_LONGEST_ID, 0, -1):
        if len(segments) < count or (rest := read(segments[count:])) is None:
            continue
        name = "/".join(map(decode, segments[:count]))
        after = "".join(f"/{segment}" for segment in segments[count:])
        yield Target(kind, name, *rest, before, after)


def _read_action(segments: Sequence[str]) -> Rest | None:
    if not segments:
        return "info", None, ""
    action, rest = segments[0], segments[1:]
    if action in _BARE:
        return action, None, ""
    if action in _WITH_REVISION and rest:
        return action, _join(rest), ""
    if action in _WITH_PATH and rest:
        return action, *_read_revision(rest)
    return ("other", None, "") if action in _OTHER else None


def _read_resolve(segments: Sequence[str]) -> Rest | None:
    if len(segments) < 3 or segments[0] != "resolve":  # noqa: PLR2004 - revision and path
        return None
    revision, path = _read_revision(segments[1:])
    return "resolve", revision, path


def _read_shown(segments: Sequence[str]) -> Rest | None:
    if not segments:
        return "page", None, ""
    return ("page", _join(segments[1:]), "") if segments[0] == "tree" and segments[1:] else None


def _read_cached(segments: Sequence[str]) -> Rest | None:
    if len(segments) < 2 or not CommitId.is_one(segments[0]):  # noqa: PLR2004 - commit and path
        return None
    return "resolve", segments[0], _join(segments[1:])


def _read_revision(segments: Sequence[str]) -> tuple[str, str]:
    """Split a revision from the path behind it; refs/pr/1 may come unescaped."""
    count = 3 if segments[0] == "refs" and segments[1:2] and segments[1] in _LONG_REFS else 1
    return _join(segments[:count]), _join(segments[count:])


def _join(segments: Sequence[str]) -> str:
    return "/".join(map(decode, segments)).rstrip("/")


def decode(segment: str) -> str:
    """Return a segment as it is meant. Raises UnicodeDecodeError."""
    return unquote(segment, errors="strict") if "%" in segment else segment
