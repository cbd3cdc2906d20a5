"""Signs links: URLs by which anybody may read one object for a while, without keys.

It is query signing as AWS describes it (Signature Version 4), by hand because a gateway makes a
link for every large file that it is asked for, and boto3 takes six times as long for one. The
tests compare it with boto3's.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlsplit

LONGEST_LIFE = timedelta(days=7)
"""What S3 allows for a link."""

_ALGORITHM = "AWS4-HMAC-SHA256"
_USUAL_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class SigningKeys:
    """Keys at one moment. `until` is when temporary ones end."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Site:
    """Where a link leads to: an endpoint as clients see it, and the bucket there.

    A path in `endpoint` is one that a proxy takes off before S3 sees the request: it is part of
    the link and is not signed.
    """

    endpoint: str
    bucket: str
    region: str
    virtual: bool = False


def sign_link(
    site: Site,
    keys: SigningKeys,
    name: str,
    *,
    life: timedelta,
    now: datetime,
    overrides: Mapping[str, str],
) -> str:
    """Return a link to GET the object `name`, good for `life` from `now`, at most 7 days and as
    long as the keys are. `overrides` are S3's `response-...` parameters, signed as well."""
    scheme, host, base, path = _place(site, name)
    moment = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{moment[:8]}/{site.region}/s3/aws4_request"
    query = {
        "X-Amz-Algorithm": _ALGORITHM,
        "X-Amz-Credential": f"{keys.access_key}/{scope}",
        "X-Amz-Date": moment,
        "X-Amz-Expires": str(_seconds(life, keys, now)),
        "X-Amz-SignedHeaders": "host",
        **({"X-Amz-Security-Token": keys.token} if keys.token else {}),
        **overrides,
    }
    text = "&".join(f"{_quote(key)}={_quote(query[key])}" for key in sorted(query))
    request = f"GET\n{path}\n{text}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD"
    digest = hashlib.sha256(request.encode()).hexdigest()
    key = _derive(keys.secret_key, moment[:8], site.region)
    signature = _mac(key, f"{_ALGORITHM}\n{moment}\n{scope}\n{digest}").hex()
    return f"{scheme}://{host}{base}{path}?{text}&X-Amz-Signature={signature}"


def _place(site: Site, name: str) -> tuple[str, str, str, str]:
    """Return scheme, host as a client names it, the proxy's path and the path that is signed."""
    parts = urlsplit(site.endpoint)
    host = (parts.hostname or "").lower()
    host = f"[{host}]" if ":" in host else host
    if parts.port not in {None, _USUAL_PORTS.get(parts.scheme)}:
        host = f"{host}:{parts.port}"
    path = "/" + quote(name, safe="/~")
    if site.virtual:
        return parts.scheme, f"{site.bucket}.{host}", parts.path.rstrip("/"), path
    return parts.scheme, host, parts.path.rstrip("/"), f"/{site.bucket}{path}"


def _seconds(life: timedelta, keys: SigningKeys, now: datetime) -> int:
    longest = min(life, LONGEST_LIFE)
    if keys.until is not None:
        longest = min(longest, keys.until - now)
    return max(1, int(longest.total_seconds()))


def _derive(secret: str, day: str, region: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (day, region, "s3", "aws4_request"):
        key = _mac(key, part)
    return key


def _mac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


def _quote(text: str) -> str:
    return quote(text, safe="~")
