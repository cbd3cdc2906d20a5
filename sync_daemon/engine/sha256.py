"""SHA-256 whose state can be kept, so that a hash goes on where a killed process left it.

hashlib hashes fast and releases the interpreter lock, but its state cannot leave the
process. The same OpenSSL offers SHA256_Init, _Update and _Final on a plain structure of
112 bytes (SHA256_CTX in openssl/sha.h: eight words of state, the length, a block, two
counters). They are reached by ctypes, which releases the lock as well. Where that library
is missing, or fails the test at first use, hashlib serves and there is no state to keep:
an interrupted file then begins again.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import hashlib
from functools import cache
from typing import Protocol

_STATE_BYTES = 112
_DIGEST_BYTES = 32


class Sha256(Protocol):
    """A running SHA-256. `state` is None where it cannot be kept."""

    def update(self, data: memoryview, /) -> None: ...
    def hexdigest(self) -> str: ...
    def state(self) -> bytes | None: ...


def new_sha256() -> Sha256:
    """Return a fresh hash."""
    library = _libcrypto()
    return _Kept(library) if library is not None else _Plain()


def resume_sha256(state: bytes) -> Sha256 | None:
    """Return a hash that goes on from `state`, or None where that cannot be done."""
    library = _libcrypto()
    if library is None or len(state) != _STATE_BYTES:
        return None
    return _Kept(library, state)


class _Plain:
    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def update(self, data: memoryview, /) -> None:
        self._hash.update(data)

    def hexdigest(self) -> str:
        return self._hash.hexdigest()

    def state(self) -> bytes | None:
        return None


class _Kept:
    def __init__(self, library: ctypes.CDLL, state: bytes | None = None) -> None:
        self._library = library
        self._context = ctypes.create_string_buffer(state or b"", _STATE_BYTES)
        if state is None:
            library.SHA256_Init(self._context)

    def update(self, data: memoryview, /) -> None:
        if not len(data):
            return
        first = ctypes.c_char.from_buffer(data)
        self._library.SHA256_Update(self._context, ctypes.byref(first), len(data))

    def hexdigest(self) -> str:
        digest = ctypes.create_string_buffer(_DIGEST_BYTES)
        copy = ctypes.create_string_buffer(self._context.raw, _STATE_BYTES)
        self._library.SHA256_Final(digest, copy)
        return digest.raw.hex()

    def state(self) -> bytes | None:
        return self._context.raw


@cache
def _libcrypto() -> ctypes.CDLL | None:
    try:
        library = _load()
        library.SHA256_Init.argtypes = [ctypes.c_void_p]
        library.SHA256_Update.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
        library.SHA256_Final.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    except (OSError, AttributeError):
        return None
    return library if _works(library) else None


def _load() -> ctypes.CDLL:
    """The usual name first: to search for it starts compilers and linkers."""
    try:
        return ctypes.CDLL("libcrypto.so.3")
    except OSError:
        return ctypes.CDLL(ctypes.util.find_library("crypto") or "libcrypto.so")


def _works(library: ctypes.CDLL) -> bool:
    """Hash across a kept state and compare with hashlib: the layout is tested, not trusted."""
    data = bytearray(range(256)) * 5
    view = memoryview(data)
    first = _Kept(library)
    first.update(view[:777])
    second = _Kept(library, first.state())
    second.update(view[777:])
    return second.hexdigest() == hashlib.sha256(data).hexdigest()
