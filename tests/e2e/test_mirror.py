"""The straight line as its user walks it: the command, a Hub, a real MinIO and a directory."""

import json
import os
from typing import Any

import pytest
from safetensors.numpy import load

from tests.e2e.conftest import Mirror
from tests.support.hub import Hub, Synthetic
from tests.support.sample import sample_model_files

MIB = 1024**2
ODD = [
    "a b.txt",
    "a#b.txt",
    "a+b.txt",
    "a%20b.txt",
    "a%2Fb.txt",
    "e\u0301.txt",
    "\u00e9.txt",
    "🦙/weights 🦙.bin",
    ".hidden",
    "trailing.",
    "empty",
    "deep/er/and/deeper/file.json",
    "q?x=1&y=2.txt",
]


def model(name: str, repo: str, *versions: dict[str, Any], **extra: Any) -> dict[str, Any]:
    entry = {"name": name, "repo": repo, **extra}
    return entry | ({"versions": list(versions)} if versions else {})


def shards(count: int = 8, size: int = 3 * MIB) -> dict[str, Synthetic]:
    return {f"model-{n}-of-{count}.safetensors": Synthetic(size, seed=n) for n in range(count)}


def test_everything_at_once_is_mirrored_byte_for_byte(mirror: Mirror, hub: Hub) -> None:
    """Tag and branch of two models, 2,500 small files, odd names and a dataset in one YAML:
    every entry re-hashed is right, bytes fetched are the distinct bytes of each repository,
    and the second run moves nothing with one origin request per repository."""
    for name in ("org/one", "org/two"):
        repo = hub.repo(name)
        repo.tag("v1.0", repo.commit({"config.json": b"{}", **shards(2)}))
        repo.commit({"config.json": b'{"new": 1}', "more.bin": os.urandom(2 * MIB)})
    hub.repo("org/many").commit({f"data/{n:04}.json": b'{"n": %d}' % n for n in range(2500)})
    odd = {path: path.encode() if path != "empty" else b"" for path in ODD}
    hub.repo("org/odd").commit(odd)
    hub.repo("org/set", kind="dataset").commit({"train/0.parquet": os.urandom(2 * MIB)})
    versions = ({"name": "1.0", "revision": "v1.0"}, {"name": "main", "revision": "main"})
    mirror.write(
        model("one", "org/one", *versions),
        model("two", "org/two", *versions),
        model("many", "org/many"),
        model("odd", "org/odd"),
        model("sets/set", "org/set", repo_type="dataset"),
    )
    report = mirror.sync()
    assert {one["status"] for one in report.values()} == {"published"}
    published = mirror.published()
    assert len(published) == 7
    assert set(published["odd@main"].files) == set(ODD)
    assert len(published["many@main"].files) == 2500
    fetched = sum(one["bytes"]["fetched"] for one in report.values())
    small = sum(map(len, odd.values())) + sum(len(b'{"n": %d}' % n) for n in range(2500))
    repos = 2 * (len(b"{}") + len(b'{"new": 1}') + 2 * MIB)
    assert fetched == small + repos + 2 * 3 * MIB + 2 * MIB, "shards shared by both models once"

    hub.clear()
    again = mirror.sync()
    assert {one["status"] for one in again.values()} == {"unchanged"}
    assert sum(one["bytes"]["fetched"] for one in again.values()) == 0
    assert hub.count("hub") == 5, "one request for each repository"


def test_only_the_changed_shard_moves_and_the_old_manifest_stays(mirror: Mirror, hub: Hub) -> None:
    repo = hub.repo("org/m")
    first = repo.commit({"config.json": b"{}", "tokenizer.json": b"[]", **shards()})
    mirror.write(
        model(
            "m", "org/m", {"name": "old", "revision": first}, {"name": "main", "revision": "main"}
        )
    )
    mirror.sync()
    before = mirror.published()
    manifest = mirror.place.read(before["m@main"].manifest)
    changed = Synthetic(3 * MIB + 5, seed=99)
    repo.commit({"config.json": b'{"v": 2}', "model-3-of-8.safetensors": changed})
    hub.clear()
    report = mirror.sync()
    assert report["m@old"]["status"] == "unchanged"
    assert report["m@old"]["requests"]["origin"] == 0, "a published pin asks nobody"
    assert report["m@main"]["bytes"]["fetched"] == changed.size + len(b'{"v": 2}')
    assert set(hub.file_bytes()) == {"config.json", "model-3-of-8.safetensors"}
    assert mirror.place.read(before["m@main"].manifest) == manifest
    after = mirror.published()
    assert after["m@old"] == before["m@old"]
    assert after["m@main"].files["model-3-of-8.safetensors"] == changed.sha256


def test_the_real_model_is_mirrored_read_back_and_loaded(mirror: Mirror, hub: Hub) -> None:
    """90 MB of real config, tokenizer and safetensors, through the real client's listing."""
    hub.repo("sentence-transformers/all-MiniLM-L6-v2", license="apache-2.0").commit(
        sample_model_files()
    )
    mirror.write(model("minilm", "sentence-transformers/all-MiniLM-L6-v2"))
    report = mirror.sync()["minilm@main"]
    assert report["bytes"]["fetched"] == sum(
        p.stat().st_size for p in sample_model_files().values()
    )
    version = mirror.published()["minilm@main"]
    digest = version.files["model.safetensors"]
    tensors = load(mirror.place.read(f"blobs/sha256/{digest[:2]}/{digest}"))
    assert tensors["embeddings.word_embeddings.weight"].shape == (30522, 384)
    manifest = json.loads(mirror.place.read(version.manifest))
    assert manifest["licence"] == "apache-2.0"
    assert manifest["facts"]["architecture"] == "BertModel"
    assert manifest["facts"]["parameters"] == sum(t.size for t in tensors.values())


def test_missing_forbidden_and_good_end_in_one_report(mirror: Mirror, hub: Hub) -> None:
    """Exit 1, the good one published, reasons that tell what to do, the token nowhere."""
    token = "hf_" + "s3cr3t" * 5
    hub.tokens = {token}
    hub.repo("org/good").commit({"config.json": b"{}", **shards(1)})
    hub.repo("org/gated", gated="auto").commit({"a.bin": b"x"})
    mirror.write(
        model("good", "org/good"), model("gone", "org/nowhere"), model("gated", "org/gated")
    )
    daemon = type(mirror.daemon)(mirror.daemon.config, {**mirror.daemon.env, "HF_TOKEN": token})
    ran = daemon.sync("--log-level", "debug")
    assert ran.code == 1
    report = ran.versions()
    assert report["good@main"]["status"] == "published"
    assert report["gone@main"]["error"]["kind"] == "repository_not_found"
    assert "token" in report["gone@main"]["error"]["hint"]
    assert report["gated@main"]["error"]["kind"] == "forbidden"
    assert report["gated@main"]["error"]["hint"]
    assert hub.authorized("api"), "the token was used at the Hub"
    assert not hub.authorized("cdn"), "and nowhere else"
    everything = ran.out.encode() + ran.err.encode() + b"".join(mirror.snapshot().values())
    assert b"s3cr3t" not in everything


def test_a_tag_pattern_makes_versions_and_a_moved_tag_is_refused(mirror: Mirror, hub: Hub) -> None:
    repo = hub.repo("org/m")
    for number in (1, 2, 9, 10):
        repo.tag(f"v{number}", repo.commit({"n": b"%d" % number}))
    mirror.write(model("m", "org/m", {"tags": "v*", "latest": 3}))
    assert set(mirror.sync()) == {"m@v10", "m@v9", "m@v2"}
    before = mirror.published()["m@v9"]
    repo.tag("v9", repo.commit({"n": b"moved"}))
    report = mirror.sync(code=1)
    assert report["m@v9"]["status"] == "refused"
    assert "moved upstream" in report["m@v9"]["reasons"][0]
    assert mirror.published()["m@v9"] == before
    assert mirror.run("accept", "m@v9").code == 0
    assert mirror.published()["m@v9"].commit == repo.head("v9")
    assert {one["status"] for one in mirror.sync().values()} == {"unchanged"}


def test_a_dry_run_and_plan_say_the_same_and_write_nothing(mirror: Mirror, hub: Hub) -> None:
    repo = hub.repo("org/m")
    repo.commit({"config.json": b"{}", **shards(2)})
    mirror.write(model("m", "org/m"))
    planned = mirror.sync("--dry-run")["m@main"]
    assert list(mirror.place.keys("")) == []
    assert planned["status"] == "planned"
    told = mirror.run("plan", "--json").json["models"][0]
    assert told["plan"] == planned["plan"]
    done = mirror.sync()["m@main"]
    assert done["bytes"]["fetched"] == planned["plan"]["bytes"]["fetch"]
    before = mirror.snapshot()
    mirror.write(
        model("m", "org/m"),
        model("gone", "org/gone"),
        model("rev", "org/m", {"name": "x", "revision": "v7"}),
    )
    report = mirror.sync("--dry-run", code=1)
    assert [report[name]["status"] for name in ("gone@main", "rev@x")] == ["failed", "failed"]
    assert mirror.snapshot() == before


def test_hostile_names_never_reach_the_store(mirror: Mirror, hub: Hub) -> None:
    repo = hub.repo("org/m")
    repo.commit({"ok": b"1"})
    mirror.write(model("m", "org/m"))
    mirror.sync()
    before = mirror.published()
    for name in ("../../escape", "/absolute", "a\nb", "back\\slash"):
        repo.commit({name: b"x"}, unchecked=True)
        report = mirror.sync(code=1)
        assert report["m@main"]["status"] == "refused", name
        repo.commit({}, delete=(name,), unchecked=True)
    assert mirror.published()["m@main"].files == before["m@main"].files
    assert not [key for key in mirror.place.keys("") if "escape" in key]


@pytest.mark.parametrize("xet", [False, True])
def test_xet_hints_change_nothing(mirror: Mirror, hub: Hub, *, xet: bool) -> None:
    hub.xet = xet
    hub.repo("org/m").commit({"config.json": b"{}", **shards(1)})
    mirror.write(model("m", "org/m"))
    assert mirror.sync()["m@main"]["status"] == "published"
    assert len(mirror.published()["m@main"].files) == 2
