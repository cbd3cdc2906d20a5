"""What a plan will cost when nothing has to be retried."""

from __future__ import annotations

from sync_daemon.domain.listing import RemoteFile
from sync_daemon.domain.parts import count_ranges
from sync_daemon.domain.plan import Cost, Plan
from sync_daemon.ports import Origin


def price(file: RemoteFile, origin: Origin, part_size: int) -> Cost:
    """Return what moves one file: ranges and the way to them, parts and their ends.

    From a fast origin there are fewer ranges: which it is shows on the way.
    """
    parts = max(1, -(-file.size // part_size))
    ranges = count_ranges(file.size, part_size) if file.ranges else 1
    asked = 0 if not file.size else ranges + origin.hops
    if parts == 1:
        return Cost(asked, 1)
    if file.sha256:
        return Cost(asked, parts + 4)  # begin, complete, and the journal's two ends
    journal = 0 if file.git_oid or not file.ranges else 2
    return Cost(asked, parts + 5 + journal, file.size)  # and look, copy, delete


def publishing(plan: Plan) -> Cost:
    """Return what is around the files: lock, pointer, marks, header bytes, manifest."""
    headers = sum(
        file.remote.path == "config.json" or file.remote.path.endswith(".safetensors")
        for file in plan.files
        if "/" not in file.remote.path
    )
    return Cost(0, 4 + headers)
