"""What a model's own files say of it: architecture, parameters and dtype, from header bytes.

A safetensors file begins with the length of a JSON header (8 bytes, little endian, at most
100 MB by the format's own limit), which lists each tensor's dtype and shape. Files that do
not parse say nothing: facts are for people, not a gate.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from sync_daemon.domain.manifest import FileEntry, ModelFacts

Read = Callable[[FileEntry, int, int], bytes]
"""Returns bytes `start` to `stop` of a stored file."""

_PREFIX = 8
_FIRST = 64 * 1024
_LONGEST = 16 * 1024**2
"""The format allows 100 MB; a header that long would not fit beside the buffers."""

_LARGEST = 2**48
_DIMENSIONS = 16
_NAME = 200
_CONFIG_LONGEST = 4 * 1024**2


def read_facts(files: Iterable[FileEntry], read: Read) -> ModelFacts:
    """Return the facts of a version. All weights are counted, or none."""
    entries = tuple(files)
    counts: Counter[str] = Counter()
    for entry in entries:
        if entry.path.endswith(".safetensors") and "/" not in entry.path:
            header = _header(entry, read)
            if header is None:
                counts.clear()
                break
            counts.update(_count(header))
    config = next((entry for entry in entries if entry.path == "config.json"), None)
    return ModelFacts(
        architecture=_architecture(config, read) if config else None,
        parameters=counts.total() or None,
        dtype=max(sorted(counts), key=counts.__getitem__) if counts else None,
    )


def _header(entry: FileEntry, read: Read) -> dict[str, Any] | None:
    first = read(entry, 0, min(_FIRST, entry.size))
    end = _PREFIX + int.from_bytes(first[:_PREFIX], "little")
    if not _PREFIX < end <= min(_LONGEST, entry.size):
        return None
    data = first[_PREFIX:end]
    if len(first) < end:
        data += read(entry, len(first), end)
    return _parse(data)


def _count(header: dict[str, Any]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for name, tensor in header.items():
        if name == "__metadata__" or not isinstance(tensor, dict):
            continue
        dtype = tensor.get("dtype")
        if is_plain(dtype) and (shape := _shape(tensor.get("shape"))) is not None:
            counts[str(dtype)] += math.prod(shape)
    return counts


def _shape(value: object) -> list[int] | None:
    if not isinstance(value, list) or len(value) > _DIMENSIONS:
        return None
    return value if all(type(n) is int and 0 <= n < _LARGEST for n in value) else None


def _architecture(entry: FileEntry, read: Read) -> str | None:
    if entry.size > _CONFIG_LONGEST:
        return None
    config = _parse(read(entry, 0, entry.size)) or {}
    names = config.get("architectures")
    first = names[0] if isinstance(names, list) and names else config.get("model_type")
    return str(first) if is_plain(first) else None


def is_plain(value: object) -> bool:
    """Tell whether a value is a line of text that a manifest can carry and people can read:
    no control characters, no lone surrogates, not endless."""
    return isinstance(value, str) and len(value) <= _NAME and value.isprintable()


def _parse(data: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
