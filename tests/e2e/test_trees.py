"""Plain trees as their readers see them: by an account that may read no blob, and after SIGKILL."""

import hashlib
import json
import random
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.e2e.conftest import Mirror
from tests.support.hub import Hub, Synthetic
from tests.support.rehash import Bucket, Folder
from tests.support.servers import BUCKET, S3Server, make_client

MIB = 1024**2


def digests(files: dict[str, bytes]) -> dict[str, str]:
    return {path: hashlib.sha256(data).hexdigest() for path, data in files.items()}


def tree(mirror: Mirror, key: str) -> dict[str, str]:
    """What lies below a key of the store, by path, hashed."""
    place = mirror.place
    return {
        path.removeprefix(key): hashlib.sha256(place.read(path)).hexdigest()
        for path in place.keys(key)
    }


def count(mirror: Mirror) -> int:
    return sum(1 for _ in mirror.place.keys("trees/"))


def entry(**extra: Any) -> dict[str, Any]:
    return {"name": "m", "repo": "org/m", "trees": True, **extra}


def test_every_command_tells_of_the_tree_and_its_files_are_those_of_the_version(
    mirror: Mirror, hub: Hub
) -> None:
    repo = hub.repo("org/m")
    repo.tag("v1", repo.commit({"config.json": b"{}", "a b#%20é/x.bin": Synthetic(9 * MIB)}))
    repo.commit({"config.json": b"{ }", "a b#%20é/x.bin": Synthetic(9 * MIB)})
    versions = [{"name": "1", "revision": "v1"}, {"name": "main", "revision": "main"}]
    mirror.write(entry(group="nlp", versions=versions))
    planned = json.loads(mirror.run("plan", "--json").out)["models"]
    assert [one["plan"]["tree"]["copy"] for one in planned] == [2, 2]
    mirror.sync()
    where = {
        "m@1": "trees/nlp/m/1/",
        "m@main": f"trees/nlp/m/main@{repo.head('main')[:12]}/",
    }
    for name, version in mirror.published().items():
        assert tree(mirror, where[name]) == dict(version.files)
    shown = json.loads(mirror.run("show", "m", "--json").out)["versions"]
    assert {one["tree"] for one in shown} == set(where.values())
    status = json.loads(mirror.run("status", "--json").out)["versions"]
    assert {one["tree"] for one in status} == set(where.values())
    assert where["m@1"] in mirror.run("show", "m@1").out
    assert mirror.run("verify", "--deep").code == 0


def test_a_version_that_moves_leaves_the_old_folder_and_accept_changes_the_plain_one(
    mirror: Mirror, hub: Hub
) -> None:
    repo = hub.repo("org/m")
    before = {"config.json": b"{}", "gone.txt": b"x", "kept.bin": b"k" * 5000}
    after = {"config.json": b"[]", "kept.bin": b"k" * 5000}
    first = repo.commit(before)
    repo.tag("v1", first)
    versions = [{"name": "1", "revision": "v1"}, {"name": "main", "revision": "main"}]
    mirror.write(entry(versions=versions))
    mirror.sync()
    second = repo.commit({"config.json": b"[]"}, delete=["gone.txt"])
    repo.tag("v1", second)
    mirror.sync(code=1)
    assert tree(mirror, "trees/m/1/") == digests(before)
    assert mirror.run("accept", "m@1").code == 0
    assert tree(mirror, "trees/m/1/") == digests(after)
    assert tree(mirror, f"trees/m/main@{first[:12]}/") == digests(before)
    assert tree(mirror, f"trees/m/main@{second[:12]}/") == digests(after)


def test_sigkill_while_a_tree_is_made_leaves_nothing_wrong_and_the_next_run_completes_it(
    mirror: Mirror, hub: Hub
) -> None:
    files = {f"d{n % 7}/f{n:04}.json": b'{"n": %d}' % n for n in range(200)}
    repo = hub.repo("org/m")
    repo.tag("v1", repo.commit(files))
    pin = {"versions": [{"name": "1", "revision": "v1"}]}
    mirror.write(entry(trees=False, **pin))
    mirror.sync()
    mirror.write(entry(**pin))
    chance, partial = random.Random(20261121), 0
    for _ in range(5):
        process = mirror.daemon.start("run-once", "--json")
        deadline, before = time.monotonic() + 20, count(mirror)
        while time.monotonic() < deadline and process.poll() is None:
            if count(mirror) > before:
                break
        time.sleep(chance.uniform(0, 0.03))
        process.kill()
        process.communicate()
        there = tree(mirror, "trees/m/1/")
        assert there.items() <= digests(files).items(), "each file is whole, and the right one"
        whole = json.loads(mirror.place.read("models/m/1/current.json")).get("tree") is not None
        assert not whole or len(there) == len(files)
        partial += 0 < len(there) < len(files)
        if whole or partial == 2:
            break
    assert partial
    assert len(mirror.published()["m@1"].files) == len(files), "readable all the time"
    report = mirror.sync()["m@1"]
    assert (report["status"], report["tree"]) == ("unchanged", "trees/m/1/")
    assert tree(mirror, "trees/m/1/") == digests(files)


def test_a_reader_syncs_the_tree_of_its_model_and_nothing_else(
    mirror: Mirror, hub: Hub, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """What `aws s3 sync` does, by an account that may not read a blob."""
    repo = hub.repo("org/m")
    content = {f"d/{n}.json": b"%d" % n for n in range(60)} | {"é #+%.bin": b"x" * 5000}
    repo.tag("v1", repo.commit(content))
    pin = {"versions": [{"name": "1", "revision": "v1"}]}
    mirror.write(entry(group="nlp", **pin), entry(name="other", group="cv", **pin))
    mirror.sync()
    if isinstance(mirror.place, Folder):
        inodes = {path.stat().st_ino for path in (tmp_path / "store/blobs").rglob("*")}
        copies = [p for p in (tmp_path / "store/trees").rglob("*") if p.is_file()]
        assert len(copies) == 2 * len(content)
        assert {path.stat().st_ino for path in copies} <= inodes
        assert not any(path.stat().st_mode & 0o222 for path in copies)
        return
    server: S3Server = request.getfixturevalue("minio_server")
    account = f"reader-{random.randrange(10**9)}"
    ran = mirror.run("store", "init", "--json", "--reader", account, "--model", "m")
    assert ran.code == 0, ran.out + ran.err
    secret = json.loads(ran.out)["reader"]["secret_key"]
    client = make_client(replace(server, access_key=account, secret_key=secret))
    prefix = mirror.store["url"].removeprefix(f"s3://{BUCKET}/")
    assert download(client, f"{prefix}/trees/nlp/m/1/") == content
    wide = mirror.run("store", "init", "--json", "--reader", account, "--model", "n*")
    assert wide.code == 2
    assert "would open the whole group nlp" in wide.err
    for folder in ("trees/cv/other/", "trees/", "trees/nlp/", "blobs/"):
        with pytest.raises(ClientError, match="AccessDenied"):
            download(client, f"{prefix}/{folder}")


@pytest.mark.parametrize("mirror", ["minio"], indirect=True)
def test_a_plain_copy_that_somebody_overwrote_is_found_by_verify_deep(
    mirror: Mirror, hub: Hub
) -> None:
    """The size is the same, so that only its bytes tell; what the finding says mends it."""
    repo = hub.repo("org/m")
    repo.tag("v1", repo.commit({"config.json": b'{"a": 1}', "x.bin": Synthetic(9 * MIB)}))
    mirror.write(entry(versions=[{"name": "1", "revision": "v1"}]))
    mirror.sync()
    sound = mirror.run("verify", "--deep", "--json").json
    assert sound["hashed_bytes"] == 2 * sound["bytes"]
    place, key = mirror.place, "trees/m/1/config.json"
    assert isinstance(place, Bucket)
    place.client.put_object(Bucket=place.name, Key=place.prefix + key, Body=b'{"a": 9}')
    assert mirror.run("verify").code == 0
    found = mirror.run("verify", "--deep", "--json")
    assert found.code == 4
    assert [(one["kind"], one["key"]) for one in found.json["damage"]] == [("corrupt", key)]
    assert found.json["damaged_versions"] == ["m@1"]
    assert "delete this plain copy" in mirror.run("verify", "--deep").out.replace("\n", " ")
    place.client.delete_object(Bucket=place.name, Key=place.prefix + key)
    mirror.sync("--full")
    assert mirror.run("verify", "--deep").code == 0
    assert place.read(key) == b'{"a": 1}'


def download(client: Any, prefix: str) -> dict[str, bytes]:
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
    found = [one["Key"] for page in pages for one in page.get("Contents", ())]
    return {
        key.removeprefix(prefix): client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        for key in found
    }
