"""Pulls from the gateway of this program, as it really serves a store."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sync_daemon.domain.errors import RepositoryNotFound
from sync_daemon.stores.local import LocalStore
from tests.client.conftest import MIB, Machine
from tests.support.published import Publisher, Serving, serving, sha1

WEIGHTS = random.Random(1).randbytes(9 * MIB)
FILES = {"config.json": b"{}", "data/vocab.txt": b"a\nb\n", "model.safetensors": WEIGHTS}
LARGE = ("model.safetensors",)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("store")
    publisher = Publisher(LocalStore(folder))
    publisher.publish("m", "1.0", FILES, repo="org/m", lfs=LARGE, revision="v1", pin=True)
    more = FILES | {"new.json": b"[]"}
    publisher.publish("m", "2.0", more, repo="org/m", lfs=LARGE, commit=sha1("2.0"))
    publisher.alias("m", "stable", "1.0")
    publisher.publish("disk", "main", FILES, git=False)
    publisher.publish("set", "main", {"data.csv": b"a,b\n"}, repo="org/set", kind="dataset")
    with serving(folder) as found:
        yield found


@pytest.fixture
def client(tmp_path: Path, served: Serving) -> Machine:
    return Machine(tmp_path, [served.url])


def held(folder: Path) -> dict[str, bytes]:
    """The files below a folder; pull's own notes left out."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".sync-daemon.json"
    }


@pytest.mark.parametrize(
    "what", ["m@1.0", "org/m@1.0", "m@v1", "m@stable", f"m@{sha1('org/m v1')}", "disk"]
)
def test_whatever_names_the_version_brings_it(client: Machine, what: str) -> None:
    """By the model's or the origin's name; by version, tag, alias and commit; without git."""
    report = client.pull(what)
    assert held(client.output) == FILES
    assert report.bytes.fetched == sum(map(len, FILES.values()))


def test_a_version_that_is_here_costs_one_question(client: Machine) -> None:
    client.pull("m@1.0")
    report = client.pull("m@1.0")
    assert [one["requests"] for one in report.endpoints] == [1]
    assert report.outcome.kept == 3


def test_files_are_shared_by_digest_also_small_ones(client: Machine) -> None:
    """The gateway tells the SHA-256 of every file, so another repository's are known too."""
    client.pull("m@1.0")
    report = client.pull("disk", output=client.home / "disk")
    assert report.bytes.fetched == 0
    assert client.pull("m@2.0", output=client.home / "two").bytes.fetched == len(b"[]")


def test_a_dataset_is_pulled(client: Machine) -> None:
    client.pull("org/set", repo_type="dataset")
    assert held(client.output) == {"data.csv": b"a,b\n"}


@pytest.mark.parametrize("model", ["org/m", "disk"])
def test_from_pretrained_would_find_it_offline(client: Machine, model: str) -> None:
    """The real huggingface_hub agrees on the names of the blobs, so it downloads nothing."""
    client.pull(model, output=None, hf_cache=client.home / "hub")
    script = f"import huggingface_hub as h; print(h.snapshot_download({model!r}))"
    kept = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    for more in ({"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": client.mirrors[0]}):
        env = kept | {"HF_HUB_CACHE": str(client.home / "hub"), "HF_HUB_DISABLE_XET": "1"} | more
        done = subprocess.run(
            [sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True
        )
        assert (Path(done.stdout.strip()) / "model.safetensors").read_bytes() == WEIGHTS
    hub = next((client.home / "hub").glob("models--*"))
    linked = {blob.stat().st_ino for blob in client.blobs()}
    assert all(blob.stat().st_ino in linked for blob in (hub / "blobs").iterdir())


def test_a_mirror_that_selects_more_of_a_commit_is_followed(tmp_path: Path) -> None:
    """The commit is the same, and the gateway's list of files is not."""
    folder = tmp_path / "store"
    folder.mkdir()
    publisher = Publisher(LocalStore(folder))
    publisher.publish("m", "main", {"a": b"a"}, repo="org/m", selection="less")
    with serving(folder) as found:
        client = Machine(tmp_path, [found.url])
        client.pull("org/m")
        publisher.publish("m", "main", {"a": b"a", "b": b"b"}, repo="org/m", selection="more")
        found.refresh()
        client.pull("org/m")
        assert held(client.output) == {"a": b"a", "b": b"b"}


def test_a_token_opens_what_it_is_for(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    folder.mkdir()
    publisher = Publisher(LocalStore(folder))
    publisher.publish("open", "main", {"a": b"a"})
    publisher.publish("other", "main", {"a": b"a"})
    with serving(folder, anonymous=False) as found:
        client = Machine(tmp_path, [found.url])
        token = found.token("ci", "open")
        assert client.pull("open", token=token).status == "ok"
        for model, more in (("open", {}), ("other", {"token": token})):
            with pytest.raises(RepositoryNotFound) as told:
                client.pull(model, **more)
            assert "--token-file" in str(told.value.hint)


def test_a_gateway_that_stops_is_replaced_by_its_twin(
    client: Machine, served: Serving, tmp_path: Path
) -> None:
    folder = tmp_path / "twin"
    folder.mkdir()
    publisher = Publisher(LocalStore(folder))
    publisher.publish("m", "1.0", FILES, repo="org/m", lfs=LARGE, revision="v1", pin=True)
    with serving(folder) as twin:
        gone = twin.url
        client.mirrors = [twin.url, served.url]
        client.pull("m@1.0")
    report = client.pull("m@2.0")
    assert report.site == served.url
    assert {one["url"]: one["failures"] for one in report.endpoints}[gone] > 0
