"""Writes files as torch saves them, without torch: the same pickles, by modules of its names.

The layout is torch's `serialization.py`: `OrderedDict` of `_rebuild_tensor_v2` calls whose storages
are persistent ids, in a zip as `NAME/data.pkl` or, before 1.6, after three pickles in a row.
"""

from __future__ import annotations

import io
import pickle
import sys
import types
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C


@dataclass(frozen=True)
class Saved:
    """A tensor to be written: the name of torch's storage class, and a shape."""

    storage: str
    shape: tuple[int, ...]


@contextmanager
def _torch() -> Iterator[types.ModuleType]:
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")

    def _rebuild_tensor_v2(*_: Any) -> None: ...

    _rebuild_tensor_v2.__module__ = "torch._utils"
    _rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2
    before = {name: sys.modules.get(name) for name in ("torch", "torch._utils")}
    sys.modules |= {"torch": torch, "torch._utils": utils}
    try:
        yield torch
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def _pickle(tensors: Mapping[str, Any], extra: Any = None) -> bytes:
    """Pickle a state dict; `extra` goes beside its tensors."""
    file = io.BytesIO()
    with _torch() as torch:

        class Storage:
            def __init__(self, kind: str, count: int) -> None:
                self.kind, self.count = kind, count

        class Tensor:
            def __init__(self, saved: Saved) -> None:
                count = 1
                for one in saved.shape:
                    count *= one
                self.storage, self.shape = Storage(saved.storage, count), saved.shape

            def __reduce__(self) -> Any:
                rebuild = sys.modules["torch._utils"]._rebuild_tensor_v2
                return rebuild, (self.storage, 0, self.shape, (1,), False, OrderedDict())

        class Pickler(pickle.Pickler):
            def persistent_id(self, value: Any) -> Any:
                if not isinstance(value, Storage):
                    return None
                if not hasattr(torch, value.kind):
                    kind = type(value.kind, (), {"__module__": "torch"})
                    setattr(torch, value.kind, kind)
                return ("storage", getattr(torch, value.kind), "0", "cpu", value.count)

        state: dict[str, Any] = OrderedDict((k, Tensor(v)) for k, v in tensors.items())
        if extra is not None:
            state["extra"] = extra
        Pickler(file, 2).dump(state)
    return file.getvalue()


def torch_zip(tensors: Mapping[str, Saved], *, extra: Any = None, padding: int = 0) -> bytes:
    """Return a file as torch saves it since 1.6, with `padding` bytes in place of weights."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", _pickle(tensors, extra))
        archive.writestr("archive/data/0", b"\0" * padding)
        archive.writestr("archive/version", "3\n")
    return file.getvalue()


def torch_legacy(tensors: Mapping[str, Saved], *, padding: int = 0) -> bytes:
    """Return a file as torch saved it before 1.6."""
    heads = [LEGACY_MAGIC, 1001, {"protocol_version": 1001, "little_endian": True}]
    data = b"".join(pickle.dumps(one, 2) for one in heads)
    return data + _pickle(tensors) + pickle.dumps(["0"], 2) + b"\0" * padding
