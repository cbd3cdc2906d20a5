"""Where a request goes, and what went wrong there in words."""

from __future__ import annotations

import re
import socket
import ssl
from dataclasses import dataclass
from http.client import IncompleteRead
from urllib.parse import urlsplit

AGAIN = "the next run tries again, and goes on where this one ended"
"""What to do about trouble that passes by itself."""

_TROUBLES: tuple[tuple[type[Exception], str, str | None], ...] = (
    (TimeoutError, "no answer in time", f"{AGAIN}; see also transfer.read_timeout"),
    (ConnectionRefusedError, "connection refused", "is the server running, and the port right?"),
    (socket.gaierror, "the host name cannot be resolved", "check the name, DNS and proxy settings"),
    (IncompleteRead, "the answer was cut off", AGAIN),
    (ConnectionError, "the connection was closed or reset by the other side", AGAIN),
)
_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PROXY = "check the proxy's address and credentials: `proxy` in the YAML, or the proxy variables"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a connection leads: the key of the pool."""

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """The value of a Host header: the port only where it is not the usual one."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = 443 if self.scheme == "https" else 80
        return host if self.port == usual else f"{host}:{self.port}"


def parse_url(url: str) -> tuple[Place, str]:
    """Split a URL into its place and the target as it is to be sent."""
    if not url.isascii() or any(char <= " " or char == "\x7f" for char in url):
        message = "a URL holds a character that must be percent-encoded"
        raise ValueError(message)
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
        message = "a URL must be http(s)://host/... and hold no credentials"
        raise ValueError(message)
    port = parts.port if parts.port is not None else 443 if parts.scheme == "https" else 80
    rest = url.partition("#")[0][len(parts.scheme) + 3 + len(parts.netloc) :]
    target = rest if rest.startswith("/") else f"/{rest}"
    return Place(parts.scheme, parts.hostname, port), target


def place_of(url: str) -> Place:
    """Return where a URL leads. Raises ValueError for what is no http(s) URL."""
    return parse_url(url)[0]


def check_field(name: str, value: str) -> None:
    """Raise ValueError for a header that cannot be sent, or that would begin another one."""
    if any(char in name + value for char in "\r\n\0"):
        message = f"the header {name!r} holds a line break"
        raise ValueError(message)
    if not _FIELD_NAME.fullmatch(name) or any(char > "\xff" for char in value):
        message = f"the header {name!r} holds a character that a header cannot hold"
        raise ValueError(message)


class ProxyDenied(OSError):
    """A proxy wants credentials, or others than it was given (407)."""


def explain(error: Exception) -> tuple[str, str | None]:
    """Return what happened, and what to do: never the text of a request or an answer."""
    if isinstance(error, ssl.SSLError):
        return _explain_tls(error)
    for kind, what, hint in _TROUBLES:
        if isinstance(error, kind):
            return what, hint
    if isinstance(error, ProxyDenied):
        return "the proxy refused the credentials, or wants some (status 407)", _PROXY
    if not isinstance(error, OSError):
        hint = "is it a web server, and the port right? a proxy may answer in its place"
        return f"the answer is not proper HTTP ({type(error).__name__})", hint
    if error.errno is None and str(error).startswith("Tunnel"):
        return f"the proxy refused: {error}", _PROXY
    return error.strerror or type(error).__name__, AGAIN


def _explain_tls(error: ssl.SSLError) -> tuple[str, str | None]:
    if isinstance(error, ssl.SSLCertVerificationError):
        hint = "a private authority's certificates can be named by SSL_CERT_FILE or ca_file"
        return f"its certificate is not trusted: {error.verify_message}", hint
    return f"TLS failed: {error.reason or 'unknown reason'}", None
