"""The gateway's application, put together: the door, health, the Hub's API, and pages."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from starlette.types import ASGIApp, Receive, Scope, Send

from sync_daemon.config import Settings
from sync_daemon.gateway.hub.routes import AnswersFiles, Routes
from sync_daemon.gateway.published.library import Library

Readiness = Callable[[], Sequence[str]]
"""Returns the reasons why the gateway should get no requests; empty: it is ready."""

Door = Callable[[ASGIApp], ASGIApp]
"""Puts access in front of an application: `scope["state"]["caller"]` says who came in."""


def make_app(
    library: Library,
    files: AnswersFiles,
    settings: Settings,
    *,
    door: Door,
    readiness: Readiness = tuple,
    pages: ASGIApp | None = None,
) -> ASGIApp:
    """Return the whole application. `pages` answers what is no path of the Hub's API."""
    public_url = settings.gateway.public_url
    routes = Routes(library, files, public_url=public_url, otherwise=pages)
    return door(Health(routes, readiness))


class Health:
    """Answers /healthz (the process answers) and /readyz (it has something to say)."""

    def __init__(self, app: ASGIApp, readiness: Readiness) -> None:
        self._app = app
        self._readiness = readiness

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass it on."""
        match scope.get("path"):
            case "/healthz":
                await _tell(send, 200, "alive")
            case "/readyz":
                reasons = self._readiness()
                await _tell(send, 503 if reasons else 200, "\n".join(reasons) or "ready")
            case _:
                await self._app(scope, receive, send)


async def _tell(send: Send, status: int, text: str) -> None:
    body = f"{text}\n".encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
