"""What a file of weights holds, from its header bytes only: tensors, dtypes, parameters.

`.safetensors` begins with the length of a JSON header (8 bytes, little endian). What torch
saves is a zip file, or in the old format a row of pickles; `pickled.py` reads those without
running anything of them. Weights themselves are never read, so that a file of many gigabytes
is looked at over the network by a few requests.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sync_daemon.client import pickled
from sync_daemon.client.tensors import NotReadable, Source, Tensor, Weights

LONGEST_HEADER = 100_000_000
"""Bytes: the limit of the safetensors format itself."""

_PREFIX = 8
_METADATA = "__metadata__"


def inspect(source: Source) -> Weights:
    """Return what a file holds. Raises NotReadable, and what the source raises."""
    start = source.read(0, min(_PREFIX, source.size))
    if pickled.is_pickled(start):
        return pickled.inspect(source)
    return _safetensors(source, start)


def _safetensors(source: Source, start: bytes) -> Weights:
    end = _PREFIX + int.from_bytes(start, "little")
    if len(start) < _PREFIX or not _PREFIX + 1 < end <= min(source.size, _PREFIX + LONGEST_HEADER):
        message = f"{source.name}: neither safetensors nor what torch saves"
        raise NotReadable(message, hint="a file of such a name is damaged: fetch it again")
    try:
        header = json.loads(source.read(_PREFIX, end))
        metadata = header.pop(_METADATA, {})
        tensors = [_tensor(name, value, source.size - end) for name, value in header.items()]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        message = f"{source.name}: its safetensors header is damaged: {error}"
        raise NotReadable(message, hint="fetch the file again") from error
    return Weights(source.name, "safetensors", source.size, tuple(tensors), metadata)


def _tensor(name: str, value: Mapping[str, Any], room: int) -> Tensor:
    begin, end = value["data_offsets"]
    shape = tuple(value["shape"])
    if not 0 <= begin <= end <= room:
        message = f"tensor {name!r} lies outside the file"
        raise ValueError(message)
    if not all(type(one) is int and one >= 0 for one in shape):
        message = f"tensor {name!r} has no shape"
        raise ValueError(message)
    return Tensor(name, str(value["dtype"]), shape)
