"""The last line of defence for secrets: their very text is hidden in whatever is written.

Secrets are a type that does not print (config/secret.py). What may still carry one is the
text of other people's errors, so every line that leaves the process passes through here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

HIDDEN = "***"
_SHORTEST = 4
"""Shorter texts occur by chance, and hiding them would garble what is written."""


class Mask:
    """Replaces each of `secrets`, also in the form it has in a URL, by `***`."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        known = {text for text in secrets if len(text) >= _SHORTEST}
        known |= {quote(text, safe="") for text in known}
        self._secrets = sorted(known, key=len, reverse=True)  # one may contain another

    def text(self, text: str) -> str:
        """Return `text` without secrets."""
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, HIDDEN)
        return text

    def value(self, value: Any) -> Any:
        """Return a value of strings, lists and mappings without secrets."""
        if not self._secrets:
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {key: self.value(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(item) for item in value]
        return value
