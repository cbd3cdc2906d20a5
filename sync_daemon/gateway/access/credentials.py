"""What a request shows to be let in, and what it is told when that is not enough.

Every stock client sends the token of its user's account at the Hub along, unasked, to whatever
HF_ENDPOINT names (huggingface_hub 2.4, `utils/_headers.py`). Where anybody may read, a text
that is none of our tokens is therefore passed over; one that has our beginning and is wrong is
refused, in the words that clients know, and these are the same for whatever is wrong with it.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass

from sync_daemon.domain.tokens import PREFIX, Token, is_ours
from sync_daemon.gateway.access.tokens import Tokens, TokensUnknown
from sync_daemon.gateway.request.callers import ANYBODY, EVERY_MODEL, Caller
from sync_daemon.gateway.request.errors import HubError
from sync_daemon.gateway.request.paths import Kind

WRONG = "Invalid credentials in Authorization header"
"""Exactly so: huggingface_hub compares this text (hf_raise_for_status)."""

MISSING = (
    f"This mirror asks for a token of its own, which begins with {PREFIX}:"
    " set HF_TOKEN to the one that its operator gave you"
)
BROWSER = 'Basic realm="model mirror: any user name, the token as password", charset="UTF-8"'

LONGEST = 4096
"""Characters of a header that are looked at."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What decides how a refusal is told. `browser`: a person is looking at a page."""

    kind: Kind
    browser: bool


class Credentials:
    """Finds out whose request it is."""

    def __init__(self, tokens: Tokens, *, anonymous: bool) -> None:
        self._tokens = tokens
        self._anonymous = anonymous

    def find(self, headers: Sequence[bytes], asked: Asked) -> tuple[Caller, Token | None]:
        """Return who asks, by the values of all Authorization headers.

        Raises HubError: 401 where a good token is missing, 503 where nobody knows.
        """
        secret = read_secret(headers)
        if secret is None or not is_ours(secret):
            if self._anonymous:
                return ANYBODY, None
            raise refusal(MISSING, asked)
        try:
            token = self._tokens.find(secret)
        except TokensUnknown:
            raise _unsure() from None
        if token is None:
            raise refusal(WRONG, asked)
        models = EVERY_MODEL if self._anonymous else token.models
        return Caller(token.name, models), token


def read_secret(headers: Sequence[bytes]) -> str | None:
    """Return the text of a bearer token, or the password of a browser; None for neither."""
    if len(headers) != 1 or len(headers[0]) > LONGEST:
        return None
    scheme, _, value = headers[0].decode("latin-1").strip().partition(" ")
    if scheme.lower() == "bearer":
        return value.strip() or None
    if scheme.lower() != "basic":
        return None
    try:
        pair = b64decode(value.strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    return pair.partition(":")[2] or None


def refusal(message: str, asked: Asked) -> HubError:
    """Return the answer to who is not let in: on a page, a browser asks for a password."""
    code = "RepoNotFound" if message != WRONG and asked.kind in {"api", "file"} else None
    return HubError(401, code, message, {"WWW-Authenticate": BROWSER} if asked.browser else {})


def _unsure() -> HubError:
    message = "The mirror cannot check tokens at the moment, because its store does not answer"
    return HubError(503, None, message, {"Retry-After": "5"})
