"""What a plan will cost in requests, when nothing has to be retried."""

from __future__ import annotations

from sync_daemon.domain.listing import RemoteFile
from sync_daemon.domain.plan import Plan, Requests
from sync_daemon.ports import Origin


def price(file: RemoteFile, origin: Origin, part_size: int) -> Requests:
    """Return the requests that move one file: ranges and the way to them, parts and their ends."""
    parts = max(1, -(-file.size // part_size))
    asked = 0 if not file.size else (parts if file.ranges else 1) + origin.hops
    if parts == 1:
        return Requests(asked, 1)
    staged = 0 if file.sha256 else 3  # look, copy, delete
    return Requests(asked, parts + 2 + staged)


def publishing(plan: Plan) -> Requests:
    """Return the requests around the files: lock, pointer, marks, header bytes, manifest."""
    headers = sum(
        file.remote.path == "config.json" or file.remote.path.endswith(".safetensors")
        for file in plan.files
        if "/" not in file.remote.path
    )
    marks = 1 if plan.reused else 0
    return Requests(0, 4 + marks + headers)
