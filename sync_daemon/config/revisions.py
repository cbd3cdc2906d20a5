"""Which revisions an origin can have, as far as its kind tells.

A Hub has commits, tags and branches. A web server and a directory have only what is there now,
`main`, and the digest that stands for a commit of it: 64 hex digits, as `show` prints them.
"""

import re

from sync_daemon.config.document import Document
from sync_daemon.config.entries import Version, origin_types, text
from sync_daemon.config.models import DEFAULT_REVISION
from sync_daemon.config.problems import clip

_REVISION = re.compile(r"[^\x00-\x20\x7f]{1,255}")
_STATE = re.compile(r"[0-9a-f]{64}")
_PLAIN = {"http": "an HTTP origin", "directory": "a directory"}
_PIN = "remove revision, or write the full commit that `sync-daemon show` tells"


def check_revision(document: Document, version: Version) -> None:
    """Note a revision, or tags, that the version's origin cannot have."""
    path, revision = (*version.path, "revision"), text(version.raw, "revision")
    kind = origin_types(document).get(version.origin or "") or ""
    if revision is not None and not _REVISION.fullmatch(revision):
        document.add(path, "is no revision", "a commit, tag or branch, without spaces")
    if kind == "huggingface" and "tags" not in version.raw and "revision" not in version.raw:
        document.add(path, "is missing", "give a commit or tag (a pin), or a branch (followed)")
    if kind not in _PLAIN:
        return
    if "tags" in version.raw:
        origin = clip(version.origin or "")
        document.add((*version.path, "tags"), f"the origin {origin!r} has no tags")
    elif revision not in {None, DEFAULT_REVISION} and not _STATE.fullmatch(revision or ""):
        document.add(path, f"{_PLAIN[kind]} has only {DEFAULT_REVISION}", _PIN)
