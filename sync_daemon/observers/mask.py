"""The last line of defence for secrets: their very text is hidden in whatever is written.

Secrets are a type that does not print (config/secret.py). What may still carry one is the
text of other people's errors, so every line that leaves the process passes through here.
Addresses that are signed, and so open a door to whoever has them, are told by their form:
nobody knows them beforehand.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

HIDDEN = "***"
_SHORTEST = 4
"""Shorter texts occur by chance, and hiding them would garble what is written."""

_VALUE = r"""[^&\s"'\\<>,;)}\]]+"""
_SIGNED = re.compile(
    r"\b(X-Amz-(?:Signature|Credential|Security-Token)|Signature|Key-Pair-Id|Policy|sig)="
    rf"(?!\*\*\*){_VALUE}",
    re.IGNORECASE,
)
_BEARER = re.compile(rf"\b(Bearer )(?=\S*[0-9]){_VALUE}")


class Mask:
    """Replaces each of `secrets`, also in the form it has in a URL, by `***`."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        known = {text for text in secrets if len(text) >= _SHORTEST}
        self._known = frozenset(known)
        known |= {quote(text, safe="") for text in known}
        self._secrets = sorted(known, key=len, reverse=True)  # one may contain another

    def with_more(self, secrets: Iterable[str]) -> Mask:
        """Return a mask that hides others as well: what was a secret stays one."""
        return Mask((*self._known, *secrets))

    def text(self, text: str) -> str:
        """Return `text` without secrets."""
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, HIDDEN)
        if "=" in text:
            text = _SIGNED.sub(rf"\1={HIDDEN}", text)
        return _BEARER.sub(rf"\1{HIDDEN}", text) if "Bearer " in text else text

    def value(self, value: Any) -> Any:
        """Return a value of strings, lists and mappings without secrets."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {key: self.value(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(item) for item in value]
        return value
