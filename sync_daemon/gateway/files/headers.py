"""The headers of a file, as Hub clients read them and as no browser can run them.

`X-Linked-Etag` and `X-Linked-Size` stand above ETag and Content-Length for clients, because a
proxy that compresses changes these. The ETag names the file in the clients' caches, so it is the
Hub's: the SHA-256 of an LFS file, the git id of any other. Xet is never mentioned.

A mirrored file is somebody else's: a page or a drawing with a script in it must not run in the
gateway's name. Text is plain text, anything else is bytes to be saved, and sniffing is off.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from sync_daemon.domain.manifest import FileEntry

RawHeaders = list[tuple[bytes, bytes]]

BYTES = "application/octet-stream"
TEXT = "text/plain; charset=utf-8"
YEAR = 365 * 24 * 3600
MOVING = 60
"""Seconds that an answer may be repeated from a cache whose URL may mean something else soon."""

NO_STORE = (b"cache-control", b"no-store")
VARY = (b"vary", b"Authorization")
VARY_BY_AGENT = (b"vary", b"Authorization, User-Agent")
_TEXT_SUFFIXES = frozenset(
    {"", "cfg", "csv", "gitattributes", "gitignore", "ini", "jinja", "jsonl", "license", "md",
     "py", "rst", "toml", "tsv", "txt", "yaml", "yml"}
)  # fmt: skip
_SAFE = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; sandbox"),
)


@dataclass(frozen=True, slots=True)
class Appearance:
    """What a browser is told of a file: its type, and to show or to save it."""

    content_type: str
    disposition: str


def look_of(path: str) -> Appearance:
    """Return how a file is shown: never as something that runs."""
    name = path.rpartition("/")[2]
    _, dot, suffix = name.rpartition(".")
    kind = suffix.lower() if dot else ""
    content_type = BYTES
    if kind == "json":
        content_type = "application/json"
    elif kind in _TEXT_SUFFIXES:
        content_type = TEXT
    manner = "attachment" if content_type == BYTES else "inline"
    return Appearance(content_type, f"{manner}; {_file_name(name)}")


def _file_name(name: str) -> str:
    """As the Hub writes it: its client looks for `filename="..."` with a semicolon behind it."""
    plain = "".join(char if _is_plain(char) else "_" for char in name)
    return f"filename*=UTF-8''{quote(name, safe='')}; filename=\"{plain}\";"


def _is_plain(char: str) -> bool:
    return char.isascii() and char.isprintable() and char not in '"\\%;'


def describe(entry: FileEntry, commit: str, *, sized: bool = True) -> RawHeaders:
    """Return what says which file of which commit this is. Without `sized` not how large."""
    etag = f'"{entry.hub_id}"'.encode()
    found = [(b"x-repo-commit", commit.encode()), (b"etag", etag), (b"x-linked-etag", etag)]
    if sized:
        found.append((b"x-linked-size", str(entry.size).encode()))
    return found


def show(path: str) -> RawHeaders:
    """Return what tells a browser how to treat a file."""
    look = look_of(path)
    return [
        (b"content-type", look.content_type.encode()),
        (b"content-disposition", look.disposition.encode()),
        (b"accept-ranges", b"bytes"),
        *_SAFE,
    ]


def keep(*, known: bool, by_commit: bool, by_agent: bool = False) -> RawHeaders:
    """Return how long an answer is good, and for whom: `known` came with a token.

    Only what anybody may read, by a name that never moves, may lie in a cache that all share.
    `by_agent`: other programs are told something else, so a cache has to tell them apart.
    """
    whose = "private" if known else "public"
    life = f"max-age={YEAR}, immutable" if by_commit else f"max-age={MOVING}, must-revalidate"
    if known and not by_commit:
        life = "no-cache"
    vary = VARY_BY_AGENT if by_agent else VARY
    return [(b"cache-control", f"{whose}, {life}".encode()), vary]
