"""Metadata and bytes take the way that the settings name: one proxy, none, or the variables'."""

from __future__ import annotations

from pathlib import Path

import pytest

from sync_daemon import bootstrap
from sync_daemon.config import load
from sync_daemon.domain.admission import admit
from sync_daemon.domain.errors import (
    ConfigurationError,
    OriginUnavailable,
    StoreRefused,
    StoreUnavailable,
    Unavailable,
)
from sync_daemon.domain.listing import Repository
from sync_daemon.domain.selection import Selection
from sync_daemon.origins.endpoint import Endpoint
from sync_daemon.origins.endpoints import Endpoints
from sync_daemon.origins.huggingface import HuggingFace
from sync_daemon.stores.s3 import S3Store
from sync_daemon.wire import Http
from sync_daemon.wire.places import place_of
from sync_daemon.wire.proxies import Proxies, parse_proxy
from tests.support.certificates import make_certificate, serving
from tests.support.fakes import FakeClock
from tests.support.hub import Hub, Synthetic
from tests.support.proxy import ForwardProxy
from tests.support.scripted import Scripted, answer, say
from tests.support.servers import BUCKET, S3Server, make_client, run_moto

SECRET = "Basic dXNlcjpwQHNz"
NAME = "org/name"


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def hub_at(hub: Hub, proxy: str | None) -> HuggingFace:
    http = Http("origin", connect_timeout=2, read_timeout=2, proxy=proxy)
    endpoint = Endpoint(hub.endpoint.replace("127.0.0.1", "localhost"), 1)
    choice = Endpoints("hf", [endpoint], clock=FakeClock(), emit=lambda _: None)
    return HuggingFace("hf", choice, None, http=http)


def mirror_a_file(origin: HuggingFace) -> int:
    """List a repository and read its file; return how many bytes came."""
    repository = Repository(NAME)
    commit = origin.refs(repository).branches["main"]
    listing = origin.list(repository, commit)
    (file,) = admit(listing, Selection()).files
    view, done = memoryview(bytearray(file.size)), 0
    with origin.open(repository, commit, file, 0, file.size) as reader:
        while got := reader.readinto(view[done:]):
            done += got
    return done


@pytest.mark.parametrize("way", ["yaml", "variable", "upper case", "all"])
def test_metadata_and_bytes_of_a_hub_pass_the_proxy(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {"variable": "http_proxy", "upper case": "ALL_PROXY", "all": "all_proxy"}
    with Hub() as hub, ForwardProxy(wants=SECRET) as proxy:
        hub.repo(NAME).commit({"model.safetensors": Synthetic(2_000_000, seed=1)})
        url = f"http://user:p%40ss@{proxy.authority}"
        if way != "yaml":
            monkeypatch.setenv(names[way], url)
        assert mirror_a_file(hub_at(hub, url if way == "yaml" else None)) == 2_000_000
        paths = [target for _, target in proxy.passed]
        assert any("/api/models/" in path for path in paths)
        assert any("/resolve/" in path for path in paths)
        assert len(paths) == len(hub.requests)
        assert proxy.denied == 0


def test_off_and_no_proxy_go_straight_to_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    with Hub() as hub, ForwardProxy() as proxy:
        hub.repo(NAME).commit({"model.safetensors": Synthetic(1000, seed=1)})
        monkeypatch.setenv("http_proxy", proxy.url)
        assert mirror_a_file(hub_at(hub, "off")) == 1000
        assert proxy.passed == []
        monkeypatch.setenv("no_proxy", "other.example,localhost,127.0.0.1")
        assert mirror_a_file(hub_at(hub, None)) == 1000
        assert proxy.passed == []


def test_a_proxy_of_the_yaml_stands_above_the_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    found = Proxies("http://near.example:3128").find(place_of("http://hub.example/"))
    assert found is not None
    assert found.authority == "near.example:3128"


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_wrong_credentials_for_a_proxy_are_told_with_a_hint_and_never_shown(scheme: str) -> None:
    with ForwardProxy(wants=SECRET) as proxy:
        http = Http("origin", proxy=f"http://user:wrong-pass@{proxy.authority}")
        with pytest.raises(OriginUnavailable, match="407") as caught:
            http.request("GET", f"{scheme}://models.invalid/")
        text = f"{caught.value} {caught.value.hint}"
        assert f"models.invalid through the proxy {proxy.authority}" in text
        assert "credentials" in text
        assert "wrong-pass" not in text
        assert proxy.denied == 1


def test_listing_a_hub_tells_of_wrong_credentials_for_its_proxy() -> None:
    with Hub() as hub, ForwardProxy(wants=SECRET) as proxy:
        origin = hub_at(hub, f"http://user:wrong-pass@{proxy.authority}")
        with pytest.raises(OriginUnavailable, match="status 407") as caught:
            origin.refs(Repository(NAME))
        assert "wrong-pass" not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize("url", ["https://proxy:3128", "socks5://proxy", "http://", "http://h:x"])
def test_other_kinds_of_proxies_are_refused(url: str) -> None:
    with pytest.raises(ConfigurationError):
        parse_proxy(url, "proxy")


def test_control_and_bytes_of_a_bucket_pass_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with run_moto() as server, ForwardProxy(wants=SECRET) as proxy:
        make_client(server).create_bucket(Bucket=BUCKET)
        url = f"http://user:p%40ss@{proxy.authority}"
        store = bucket(server, url)
        store.put("by-proxy", b"bytes")
        assert store.get("by-proxy").data == b"bytes"
        assert [info.key for info in store.list("by-proxy")] == ["by-proxy"]
        assert {"GET", "PUT"} <= {method for method, _ in proxy.passed}
        assert proxy.denied == 0
        seen = len(proxy.passed)
        monkeypatch.setenv("http_proxy", url)
        straight = bucket(server, "off")
        assert straight.get("by-proxy").data == b"bytes"
        assert straight.stat("by-proxy") is not None
        assert len(proxy.passed) == seen
        by_variable = bucket(server, None)
        assert [info.key for info in by_variable.list("by-proxy")] == ["by-proxy"]
        assert by_variable.get("by-proxy").data == b"bytes"
        assert len(proxy.passed) > seen + 1


def bucket(server: S3Server, proxy: str | None) -> S3Store:
    return S3Store(
        BUCKET,
        endpoint=server.endpoint,
        access_key=server.access_key,
        secret_key=server.secret_key,
        checksum="none",
        conditional_writes="on",
        proxy=proxy,
    )


def test_a_proxy_that_refuses_the_store_is_told_with_a_hint() -> None:
    with run_moto() as server, ForwardProxy(wants=SECRET) as proxy:
        store = bucket(server, f"http://user:wrong-pass@{proxy.authority}")
        for ask in (lambda: store.get("a"), lambda: list(store.list(""))):
            with pytest.raises((StoreRefused, StoreUnavailable), match="proxy") as caught:
                ask()
            text = f"{caught.value} {caught.value.hint}"
            assert "store.proxy" in text or "`proxy` in the YAML" in text
            assert "wrong-pass" not in text


def test_origins_with_different_settings_do_not_share_a_way(tmp_path: Path) -> None:
    """One origin by its proxy and its own certificates, the other straight."""
    certificate = make_certificate(tmp_path)
    (tmp_path / "disk").mkdir()
    tls = serving(certificate)
    with (
        ForwardProxy() as proxy,
        Scripted([say(answer(b"x" * 9))], tls=tls) as private,
        Scripted([say(answer(b"x" * 9))]) as open_,
    ):
        text = f"""
version: 1
store: {{url: "file:{tmp_path}/disk"}}
origins:
  private: {{type: http, url: "{private.url}", ca_file: "{certificate}", proxy: "{proxy.url}"}}
  untrusted: {{type: http, url: "{private.url}"}}
  open: {{type: http, url: "{open_.url}"}}
models:
  - {{name: a, origin: private, files: [{{path: f}}]}}
  - {{name: b, origin: open, files: [{{path: f}}]}}
  - {{name: c, origin: untrusted, files: [{{path: f}}]}}
"""
        settings = load(text.encode(), environ={})
        with bootstrap.origins(settings, lambda _: None) as origins:
            for name in ("private", "open"):
                assert origins[name].refs(Repository("")).branches["main"]
            with pytest.raises(Unavailable, match="not trusted"):
                origins["untrusted"].refs(Repository(""))
        assert {method for method, _ in proxy.passed} == {"CONNECT"}
        assert {target for _, target in proxy.passed} == {f"127.0.0.1:{private.port}"}
        assert open_.heard
