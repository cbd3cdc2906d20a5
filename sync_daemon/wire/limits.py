"""What a server says about how many requests it still takes, read from any of its answers.

Understood are `RateLimit: "api";r=12;t=34` with `RateLimit-Policy: "api";q=500;w=300` (what
the Hub sends: r requests are left, for t seconds, of q in w seconds), the older
`RateLimit: limit=500, remaining=12, reset=34`, and `RateLimit-Remaining` and `-Reset` with or
without `X-` before them. What cannot be read says nothing: no request fails because of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from sync_daemon.wire.answers import Fields

_ITEM = re.compile(r'(?:"[^"]*"|[^",])+')
_NAME = re.compile(r'"([^"]{0,64})"')
_PARAMETER = re.compile(r"(?:^|[;,])\s*([a-z]+)\s*=\s*(\d{1,12})\s*(?=[;,]|$)")
_MOST_ITEMS = 8
_EPOCH = 1_000_000_000
"""A reset beyond this is a moment (seconds since 1970), as some send it, and no wait."""
_LONGEST = 2 * 86_400
"""Seconds ahead beyond which a reset is none that we understand: some send milliseconds."""


@dataclass(frozen=True, slots=True)
class Limit:
    """`left` requests until `seconds` have passed; `quota` in `window` seconds if it is known.

    `name` is the server's own word for the kind of request ("api"), empty where it has none.
    """

    name: str
    left: int
    seconds: float
    quota: int | None = None
    window: float | None = None


def read_limits(headers: Fields, now: datetime) -> tuple[Limit, ...]:
    """Return all limits that an answer tells of; `now` is the time of day, aware."""
    text = headers.get("RateLimit") or ""
    policies = dict(_policies(headers.get("RateLimit-Policy") or ""))
    found = []
    for item in _ITEM.findall(text)[:_MOST_ITEMS]:
        name, said = _name(item), _parameters(item)
        if "r" in said and "t" in said:
            quota, window = policies.get(name, (None, None))
            found.append(Limit(name, said["r"], float(said["t"]), quota, window))
    return tuple(found) or _old(text, headers, now)


def _old(text: str, headers: Fields, now: datetime) -> tuple[Limit, ...]:
    said = _parameters(text)
    for prefix in ("RateLimit", "X-RateLimit"):
        for key in ("limit", "remaining", "reset"):
            value = (headers.get(f"{prefix}-{key.title()}") or "").strip()
            if value.isascii() and value.isdigit() and key not in said:
                said[key] = int(value[:12])
    if "remaining" not in said or "reset" not in said:
        return ()
    reset = said["reset"]
    seconds = reset if reset < _EPOCH else max(0.0, reset - now.timestamp())
    if seconds > _LONGEST:
        return ()
    return (Limit("", said["remaining"], float(seconds), said.get("limit")),)


def _policies(text: str) -> list[tuple[str, tuple[int | None, float | None]]]:
    found = []
    for item in _ITEM.findall(text)[:_MOST_ITEMS]:
        said = _parameters(item)
        window = said.get("w")
        found.append((_name(item), (said.get("q") or None, float(window) if window else None)))
    return found


def _name(item: str) -> str:
    """Return the last quoted word: the Hub writes `"fixed window";"api";q=500;w=300`."""
    return next(reversed(_NAME.findall(item)), "")


def _parameters(item: str) -> dict[str, int]:
    return {key: int(value) for key, value in _PARAMETER.findall(_NAME.sub("", item))}
