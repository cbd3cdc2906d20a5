"""Where everything lies in the store, format 1. The only module that knows the layout.

Keys are relative to the store's prefix, which belongs to the adapter.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from sync_daemon.domain import canonical
from sync_daemon.domain.digests import CommitId, Digest
from sync_daemon.domain.errors import InvalidName
from sync_daemon.domain.names import GroupName, ModelName, VersionName

FORMAT = 1
_SHORT = 12
"""Digits of a commit that name a followed version's folder."""
MARKER = "mirror.json"
ALERTS = "alerts.json"
BLOBS = "blobs/sha256/"
MODELS = "models/"
ALIASES = "aliases/"
TREES = "trees/"
CONDEMNED = "condemned/"
STAGING = "staging/"
UPLOADS = "uploads/"
RUNS = "runs/"
TOKENS = "tokens/"
LOCKS = "locks/"

_MANIFEST = re.compile(r"models/((?:[^/]+/)?[^/]+)/([^/]+)/manifests/([0-9a-f]{64})\.json")
_JOURNAL = re.compile(r"uploads/([0-9a-f]{64})/[^/]+\.json")
_RUN = re.compile(
    r"runs/(\d{4}/\d\d/\d\d)/((\d{8}T\d{6})(?:\.\d{3})?Z-[0-9a-f]{1,32})\.json", re.ASCII
)
_RUN_ID = re.compile(r"\d{1,8}|\d{8}T[\dZ.]*(?:-[0-9a-f]*)?", re.ASCII)
_CURRENT = re.compile(r"models/((?:[^/]+/)?[^/]+)/([^/]+)/current\.json")
_TOKEN = re.compile(r"tokens/([0-9a-f]{16})\.json")


def blob(digest: Digest) -> str:
    """Content, written once."""
    return f"{blob_shelf(digest)}{digest}"


def blob_shelf(digest: Digest) -> str:
    """The prefix that `digest` shares with the 1/256 of all blobs beside it."""
    return f"{BLOBS}{digest[:2]}/"


def manifests(model: ModelName, version: VersionName) -> str:
    """The prefix of all manifests of a version."""
    return f"{versions_of(model)}{version}/manifests/"


def manifest(model: ModelName, version: VersionName, digest: Digest) -> str:
    """An immutable manifest, named by the digest of its bytes."""
    return f"{manifests(model, version)}{digest}.json"


def current(model: ModelName, version: VersionName) -> str:
    """Which manifest the version is now: the only mutable object."""
    return f"{versions_of(model)}{version}/current.json"


def versions_of(model: ModelName) -> str:
    """The prefix of all versions of a model (and of the models that are named below it)."""
    return f"{MODELS}{model}/"


def parse_current(key: str) -> tuple[ModelName, VersionName] | None:
    """Return the version whose `current.json` lies at `key`, or None for any other key."""
    match = _CURRENT.fullmatch(key)
    return _names(match[1], match[2]) if match else None


def parse_manifest(key: str) -> tuple[ModelName, VersionName, Digest] | None:
    """Return whose manifest lies at `key`, and its digest, or None for any other key."""
    match = _MANIFEST.fullmatch(key)
    names = _names(match[1], match[2]) if match else None
    return (*names, Digest(match[3])) if match and names else None


def _names(model: str, version: str) -> tuple[ModelName, VersionName] | None:
    try:
        return ModelName(model), VersionName(version)
    except InvalidName:  # somebody else's object
        return None


def marker() -> bytes:
    """What the format marker says."""
    return canonical.encode({"format": FORMAT})


def staging(ident: str) -> str:
    """Bytes whose digest is not known yet."""
    return f"{STAGING}{ident}"


def journal(identity: Digest, owner: str) -> str:
    """How far `owner` is with an unfinished blob."""
    return f"{UPLOADS}{identity}/{owner}.json"


def parse_journal(key: str) -> Digest | None:
    """Return the identity of the blob that the journal at `key` is about, or None."""
    match = _JOURNAL.fullmatch(key)
    return Digest(match[1]) if match else None


def lock(scope: str) -> str:
    """Who is working on `scope`."""
    return f"{LOCKS}{Digest.of(scope.encode())}.json"


def condemned(digest: Digest) -> str:
    """The mark that prune puts on a blob before it deletes it."""
    return f"{CONDEMNED}{digest}.json"


def parse_digest(key: str) -> Digest | None:
    """Return the digest in the last segment of a blob's or a mark's key, or None."""
    name = key.rpartition("/")[2].removesuffix(".json")
    return Digest(name) if re.fullmatch(r"[0-9a-f]{64}", name) else None


def run(run_id: str, started: datetime) -> str:
    """A run's report."""
    return f"{runs_of_day(started)}{run_id}.json"


def runs_of_day(day: datetime) -> str:
    """The prefix of the reports of one UTC day."""
    return f"{RUNS}{day:%Y/%m/%d}/"


def runs_of_month(day: datetime) -> str:
    """The prefix of the reports of one month, by UTC."""
    return f"{RUNS}{day:%Y/%m}/"


def runs_named(beginning: str) -> str | None:
    """The prefix of the reports whose run id begins so, or None where none can."""
    if not _RUN_ID.fullmatch(beginning):
        return None
    year, month, day = beginning[:4], beginning[4:6], beginning[6:8]
    if len(beginning) < len("YYYYMMDD"):
        return RUNS + "/".join(part for part in (year, month, day) if part)
    return f"{RUNS}{year}/{month}/{day}/{beginning}"


def parse_run(key: str) -> tuple[str, datetime] | None:
    """Return the id of the run whose report lies at `key`, and the second it began, or None."""
    match = _RUN.fullmatch(key)
    if match is None or match[1].replace("/", "") != match[3][:8]:
        return None
    try:
        return match[2], datetime.strptime(match[3], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    except ValueError:  # no such day
        return None


def quarantine(model: ModelName, version: VersionName, commit: CommitId) -> str:
    """A version that was refused, and why."""
    return f"quarantine/{model}/{version}/{commit}.json"


def token(ident: str) -> str:
    """Who may read by the gateway: the SHA-256 of a token, never the token."""
    return f"{TOKENS}{ident}.json"


def parse_token(key: str) -> str | None:
    """Return the id of the token whose object lies at `key`, or None for any other key."""
    match = _TOKEN.fullmatch(key)
    return match[1] if match else None


def tree(
    model: ModelName, version: VersionName, commit: CommitId | None, group: GroupName | None
) -> str:
    """The prefix of a version's plain copies; `commit` is None for a pinned version's folder."""
    above = f"{TREES}{group}/" if group else TREES
    which = f"@{commit[:_SHORT]}" if commit else ""
    return f"{above}{model}/{version}{which}/"
