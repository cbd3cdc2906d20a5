"""Tokens as values, in a store with several writers, and as the gateway knows them."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import example, given, strategies as st

from sync_daemon.domain import keys
from sync_daemon.domain.access import ModelPattern
from sync_daemon.domain.digests import Digest
from sync_daemon.domain.errors import ConfigurationError, StoreRefused, StoreUnavailable
from sync_daemon.domain.events import Event, TokensUnread, TokenUnreadable
from sync_daemon.domain.names import ModelName
from sync_daemon.domain.tokens import (
    Token,
    TokenId,
    TokenName,
    decode_token,
    digest_of,
    is_whole,
    make_secret,
    next_id,
)
from sync_daemon.engine.retry import Retry
from sync_daemon.gateway.access.tokens import TokenBook, Tokens
from sync_daemon.gateway.request.callers import Caller
from sync_daemon.ports import ObjectStore
from sync_daemon.stores.memory import MemoryStore
from tests.stores.backends import open_backend
from tests.support.door import StoreThatMayBeDown
from tests.support.fakes import FakeClock

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ALL = (ModelPattern("*"),)
CI = TokenName("ci")
WHOLE = Token(TokenId("0" * 16), CI, Digest("0" * 64), ALL, NOW).encode()


def book_of(store: MemoryStore) -> TokenBook:
    clock = FakeClock()
    return TokenBook(store, Retry(3, lambda _: None, clock))


@given(st.binary(min_size=32, max_size=32))
def test_a_token_has_one_shape_and_its_checksum_finds_slips(bits: bytes) -> None:
    secret = make_secret(bits)
    assert len(secret) == 53
    assert is_whole(secret)
    other = "0" if secret[20] != "0" else "1"
    assert not is_whole(secret[:20] + other + secret[21:])
    assert not is_whole(secret[:-1])


@given(st.text())
def test_any_text_can_be_asked_for(text: str) -> None:
    assert len(digest_of(text)) == 64
    assert not is_whole(text)


@example(b"[" * 200_000)
@example(WHOLE.replace(b'["*"]', b'"*"'))
@given(st.binary() | st.text().map(str.encode) | st.just(b'{"id": 1}') | st.just(b"[]"))
def test_what_is_no_token_is_refused(data: bytes) -> None:
    with pytest.raises(StoreRefused):
        decode_token(data)


def test_a_token_survives_the_store() -> None:
    token = Token(
        TokenId("0" * 16), CI, Digest("0" * 64), ALL, NOW, NOW + timedelta(1), NOW + timedelta(2)
    )
    assert decode_token(token.encode()) == token
    raw = json.loads(token.encode()) | {"expires": "2026-01-02T00:00:00"}
    with pytest.raises(StoreRefused):
        decode_token(json.dumps(raw).encode())


def test_ids_are_told_by_name_and_number() -> None:
    first = next_id(CI, ())
    assert next_id(TokenName("CI"), ()) == first
    assert next_id(CI, {first}) not in {first, next_id(TokenName("ci2"), ())}


class Meeting(MemoryStore):
    """A store whose writers all wait until each of them has looked."""

    def __init__(self, writers: int) -> None:
        super().__init__()
        self._barrier = threading.Barrier(writers, timeout=5)
        self._met = threading.local()

    def put(self, key: str, data: object, **conditions: object) -> str:
        if not getattr(self._met, "done", False):
            self._met.done = True
            self._barrier.wait()
        return super().put(key, data, **conditions)  # type: ignore[arg-type]


def test_of_two_who_make_a_token_of_one_name_at_once_one_succeeds() -> None:
    store = Meeting(4)
    book = book_of(store)
    made: list[str] = []
    refused: list[str] = []

    def make() -> None:
        try:
            made.append(book.create(CI, ALL, NOW)[1])
        except ConfigurationError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(made), len(refused)) == (1, 3)
    (stored,) = book.read()
    assert stored.token is not None
    assert stored.token.sha256 == digest_of(made[0])


class Forgetful(MemoryStore):
    """A store that does what it is told, and whose first answer is lost."""

    def __init__(self) -> None:
        super().__init__()
        self.lost = False

    def put(self, key: str, data: object, **conditions: object) -> str:
        etag = super().put(key, data, **conditions)  # type: ignore[arg-type]
        if not self.lost:
            self.lost = True
            raise StoreUnavailable("the answer was lost")
        return etag


def test_a_token_whose_writing_was_not_answered_is_found_again() -> None:
    book = book_of(Forgetful())
    token, secret = book.create(CI, ALL, NOW)
    (stored,) = book.read()
    assert stored.token == token
    assert token.sha256 == digest_of(secret)


def test_a_revocation_that_was_not_answered_is_done() -> None:
    store = Forgetful()
    store.lost = True
    book = book_of(store)
    book.create(CI, ALL, NOW)
    store.lost = False
    token, _ = book.revoke("ci", NOW)
    assert token.revoked == NOW


def test_an_expired_name_is_free_again() -> None:
    book = book_of(MemoryStore())
    book.create(CI, ALL, NOW, NOW + timedelta(hours=1))
    with pytest.raises(ConfigurationError):
        book.create(CI, ALL, NOW + timedelta(minutes=59))
    book.create(CI, ALL, NOW + timedelta(hours=1))


def test_only_what_has_changed_is_read_again() -> None:
    store, clock = StoreThatMayBeDown(), FakeClock()
    book = TokenBook(store, Retry(1, lambda _: None, clock))
    for number in range(5):
        book.create(TokenName(f"t{number}"), ALL, NOW)
    tokens = Tokens(book, clock, lambda _: None)
    store.reads = 0
    tokens.refresh()
    assert store.reads == 5
    tokens.refresh()
    assert store.reads == 5
    book.revoke("t3", NOW)
    before = store.reads
    tokens.refresh()
    assert store.reads == before + 1


def test_a_token_that_cannot_be_read_opens_nothing_and_is_told_once() -> None:
    store, clock, events = MemoryStore(), FakeClock(), list[Event]()
    book = TokenBook(store, Retry(1, events.append, clock))
    tokens = Tokens(book, clock, events.append)
    good, secret = book.create(CI, ALL, NOW)
    other, stolen = book.create(TokenName("other"), ALL, NOW)
    store.put(keys.token(other.id), good.encode())
    store.put("tokens/notes.txt", b"somebody else's")
    for _ in range(2):
        tokens.refresh()
    assert tokens.find(secret) == good
    assert tokens.find(stolen) is None
    assert events == [TokenUnreadable(keys.token(other.id))]


def test_tokens_that_cannot_be_read_are_told_once_until_they_can() -> None:
    store, clock, events = StoreThatMayBeDown(), FakeClock(), list[Event]()
    tokens = Tokens(TokenBook(store, Retry(1, lambda event: None, clock)), clock, events.append)
    for _ in range(2):
        store.down = StoreRefused("no right to list tokens/", hint="give it")
        for _ in range(3):
            with pytest.raises(StoreRefused):
                tokens.refresh()
        store.down = None
        tokens.refresh()
    assert events == [TokensUnread("no right to list tokens/", "give it")] * 2


def test_tokens_that_are_gone_with_the_store_go_on_to_hold_and_it_is_told_once() -> None:
    """A directory that is not mounted any more is empty; whoever has a token is let in."""
    store, clock, events = MemoryStore(), FakeClock(), list[Event]()
    book = book_of(store)
    tokens = Tokens(book, clock, events.append)
    good, secret = book.create(CI, ALL, NOW)
    tokens.refresh()
    store.delete(keys.token(good.id))
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match=keys.MARKER):
            tokens.refresh()
    assert tokens.find(secret) == good
    assert [type(event) for event in events] == [TokensUnread]
    store.put(keys.MARKER, keys.marker())
    tokens.refresh()
    assert tokens.find(secret) is None


def test_a_pattern_covers_names_and_what_is_below_them() -> None:
    caller = Caller("ci", (ModelPattern("llama-*"), ModelPattern("qwen")))
    seen = [
        name
        for name in ("llama-7b", "qwen", "qwen/7b", "qwen2", "llama", "x/llama-7b")
        if caller.may_read(ModelName(name))
    ]
    assert seen == ["llama-7b", "qwen", "qwen/7b"]
    assert not Caller("ci").may_read(ModelName("qwen"))


class Counted:
    """A store, and how often objects of it were read."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self.reads = 0

    def __getattr__(self, name: str) -> Any:
        self.reads += name == "get"
        return getattr(self._store, name)


@pytest.mark.parametrize("name", ["local", "moto", "minio"])
def test_every_store_keeps_tokens(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    store = Counted(open_backend(name, lambda: tmp_path, request).store)
    clock = FakeClock()
    book = TokenBook(cast("ObjectStore", store), Retry(1, lambda _: None, clock))
    _, secret = book.create(CI, ALL, NOW)
    with pytest.raises(ConfigurationError):
        book.create(CI, ALL, NOW)
    tokens = Tokens(book, clock, lambda _: None)
    tokens.refresh()
    reads = store.reads
    tokens.refresh()
    assert store.reads == reads
    assert tokens.find(secret) is not None
    threads = [threading.Thread(target=book.revoke, args=("ci", NOW)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tokens.refresh()
    assert tokens.find(secret) is None
    (stored,) = book.read()
    store.put(keys.MARKER, keys.marker())
    store.delete(keys.token(stored.ident))
    tokens.refresh()
    assert book.read() == ()
