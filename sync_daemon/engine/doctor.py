"""Checks of everything that a run stands on: each says what is, and what to do about it.

A check never raises: what goes wrong is its answer. The store is asked by doing for once
what a run does all the time: write, read, delete, and write on a condition that must fail.
What is written lies under `staging/` and is deleted again.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Literal
from urllib.parse import urlsplit

from sync_daemon.domain import keys
from sync_daemon.domain.errors import PreconditionFailed, StoreRefused, SyncError
from sync_daemon.domain.events import Event
from sync_daemon.engine.limits import Limits
from sync_daemon.engine.retry import Retry
from sync_daemon.engine.vault import Vault
from sync_daemon.ports import Clock, ObjectStore, Origin

State = Literal["ok", "warn", "fail"]

MIB = 1024**2
GIB = 1024**3
SKEW_WARN = timedelta(seconds=5)
SKEW_FAIL = timedelta(seconds=60)
LITTLE_SPACE = 10 * GIB
SHORT_LIFE = timedelta(days=7)
"""Unfinished uploads that live shorter may not survive a long outage."""

USELESS_WITHOUT = frozenset({"credentials", "store", "format", "write"})
"""The checks without which the store cannot be used at all."""

_PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy")
_NONE: Mapping[str, str] = MappingProxyType({})
_DATA = b"sync-daemon doctor was here\n"


@dataclass(frozen=True, slots=True)
class Check:
    """One answer. `name` is stable; `hint` says what to do."""

    name: str
    state: State
    message: str
    hint: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the object of `doctor --json`."""
        return {
            "name": self.name,
            "status": self.state,
            "message": self.message,
            "hint": self.hint,
        }


def worst(checks: Iterable[Check]) -> State:
    """Return the worst state of all."""
    states = {check.state for check in checks}
    return "fail" if "fail" in states else "warn" if "warn" in states else "ok"


def check_store(store: ObjectStore, clock: Clock) -> Iterator[Check]:
    """Check that a store can be used, step by step; what depends on a failed step is left out."""
    reach = _try("store", lambda: _reach(store, clock))
    yield reach
    if reach.state == "fail":
        return
    yield _try("format", lambda: _look_at_format(store, clock))
    write = _try("write", lambda: _write(store))
    yield write
    if write.state != "fail":
        yield _try("checksum", lambda: _look_at_checksum(store))
        yield _try("conditional_put", lambda: _try_conditions(store))
    yield _try("clock", lambda: _compare_clocks(store, clock))


def check_space(free: int | None) -> Check:
    """Judge the free space of a store, in bytes; None: it is not known."""
    if free is None:
        return Check("space", "ok", "the store does not say how much space is free")
    message = f"{free / GIB:,.1f} GiB free"
    if free < LITTLE_SPACE:
        return Check("space", "warn", message, "add space, or remove old versions")
    return Check("space", "ok", message)


def check_upload_life(life: timedelta) -> Check:
    """Judge how long the store keeps an unfinished upload, from its beginning."""
    hours = life.total_seconds() / 3600
    message = f"unfinished uploads are dropped {hours:,.0f} h after they began"
    if life >= SHORT_LIFE:
        return Check("uploads", "ok", message)
    hint = "a large file on a slow line may take longer: `sync-daemon store init` gives 30 days"
    return Check("uploads", "warn", message, hint)


def check_origins(origins: Mapping[str, Origin]) -> tuple[Check, ...]:
    """Ask every origin, all at once."""
    if not origins:
        return ()
    with ThreadPoolExecutor(len(origins), thread_name_prefix="doctor") as pool:
        return tuple(pool.map(_check_origin, sorted(origins), _sorted_values(origins)))


def check_memory(limits: Limits) -> Check:
    """Check that the memory feeds all connections."""
    wanted = 2 * limits.piece_size * limits.connections
    memory, piece = limits.memory // MIB, limits.piece_size // MIB
    message = (
        f"{memory} MiB of buffers feed {limits.workers} of {limits.connections} connections,"
        f" two ranges of {piece} MiB for each"
    )
    if limits.workers >= limits.connections:
        return Check("memory", "ok", message)
    hint = (
        f"set transfer.memory to {-(-wanted // MIB)}MiB,"
        f" or transfer.connections to {limits.workers}"
    )
    return Check("memory", "warn", message, hint)


def check_proxies(
    environ: Mapping[str, str], store_endpoint: str | None, named: Mapping[str, str] = _NONE
) -> Check:
    """Tell which proxies the environment names, and whether the store is behind one.

    `named` are those of the YAML by their keys, with URLs or `off`.
    """
    found = {name: url for name in _PROXY_VARIABLES if (url := _variable(environ, name))}
    told = {**found, **named}
    if not told:
        return Check("proxies", "ok", "none in the environment, none in the configuration")
    message = ", ".join(f"{name} is {_without_secrets(url)}" for name, url in told.items())
    if "store.proxy" in named:
        return Check("proxies", "ok", message)
    parts = urlsplit(store_endpoint or "")
    proxied = f"{parts.scheme}_proxy" in found or "all_proxy" in found
    host = parts.hostname
    if not host or not proxied or _is_exempt(host, _variable(environ, "no_proxy") or ""):
        return Check("proxies", "ok", message)
    hint = f"if the store is near, add {host} to no_proxy, or set store.proxy to off"
    return Check("proxies", "warn", f"{message}; the store is reached through it", hint)


def _try(name: str, look: Callable[[], Check]) -> Check:
    try:
        return look()
    except SyncError as error:
        return Check(name, "fail", str(error), error.hint)
    except Exception as error:  # noqa: BLE001 - one check never stops the others
        hint = "this is a fault of sync-daemon: please report it"
        return Check(name, "fail", f"{type(error).__name__}: {error}", hint)


def _reach(store: ObjectStore, clock: Clock) -> Check:
    began = clock.monotonic()
    with suppress(FileNotFoundError):
        store.get(keys.MARKER)
    took = (clock.monotonic() - began) * 1000
    return Check("store", "ok", f"{store.url} answers in {took:,.0f} ms")


def _look_at_format(store: ObjectStore, clock: Clock) -> Check:
    Vault(store, Retry(1, _ignore, clock)).open(create=False)
    if store.stat(keys.MARKER) is not None:
        return Check("format", "ok", f"format {keys.FORMAT}")
    foreign = next(store.list(""), None)
    if foreign is None or foreign.key.startswith("staging/"):
        return Check("format", "ok", "empty; the first run will set it up")
    message = f"{store.url}: holds {foreign.key!r} but no {keys.MARKER}"
    hint = "give the mirror an empty prefix or directory of its own in store.url"
    return Check("format", "fail", message, hint)


def _write(store: ObjectStore) -> Check:
    key = _new_key()
    store.put(key, _DATA)
    try:
        same = store.get(key).data == _DATA
    finally:
        store.delete(key)
    if not same:
        message = f"{store.url}: what was written reads back as something else"
        raise StoreRefused(message, hint="look for a cache or a proxy in front of the store")
    if store.stat(key) is not None:
        message = f"{store.url}: what was deleted is still there"
        raise StoreRefused(
            message, hint="let the key delete objects; a mirror needs no object lock"
        )
    return Check("write", "ok", "written, read back and deleted")


def _look_at_checksum(store: ObjectStore) -> Check:
    kind = store.capabilities().checksum
    if kind != "none":
        return Check("checksum", "ok", f"the store checks {kind} of all that is sent to it")
    if not store.url.startswith("s3:"):
        return Check("checksum", "ok", "not needed: nothing travels over a network")
    message = "the store checks no checksum of what is sent to it"
    hint = "use https, and `sync-daemon verify --deep` now and then"
    return Check("checksum", "warn", message, hint)


def _try_conditions(store: ObjectStore) -> Check:
    name = "conditional_put"
    if not store.capabilities().conditional_put:
        message = "conditional writes do not hold here: only one process may write"
        hint = "never run two sync-daemon processes on this store at a time"
        return Check(name, "warn", message, hint)
    key = _new_key()
    try:
        first = store.put(key, b"first", if_absent=True)
        ignored = [] if _loses(store, key, if_absent=True) else ["If-None-Match"]
        if not ignored:
            store.put(key, b"second", if_match=first)
            ignored = [] if _loses(store, key, if_match=first) else ["If-Match"]
    finally:
        with suppress(SyncError):
            store.delete(key)
    if not ignored:
        return Check(name, "ok", "a second writer is refused")
    message = f"the store ignores {ignored[0]}: two writers would both win"
    hint = "set store.conditional_writes to no, and let only one process write"
    return Check(name, "fail", message, hint)


def _loses(store: ObjectStore, key: str, **condition: Any) -> bool:
    try:
        store.put(key, b"late", **condition)
    except PreconditionFailed:
        return True
    return False


def _compare_clocks(store: ObjectStore, clock: Clock) -> Check:
    skew = store.now() - clock.now()
    size = abs(skew)
    if size <= SKEW_WARN:
        return Check("clock", "ok", "the store's clock and this host's agree")
    side = "ahead of" if skew > timedelta() else "behind"
    message = f"the store's clock is {size.total_seconds():,.0f} s {side} this host's"
    hint = "set both by NTP; S3 refuses requests that are 15 minutes off"
    return Check("clock", "fail" if size > SKEW_FAIL else "warn", message, hint)


def _check_origin(name: str, origin: Origin) -> Check:
    label = f"origin:{name}"
    return replace(_try(label, lambda: Check(label, "ok", origin.check())), name=label)


def _sorted_values(origins: Mapping[str, Origin]) -> Iterator[Origin]:
    return (origins[name] for name in sorted(origins))


def _new_key() -> str:
    return keys.staging(f"doctor-{uuid.uuid4().hex}")


def _ignore(event: Event) -> None:
    del event


def _variable(environ: Mapping[str, str], name: str) -> str | None:
    return environ.get(name) or environ.get(name.upper()) or None


def _is_exempt(host: str, exceptions: str) -> bool:
    """Tell whether no_proxy names a host: `*`, the name itself, or a domain that it ends with."""
    names = [name.strip().lstrip(".").lower() for name in exceptions.split(",")]
    return any(name == "*" or f".{host}".endswith(f".{name}") for name in names if name)


def _without_secrets(url: str) -> str:
    """Return the host and port of a proxy's URL: a user and password may stand before them."""
    return url.rpartition("@")[2].rpartition("//")[2].partition("/")[0]
