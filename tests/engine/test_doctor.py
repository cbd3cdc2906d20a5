"""`doctor` says what is wrong with a store, an origin or a setting, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from sync_daemon.domain import keys
from sync_daemon.domain.errors import OriginUnavailable, StoreRefused, StoreUnavailable
from sync_daemon.engine.doctor import (
    GIB,
    MIB,
    Check,
    check_memory,
    check_origins,
    check_proxies,
    check_space,
    check_store,
    check_upload_life,
    worst,
)
from sync_daemon.engine.limits import Limits
from sync_daemon.ports import Capabilities, Content, Origin
from sync_daemon.stores.memory import MemoryStore
from sync_daemon.stores.minio_admin import parse_length
from sync_daemon.stores.minio_space import usable_bytes
from tests.support.fakes import FakeClock, FakeOrigin
from tests.support.stores import StoreThatMayBeDown


def examine(store: Any) -> dict[str, Check]:
    return {check.name: check for check in check_store(store, FakeClock())}


def memory_store(**options: Any) -> MemoryStore:
    return MemoryStore(now=FakeClock().now, **options)


def test_a_good_store_passes_every_check_and_is_left_as_it_was() -> None:
    store = memory_store()
    store.put(keys.MARKER, b'{"format":1}\n')
    checks = examine(store)
    assert list(checks) == ["store", "format", "write", "checksum", "conditional_put", "clock"]
    assert {check.state for check in checks.values()} == {"ok"}
    assert [info.key for info in store.list("")] == [keys.MARKER]


def test_an_empty_store_is_good_for_the_first_run() -> None:
    store = memory_store()
    assert examine(store)["format"].message == "empty; the first run will set it up"
    assert list(store.list("")) == []


def test_a_store_that_does_not_answer_is_the_only_thing_said_of_it() -> None:
    checks = examine(StoreThatMayBeDown(StoreUnavailable("refused", hint="start it")))
    assert list(checks.values()) == [Check("store", "fail", "refused", "start it")]


@pytest.mark.parametrize(
    ("key", "data", "message"),
    [
        (keys.MARKER, b'{"format":9}\n', "format this program cannot read"),
        ("holiday/photo.jpg", b"", "holds 'holiday/photo.jpg' but no mirror.json"),
    ],
)
def test_a_store_that_holds_something_else_is_refused(key: str, data: bytes, message: str) -> None:
    store = memory_store()
    store.put(key, data)
    check = examine(store)["format"]
    assert check.state == "fail"
    assert message in check.message
    assert check.hint


def test_a_store_that_may_not_be_written_to_is_not_asked_for_more() -> None:
    class ReadOnly(MemoryStore):
        def put(self, key: str, data: Any, **condition: Any) -> str:
            raise StoreRefused("access denied", hint="let it write")

    checks = examine(ReadOnly(now=FakeClock().now))
    assert checks["write"] == Check("write", "fail", "access denied", "let it write")
    assert list(checks) == ["store", "format", "write", "clock"]


def test_a_store_that_reads_back_something_else_is_caught_and_cleaned() -> None:
    class Stale(MemoryStore):
        def get(self, key: str) -> Content:
            found = super().get(key)
            return Content(b"from a cache", found.etag, found.modified)

    store = Stale(now=FakeClock().now)
    assert examine(store)["write"].state == "fail"
    assert list(store.list("")) == []


def test_a_store_that_does_not_delete_is_caught() -> None:
    class Keeping(MemoryStore):
        def delete(self, key: str) -> None:
            return

    assert "still there" in examine(Keeping(now=FakeClock().now))["write"].message


@pytest.mark.parametrize(("ignored", "header"), [("if_absent", "None-Match"), ("if_match", "If-M")])
def test_a_store_that_only_claims_conditional_writes_is_caught(ignored: str, header: str) -> None:
    class Lying(MemoryStore):
        def put(self, key: str, data: Any, **condition: Any) -> str:
            condition.pop(ignored, None)
            return super().put(key, data, **condition)

    store = Lying(now=FakeClock().now)
    check = examine(store)["conditional_put"]
    assert check.state == "fail"
    assert header in check.message
    assert list(store.list("")) == []


def test_a_store_without_conditional_writes_warns_of_a_second_writer() -> None:
    store = memory_store(capabilities=Capabilities(conditional_put=False))
    assert examine(store)["conditional_put"].state == "warn"


@pytest.mark.parametrize(
    ("url", "kind", "state"),
    [("s3://b", "none", "warn"), ("s3://b", "crc32c", "ok"), ("file:///b", "none", "ok")],
)
def test_bytes_on_a_network_want_a_checksum(url: str, kind: Any, state: str) -> None:
    class Named(MemoryStore):
        @property
        def url(self) -> str:
            return url

    store = Named(now=FakeClock().now, capabilities=Capabilities(checksum=kind))
    assert examine(store)["checksum"].state == state


@pytest.mark.parametrize(
    ("seconds", "state"),
    [(0, "ok"), (5, "ok"), (6, "warn"), (-6, "warn"), (60, "warn"), (61, "fail"), (-61, "fail")],
)
def test_clocks_that_differ_are_told_with_their_distance(seconds: int, state: str) -> None:
    def now() -> Any:
        return FakeClock().now() + timedelta(seconds=seconds)

    check = examine(MemoryStore(now=now))["clock"]
    assert check.state == state
    if state != "ok":
        side = "ahead" if seconds > 0 else "behind"
        assert f"{abs(seconds)} s {side}" in check.message


def test_a_fault_of_our_own_is_an_answer_too() -> None:
    class Broken(MemoryStore):
        def now(self) -> Any:
            raise ZeroDivisionError("oops")

    check = examine(Broken())["clock"]
    assert (check.state, check.message) == ("fail", "ZeroDivisionError: oops")


@pytest.mark.parametrize(
    ("free", "state"), [(None, "ok"), (500 * GIB, "ok"), (9 * GIB, "warn"), (0, "warn")]
)
def test_little_space_warns(free: int | None, state: str) -> None:
    assert check_space(free).state == state


@pytest.mark.parametrize(("hours", "state"), [(24, "warn"), (720, "ok")])
def test_uploads_that_die_young_warn(hours: int, state: str) -> None:
    check = check_upload_life(timedelta(hours=hours))
    assert (check.state, f"{hours} h" in check.message) == (state, True)


class Bad(FakeOrigin):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    def check(self) -> str:
        raise self._error


def test_every_origin_is_asked_whatever_the_others_say() -> None:
    origins: Mapping[str, Origin] = {
        "good": FakeOrigin(),
        "bad": Bad(OriginUnavailable("no answer", hint="check the network")),
        "odd": Bad(KeyError("x")),
    }
    checks = check_origins(origins)
    assert [(check.name, check.state) for check in checks] == [
        ("origin:bad", "fail"),
        ("origin:good", "ok"),
        ("origin:odd", "fail"),
    ]
    assert checks[0].hint == "check the network"
    assert check_origins({}) == ()


@pytest.mark.parametrize(("connections", "state"), [(64, "ok"), (65, "warn")])
def test_connections_that_memory_cannot_feed_warn_with_the_numbers(
    connections: int, state: str
) -> None:
    check = check_memory(Limits(connections=connections, part_size=32 * MIB, memory=1024 * MIB))
    assert check.state == state
    if state == "warn":
        assert "64 of 65 connections" in check.message
        assert check.hint == "set transfer.memory to 1040MiB, or transfer.connections to 64"


@pytest.mark.parametrize(
    ("environ", "state"),
    [
        ({}, "ok"),
        ({"http_proxy": "http://proxy:3128"}, "ok"),
        ({"HTTPS_PROXY": "http://proxy:3128"}, "warn"),
        ({"https_proxy": "http://proxy:3128", "no_proxy": "other, .near.example"}, "ok"),
        ({"https_proxy": "http://proxy:3128", "no_proxy": "s3.near.example"}, "ok"),
        ({"https_proxy": "http://proxy:3128", "no_proxy": "r.example"}, "warn"),
        ({"all_proxy": "socks5://proxy:1080", "NO_PROXY": "*"}, "ok"),
    ],
)
def test_a_store_behind_a_proxy_warns(environ: Mapping[str, str], state: str) -> None:
    assert check_proxies(environ, "https://s3.near.example:9000").state == state


def test_proxies_of_the_yaml_are_told_and_stand_above_the_variables() -> None:
    environ, near = {"https_proxy": "http://proxy:3128"}, "https://s3.near.example:9000"
    named = {"store.proxy": "off", "origins.hf.proxy": "http://me:hush@out.example:3128"}
    check = check_proxies(environ, near, named)
    assert check.state == "ok"
    assert "store.proxy is off, origins.hf.proxy is out.example:3128" in check.message


def test_a_proxys_password_is_not_shown() -> None:
    check = check_proxies({"https_proxy": "http://user:p@ss@proxy:3128/"}, None)
    assert check.message == "https_proxy is proxy:3128"


@pytest.mark.parametrize(
    ("states", "expected"),
    [(("ok",), "ok"), (("ok", "warn"), "warn"), (("warn", "fail", "ok"), "fail"), ((), "ok")],
)
def test_the_worst_answer_counts(states: tuple[Any, ...], expected: str) -> None:
    assert worst(Check("x", state, "") for state in states) == expected


def drives(*free: int | None) -> list[dict[str, int]]:
    return [{} if one is None else {"availspace": one} for one in free]


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ({"servers": [{"drives": drives(100)}], "backend": {"standardSCParity": 0}}, 100),
        (
            {
                "servers": [{"drives": drives(100, 100)}, {"drives": drives(100, None)}],
                "backend": {"standardSCParity": 2, "totalDrivesPerSet": [4]},
            },
            150,
        ),
        ({"servers": [{"drives": drives(None)}]}, None),
        ({}, None),
    ],
)
def test_parity_takes_its_share_of_the_free_space(info: Any, expected: int | None) -> None:
    assert usable_bytes(info) == expected


@pytest.mark.parametrize(
    ("text", "hours"), [("24h", 24), ("1h30m", 1.5), ("720h0m0s", 720), ("soon", None), ("", None)]
)
def test_lengths_are_read_as_go_writes_them(text: str, hours: float | None) -> None:
    assert parse_length(text) == (None if hours is None else timedelta(hours=hours))
