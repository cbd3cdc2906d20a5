"""The status page, as it comes over HTTP."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from sync_daemon.config import load
from sync_daemon.daemon.serving import make_gateway
from sync_daemon.domain import keys
from sync_daemon.domain.alerts import Book, Finding
from sync_daemon.domain.manifest import ModelFacts
from sync_daemon.domain.names import ModelName, VersionName
from sync_daemon.engine.browse import Browser
from sync_daemon.engine.retry import Retry
from sync_daemon.gateway.pages.overview import Collector, Coming
from sync_daemon.gateway.published.library import Library
from sync_daemon.ports import ObjectInfo
from sync_daemon.stores.local import LocalStore
from sync_daemon.stores.memory import MemoryStore
from tests.support.fakes import FakeClock
from tests.support.published import MORNING, Publisher, Serving, serving, sha1
from tests.support.waiting import wait_until

HOSTILE = "<script>alert(1)</script>&'\".bin"
SHARED = b"s" * 3000


def fill(folder: Path) -> LocalStore:
    store = LocalStore(folder)
    publisher = Publisher(store)
    facts = ModelFacts("BertModel", 22_713_728, "F32")
    files = {"config.json": b"{}", "model.safetensors": SHARED, HOSTILE: b"x"}
    publisher.publish(
        "org/one",
        "1.0",
        files,
        repo="up/one",
        revision="v1",
        pin=True,
        licence="apache-2.0",
        facts=facts,
        lfs=["model.safetensors"],
    )
    publisher.publish("org/one", "2.0", {"model.safetensors": SHARED}, repo="up/one")
    publisher.publish("set", "main", {"a b#c.csv": b"1"}, repo="up/set", kind="dataset")
    return store


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Serving]:
    with serving(tmp_path, fill(tmp_path), make=make_gateway) as found:
        yield found


def text(served: Serving, path: str, status: int = 200, **more: str) -> str:
    answer = served.ask(path, **more)
    assert answer.status == status, answer.body
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"].startswith(("private", "no-store"))
    return answer.body.decode()


def test_the_front_page_lists_every_model_with_what_people_ask_for(served: Serving) -> None:
    page = text(served, "/")
    for word in ("org/one", "1.0", "2.0", "apache-2.0", "22,713,728", "set", "Saved by sharing"):
        assert word in page
    assert 'href="/org/one"' in page
    assert 'href="/org/one/tree/2.0"' in page
    assert 'href="/datasets/set"' in page
    assert "2.9 KiB" in page, "what two versions share is saved"


def test_next_runs_are_told_by_the_newest_schedule(tmp_path: Path) -> None:
    document = {
        "version": 1,
        "store": {"url": tmp_path.as_uri()},
        "models": [{"name": "m", "repo": "m"}],
        "schedule": {"incremental": "7 4 * * *"},
    }
    newest = load(json.dumps(document).encode(), environ={})
    make = partial(make_gateway, newest=lambda: newest)
    with serving(tmp_path, fill(tmp_path), make=make) as served:
        page = text(served, "/")
    assert re.search(r"incremental: <time [^>]*>\d{4}-\d\d-\d\d 04:07 UTC", page)


@pytest.mark.parametrize(
    "path", ["/org/one", "/up/one", "/org/one/tree/2.0", "/org/one/tree/v1", "/datasets/set"]
)
def test_a_model_has_a_page_at_the_hubs_addresses(served: Serving, path: str) -> None:
    assert '<h2 id="files">Files</h2>' in text(served, path)


def test_a_models_page_has_its_digests_and_commands(served: Serving) -> None:
    page = text(served, "/org/one/tree/1.0")
    assert sha1("up/one v1") in page
    assert "BertModel" in page
    for command in ("hf download org/one --revision 1.0", "vllm serve org/one", "from_pretrained"):
        assert command in page
    assert f"sync-daemon pull org/one@1.0 --mirror {served.url}" in page
    assert "HF_TOKEN" not in page, "nobody needs one here"
    dataset = text(served, "/datasets/set")
    assert "load_dataset(" in dataset
    assert "vllm" not in dataset


def test_links_to_files_lead_to_their_bytes(served: Serving) -> None:
    for page, count in (("/org/one/tree/1.0", 3), ("/datasets/set", 1)):
        links = re.findall(r'href="([^"]*/resolve/[^"]*)"', text(served, page))
        assert len(links) == count
        for link in links:
            assert served.ask(link.replace("&amp;", "&").replace("&#39;", "'")).status == 200


def test_names_are_text_whatever_they_contain(served: Serving) -> None:
    page = text(served, "/org/one/tree/1.0")
    assert "<script" not in page
    assert "&lt;script&gt;" in page


@pytest.mark.parametrize("path", ["/nope", "/org/one/tree/9.9", "/org/one/blob/main/a", "/a/b/c"])
def test_what_is_not_there_is_a_page_too(served: Serving, path: str) -> None:
    assert "This mirror has no such page" in text(served, path, 404)


def test_a_name_in_other_case_leads_to_the_right_one(served: Serving) -> None:
    answer = served.ask("/ORG/One/tree/2.0")
    assert (answer.status, answer.headers["location"]) == (307, "/org/one/tree/2.0")


def test_the_style_is_kept_by_the_browser(served: Serving) -> None:
    first = served.ask("/-/style.css")
    assert (first.status, first.headers["content-type"]) == (200, "text/css; charset=utf-8")
    assert served.ask("/-/style.css", If_None_Match=first.headers["etag"]).status == 304


class HangingStore(LocalStore):
    """Says nothing about runs until it is let go."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.let_go = threading.Event()

    def list(self, prefix: str, start_after: str = "") -> Iterator[ObjectInfo]:
        if prefix.startswith("runs"):
            self.let_go.wait(30)
        return super().list(prefix, start_after)


def test_a_store_that_hangs_does_not_hold_up_pages(tmp_path: Path) -> None:
    """What is in memory is shown, and how things stand as soon as that is known."""
    fill(tmp_path)
    store = HangingStore(tmp_path)
    with serving(tmp_path, store, make=make_gateway) as served:
        try:
            for path in ("/", "/org/one", "/"):
                assert "org/one" in text(served, path)
            assert "still being read" in text(served, "/")
        finally:
            store.let_go.set()
        wait_until(lambda: "still being read" not in text(served, "/"))


def test_alerts_that_fire_are_shown(tmp_path: Path) -> None:
    store = fill(tmp_path)
    finding = Finding("stale", (("model", "set"),), 3, 2, "set@main is <old>")
    book, _ = Book().raised(finding, MORNING)
    store.put(keys.ALERTS, book.to_record())
    with serving(tmp_path, store, make=make_gateway) as served:
        page = text(served, "/")
    assert "stale: set@main is &lt;old&gt;" in page


def test_a_version_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    store = fill(tmp_path)
    store.put(keys.current(ModelName("set"), VersionName("main")), b"{damaged")
    with serving(tmp_path, store, make=make_gateway) as served:
        assert "set@main: " in text(served, "/")


def test_of_a_crowd_one_waits_for_a_store_that_hangs() -> None:
    held, asked = threading.Event(), threading.Event()

    def hang(_: datetime) -> tuple[Coming, ...]:
        asked.set()
        held.wait(30)
        return ()

    store, clock = MemoryStore(), FakeClock()
    retry = Retry(1, lambda event: None, clock)
    collector = Collector(Library(store, retry), Browser(store, retry), clock, hang)
    first = threading.Thread(target=collector.collect)
    first.start()
    assert asked.wait(30)
    assert collector.collect().troubles == (
        "the figures are still being read: look again in a moment",
    )
    held.set()
    first.join()
    assert collector.collect().troubles == ()


def test_a_reader_of_some_models_learns_nothing_of_the_others(tmp_path: Path) -> None:
    store = fill(tmp_path)
    finding = Finding("stale", (("model", "org/one"),), 3, 2, "org/one@1.0 is stale")
    book, _ = Book().raised(finding, MORNING + timedelta(days=1))
    store.put(keys.ALERTS, book.to_record())
    with serving(tmp_path, store, make=make_gateway, anonymous=False) as served:
        assert served.ask("/").status == 401
        one = served.token("one", "set")
        page = served.ask("/", token=one).body.decode()
        assert "/datasets/set" in page
        assert "org/one" not in page
        assert served.ask("/org/one", token=one).status == 404
        assert "HF_TOKEN" in served.ask("/datasets/set", token=one).body.decode()
        assert "org/one" in served.ask("/", token=served.token("all")).body.decode()
