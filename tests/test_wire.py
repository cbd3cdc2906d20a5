"""The byte client: what goes over the wire, and what every kind of trouble becomes."""

from __future__ import annotations

import select
import socket
import ssl
import subprocess
import threading
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sync_daemon.domain.errors import (
    ConfigurationError,
    OriginLied,
    OriginUnavailable,
    StoreUnavailable,
)
from sync_daemon.meter import Meter, use
from sync_daemon.wire import Http, Response
from sync_daemon.wire.answers import follow
from sync_daemon.wire.trust import VARIABLES
from tests.support.certificates import make_certificate, serving
from tests.support.scripted import Scripted, Step, answer, say, say_and_close, say_and_reset

MIB = 1024 * 1024
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def http() -> Iterator[Http]:
    client = Http("origin", connect_timeout=5, read_timeout=5)
    yield client
    client.close()


def fetch(http: Http, url: str, method: str = "GET") -> bytes:
    with http.request(method, url) as response:
        return response.read(16 * MIB)


def drain(response: Response, size: int = 1000) -> bytes:
    buffer, data = memoryview(bytearray(size)), b""
    while got := response.readinto(buffer):
        data += bytes(buffer[:got])
    return data


def test_a_body_arrives_in_the_callers_buffer_and_ends_with_zero(http: Http) -> None:
    body = bytes(range(256)) * 100
    told = answer(body, ETag='"x"')
    with Scripted([say(told)]) as server, http.request("GET", server.url + "/a") as response:
        assert (response.status, response.length) == (200, len(body))
        assert response.headers.get("etag") == '"x"'
        assert drain(response) == body
        assert response.readinto(memoryview(bytearray(1))) == 0


def test_the_target_is_sent_exactly_as_given(http: Http) -> None:
    with Scripted([say(answer())]) as server:
        target = "/a%2Fb//%20c+;d=1/../e?X-Sig=%2B%2f&empty=&?#part"
        fetch(http, server.url + target)
        assert server.heard[0].line == f"GET {target.partition('#')[0]} HTTP/1.1"
        assert server.heard[0].header("host") == f"127.0.0.1:{server.port}"
        assert server.heard[0].header("accept-encoding") == "identity"
        fetch(http, server.url)
        assert server.heard[1].line == "GET / HTTP/1.1"


@pytest.mark.parametrize(
    "url", ["http://h/a b", "http://h/ä", "http://u:p@h/", "ftp://h/", "/x", "http://h/\r\nX: y"]
)
def test_a_url_that_cannot_be_sent_is_refused(http: Http, url: str) -> None:
    with pytest.raises(ValueError, match="URL"):
        http.request("GET", url)


@pytest.mark.parametrize("headers", [{"X": "a\r\nY: b"}, {"X\n": "a"}, {"X": "a\0"}])
def test_a_header_with_a_line_break_is_refused(http: Http, headers: dict[str, str]) -> None:
    with Scripted([say(answer())]) as server:
        with pytest.raises(ValueError, match="line break"):
            http.request("GET", server.url, headers=headers)
        assert server.heard == []


def test_a_body_is_sent_from_the_callers_memory(http: Http) -> None:
    data = bytes(range(256)) * 4096
    with Scripted([say(answer())]) as server:
        for body in (data, bytearray(data), memoryview(data)):
            http.request("PUT", server.url + "/k", body=body).close()
            assert server.heard[-1].body == data
            assert server.heard[-1].header("content-length") == str(len(data))
        fetch(http, server.url + "/empty", "PUT")
        assert server.heard[-1].header("content-length") == "0"


def test_large_bodies_are_not_copied(http: Http) -> None:
    """32 MiB go out and 32 MiB come in while hardly anything is allocated."""
    size = 32 * MIB
    data = memoryview(bytearray(size))
    block = bytes(MIB)

    def send(sock: socket.socket) -> bool:
        sock.sendall(answer(Content_Length=str(size)))
        for _ in range(size // MIB):
            sock.sendall(block)
        return True

    with Scripted([send], reads_bodies=False) as server:
        tracemalloc.start()
        try:
            with http.request("GET", server.url) as response:
                filled = 0
                while got := response.readinto(data[filled:]):
                    filled += got
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert filled == size
        assert peak < MIB


def test_a_connection_is_used_again(http: Http) -> None:
    with Scripted([say(answer(b"x" * 100))]) as server:
        for _ in range(5):
            assert len(fetch(http, server.url)) == 100
        assert server.connections == 1


def test_an_answer_left_unread_costs_its_connection(http: Http) -> None:
    with Scripted([say(answer(b"x" * 100))]) as server:
        with http.request("GET", server.url) as response:
            response.read(10)
        assert len(fetch(http, server.url)) == 100
        assert server.connections == 2


def test_a_connection_with_surplus_bytes_is_not_used_again(http: Http) -> None:
    """Else the surplus would be taken for the next answer."""
    poison = answer(b"poison")
    with Scripted([say(answer(b"good") + poison), say(answer(b"next"))]) as server:
        assert fetch(http, server.url) == b"good"
        assert fetch(http, server.url) == b"next"
        assert server.connections == 2


def test_the_number_of_idle_connections_is_bounded() -> None:
    http = Http("origin", idle=1)
    with Scripted([say(answer(b"x"))]) as server:
        open_at_once = [http.request("GET", server.url) for _ in range(3)]
        for response in open_at_once:
            with response:
                response.read()
        fetch(http, server.url)
        assert server.connections == 3
        assert len(http._pool) == 1
    http.close()
    assert http._pool == []


def test_a_stale_connection_is_replaced_silently(http: Http) -> None:
    """Closed while idle, and closed just when the next request arrives: both are replaced."""
    hang_up = say_and_close(b"")
    with Scripted(
        [say(answer(b"1")), hang_up, say_and_close(answer(b"2")), say(answer(b"3"))]
    ) as server:
        meter = Meter()
        with use(meter):
            assert [fetch(http, server.url) for _ in range(3)] == [b"1", b"2", b"3"]
        assert server.connections == 3
        assert meter.origin_requests == 3


def test_what_came_unasked_is_not_taken_for_an_answer(http: Http) -> None:
    """Some servers say 408 on an idle connection before they close it."""
    idle = threading.Event()

    def then_time_out(sock: socket.socket) -> bool:
        sock.sendall(answer(b"1"))
        idle.wait(5)
        sock.sendall(answer(b"", "408 Request Timeout"))
        return False

    with Scripted([then_time_out, say(answer(b"2"))]) as server:
        assert fetch(http, server.url) == b"1"
        idle.set()
        select.select([http._pool[0].connection.sock], [], [], 5)
        assert fetch(http, server.url) == b"2"


def test_a_request_is_repeated_once_only(http: Http) -> None:
    with Scripted([say(answer(b"1")), say_and_close(b"")]) as server:
        fetch(http, server.url)
        with pytest.raises(OriginUnavailable, match="closed or reset"):
            fetch(http, server.url)
        assert len(server.heard) == 3


def test_what_must_not_be_repeated_is_sent_once(http: Http) -> None:
    """A conditional write that the server obeyed before it hung up would lose against itself."""
    with Scripted([say(answer(b"1")), say_and_close(b"")]) as server:
        fetch(http, server.url)
        with pytest.raises(OriginUnavailable, match="closed or reset"):
            http.request("PUT", server.url, body=b"x", repeat=False)
        assert len(server.heard) == 2


def test_a_request_is_not_repeated_after_a_byte_of_its_answer(http: Http) -> None:
    with Scripted([say(answer(b"1")), say_and_close(b"HTTP/1.1 200 OK\r\nContent-Le")]) as server:
        fetch(http, server.url)
        with pytest.raises(OriginUnavailable, match="cut off"):
            http.request("GET", server.url)
        assert len(server.heard) == 2


BROKEN: dict[str, Step] = {
    "short body": say_and_close(answer(b"x" * 10, Content_Length="20")),
    "reset body": say_and_reset(answer(b"x" * 10, Content_Length="20")),
    "no answer": say_and_close(b""),
    "reset before the answer": say_and_reset(b""),
    "not HTTP": say_and_close(b"SSH-2.0-OpenSSH_9\r\n\r\n"),
    "two lengths": say(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
    "a negative length": say(answer(b"", Content_Length="-1")),
    "a length in words": say(answer(b"", Content_Length="1_0")),
    "an unknown coding": say(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"
    ),
    "a chunk cut off": say_and_close(CHUNKED + b"5\r\nhel"),
    "no last chunk": say_and_close(CHUNKED + b"5\r\nhello\r\n"),
    "a bad chunk size": say_and_close(CHUNKED + b"zz\r\nhello\r\n0\r\n\r\n"),
    "headers cut off": say_and_close(b"HTTP/1.1 200 OK\r\nContent-Le"),
    "endless headers": say_and_close(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_answer_can_be_tried_again(http: Http, name: str) -> None:
    """The error names the host, and neither the signed query nor a header."""
    with Scripted([BROKEN[name]]) as server:
        with (
            pytest.raises(OriginUnavailable) as caught,
            http.request(
                "GET", server.url + "/p?Signature=SIG", headers={"Authorization": "TOK"}
            ) as response,
        ):
            drain(response)
        text = f"{caught.value} {caught.value.hint}"
        assert f"127.0.0.1:{server.port}" in text
        assert "SIG" not in text
        assert "TOK" not in text


def test_the_side_decides_about_the_error() -> None:
    with pytest.raises(StoreUnavailable, match=r"^the store at 127\.0\.0\.1:9: connection refused"):
        Http("store").request("GET", "http://127.0.0.1:9/")


def test_an_unknown_host_is_said_to_be_one(http: Http) -> None:
    with pytest.raises(OriginUnavailable, match=r"no-such-host\.invalid: the host name"):
        http.request("GET", "http://no-such-host.invalid/")


def test_silence_ends_after_the_read_timeout() -> None:
    done = threading.Event()

    def stall(sock: socket.socket) -> bool:
        sock.sendall(answer(b"x" * 5, Content_Length="10"))
        return not done.wait(5)

    http = Http("origin", read_timeout=0.2)
    with Scripted([stall]) as server, http.request("GET", server.url) as response:
        assert response.readinto(memoryview(bytearray(10))) == 5
        with pytest.raises(OriginUnavailable, match="no answer in time"):
            response.readinto(memoryview(bytearray(10)))
        done.set()


def test_chunked_bodies_and_bodies_without_a_length_are_read_to_their_end(http: Http) -> None:
    chunks = CHUNKED + b"5;x=1\r\nhello\r\n6\r\n world\r\n0\r\nTrailer: t\r\n\r\n"
    endless = say_and_close(b"HTTP/1.1 200 OK\r\n\r\nto the end")
    with Scripted([say(chunks), say(chunks), endless]) as server:
        assert fetch(http, server.url) == b"hello world"
        with http.request("GET", server.url) as response:
            assert response.length is None
            assert drain(response, 3) == b"hello world"
        assert server.connections == 1
        assert fetch(http, server.url) == b"to the end"


def test_answers_without_a_body_announce_a_length_and_end_at_once(http: Http) -> None:
    head = answer(Content_Length="1000")
    no_content = b"HTTP/1.1 204 No Content\r\n\r\n"
    with Scripted([say(head), say(no_content), say(answer(b"x"))]) as server:
        with http.request("HEAD", server.url) as response:
            assert (response.length, response.read()) == (1000, b"")
        assert fetch(http, server.url) == b""
        assert fetch(http, server.url) == b"x"
        assert server.connections == 1


def test_an_upload_that_is_refused_early_says_why(http: Http) -> None:
    refusal = say_and_close(answer(b"full", "507 Full"))
    with Scripted([refusal], reads_bodies=False) as server:
        response = http.request("PUT", server.url, body=bytes(32 * MIB))
        assert response.status == 507
        response.close()


def test_sixteen_threads_share_a_client(http: Http) -> None:
    with Scripted([say(answer(b"x" * 5000))]) as server:
        meter = Meter()

        def work(_: int) -> int:
            with use(meter):
                return sum(len(fetch(http, server.url)) for _ in range(20))

        with ThreadPoolExecutor(16) as pool:
            assert sum(pool.map(work, range(16))) == 16 * 20 * 5000
        assert server.connections <= 16
        assert meter.origin_requests == 320


def test_plain_http_goes_through_the_proxy_with_its_credentials(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Scripted([say(answer(b"by proxy"))]) as proxy:
        monkeypatch.setenv("http_proxy", f"http://us%40er:pw@127.0.0.1:{proxy.port}")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        http = Http("origin")
        assert fetch(http, "http://models.invalid:81/a%2Fb?c") == b"by proxy"
        assert proxy.heard[0].line == "GET http://models.invalid:81/a%2Fb?c HTTP/1.1"
        assert proxy.heard[0].header("host") == "models.invalid:81"
        assert proxy.heard[0].header("proxy-authorization") == "Basic dXNAZXI6cHc="
        with Scripted([say(answer(b"direct"))]) as server:
            assert fetch(http, server.url) == b"direct"
            assert server.heard[0].header("proxy-authorization") is None


def test_a_proxy_that_refuses_a_tunnel_is_named_as_the_cause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refusal = answer(b"", "407 Proxy Authentication Required")
    with Scripted([say_and_close(refusal)]) as proxy:
        monkeypatch.setenv("https_proxy", f"127.0.0.1:{proxy.port}")
        with pytest.raises(OriginUnavailable, match=r"the proxy refused.*407"):
            Http("origin").request("GET", "https://models.invalid/")


def test_other_kinds_of_proxies_are_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("all_proxy", "socks5://127.0.0.1:1080")
    with pytest.raises(ConfigurationError, match="socks5"):
        Http("origin").request("GET", "http://models.invalid/")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    return serving(certificate)


def test_an_untrusted_certificate_is_refused_with_a_hint(tls: ssl.SSLContext) -> None:
    with Scripted([say(answer())], tls=tls) as server:
        with pytest.raises(OriginUnavailable, match="not trusted") as caught:
            Http("origin").request("GET", server.url)
        assert "SSL_CERT_FILE" in (caught.value.hint or "")
        assert server.heard == []


@pytest.mark.parametrize("way", ["ca_file", *VARIABLES])
def test_private_certificates_are_trusted_when_they_are_named(
    way: str, tls: ssl.SSLContext, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    if way == "SSL_CERT_DIR":
        subprocess.run(["openssl", "rehash", certificate.parent], check=True)
        monkeypatch.setenv(way, str(certificate.parent))
    elif way != "ca_file":
        monkeypatch.setenv(way, str(certificate))
    http = Http("store", ca_file=str(certificate) if way == "ca_file" else None)
    body = bytes(3 * MIB)
    with Scripted([say(answer(body))], tls=tls) as server:
        for _ in range(2):
            with http.request("PUT", server.url, body=body) as response:
                assert drain(response, MIB) == body
            assert server.heard[-1].body == body
        assert server.connections == 1


def test_missing_certificates_are_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="ca_file: cannot read"):
        Http("origin", ca_file=str(tmp_path / "no.pem")).request("GET", "https://127.0.0.1:9/")


def test_tls_goes_through_a_tunnel(
    tls: ssl.SSLContext, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Scripted([say(answer(b"inside"))], tls=tls, tunnels=True) as proxy:
        monkeypatch.setenv("https_proxy", f"http://u:p@127.0.0.1:{proxy.port}")
        http = Http("origin", ca_file=str(certificate))
        headers = {"Authorization": "Bearer t"}
        with http.request("GET", "https://models.invalid/x?y", headers=headers) as response:
            assert response.read() == b"inside"
        connect, inside = proxy.heard
        assert connect.line.startswith("CONNECT models.invalid:443 ")
        assert connect.header("proxy-authorization") == "Basic dTpw"
        assert connect.header("authorization") is None
        assert inside.line == "GET /x?y HTTP/1.1"
        assert inside.header("proxy-authorization") is None


def test_a_step_down_from_https_is_refused(tls: ssl.SSLContext, certificate: Path) -> None:
    moved = answer(b"", "302 Found", Location="http://127.0.0.1:9/x")
    http = Http("origin", ca_file=str(certificate))
    with Scripted([say(moved)], tls=tls) as server, pytest.raises(OriginLied, match="down to http"):
        follow(http, "GET", server.url, headers={}, private={})


def test_redirects_are_followed_to_their_end_and_not_further_than_ten(http: Http) -> None:
    hops = [say(answer(b"", "307 Moved", Location=f"../x/{n}")) for n in range(10)]
    with Scripted([*hops, say(answer(b"there"))]) as server:
        landing = follow(http, "GET", f"{server.url}/a/b", headers={}, private={"X": "secret"})
        with landing.response as response:
            assert response.read() == b"there"
        assert landing.trusted
        assert all(heard.header("x") == "secret" for heard in server.heard)
        assert server.heard[-1].line == "GET /x/9 HTTP/1.1"
        assert server.connections == 1
    endless = [say(answer(b"", "307 Moved", Location=f"/{n}")) for n in range(30)]
    with Scripted(endless) as server, pytest.raises(OriginLied, match="more than 10"):
        follow(http, "GET", f"{server.url}/a", headers={}, private={})


def test_a_host_that_was_left_gets_no_secrets_when_it_is_met_again(http: Http) -> None:
    with Scripted([say(answer())]) as home, Scripted([say(answer())]) as away:
        home.steps[:] = [
            say(answer(b"", "302 Found", Location=f"{away.url}/x")),
            say(answer(b"back")),
        ]
        away.steps[:] = [say(answer(b"", "302 Found", Location=f"{home.url}/y"))]
        landing = follow(http, "GET", home.url, headers={}, private={"X": "secret"})
        landing.response.close()
        assert not landing.trusted
        sent = [home.heard[0], away.heard[0], home.heard[1]]
        assert [heard.header("x") for heard in sent] == ["secret", None, None]


def test_a_location_in_raw_bytes_is_escaped(http: Http) -> None:
    moved = "HTTP/1.1 302 Found\r\nLocation: /caf\u00e9 x%20\r\nContent-Length: 0\r\n\r\n".encode()
    with Scripted([say(moved), say(answer())]) as server:
        follow(http, "GET", server.url, headers={}, private={}).response.close()
        assert server.heard[1].line == "GET /caf%C3%A9%20x%20 HTTP/1.1"
