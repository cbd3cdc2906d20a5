"""The texts that must not be written: secrets of the configuration, those that libraries find
in the environment, and what is secret within a URL."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from sync_daemon.config import Secret

_VARIABLES = (
    *("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
    *("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"),
)
_SEPARATORS = re.compile(r"[/:@?&=#;,]+")
_TOKEN = re.compile(r"(?=.*[0-9])[A-Za-z0-9_~+%-]{8,}")
"""What looks drawn by chance, and not like a word or the name of a host."""


def secrets_in(value: Any) -> Iterator[str]:
    """Yield the text of every secret within settings."""
    if isinstance(value, Secret):
        yield value.reveal()
        yield from _within(value.reveal())
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from secrets_in(item)
    elif isinstance(value, tuple):
        for item in value:
            yield from secrets_in(item)
    elif hasattr(type(value), "model_fields"):
        for name in type(value).model_fields:
            yield from secrets_in(getattr(value, name))


def secrets_around(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield what the libraries find by themselves."""
    for name in _VARIABLES:
        if found := environ.get(name):
            yield found
    for name, value in environ.items():
        if name.lower().endswith("_proxy"):
            yield from _of_user(value)


def _within(secret: str) -> Iterator[str]:
    """Yield the parts of a URL that are secrets by themselves: libraries tell errors of a
    path, or of a user, without the rest."""
    yield from _of_user(secret)
    scheme, found, rest = secret.partition("://")
    if not found:
        return
    if scheme in {"http", "https"}:
        rest = rest.rpartition("@")[2].partition("/")[2]  # its host is no secret
    for part in _SEPARATORS.split(rest):
        if _TOKEN.fullmatch(part):
            yield part
            yield unquote(part)


def _of_user(url: str) -> Iterator[str]:
    """Yield the password of a URL, and what a Basic header makes of it."""
    try:
        parts = urlsplit(url)
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
    except ValueError:
        return
    if password:
        yield password
        yield b64encode(f"{user}:{password}".encode()).decode()
