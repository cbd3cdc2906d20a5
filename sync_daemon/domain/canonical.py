"""Canonical JSON: the same content gives the same bytes, and so the same digest, everywhere.

UTF-8 unescaped, keys sorted by their UTF-8 bytes (which is code point order), integers
only, absent instead of null, no spaces, one final newline.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def encode(value: Mapping[str, Any]) -> bytes:
    """Return the canonical bytes of `value`.

    Raises ValueError for floats and for None, which have no canonical form here.
    """
    _check(value)
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return text.encode() + b"\n"


def _check(value: object) -> None:
    if value is None or isinstance(value, float):
        message = f"{value!r} has no canonical form"
        raise ValueError(message)
    if isinstance(value, Mapping):
        for item in value.values():
            _check(item)
    elif isinstance(value, list | tuple):
        for item in value:
            _check(item)


def present(**fields: Any) -> dict[str, Any]:
    """Return the fields that are not None: absence is how null is written."""
    return {name: value for name, value in fields.items() if value is not None}
