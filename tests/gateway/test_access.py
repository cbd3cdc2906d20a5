"""The gateway's door, by real sockets: who comes in, and what the others are told."""

from __future__ import annotations

import base64
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

from sync_daemon.domain.errors import StoreUnavailable
from sync_daemon.gateway.access.credentials import WRONG
from sync_daemon.gateway.access.tokens import LONGEST_TRUST
from tests.support.door import Door, open_door

FOREIGN = "hf_" + "x" * 34
WRONG_ONE = "sdm_" + "A" * 49


@pytest.fixture(scope="module")
def closed() -> Iterator[Door]:
    """A door that wants a token."""
    with open_door() as door:
        yield door


@pytest.fixture(scope="module")
def public() -> Iterator[Door]:
    """A door that lets anybody in."""
    with open_door(anonymous=True) as door:
        yield door


def test_a_good_token_comes_in_with_its_models(closed: Door) -> None:
    secret = closed.make("team", "llama-*", "qwen")
    answer = closed.ask(token=secret)
    assert answer.status == 200
    assert answer.json["name"] == "team"
    assert answer.json["models"] == ["llama-*", "qwen"]


@pytest.mark.parametrize("path", ["/", "/models/a", "/api/models/a/b", "/a/b/resolve/main/x", "/x"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE", "OPTIONS"])
def test_without_a_token_nothing_is_answered(closed: Door, path: str, method: str) -> None:
    answer = closed.ask(path, method=method)
    assert answer.status == 401
    assert not answer.inside


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_needs_no_token(closed: Door, path: str) -> None:
    assert closed.ask(path).inside


def test_the_style_of_pages_needs_no_token(closed: Door) -> None:
    """A browser that opened a deeper page shows its password below that path only."""
    assert closed.ask("/-/style.css").inside
    assert closed.ask("/-/style.css", token=WRONG_ONE).inside


@pytest.mark.parametrize(
    "path",
    ["/healthz/", "//healthz", "/healthz/../api/models/a", "/x/healthz", "/-/style.css/x", "/-/"],
)
def test_what_only_looks_like_health_needs_one(closed: Door, path: str) -> None:
    assert closed.ask(path).status == 401


def test_a_missing_or_foreign_token_is_told_which_one_is_needed(closed: Door) -> None:
    for token in (None, FOREIGN):
        answer = closed.ask(token=token)
        assert answer.status == 401
        assert "sdm_" in answer.headers["x-error-message"]
        assert answer.headers["x-error-code"] == "RepoNotFound"
        assert answer.json["error"] == answer.headers["x-error-message"]


def test_wrong_expired_and_revoked_tokens_are_told_the_same(closed: Door) -> None:
    expired = closed.make("soon", expires=timedelta(hours=1))
    revoked = closed.make("gone")
    assert closed.ask(token=expired).inside
    assert closed.ask(token=revoked).inside
    closed.clock.wait(3600)
    closed.book.revoke("gone", closed.clock.now())
    closed.tokens.refresh()
    answers = [closed.ask(token=one) for one in (WRONG_ONE, expired, revoked, "sdm_", "sdm_é")]
    for answer in answers:
        assert answer.status == 401
        assert answer.headers["x-error-message"] == WRONG
        assert "x-error-code" not in answer.headers
        assert answer.body == answers[0].body


def test_where_anybody_may_read_a_token_of_the_hub_is_passed_over(public: Door) -> None:
    for token in (None, FOREIGN, "secret"):
        answer = public.ask(token=token)
        assert answer.json["name"] is None
        assert answer.json["models"] == ["*"]


def test_where_anybody_may_read_a_wrong_token_of_ours_is_refused(public: Door) -> None:
    assert public.ask(token=WRONG_ONE).status == 401


def test_where_anybody_may_read_a_token_does_not_hide_models(public: Door) -> None:
    answer = public.ask(token=public.make("few", "llama"))
    assert answer.json["name"] == "few"
    assert answer.json["models"] == ["*"]


def test_a_browser_is_asked_for_a_password_on_pages_only(closed: Door) -> None:
    page = closed.ask("/", Accept="text/html,*/*")
    assert page.headers["www-authenticate"].startswith("Basic ")
    for answer in (closed.ask("/"), closed.ask("/api/models/a", Accept="text/html")):
        assert "www-authenticate" not in answer.headers


def test_a_browser_shows_the_token_as_the_password(closed: Door) -> None:
    secret = closed.make("person")
    pair = base64.b64encode(f"me:{secret}".encode()).decode()
    assert closed.ask("/", Authorization=f"Basic {pair}").json["name"] == "person"


@pytest.mark.parametrize(
    "value", ["Basic", "Basic !", "Basic eA==", "Bearer", "Bearer ", "Digest x", "x" * 9000, "é"]
)
def test_a_header_that_makes_no_sense_is_no_token(closed: Door, value: str) -> None:
    assert closed.ask(Authorization=value.encode("latin-1").decode("latin-1")).status == 401


def test_two_authorization_headers_are_none(closed: Door) -> None:
    secret = closed.make("twice")
    with closed.connect() as line:
        head = f"Authorization: Bearer {secret}\r\n"
        line.sendall(f"GET / HTTP/1.1\r\nHost: x\r\n{head}{head}\r\n".encode())
        assert line.recv(4096).startswith(b"HTTP/1.1 401")


def test_tokens_hold_while_the_store_is_down_but_not_for_ever() -> None:
    with open_door() as door:
        secret = door.make()
        door.store.down = StoreUnavailable("no answer")
        with pytest.raises(StoreUnavailable):
            door.tokens.refresh()
        door.clock.wait(LONGEST_TRUST)
        assert door.ask(token=secret).inside
        door.clock.wait(1)
        answer = door.ask(token=secret)
        assert answer.status == 503
        assert answer.headers["retry-after"]
        assert door.ask().status == 401
        door.store.down = None
        door.tokens.refresh()
        assert door.ask(token=secret).inside


# -- networks ---------------------------------------------------------------------------


def test_a_foreign_network_is_refused_before_anything_else() -> None:
    with open_door(networks=["10.0.0.0/8"]) as door:
        secret = door.make()
        for path, token in (("/api/models/a/b", secret), ("/", None)):
            answer = door.ask(path, token)
            assert answer.status == 403
            assert answer.json["error"]
            assert "sdm_" not in answer.json["error"]
        assert door.ask("/healthz").inside, "health is for the machine itself, too"


def test_a_proxy_is_believed() -> None:
    with open_door(networks=["10.0.0.0/8"], proxies=["127.0.0.0/8", "10.9.0.0/16"]) as door:
        secret = door.make()

        def status(addresses: str, path: str = "/x") -> int:
            return door.ask(path, secret, X_Forwarded_For=addresses).status

        assert status("10.1.2.3") == 200
        assert status("192.0.2.1") == 403
        assert status("10.1.2.3, 192.0.2.1") == 403, "the last one that is no proxy counts"
        assert status("192.0.2.1, 10.1.2.3, 10.9.0.1") == 200
        assert status("rubbish, 10.1.2.3") == 200, "what a client wrote is not even read"
        assert status("::ffff:10.1.2.3") == 200
        assert status("10.1.2.3:4711") == 200
        assert status("[2001:db8::1]:4711") == 403
        assert status("192.0.2.1", "/healthz") == 403
        for nonsense in ("rubbish", "10.1.2.3, ", "unknown", "10.1.2.300", "\x85"):
            assert status(nonsense) == 400, nonsense


def test_what_others_say_of_themselves_is_not_believed() -> None:
    with open_door(networks=["10.0.0.0/8"], proxies=["10.9.0.0/16"], anonymous=True) as door:
        for name in ("X_Forwarded_For", "Forwarded", "X_Real_IP"):
            assert door.ask(**{name: "10.1.2.3"}).status == 403
    with open_door(anonymous=True) as door:
        answer = door.ask(
            X_Forwarded_For="192.0.2.1", X_Forwarded_Proto="https", X_Forwarded_Host="evil.invalid"
        )
        assert answer.json["client"] == "127.0.0.1"
        assert answer.json["scheme"] == "http"
        assert "evil" not in answer.json["host"]


def test_scheme_and_host_are_those_that_a_proxy_names() -> None:
    with open_door(proxies=["127.0.0.1/32"], anonymous=True) as door:
        told = {"X_Forwarded_Proto": "https", "X_Forwarded_Host": "mirror.example:8443"}
        answer = door.ask(X_Forwarded_For="2001:db8::7", **told)
        assert answer.json["client"] == "2001:db8::7"
        assert answer.json["scheme"] == "https"
        assert answer.json["host"] == "mirror.example:8443"
        for name, value in (("X_Forwarded_Proto", "gopher"), ("X_Forwarded_Host", "a b/c")):
            assert door.ask(**{name: value}).status == 400


# -- bodies -----------------------------------------------------------------------------


def test_a_large_body_passes_and_a_larger_one_does_not(public: Door) -> None:
    assert public.ask(method="POST", body=b"x" * (2 * 1024**2)).json["size"] == 2 * 1024**2
    answer = public.ask(method="POST", body=b"", Content_Length=str(2 * 1024**2 + 1))
    assert answer.status == 413
    assert answer.headers["connection"] == "close"


def test_a_body_without_a_length_is_measured_as_it_comes(public: Door) -> None:
    with public.connect() as line:
        line.sendall(b"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        sender = threading.Thread(target=_send_chunks, args=(line,))
        sender.start()
        assert line.recv(4096).startswith(b"HTTP/1.1 413")
        sender.join()


def _send_chunks(line: socket.socket) -> None:
    with suppress(OSError):
        for _ in range(64):
            line.sendall(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")


# -- the real client --------------------------------------------------------------------


def test_huggingface_hub_says_which_token_is_needed(closed: Door) -> None:
    for token in (False, FOREIGN):
        api = HfApi(f"http://127.0.0.1:{closed.port}", token=token)
        with pytest.raises(RepositoryNotFoundError, match="asks for a token of its own"):
            api.model_info("a/b")


def test_huggingface_hub_says_that_a_token_is_wrong(closed: Door, public: Door) -> None:
    for door in (closed, public):
        api = HfApi(f"http://127.0.0.1:{door.port}", token=WRONG_ONE)
        with pytest.raises(HfHubHTTPError, match=WRONG) as caught:
            api.model_info("a/b")
        assert not isinstance(caught.value, RepositoryNotFoundError)
        assert caught.value.response.status_code == 401
        assert "X-Request-Id" in caught.value.response.headers
