"""Tensors that torch has pickled, read without running anything.

A pickle is a program. This one is run with a stand-in for every name that it wants to import,
so that `os.system` is as inert as `torch.FloatStorage`; what comes out is a tree of stand-ins in
which tensors can be told by the function that would have built them. Source: torch's
`serialization.py`: since 1.6 a zip with `NAME/data.pkl`, before that four pickles in a row.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Self

from sync_daemon.client.tensors import FIRST, NotReadable, Source, Tensor, Weights

LONGEST_PICKLE = 64 * 1024**2
"""Bytes: a model with 100,000 tensors needs about a fifth of it."""

_ZIP = b"PK\x03\x04"
_PROTOCOL = b"\x80"
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_HEADS = 2  # the protocol's version, and facts of the machine

_STORAGES = {
    "DoubleStorage": "F64",
    "FloatStorage": "F32",
    "HalfStorage": "F16",
    "BFloat16Storage": "BF16",
    "LongStorage": "I64",
    "IntStorage": "I32",
    "ShortStorage": "I16",
    "CharStorage": "I8",
    "ByteStorage": "U8",
    "BoolStorage": "BOOL",
    "ComplexFloatStorage": "C64",
    "ComplexDoubleStorage": "C128",
}
_PARAMETER = "_rebuild_parameter"
_REBUILT = {"_rebuild_tensor", "_rebuild_tensor_v2", _PARAMETER}
_OFFSET_AND_SIZE = 2
_UNKNOWN = "unknown"


def is_pickled(start: bytes) -> bool:
    """Tell by its first bytes whether a file is a zip or a pickle."""
    return start.startswith(_ZIP) or (start.startswith(_PROTOCOL) and start[1:2] <= b"\x05")


def inspect(source: Source) -> Weights:
    """Return what a file that torch saved holds. Raises NotReadable."""
    try:
        if source.read(0, len(_ZIP)) == _ZIP:
            with zipfile.ZipFile(_Reading(source)) as archive:
                form, names, tree = "torch zip", *_load(_data(archive, source.name))
        else:
            form, names, tree = "torch", *_load_legacy(source)
        tensors = tuple(_tensors("", tree, set()))
    except NotReadable:
        raise
    except Exception as error:  # a damaged pickle raises whatever it likes
        message = f"{source.name}: cannot be read as what torch saves: {error!r}"
        raise NotReadable(message, hint="fetch the file again") from error
    return Weights(source.name, form, source.size, tensors, modules=tuple(sorted(names)))


def _data(archive: zipfile.ZipFile, name: str) -> bytes:
    found = [one for one in archive.infolist() if one.filename.endswith("data.pkl")]
    if len(found) != 1:
        message = f"{name}: a zip file, but not one that torch saved"
        raise NotReadable(message)
    if found[0].file_size > LONGEST_PICKLE:
        message = f"{name}: its list of tensors takes more than {LONGEST_PICKLE} bytes"
        raise NotReadable(message)
    with archive.open(found[0]) as file:
        return file.read(LONGEST_PICKLE)


def _load(data: bytes) -> tuple[set[str], Any]:
    unpickler = _Inert(io.BytesIO(data))
    return unpickler.names, unpickler.load()


def _load_legacy(source: Source) -> tuple[set[str], Any]:
    file = io.BufferedReader(_Reading(source), FIRST)
    if _Inert(file).load() != _LEGACY_MAGIC:
        message = f"{source.name}: a pickle, but not one that torch saved"
        raise NotReadable(message)
    for _ in range(_LEGACY_HEADS):
        _Inert(file).load()
    unpickler = _Inert(file)
    return unpickler.names, unpickler.load()


class _Stand:
    """Stands for whatever a pickle names: being made or given state, it only notes it."""

    kind: ClassVar[str] = ""

    def __init__(self, *arguments: Any, **_: Any) -> None:
        self.arguments = arguments
        self.items: dict[Any, Any] = {}

    def __new__(cls, *_: Any, **__: Any) -> Self:  # a pickle may leave __init__ out
        made = super().__new__(cls)
        made.arguments, made.items = (), {}
        return made

    def __setitem__(self, key: Any, value: Any) -> None:
        self.items[key] = value

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, dict):
            self.items.update(state)

    def append(self, value: Any) -> None:
        self.items[len(self.items)] = value

    def extend(self, values: Any) -> None:
        for value in values:
            self.append(value)


class _Storage(_Stand):
    kind = "storage"


class _Inert(pickle.Unpickler):
    """Imports nothing. `names` collects what would have been imported."""

    def __init__(self, file: Any) -> None:
        super().__init__(file, encoding="latin-1")
        self.names: set[str] = set()

    def find_class(self, module: str, name: str) -> Any:
        self.names.add(f"{module}.{name}")
        return type("Stand", (_Stand,), {"kind": name})

    def persistent_load(self, ident: Any) -> Any:
        return _Storage(*ident) if isinstance(ident, tuple) else _Storage(ident)


def _tensors(name: str, value: Any, seen: set[int]) -> Iterator[Tensor]:
    """Yield the tensors below a value. What is named twice is walked once: a small pickle can
    unfold to more values than there are atoms."""
    if isinstance(value, _Stand):
        if value.kind in _REBUILT and value.arguments:
            yield from _tensor(name, value, seen)
            return
        value = value.items
    if not isinstance(value, Mapping | list | tuple) or id(value) in seen:
        return
    seen.add(id(value))
    pairs = value.items() if isinstance(value, Mapping) else enumerate(value)
    for key, one in pairs:
        yield from _tensors(f"{name}.{key}" if name else str(key), one, seen)


def _tensor(name: str, stand: _Stand, seen: set[int]) -> Iterator[Tensor]:
    storage, *rest = stand.arguments
    if stand.kind == _PARAMETER:
        yield from _tensors(name, storage, seen)
    elif len(rest) >= _OFFSET_AND_SIZE and _is_shape(shape := rest[1]):
        yield Tensor(name, _dtype(storage), shape)


def _is_shape(value: Any) -> bool:
    return isinstance(value, tuple) and all(type(one) is int and one >= 0 for one in value)


def _dtype(storage: Any) -> str:
    """Return the dtype of what a storage's persistent id names: ('storage', type, key, ...)."""
    for one in storage.arguments if isinstance(storage, _Storage) else ():
        if isinstance(one, type) and issubclass(one, _Stand):
            return _STORAGES.get(one.kind, one.kind)
    return _UNKNOWN


class _Reading(io.RawIOBase):
    """A source as a file that can be sought in; reads what is asked for and some more."""

    def __init__(self, source: Source) -> None:
        super().__init__()
        self._source, self._place = source, 0
        self._start, self._held = 0, b""

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._source.size}[whence]
        self._place = max(0, base + offset)
        return self._place

    def tell(self) -> int:
        return self._place

    def read(self, size: int | None = -1) -> bytes:
        end = self._source.size if size is None or size < 0 else self._place + size
        end = min(end, self._source.size)
        if end - self._place > LONGEST_PICKLE:
            message = f"{self._source.name}: would read more than {LONGEST_PICKLE} bytes"
            raise NotReadable(message)
        if not self._start <= self._place <= end <= self._start + len(self._held):
            last = min(self._source.size, max(end, self._place + FIRST))
            first = min(self._place, max(0, last - FIRST))  # the end of a zip is read backwards
            self._start, self._held = first, self._source.read(first, last)
        data = self._held[self._place - self._start : end - self._start]
        self._place = end if data else self._place
        return data

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)
