"""What a request says besides its path: its query, its pages, and how to reach the gateway."""

from __future__ import annotations

import binascii
import re
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Sequence
from functools import cached_property
from urllib.parse import parse_qsl, quote, urlencode

from starlette.types import Scope

from sync_daemon.gateway.request.callers import Caller
from sync_daemon.gateway.request.errors import HubError

PAGE = 1000
"""Entries of a page, at most. Source: the Hub's own pages."""

MOST_PARAMETERS = 200

_HOST = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_DIGITS = 9
"""Of a number in a query, at most."""

_PATH_SAFE = "/%:@!$&'()*+,;=~-._"
_YES = frozenset({"true", "1", "yes", "on"})


class Question:
    """One request, with what routes want to know of it. Nothing is read before it is needed."""

    __slots__ = ("__dict__", "caller", "known_tag", "method", "path", "public_url", "scope")

    def __init__(self, scope: Scope, caller: Caller, public_url: str | None) -> None:
        self.scope = scope
        self.caller = caller
        self.method: str = scope["method"]
        self.path: bytes = scope["raw_path"]
        self.known_tag: bytes | None = None
        self.public_url = public_url or ""
        host = None
        for name, value in scope["headers"]:
            if name == b"if-none-match":
                self.known_tag = value
            elif name == b"host":
                host = value
        if not self.public_url:
            self.public_url = _own_url(scope, host)

    @property
    def key(self) -> tuple[object, ...]:
        """What two requests with the same answer have in common."""
        caller = self.caller
        query = self.scope["query_string"]
        return self.path, query, self.public_url, caller.known, caller.models

    def header(self, name: bytes) -> bytes:
        """Return a header's value in lower case, or nothing."""
        found = (value for key, value in self.scope["headers"] if key == name)
        return bytes(next(found, b"")).lower()

    @cached_property
    def segments(self) -> Sequence[str]:
        """The path's segments as they were sent, without a final slash."""
        found = self.path.decode("ascii", "replace").split("/")[1:] or [""]  # "*" has no slash
        return found[:-1] if len(found) > 1 and not found[-1] else found

    @property
    def raw_query(self) -> bytes:
        """The query as it was sent."""
        return bytes(self.scope["query_string"])

    @cached_property
    def query(self) -> list[tuple[str, str]]:
        """All parameters, in order. Raises HubError 400 for far too many."""
        return read_form(self.scope["query_string"])

    def all(self, name: str) -> tuple[str, ...]:
        """Return every value of a parameter."""
        return tuple(value for key, value in self.query if key in {name, f"{name}[]"})

    def one(self, name: str, default: str = "") -> str:
        """Return the last value of a parameter."""
        return next((value for key, value in reversed(self.query) if key == name), default)

    def says(self, name: str) -> bool:
        """Tell whether a parameter is `true`."""
        return is_yes(self.one(name))

    def limit(self, most: int = PAGE) -> int:
        """Return how many entries a page shall have."""
        return min(max(read_number(self.one("limit"), most), 1), most)

    def page(self) -> int:
        """Return which page is asked for by number; the first is 0."""
        return read_number(self.one("p"), 0)

    def cursor(self) -> str:
        """Return where the page before ended. Raises HubError 400."""
        try:
            return b64decode(self.one("cursor").encode(), b"-_", validate=True).decode()
        except (binascii.Error, ValueError):
            raise HubError(400, None, "The cursor is none that this server gave") from None

    def link(self, **changed: str) -> tuple[tuple[str, str], ...]:
        """Return the header that leads to the next page: the same question with other values.

        Source: huggingface_hub 2.4 `utils/_pagination.py`; only an absolute URL will do.
        """
        query = [(key, value) for key, value in self.query if key not in changed]
        path = quote(self.path, safe=_PATH_SAFE)
        url = f"{self.public_url}{path}?{urlencode([*query, *changed.items()])}"
        return (("Link", f'<{url}>; rel="next"'),)


def read_form(data: bytes, most: int | None = MOST_PARAMETERS) -> list[tuple[str, str]]:
    """Return the fields of a query or a form, in order. Raises HubError 400 for too many."""
    if not data:
        return []
    try:
        text = data.decode("ascii", "replace")
        return parse_qsl(text, keep_blank_values=True, max_num_fields=most)
    except ValueError:
        raise HubError(400, None, f"More than {most} parameters") from None


def read_number(text: str, otherwise: int) -> int:
    """Return the number that a text is, or `otherwise` where it is none that makes sense."""
    sound = len(text) <= _DIGITS and text.isascii() and text.isdecimal()
    return int(text) if sound else otherwise


def is_yes(text: str) -> bool:
    """Tell whether a value is `true`, in any of its spellings."""
    return text.casefold() in _YES


def is_host(text: str) -> bool:
    """Tell whether a text can be a host, with a port or without."""
    return _HOST.fullmatch(text) is not None


def make_cursor(text: str) -> str:
    """Return a cursor that says where a page ended."""
    return urlsafe_b64encode(text.encode()).decode()


def _own_url(scope: Scope, host: bytes | None) -> str:
    text = (host or b"").decode("latin-1")
    if not is_host(text):
        name, port = scope.get("server") or ("localhost", None)
        text = f"{name}:{port}" if port else str(name)
    return f"{scope['scheme']}://{text}"
