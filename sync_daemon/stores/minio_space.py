"""How much room a bucket has: what S3 does not tell, and the administration of MinIO does.

Each run asks at its end, for the alert of a store that fills up. So the questions go out as plain
signed requests: the SDK behind `minio_server` brings ciphers for answers of another kind, and takes
as long to load as a run that finds nothing to do.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

from sync_daemon.domain.errors import StoreRefused, StoreUnavailable
from sync_daemon.ports import StoreCapacity
from sync_daemon.stores.s3_account import HOME_REGION
from sync_daemon.stores.s3_link import read_body
from sync_daemon.stores.s3_sign import SigningKeys, encode_query, sign_request
from sync_daemon.wire import Http

PATIENCE = 5.0
"""Seconds to wait for an answer: what is only good to know is not worth a longer wait."""

SAID = "MinIO's administration"
"""How messages begin that tell what it answered."""

_OK = 200

Ask = Callable[..., Mapping[str, Any]]
"""A question by its name, with what it is about as keywords."""


@contextmanager
def open_questions(
    endpoint: str,
    keys: SigningKeys,
    *,
    region: str | None = None,
    ca_file: str | None = None,
    proxy: str | None = None,
) -> Iterator[Ask]:
    """Open what asks the server at `endpoint`; each question raises StoreRefused or
    StoreUnavailable. Nothing is asked yet. Raises ConfigurationError."""
    http = Http(
        "store",
        connect_timeout=PATIENCE,
        read_timeout=PATIENCE,
        ca_file=ca_file,
        proxy=proxy,
        idle=1,
    )
    with closing(http):
        yield partial(_ask, http, f"{endpoint.rstrip('/')}/minio/admin/v3/", keys, region)


def _ask(
    http: Http, base: str, keys: SigningKeys, region: str | None, question: str, **about: str
) -> Mapping[str, Any]:
    url = f"{base}{question}?{encode_query(about)}" if about else f"{base}{question}"
    signed = sign_request(keys, region or HOME_REGION, "GET", url, now=datetime.now(UTC))
    with http.request("GET", url, headers=signed) as response:
        answer = read_body(response)
    if response.status != _OK:
        raise StoreRefused(f"{SAID}: it refuses (HTTP {response.status})")
    return parse_answer(answer)


def find_capacity(ask: Ask, bucket: str) -> StoreCapacity:
    """Return the room that a bucket has: that of the drives, or of its quota if that is less.

    Raises StoreRefused, StoreUnavailable.
    """
    space = read_space(ask("info"))
    quota = read_quota(ask("get-bucket-quota", bucket=bucket))
    if not quota or quota >= space.total:
        return space
    capacity = StoreCapacity(quota, None, min(quota, space.free or 0))
    counted = (ask("datausageinfo").get("bucketsUsageInfo") or {}).get(bucket)
    return capacity.counting(int(counted["size"])) if counted else capacity


def parse_answer(answer: str | bytes) -> Mapping[str, Any]:
    """Return the object of an answer. Raises StoreUnavailable: somebody else has written it."""
    try:
        found = json.loads(answer)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise StoreUnavailable(f"{SAID}: this is not its answer")
    return found


def read_space(info: Mapping[str, Any]) -> StoreCapacity:
    """Return the room on a server's drives, less the share of the parity. Raises StoreRefused."""
    total, used, free = (usable(info, field) for field in ("totalspace", "usedspace", "availspace"))
    if total is None or free is None:
        raise StoreRefused(f"{SAID}: no drive says how large it is")
    return StoreCapacity(total, used, free)


def read_quota(answer: Mapping[str, Any]) -> int:
    """Return the quota of a bucket in bytes; 0: there is none."""
    return int(answer.get("quota") or answer.get("size") or 0)


def usable_bytes(info: Mapping[str, Any]) -> int | None:
    """Return the free bytes in MinIO's answer to `info`, less the share of its parity.

    Drives that are away count nothing; without any drive the answer is None.
    """
    return usable(info, "availspace")


def usable(info: Mapping[str, Any], field: str) -> int | None:
    """Return the sum of a field of all drives in bytes, less the share of the parity."""
    found = [drive[field] for drive in _drives(info) if field in drive]
    if not found:
        return None
    backend = info.get("backend", {})
    parity = int(backend.get("standardSCParity", 0))
    in_set = int((backend.get("totalDrivesPerSet") or [0])[0])
    share = (in_set - parity) / in_set if 0 <= parity < in_set else 1.0
    return int(sum(found) * share)


def _drives(info: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    return (drive for server in info.get("servers", ()) for drive in server.get("drives", ()))
