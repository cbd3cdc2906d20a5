"""Errors as the Hub tells them: clients read the code in a header, and not the text.

Source: huggingface_hub 2.4 `utils/_http.py`, measured with the real client; without
`X-Error-Code` a 404 means "check your connection" to it, and over plain http also a 401.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sync_daemon.gateway.callers import Caller


@dataclass(frozen=True)
class HubError(Exception):
    """An answer that is no success. `code` becomes X-Error-Code, `message` X-Error-Message."""

    status: int
    code: str | None
    message: str
    headers: Mapping[str, str] = field(default_factory=dict)


def repo_not_found(caller: Caller) -> HubError:
    """An unknown repository, or one that this caller may not see: they look the same."""
    status = 404 if caller.known else 401
    return HubError(status, "RepoNotFound", "Repository not found")


def revision_not_found(revision: str) -> HubError:
    """No published version is meant by this revision."""
    return HubError(404, "RevisionNotFound", f"Invalid rev id: {revision}")


def entry_not_found(path: str, commit: str) -> HubError:
    """The version has no such file. With the commit clients remember that it is missing."""
    return HubError(404, "EntryNotFound", f"Entry not found: {path}", {"X-Repo-Commit": commit})
