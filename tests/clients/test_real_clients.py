"""`HF_ENDPOINT` and nothing else: unmodified clients of three generations read the mirror."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sync_daemon.client import ModelLoader
from sync_daemon.stores.memory import MemoryStore
from tests.clients.conftest import Make, Serve
from tests.e2e.conftest import Mirror
from tests.support.file_gate import put_file, run_gate
from tests.support.hub import Hub, Synthetic
from tests.support.sample import sample_model_files
from tests.support.waiting import wait_until

MIB = 1024**2
GENERATIONS = ["hub0", "hub1", "hub2"]
ODD = ["a b.txt", "a#b.txt", "a+b.txt", "a%20b.txt", "\u00e9.txt", "🦙/w 🦙.bin", "q?x=1&y=2.txt"]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("generation", GENERATIONS)
def test_snapshots_are_whole_and_the_second_call_moves_nothing(
    generation: str, hub: Hub, serve: Serve, make_client: Make
) -> None:
    """LFS and small files, odd names, a tag and a branch; the second call uses the cache."""
    weights = Synthetic(12 * MIB, seed=1)
    small = {path: f"{path}!".encode() for path in ODD} | {"config.json": b'{"a": 1}'}
    repo = hub.repo("org/one")
    repo.tag("v1", repo.commit({"config.json": b"{}"}))
    commit = repo.commit({"model.safetensors": weights, **small})
    server = serve(
        {
            "name": "one",
            "repo": "org/one",
            "versions": [{"name": "1.0", "revision": "v1"}, {"name": "2.0", "revision": "main"}],
        }
    )
    client = make_client(generation, server.url)
    expected = {path: sha256(data) for path, data in small.items()}
    found = client("snapshot", "org/one")
    assert found["files"] == expected | {"model.safetensors": weights.sha256}
    assert commit in found["folder"]

    def fetched() -> int:
        lines = server.told("gateway.request")
        return sum(line["kind"] == "file" and line["method"] == "GET" for line in lines)

    # A line is written behind its answer.
    wait_until(lambda: fetched() >= len(found["files"]), lambda: str(fetched()))
    before = len(server.told("gateway.request"))
    assert client("snapshot", "org/one") == found
    again = [line for line in server.told("gateway.request")[before:] if line["kind"] == "file"]
    assert sum(int(str(line["bytes"])) for line in again) == 0
    for revision in ("1.0", "v1"):
        assert client("snapshot", "one", revision=revision)["files"] == {
            "config.json": sha256(b"{}")
        }
    assert client("snapshot", "org/one", revision="2.0")["files"] == found["files"]


@pytest.mark.parametrize("generation", GENERATIONS)
def test_questions_are_answered_as_the_hub_answers_them(
    generation: str, hub: Hub, serve: Serve, make_client: Make
) -> None:
    weights = Synthetic(2 * MIB, seed=2)
    commit = hub.repo("org/one").commit({"model.safetensors": weights, "d/config.json": b"{}"})
    server = serve({"name": "one", "repo": "org/one"})
    client = make_client(generation, server.url)
    found = client("probe", "org/one", path="d/config.json")
    assert found["sha"] == commit
    assert found["siblings"] == ["d/config.json", "model.safetensors"]
    assert found["lfs"] == {"model.safetensors": weights.sha256}
    assert found["tree"] == ["d", "d/config.json", "model.safetensors"]
    assert (found["exists"], found["missing"]) == (True, False)
    assert found["refs"] == ["main"]
    read = client("file_system", "org/one", path="model.safetensors", start=1000, count=64)
    assert bytes.fromhex(read["part"]) == b"".join(weights.read(1000, 1064))
    assert read["size"] == weights.size
    failed = client("failure", "org/one", path="missing.json")
    assert failed["kind"] in {"EntryNotFoundError", "RemoteEntryNotFoundError"}
    failed = client("failure", "org/none", path="config.json")
    assert failed["kind"] == "RepositoryNotFoundError"
    failed = client("failure", "org/one", path="d/config.json", revision="nothing")
    assert failed["kind"] == "RevisionNotFoundError"


@pytest.mark.parametrize("generation", ["hub1", "hub2"])
def test_hf_download_fills_a_folder(
    generation: str, hub: Hub, serve: Serve, make_client: Make, mirror: Mirror
) -> None:
    hub.repo("org/one").commit({"a.bin": Synthetic(3 * MIB, seed=3), "b/c.json": b"{}"})
    server = serve({"name": "one", "repo": "org/one"})
    folder = mirror.daemon.config.parent / "out"
    make_client(generation, server.url).command("download", "org/one", "--local-dir", str(folder))
    assert sha256((folder / "a.bin").read_bytes()) == Synthetic(3 * MIB, seed=3).sha256
    assert (folder / "b/c.json").read_bytes() == b"{}"


def test_2500_small_files_come_whole(hub: Hub, serve: Serve, make_client: Make) -> None:
    files = {f"data/{n:04}.json": b'{"n": %d}' % n for n in range(2500)}
    hub.repo("org/many").commit(files)
    server = serve({"name": "many", "repo": "org/many"})
    found = make_client("hub2", server.url)("snapshot", "org/many")
    assert found["files"] == {path: sha256(data) for path, data in files.items()}


def test_transformers_reads_the_real_model(hub: Hub, serve: Serve, make_client: Make) -> None:
    """Config and tokenizer of the real model; optional files that are missing do not matter."""
    hub.repo("sentence-transformers/all-MiniLM-L6-v2").commit(sample_model_files())
    server = serve({"name": "minilm", "repo": "sentence-transformers/all-MiniLM-L6-v2"})
    client = make_client("transformers", server.url)
    for repo in ("sentence-transformers/all-MiniLM-L6-v2", "minilm"):
        found = client("tokenizer", repo)
        assert found["type"] == "bert"
        assert found["ids"][0] == 101
        assert len(found["ids"]) > 4


@pytest.mark.parametrize("name", ["sentence-transformers/all-MiniLM-L6-v2", "minilm"])
def test_transformers_reads_offline_what_pull_has_put_into_its_cache(
    name: str, hub: Hub, serve: Serve, make_client: Make, tmp_path: Path
) -> None:
    """Under both names; the library is told to ask nobody, and nobody would answer it."""
    hub.repo("sentence-transformers/all-MiniLM-L6-v2").commit(sample_model_files())
    server = serve({"name": "minilm", "repo": "sentence-transformers/all-MiniLM-L6-v2"})
    client = make_client("transformers", "http://127.0.0.1:9")
    loader = ModelLoader(
        model=name, mirrors=[server.url], cache=tmp_path / "cache", hf_cache=client.home / "hub"
    )
    assert loader.download_and_verify().status == "ok"
    found = replace(client, offline=True)("tokenizer", name)
    assert (found["type"], found["ids"][0]) == ("bert", 101)


def test_datasets_reads_a_dataset(hub: Hub, serve: Serve, make_client: Make) -> None:
    rows = "".join(f'{{"text": "row {n}", "label": {n}}}\n' for n in range(50)).encode()
    hub.repo("org/set", kind="dataset").commit({"train.jsonl": rows})
    server = serve({"name": "set", "repo": "org/set", "repo_type": "dataset"})
    found = make_client("transformers", server.url)("dataset", "org/set")
    assert found["rows"] == [{"text": f"row {n}", "label": n} for n in range(50)]


def test_kserve_reads_hf_addresses_from_the_gateway(
    hub: Hub, serve: Serve, make_client: Make, mirror: Mirror
) -> None:
    """`storageUri: hf://org/one:1.0`: no key of the bucket is needed."""
    files = {"config.json": b"{}", "model.safetensors": os.urandom(2 * MIB), "empty.txt": b""}
    repo = hub.repo("org/one")
    repo.tag("v1", repo.commit(files))
    versions = [{"name": "1.0", "revision": "v1"}]
    server = serve({"name": "one", "repo": "org/one", "versions": versions})
    output = mirror.daemon.config.parent / "out"
    client = make_client("s3", server.url)
    found = client("kserve", "org/one", url="hf://org/one:1.0", output=str(output))
    kept = {path: digest for path, digest in found["files"].items() if path in files}
    assert kept == {path: sha256(data) for path, data in files.items()}


@pytest.mark.parametrize("generation", GENERATIONS)
def test_a_file_beyond_the_clients_limit_comes_or_says_what_to_do(
    generation: str, make_client: Make
) -> None:
    """The limit of 50 GB, lowered on both sides: new clients pass, old ones are told of `pull`."""
    store, body = MemoryStore(), os.urandom(2 * MIB)
    with run_gate(store, largest_announced=MIB) as gate:
        gate.add(put_file(store, "huge.bin", body))
        client = make_client(generation, gate.url)
        if generation == "hub0":
            refused = client("failure", "o/m", path="huge.bin", largest=MIB)
            assert "sync-daemon pull" in refused["text"]
            return
        found = client("one_file", "o/m", path="huge.bin", largest=MIB)
    assert found["sha256"] == sha256(body)


@pytest.mark.parametrize("generation", GENERATIONS)
def test_a_token_is_needed_where_nobody_may_come_without_one(
    generation: str, hub: Hub, serve: Serve, make_client: Make, mirror: Mirror
) -> None:
    hub.repo("org/one").commit({"config.json": b"{}"})
    hub.repo("org/two").commit({"config.json": b"{}"})
    server = serve(
        {"name": "one", "repo": "org/one"}, {"name": "two", "repo": "org/two"}, anonymous=False
    )
    made: Any = mirror.run("token", "create", "reader", "--model", "one", "--json").json
    refused = make_client(generation, server.url)("failure", "org/one", path="config.json")
    assert refused["kind"] in {
        "RepositoryNotFoundError",
        "HfHubHTTPError",
        "LocalEntryNotFoundError",
    }
    client = make_client(generation, server.url, made["token"])
    for _ in range(40):
        found = client("failure", "org/one", path="config.json")
        if found["kind"] is None:
            break
    assert client("snapshot", "org/one")["files"] == {"config.json": sha256(b"{}")}
    assert client("failure", "org/two", path="config.json")["kind"] == "RepositoryNotFoundError"
