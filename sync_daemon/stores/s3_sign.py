"""Signs what goes to S3: requests of our own, and links by which anybody may read one object.

It is Signature Version 4 as AWS describes it, in headers for requests and in the query for
links. By hand, because loading botocore takes as long as a run that finds nothing to do, and
signing by it six times as long. The tests compare both with boto3's.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from urllib.parse import quote, urlsplit

from sync_daemon.wire.places import parse_url

UNSIGNED = "UNSIGNED-PAYLOAD"
"""Stands for the digest of a body that nobody hashes for the signature."""

_LONGEST_LIFE = timedelta(days=7)
"""What S3 allows for a link."""

EMPTY = hashlib.sha256().hexdigest()
"""The digest of no body."""

_ALGORITHM = "AWS4-HMAC-SHA256"
_SIGNED = ("x-amz-", "content-md5", "if-")
_USUAL_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class SigningKeys:
    """Keys at one moment, and where they were found: only that may be shown. `until` is when
    temporary ones end."""

    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)
    until: datetime | None = None
    source: str = "the configuration"


@dataclass(frozen=True, slots=True)
class Site:
    """Where a bucket is: an endpoint as its clients see it, and how they address the bucket."""

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
    long as the keys are. `overrides` are S3's `response-...` parameters, signed as well.

    A path in the site's endpoint is one that a proxy takes off before S3 sees the request: it is
    part of the link and is not signed.
    """
    scheme, host, base, path = _place(site, name)
    moment = _stamp(now)
    query = {
        "X-Amz-Algorithm": _ALGORITHM,
        "X-Amz-Credential": f"{keys.access_key}/{_scope(moment, site.region)}",
        "X-Amz-Date": moment,
        "X-Amz-Expires": str(_seconds(life, keys, now)),
        "X-Amz-SignedHeaders": "host",
        **({"X-Amz-Security-Token": keys.token} if keys.token else {}),
        **overrides,
    }
    text = encode_query(query)
    request = f"GET\n{path}\n{text}\nhost:{host}\n\nhost\n{UNSIGNED}"
    signature = _sign(keys, site.region, moment, request)
    return f"{scheme}://{host}{base}{path}?{text}&X-Amz-Signature={signature}"


def make_url(site: Site, name: str | None, query: Mapping[str, str]) -> str:
    """Return the URL of an object, or of the bucket itself, as `sign_request` wants it."""
    scheme, host, base, path = _place(site, name or "")
    if name is None and not site.virtual:
        path = path.removesuffix("/")
    return f"{scheme}://{host}{base}{path}" + (f"?{encode_query(query)}" if query else "")


def sign_request(
    keys: SigningKeys,
    region: str,
    method: str,
    url: str,
    *,
    now: datetime,
    headers: Mapping[str, str] = MappingProxyType({}),
    payload: str = EMPTY,
) -> dict[str, str]:
    """Return the headers of a request, those that sign it among them.

    The query in `url` is one that `encode_query` made. `payload` is the SHA-256 of the body, or
    UNSIGNED. What S3 does not want signed (Range) is left for whoever stands between to change.
    """
    place, target = parse_url(url)
    path, _, query = target.partition("?")
    moment = _stamp(now)
    fields = {
        **headers,
        "x-amz-date": moment,
        "x-amz-content-sha256": payload,
        **({"x-amz-security-token": keys.token} if keys.token else {}),
    }
    signed = {name.lower(): value for name, value in fields.items()}
    signed = {name: value for name, value in signed.items() if name.startswith(_SIGNED)}
    signed["host"] = place.authority
    lines = "".join(f"{name}:{' '.join(signed[name].split())}\n" for name in sorted(signed))
    names = ";".join(sorted(signed))
    request = f"{method}\n{path}\n{query}\n{lines}\n{names}\n{payload}"
    signature = _sign(keys, region, moment, request)
    credential = f"{keys.access_key}/{_scope(moment, region)}"
    return {
        **fields,
        "Authorization": f"{_ALGORITHM} Credential={credential}, SignedHeaders={names}, "
        f"Signature={signature}",
    }


def encode_query(query: Mapping[str, str]) -> str:
    """Return a query in the order and the encoding in which it is signed."""
    return "&".join(f"{_quote(key)}={_quote(query[key])}" for key in sorted(query))


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
    longest = min(life, _LONGEST_LIFE)
    if keys.until is not None:
        longest = min(longest, keys.until - now)
    return max(1, int(longest.total_seconds()))


def _stamp(now: datetime) -> str:
    return now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def _scope(moment: str, region: str) -> str:
    return f"{moment[:8]}/{region}/s3/aws4_request"


def _sign(keys: SigningKeys, region: str, moment: str, request: str) -> str:
    scope = _scope(moment, region)
    digest = hashlib.sha256(request.encode()).hexdigest()
    key = f"AWS4{keys.secret_key}".encode()
    for part in scope.split("/"):
        key = _mac(key, part)
    return _mac(key, f"{_ALGORITHM}\n{moment}\n{scope}\n{digest}").hex()


def _mac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


def _quote(text: str) -> str:
    return quote(text, safe="~")
