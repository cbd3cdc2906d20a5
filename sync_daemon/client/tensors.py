"""What is told of a file of weights, and what it is read from: values that all formats share."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from sync_daemon.domain.errors import SyncError

FIRST = 64 * 1024
"""Bytes that are read at first: most headers fit."""


class NotReadable(SyncError):
    """The file is no file of weights that is known here, or it is damaged."""


class Source(Protocol):
    """A file that can be read anywhere. `size` is in bytes."""

    @property
    def name(self) -> str: ...
    @property
    def size(self) -> int: ...

    def read(self, start: int, stop: int) -> bytes:
        """Return bytes `start` to `stop`, all of them."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor. `dtype` is written as safetensors does: F32, BF16, I64 ..."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def parameters(self) -> int:
        """How many numbers it holds; 1 for a scalar."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Weights:
    """What a file holds. `modules` are the Python names that loading a pickle would import."""

    name: str
    form: str
    size: int
    tensors: tuple[Tensor, ...]
    metadata: Mapping[str, str] = field(default_factory=dict)
    modules: tuple[str, ...] = ()

    @property
    def parameters(self) -> int:
        """All numbers of all tensors."""
        return sum(tensor.parameters for tensor in self.tensors)

    @property
    def dtypes(self) -> Mapping[str, int]:
        """How many parameters there are of each dtype, most first."""
        counts: Counter[str] = Counter()
        for tensor in self.tensors:
            counts[tensor.dtype] += tensor.parameters
        return dict(counts.most_common())
