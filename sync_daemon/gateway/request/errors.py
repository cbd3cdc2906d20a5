"""Errors as the Hub tells them: clients read the code in a header, and not the text.

Source: huggingface_hub 2.4 `utils/_http.py`, measured with the real client; without
`X-Error-Code` a 404 means "check your connection" to it, and over plain http also a 401.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.responses import Response

from sync_daemon.gateway.request.callers import Caller

READ_ONLY = "This mirror is read-only: publish upstream, and it will be mirrored"
LONGEST_MESSAGE = 500
"""Characters of a message that are told; some of it may be what the client itself sent."""


@dataclass(frozen=True)
class HubError(Exception):
    """An answer that is no success. `code` becomes X-Error-Code, `message` X-Error-Message."""

    status: int
    code: str | None
    message: str
    headers: Mapping[str, str] = field(default_factory=dict)


def repo_not_found(caller: Caller) -> HubError:
    """An unknown repository, or one that this caller may not see: they look the same."""
    if caller.known:
        return HubError(404, "RepoNotFound", "Repository not found")
    return HubError(401, "RepoNotFound", "Repository not found", {"WWW-Authenticate": "Bearer"})


def revision_not_found(revision: str) -> HubError:
    """No published version is meant by this revision."""
    return HubError(404, "RevisionNotFound", f"Invalid rev id: {revision}")


def entry_not_found(path: str, commit: str) -> HubError:
    """The version has no such file. With the commit clients remember that it is missing."""
    return HubError(404, "EntryNotFound", f"Entry not found: {path}", {"X-Repo-Commit": commit})


def unknown_page() -> HubError:
    """There is nothing at this path, for anybody."""
    return HubError(404, None, "There is nothing here")


def not_allowed() -> HubError:
    """A method that would change something."""
    return HubError(405, None, READ_ONLY, {"Allow": "GET, HEAD"})


def store_trouble() -> HubError:
    """The store does not answer, or not with what it should hold. Clients try again."""
    message = "The mirror's store cannot be read at the moment; try again"
    return HubError(503, None, message, {"Retry-After": "5"})


def answer_error(error: HubError) -> Response:
    """Return the answer to a request that failed so."""
    message = "".join(one if one.isprintable() else "?" for one in error.message[:LONGEST_MESSAGE])
    headers = {
        "Cache-Control": "no-store",
        "Vary": "Authorization",
        "X-Error-Message": message.encode("ascii", "backslashreplace").decode(),
        **error.headers,
    }
    if error.code is not None:
        headers["X-Error-Code"] = error.code
    body = json.dumps({"error": message}, ensure_ascii=False).encode()
    return Response(body, error.status, headers, media_type="application/json")
