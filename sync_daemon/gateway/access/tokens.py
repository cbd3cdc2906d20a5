"""The tokens of a store: made and revoked by an operator, known by heart to the gateway.

The gateway lists `tokens/` again and again, and reads what changed, so that a revoked token
opens nothing after the next look. When the store cannot be asked, what was known last holds
for LONGEST_TRUST and no longer: a revocation that nobody can see must not be dodged for ever.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from hmac import compare_digest
from secrets import token_bytes

from sync_daemon.domain import keys
from sync_daemon.domain.access import ModelPattern
from sync_daemon.domain.digests import Digest
from sync_daemon.domain.errors import (
    ConfigurationError,
    PreconditionFailed,
    StoreRefused,
    StoreUnavailable,
    SyncError,
)
from sync_daemon.domain.events import TokensUnread, TokenUnreadable
from sync_daemon.domain.tokens import (
    SECRET_BYTES,
    Token,
    TokenId,
    TokenName,
    decode_token,
    digest_of,
    is_ours,
    make_secret,
    next_id,
)
from sync_daemon.engine.retry import Retry
from sync_daemon.gateway.published.marker import expect_marker
from sync_daemon.ports import Clock, Emit, ObjectStore

LONGEST_TRUST = 600.0
"""Seconds for which tokens hold that were read last, while the store cannot be asked."""

_TRIES = 5
"""Of a compare-and-swap against others who change the same token."""


class TokensUnknown(Exception):
    """Nobody can say now whether a token is good: the store has not answered for too long."""


class NoSuchToken(ConfigurationError):
    """No token has this name or id."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A token's object as it was found; `token` is None for one that cannot be read."""

    ident: TokenId
    etag: str
    token: Token | None


class TokenBook:
    """The tokens of one store, to be shown, made and revoked."""

    def __init__(self, store: ObjectStore, retry: Retry) -> None:
        self._store = store
        self._retry = retry

    def read(self, known: Mapping[str, Stored] | None = None) -> tuple[Stored, ...]:
        """Return every token, by id; what is `known` by its id and has not changed is not read
        again. Raises StoreUnavailable, StoreRefused."""
        found = []
        known = known or {}
        for info in self._retry("list tokens", lambda: tuple(self._store.list(keys.TOKENS))):
            ident = keys.parse_token(info.key)
            if ident is None:
                continue
            held = known.get(ident)
            if held is None or held.etag != info.etag:
                held = self._get(TokenId(ident))
            if held is not None:
                found.append(held)
        return tuple(found)

    def expect_mirror(self) -> None:
        """Prove that the store is there although its tokens are gone. Raises StoreUnavailable."""
        expect_marker(self._store, self._retry)

    def _get(self, ident: TokenId) -> Stored | None:
        key = keys.token(ident)
        try:
            content = self._retry(f"read {key}", lambda: self._store.get(key))
        except FileNotFoundError:
            return None
        try:
            token = decode_token(content.data)
        except StoreRefused:
            token = None
        whole = token is not None and token.id == ident
        return Stored(ident, content.etag, token if whole else None)

    def create(
        self,
        name: TokenName,
        models: tuple[ModelPattern, ...],
        now: datetime,
        expires: datetime | None = None,
    ) -> tuple[Token, str]:
        """Make a token; return it, and its text, which nobody can ask for again.

        Raises ConfigurationError while another of that name is active.
        """
        secret = make_secret(token_bytes(SECRET_BYTES))
        sha256 = Digest(digest_of(secret))
        for _ in range(_TRIES):
            stored = self.read()
            if any(one.token and one.token.sha256 == sha256 for one in stored):
                break  # written before, and the answer was lost
            _check_free(name, stored, now)
            ident = next_id(name, {one.ident for one in stored})
            token = Token(ident, name, sha256, models, now, expires)
            with suppress(PreconditionFailed):
                self._put(token, etag=None)
                break
        else:
            raise _too_busy(name)
        return Token(ident, name, sha256, models, now, expires), secret

    def revoke(self, which: str, now: datetime) -> tuple[Token, bool]:
        """Revoke the active token of a name, or the token of an id; return it as it is now, and
        whether it was this call that changed it. Raises NoSuchToken."""
        for _ in range(_TRIES):
            found = _choose(which, self.read(), now)
            if found.token is None:
                raise _unreadable(found)
            if found.token.revoked is not None:
                return found.token, False
            revoked = replace(found.token, revoked=now)
            with suppress(PreconditionFailed):
                self._put(revoked, etag=found.etag)
                return revoked, True
        raise _too_busy(which)

    def _put(self, token: Token, etag: str | None) -> None:
        key, data = keys.token(token.id), token.encode()
        self._retry(
            f"write {key}",
            lambda: self._store.put(key, data, if_absent=etag is None, if_match=etag),
        )


def _check_free(name: TokenName, stored: Iterable[Stored], now: datetime) -> None:
    for one in stored:
        token = one.token
        if token and token.name.casefold() == name.casefold() and token.state(now) == "active":
            message = f"a token named {token.name} is active already (id {token.id})"
            hint = f"revoke it first: sync-daemon token revoke {token.id}; or take another name"
            raise ConfigurationError(message, hint=hint)


def _choose(which: str, stored: Iterable[Stored], now: datetime) -> Stored:
    """Find what is meant: a token's own text, its id, or the newest token of a name, an active
    one before all others."""
    if is_ours(which):
        found = [one for one in stored if one.token and one.token.sha256 == digest_of(which)]
        asked = "is this one; it may be of another mirror"  # never repeat its text
    else:
        folded = which.casefold()
        found = [one for one in stored if one.ident == which or _folded(one) == folded]
        asked = f"has the name or id {which!r}"
    if not found:
        raise NoSuchToken(f"no token {asked}", hint="`sync-daemon token list` shows them all")
    return max(found, key=lambda one: _rank(one, now))


def _folded(stored: Stored) -> str | None:
    return stored.token.name.casefold() if stored.token else None


def _rank(stored: Stored, now: datetime) -> tuple[int, str]:
    token = stored.token
    if token is None:
        return -1, ""
    return ("revoked", "expired", "active").index(token.state(now)), token.created.isoformat()


def _unreadable(stored: Stored) -> StoreRefused:
    key = keys.token(stored.ident)
    return StoreRefused(f"{key} cannot be read; it opens nothing", hint=f"remove {key}")


def _too_busy(which: str) -> StoreUnavailable:
    message = f"token {which}: others changed it at the same time, again and again"
    return StoreUnavailable(message, hint="try again")


class Tokens:
    """What the gateway knows of the tokens. `refresh` may run in any thread."""

    def __init__(self, book: TokenBook, clock: Clock, emit: Emit) -> None:
        self._book = book
        self._clock = clock
        self._emit = emit
        self._refreshing = threading.Lock()
        self._stored: dict[str, Stored] = {}
        self._by_digest: Mapping[str, Token] = {}
        self._read_at: float | None = None
        self._is_unread = False

    def refresh(self) -> None:
        """Look what has changed: one listing, and a read for each token that did.

        Raises StoreUnavailable, StoreRefused; what was known holds then for LONGEST_TRUST.
        """
        with self._refreshing:
            began = self._clock.monotonic()
            stored: dict[str, Stored] = {one.ident: one for one in self._read()}
            self._tell_unreadable(stored)
            self._stored = stored
            self._by_digest = {one.token.sha256: one.token for one in stored.values() if one.token}
            self._read_at = began

    def _read(self) -> tuple[Stored, ...]:
        try:
            found = self._book.read(self._stored)
            if self._stored and not found:
                self._book.expect_mirror()
        except SyncError as error:
            if not self._is_unread:
                self._emit(TokensUnread(error=str(error), hint=error.hint))
            self._is_unread = True
            raise
        self._is_unread = False
        return found

    def _tell_unreadable(self, stored: Mapping[str, Stored]) -> None:
        for ident, one in stored.items():
            if one.token is None and self._stored.get(ident) != one:
                self._emit(TokenUnreadable(key=keys.token(ident)))

    def find(self, secret: str) -> Token | None:
        """Return the token with this text if it is active; the store is not asked.

        Raises TokensUnknown when what is known is too old to be believed.
        """
        if self._read_at is None or self._clock.monotonic() - self._read_at > LONGEST_TRUST:
            raise TokensUnknown
        digest = digest_of(secret)
        token = self._by_digest.get(digest)
        if token is None or not compare_digest(token.sha256, digest):
            return None
        return token if token.state(self._clock.now()) == "active" else None
