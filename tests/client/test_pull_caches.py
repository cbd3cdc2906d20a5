"""The caches of other libraries, filled by pull: their own code finds a version there, offline."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sync_daemon.client.placing import OutputRefused
from tests.client.conftest import MIB, REPO, Machine, files
from tests.support.hub import Hub, Repo, Synthetic

FIND = """
import sys
from huggingface_hub import constants, hf_hub_download, snapshot_download, try_to_load_from_cache
constants.MAX_HTTP_DOWNLOAD_SIZE = 1024  # a file above it is refused over plain HTTP
revision = sys.argv[1]
folder = snapshot_download("org/model", revision=revision)
print(folder)
print(hf_hub_download("org/model", "data/vocab.txt", revision=revision))
print(try_to_load_from_cache("org/model", "model.safetensors", revision=revision))
"""


def offline(machine: Machine, revision: str, **more: str) -> list[str]:
    """What the real huggingface_hub finds without any network."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    env = kept | {"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(machine.home / "hub")} | more
    done = subprocess.run(
        [sys.executable, "-c", FIND, revision], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def fill(machine: Machine, version: str = "main", **more: object) -> Path:
    report = machine.pull(f"{REPO}@{version}", output=None, hf_cache=machine.home / "hub", **more)
    assert report.snapshot is not None
    return report.snapshot


def test_the_hubs_client_finds_a_version_offline(machine: Machine, repo: Repo) -> None:
    """By branch, tag and commit; a file that it would refuse to download as well."""
    repo.tag("v1", repo.head("main"))
    for version in ("main", "v1", repo.head("main")):
        snapshot = fill(machine, version)
        found = offline(machine, version)
        assert found == [
            str(snapshot),
            str(snapshot / "data/vocab.txt"),
            str(snapshot / "model.safetensors"),
        ]
    assert (snapshot / "model.safetensors").stat().st_size == 12 * MIB


def test_the_hubs_client_downloads_nothing_that_is_there(
    machine: Machine, hub: Hub, repo: Repo
) -> None:
    """The blobs have the names that it would give them itself."""
    fill(machine)
    hub.clear()
    offline(machine, "main", HF_HUB_OFFLINE="0", HF_ENDPOINT=hub.endpoint, HF_HUB_DISABLE_XET="1")
    assert hub.bytes_sent("cdn") == 0
    assert hub.count("small") == 0 or hub.bytes_sent("small") == 0


def test_a_cache_that_the_hubs_client_filled_is_joined(
    machine: Machine, hub: Hub, repo: Repo
) -> None:
    """What that client left damaged, without noticing, is put right."""
    online = {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": hub.endpoint, "HF_HUB_DISABLE_XET": "1"}
    script = FIND.replace("constants.MAX_HTTP_DOWNLOAD_SIZE = 1024", "")
    kept = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    env = kept | online | {"HF_HUB_CACHE": str(machine.home / "hub")}
    subprocess.run([sys.executable, "-c", script, "main"], env=env, capture_output=True, check=True)
    blob = machine.home / "hub/models--org--model/blobs" / repo.blob("model.safetensors").sha256
    with blob.open("r+b") as file:
        file.write(b"damage")
    snapshot = fill(machine)
    assert any(one.samefile(snapshot / "model.safetensors") for one in machine.blobs())
    assert offline(machine, "main")[0] == str(snapshot)


def test_versions_in_the_hubs_cache_share_their_files(machine: Machine, repo: Repo) -> None:
    first = fill(machine)
    repo.commit(files(seed=1))
    second = fill(machine)
    assert first != second
    assert (first / "model.safetensors").samefile(second / "model.safetensors")
    assert (first / "config.json").read_bytes() != (second / "config.json").read_bytes()


def test_a_second_filling_changes_nothing(machine: Machine, repo: Repo) -> None:
    def look() -> dict[Path, tuple[int, int]]:
        """Which file lies where, and when it was changed; not when it was read."""
        files = {path: path.lstat() for path in (machine.home / "hub").rglob("*")}
        return {
            path: (status.st_ino, status.st_ctime_ns)
            for path, status in files.items()
            if not path.is_dir() and path.name != "main"
        }

    fill(machine)
    before = look()
    report = machine.pull(output=None, hf_cache=machine.home / "hub")
    assert report.outcome.kept == 3
    assert look() == before


def test_checkpoints_are_put_where_torch_looks(machine: Machine, hub: Hub) -> None:
    hub.repo("org/net").commit(
        {"net-deadbeef.pth": b"weights", "sub/other.pt": b"other", "readme.md": b"no checkpoint"}
    )
    report = machine.pull("org/net", output=None, torch_home=machine.home / "torch")
    folder = machine.home / "torch/hub/checkpoints"
    assert sorted(path.name for path in folder.iterdir()) == ["net-deadbeef.pth", "other.pt"]
    assert report.outcome.linked == 2
    again = machine.pull("org/net", output=None, torch_home=machine.home / "torch")
    assert (again.outcome.kept, again.outcome.linked) == (2, 0)


def test_a_checkpoint_of_somebody_else_is_not_replaced(machine: Machine, hub: Hub) -> None:
    hub.repo("org/net").commit({"net.pth": b"weights"})
    folder = machine.home / "torch/hub/checkpoints"
    folder.mkdir(parents=True)
    (folder / "net.pth").write_bytes(b"mine")
    with pytest.raises(OutputRefused, match="another content"):
        machine.pull("org/net", output=None, torch_home=machine.home / "torch")
    assert (folder / "net.pth").read_bytes() == b"mine"
    machine.pull("org/net", output=None, torch_home=machine.home / "torch", force=True)
    assert (folder / "net.pth").read_bytes() == b"weights"


def test_two_checkpoints_of_one_name_are_refused(machine: Machine, hub: Hub) -> None:
    hub.repo("org/net").commit({"a/net.pth": b"1", "b/net.pth": b"2"})
    with pytest.raises(OutputRefused, match=r"two files 'net\.pth'"):
        machine.pull("org/net", output=None, torch_home=machine.home / "torch")


def test_a_sparse_giant_passes_into_the_hubs_cache(machine: Machine, hub: Hub) -> None:
    """60 MiB stand for 60 GB: that client's own limit is lowered in `offline`."""
    hub.repo(REPO).commit({"model.safetensors": Synthetic(60 * MIB), "data/vocab.txt": b"v"})
    assert len(offline(machine, str(fill(machine).name))) == 3
