"""Numbers, sizes and times as people read them."""

from __future__ import annotations

from datetime import datetime

_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB")


def human_size(size: int) -> str:
    """Return bytes in the largest unit that leaves at least one: `1.5 GiB`."""
    if size < 1024:  # noqa: PLR2004 - the unit itself
        return f"{size} B"
    value, units = size / 1024, list(_UNITS)
    while value >= 1000 and len(units) > 1:  # noqa: PLR2004 - four digits read badly
        value /= 1024
        units.pop(0)
    digits = 0 if value >= 100 else 1  # noqa: PLR2004
    return f"{value:.{digits}f} {units[0]}"


def exact_size(size: int) -> str:
    """Return bytes in human units and exactly: `1.5 GiB (1,610,612,736 bytes)`."""
    return f"{human_size(size)} ({size:,} bytes)" if size >= 1024 else human_size(size)  # noqa: PLR2004


def human_age(moment: datetime, now: datetime) -> str:
    """Return how long ago something was: `3 h ago`."""
    seconds = max(0, int((now - moment).total_seconds()))
    for limit, unit, length in ((120, "s", 1), (7200, "min", 60), (172_800, "h", 3600)):
        if seconds < limit:
            return f"{seconds // length} {unit} ago"
    return f"{seconds // 86_400} d ago"


def parse_moment(text: str) -> datetime:
    """Return the time that was written in ISO 8601. Raises ValueError, also without an offset."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        message = "a time has no offset"
        raise ValueError(message)
    return moment


def plural(count: int, noun: str) -> str:
    """Return a number and its noun: `1 file`, `2 files`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
