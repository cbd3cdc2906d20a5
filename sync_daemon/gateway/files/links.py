"""Who is sent to the bucket, and by which link.

A link is good for one blob, for whoever has it, until it ends. It is given to clients that drop
their token on the way to another host (S3 refuses two proofs at once, and the token is none of
its business), and to any client that has shown no token. Unless the operator says `always`,
nobody is sent where the configuration does not say that clients can go, nor from https to http.
"""

from __future__ import annotations

from starlette.requests import Request

from sync_daemon.config import Settings
from sync_daemon.domain import keys
from sync_daemon.domain.manifest import FileEntry
from sync_daemon.gateway.files.agents import Agent
from sync_daemon.gateway.files.headers import look_of
from sync_daemon.ports import LinksObjects, ObjectStore


class Links:
    """Links to the blobs of one store, as `gateway.redirect` and its like say."""

    def __init__(self, store: ObjectStore, settings: Settings) -> None:
        config = settings.gateway
        self._store = store if isinstance(store, LinksObjects) else None
        self._mode = config.redirect
        self._endpoint = config.store_url
        self._life = config.link_expiry
        self._least = config.redirect_above

    def fits(self, request: Request, agent: Agent, length: int) -> bool:
        """Tell whether a request for so many bytes is better sent to the bucket."""
        if self._store is None or self._mode == "never" or length < self._least:
            return False
        if self._mode == "always":
            return True
        if self._endpoint is None:
            return False
        if request.scope["scheme"] == "https" and self._endpoint.startswith("http:"):
            return False
        return agent.drops_token or "authorization" not in request.headers

    def make(self, entry: FileEntry) -> str:
        """Return a link. May wait for fresh keys. Raises StoreRefused, StoreUnavailable."""
        if self._store is None:
            raise AssertionError
        look = look_of(entry.path)
        return self._store.link(
            keys.blob(entry.sha256),
            endpoint=self._endpoint,
            life=self._life,
            overrides={
                "response-cache-control": "private",
                "response-content-disposition": look.disposition,
                "response-content-type": look.content_type,
            },
        )
