"""Who reads a bucket by paths, unmodified, reads plain trees of a real MinIO byte for byte."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.clients.conftest import MakeBucketClient
from tests.e2e.conftest import Mirror
from tests.support.hub import Hub, Repo, Synthetic

pytestmark = pytest.mark.parametrize("mirror", ["minio"], indirect=True)

MIB = 1024**2
WEIGHTS = Synthetic(20 * MIB, seed=4)
"""Large enough to be read in ranges."""
SMALL = {
    "config.json": b'{"a": 1}',
    "empty.txt": b"",
    "gone.txt": b"soon",
    "a/b/c.json": b"{}",
    "odd/é 🦙#+%20.txt": b"odd",
} | {f"many/{n:03}.json": b'{"n": %d}' % n for n in range(60)}


def digests(files: dict[str, bytes]) -> dict[str, str]:
    return {path: hashlib.sha256(data).hexdigest() for path, data in files.items()}


EXPECTED = digests(SMALL) | {"model.safetensors": WEIGHTS.sha256}


@pytest.fixture
def repo(hub: Hub) -> Repo:
    """What m@1 is made from (v1), and m@1.0 (v0), whose folder's name begins the same."""
    repo = hub.repo("org/m")
    repo.tag("v0", repo.commit({"other.txt": b"of 1.0"}))
    repo.tag("v1", repo.commit({"model.safetensors": WEIGHTS, **SMALL}, delete=["other.txt"]))
    return repo


@pytest.fixture
def url(mirror: Mirror, repo: Repo) -> str:
    """The address of the tree of m@1."""
    versions = [{"name": "1", "revision": "v1"}, {"name": "1.0", "revision": "v0"}]
    model = {"name": "m", "repo": repo.name, "trees": True, "group": "nlp", "versions": versions}
    mirror.write(model)
    mirror.sync()
    return f"{mirror.store['url']}/trees/nlp/m/1"


def read(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return digests({path.relative_to(folder).as_posix(): path.read_bytes() for path in files})


def test_aws_s3_sync_copies_a_tree_and_later_what_accept_changed(
    url: str, repo: Repo, mirror: Mirror, make_bucket_client: MakeBucketClient, tmp_path: Path
) -> None:
    """By an account that sees one model and no blob. A file of the same size that is newer needs
    `--exact-timestamps`: without it `aws` takes what it has for the better one."""
    client, folder = make_bucket_client("s3", "m"), tmp_path / "out"

    def sync(*options: str) -> list[str]:
        return client.aws("s3", "sync", url, str(folder), "--no-progress", *options).splitlines()

    assert len(sync()) == len(EXPECTED)
    assert read(folder) == EXPECTED
    assert sync() == []
    repo.tag("v1", repo.commit({"config.json": b'{"a": 2}'}, delete=["gone.txt"]))
    assert mirror.run("accept", "m@1").code == 0
    sync("--exact-timestamps", "--delete")
    left = {path: digest for path, digest in EXPECTED.items() if path != "gone.txt"}
    assert read(folder) == left | digests({"config.json": b'{"a": 2}'})


def test_kserve_loads_a_tree(
    url: str, make_bucket_client: MakeBucketClient, tmp_path: Path
) -> None:
    """All but empty files, which KServe leaves out; with a slash at the end it keeps to the
    version, and 1.0 is not taken for a part of 1."""
    found = make_bucket_client("s3", "m")("kserve", f"{url}/", tmp_path / "out")
    assert found["files"] == {k: v for k, v in EXPECTED.items() if k != "empty.txt"}
