"""Tokens of the gateway: what a reader shows, and what the store keeps of it.

A token is 256 random bits, so a plain SHA-256 is enough to keep it by: slow, salted hashes
are for passwords, which can be guessed, and would only make each request dear. Its text has a
fixed beginning and ends in a checksum, so that secret scanners know it when they see it:

    sdm_ <43 letters and digits: the bits> <6: CRC-32 of what precedes>

The id of a token is made of its name and of how many tokens had that name before. So of two
who make a token of one name at the same time, only one can write it.
"""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from typing import Literal, Self

from sync_daemon.domain import canonical
from sync_daemon.domain.access import ModelPattern
from sync_daemon.domain.digests import Digest
from sync_daemon.domain.errors import InvalidName, StoreRefused
from sync_daemon.domain.words import parse_moment

PREFIX = "sdm_"
SECRET_BYTES = 32

State = Literal["active", "expired", "revoked"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_ID = re.compile(r"[0-9a-f]{16}")
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_BODY, _CHECK = 43, 6
"""Digits to the base 62 of 256 bits, and of a CRC-32."""


class TokenName(str):
    """Whose token it is: a person, a team, a machine."""

    __slots__ = ()

    def __new__(cls, value: str) -> Self:
        if is_ours(value):  # its text must not be repeated
            message = "token name: that is a token, and not the name of one"
            raise InvalidName(message, hint="name a person, a team or a machine")
        if not _NAME.fullmatch(value):
            message = f"token name {value!r}: at most 64 letters, digits, '.', '_', '-' and '@'"
            raise InvalidName(message, hint="the first one a letter or a digit")
        if _ID.fullmatch(value):
            message = f"token name {value!r}: looks like the id of a token"
            raise InvalidName(message, hint="choose another name")
        return super().__new__(cls, value)


class TokenId(str):
    """The name of a token's object, 16 hexadecimal digits; it is no secret."""

    __slots__ = ()

    def __new__(cls, value: str) -> Self:
        if not _ID.fullmatch(value):
            message = f"{value!r} is not the id of a token (16 lower-case hex digits)"
            raise InvalidName(message)
        return super().__new__(cls, value)


@dataclass(frozen=True, slots=True)
class Token:
    """What the store keeps. Times are aware; `expires` and `revoked` are None for never."""

    id: TokenId
    name: TokenName
    sha256: Digest
    models: tuple[ModelPattern, ...]
    created: datetime
    expires: datetime | None = None
    revoked: datetime | None = None

    def state(self, now: datetime) -> State:
        """Tell whether it opens anything."""
        if self.revoked is not None:
            return "revoked"
        expired = self.expires is not None and self.expires <= now
        return "expired" if expired else "active"

    def encode(self) -> bytes:
        """Return the canonical bytes of `tokens/<id>.json`."""
        return canonical.encode(
            canonical.present(
                id=self.id,
                name=self.name,
                sha256=self.sha256,
                models=list(self.models),
                created=_text(self.created),
                expires=_text(self.expires),
                revoked=_text(self.revoked),
            )
        )


def decode_token(data: bytes) -> Token:
    """Parse a `tokens/<id>.json`. Raises StoreRefused when it is not one."""
    try:
        raw = json.loads(data)
        token = Token(
            id=TokenId(raw["id"]),
            name=TokenName(raw["name"]),
            sha256=Digest(raw["sha256"]),
            models=tuple(map(ModelPattern, _list(raw["models"]))),
            created=parse_moment(raw["created"]),
            expires=parse_moment(raw["expires"]) if "expires" in raw else None,
            revoked=parse_moment(raw["revoked"]) if "revoked" in raw else None,
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        message = f"not a token: {type(error).__name__}"  # its text could quote the object
        raise StoreRefused(message, hint="make a new token, and remove the object") from error
    return token


def _list(value: object) -> list[str]:
    if not isinstance(value, list):  # a text would be taken for the patterns of its letters
        raise TypeError
    return value


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds")


def next_id(name: TokenName, taken: Collection[TokenId]) -> TokenId:
    """Return the id of the next token of a name; case does not make another name."""
    beginning = name.casefold()
    found = (TokenId(Digest.of(f"{beginning}\n{n}".encode())[:16]) for n in count(1))
    return next(one for one in found if one not in taken)


def make_secret(bits: bytes) -> str:
    """Return the text of a token of SECRET_BYTES random bytes."""
    body = _digits(int.from_bytes(bits), _BODY)
    return f"{PREFIX}{body}{_check(body)}"


def is_ours(text: str) -> bool:
    """Tell whether a text is meant to be one of our tokens, good or not."""
    return text.startswith(PREFIX)


def is_whole(text: str) -> bool:
    """Tell whether one of our tokens was copied as a whole: its checksum is right."""
    body = text[len(PREFIX) : -_CHECK]
    return is_ours(text) and len(body) == _BODY and text.endswith(_check(body))


def digest_of(secret: str) -> str:
    """Return what the store knows a token by."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _check(body: str) -> str:
    return _digits(zlib.crc32(f"{PREFIX}{body}".encode("utf-8", "surrogatepass")), _CHECK)


def _digits(number: int, length: int) -> str:
    text = ""
    for _ in range(length):
        number, digit = divmod(number, len(_DIGITS))
        text = _DIGITS[digit] + text
    return text
