"""What differs between two configurations, in the words of the YAML; values are never told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sync_daemon.config import ModelEntry, Settings


def differences(old: Settings, new: Settings) -> tuple[str, ...]:
    """Return the keys that differ: `transfer.bandwidth`, `origins.hf.token`, `models.llama`."""
    return tuple(_compare(_fields(old), _fields(new), ""))


def _compare(old: Mapping[str, Any], new: Mapping[str, Any], where: str) -> Iterator[str]:
    for key in dict.fromkeys((*old, *new)):
        path = f"{where}.{key}" if where else key
        one, other = old.get(key), new.get(key)
        if one == other:
            continue
        before, after = _inside(one), _inside(other)
        if before is None or after is None:
            yield path
        else:
            yield from _compare(before, after, path)


def _inside(value: Any) -> Mapping[str, Any] | None:
    """Return what is worth looking into: sections, mappings, and the models by their names."""
    if isinstance(value, ModelEntry):
        return None
    if isinstance(value, Mapping):
        return value
    if isinstance(value, tuple) and all(isinstance(one, ModelEntry) for one in value):
        return {model.name: model for model in value}
    return _fields(value) if hasattr(type(value), "model_fields") else None


def _fields(section: Any) -> dict[str, Any]:
    return {name: getattr(section, name) for name in type(section).model_fields}
