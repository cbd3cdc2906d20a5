"""The body of a request, read as a whole: it is small, and nobody sends a large one for nothing."""

from __future__ import annotations

from starlette.types import Receive

from sync_daemon.gateway.request.errors import HubError

LARGEST_BODY = 2 * 1024**2
"""Bytes of a request's body: room for the paths of some 20,000 files."""


async def read_body(receive: Receive) -> bytes:
    """Return all of a body. Raises HubError: 413 for one that is too large, 400 for a part."""
    data = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise HubError(400, None, "The request ended early")
        data += message.get("body", b"")
        if len(data) > LARGEST_BODY:
            raise too_large()
        if not message.get("more_body", False):
            return bytes(data)


def too_large() -> HubError:
    """Return what is told to who sends more than LARGEST_BODY."""
    message = f"The request is larger than {LARGEST_BODY // 1024**2} MiB"
    return HubError(413, None, message, {"Connection": "close"})
