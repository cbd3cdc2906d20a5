"""The real client of the Hub, unmodified, against the gateway over a directory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import HfApi, HfFileSystem, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile, RepoFolder
from safetensors.numpy import save

from sync_daemon.domain.manifest import ModelFacts
from sync_daemon.stores.local import LocalStore
from tests.support.published import MORNING, Publisher, Serving, serving, sha1

ODD = (
    "with space/a b.txt",
    "hash#tag.txt",
    "plus+plus.txt",
    "percent%20literal.txt",
    "100%.txt",
    "question?.txt",
    "日本語/ünïcode é.txt",
    "semi;colon&amp=1.txt",
    "quote'\".txt",
    "[brackets]{x}.txt",
    "emoji 🤗.txt",
    ".hidden",
    "ends.",
)
WEIGHTS = save({"layer.weight": np.ones((64, 32), dtype=np.float32)})
FILES = {
    "config.json": b'{"model_type": "bert"}',
    "README.md": b"# m\n",
    "model.safetensors": WEIGHTS,
    "onnx/model.onnx": b"o" * 100_000,
}
LARGE = ("model.safetensors", "onnx/model.onnx")
COMMIT = sha1("org/m main")
MANY = 2528


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("store")
    publisher = Publisher(LocalStore(folder))
    publisher.publish(
        "m",
        "1.0",
        FILES,
        repo="org/m",
        lfs=LARGE,
        licence="apache-2.0",
        facts=ModelFacts("BertModel", 2048, "F32"),
    )
    publisher.publish("m", "release%2Fv2", {"two": b"2"}, repo="org/m", revision="release/v2")
    publisher.publish("odd", "main", {path: path.encode() for path in ODD})
    many = {f"shard-{n % 40:02}/part {n:04}.bin": b"%d" % (n % 5) for n in range(MANY)}
    publisher.publish("many", "main", many, repo="org/many")
    publisher.publish("disk", "main", FILES, git=False)
    publisher.publish("set", "main", {"data.csv": b"a,b\n"}, repo="org/set", kind="dataset")
    publisher.publish("demo", "main", {"app.py": b"1\n"}, repo="org/demo", kind="space")
    publisher.publish("moved", "main", {"f": b"before"}, repo="org/moved", commit=sha1("before"))
    publisher.publish("moved", "main", {"f": b"after"}, repo="org/moved", commit=sha1("after"))
    with serving(folder) as found:
        yield found


@pytest.fixture
def api(served: Serving) -> HfApi:
    return HfApi(endpoint=served.url, token=False)


# -- what a repository is ------------------------------------------------------------------


def test_model_info_tells_what_the_manifest_knows(api: HfApi) -> None:
    info = api.model_info("org/m", files_metadata=True, securityStatus=True)
    assert (info.id, info.sha, info.author) == ("org/m", COMMIT, "org")
    assert info.last_modified == MORNING
    assert (info.private, info.gated, info.disabled) == (False, False, False)
    assert info.card_data is not None
    assert info.card_data.license == "apache-2.0"
    assert info.tags == ["safetensors", "onnx", "license:apache-2.0"]
    assert info.safetensors is not None
    assert info.safetensors.parameters == {"F32": 2048}
    assert info.config == {"architectures": ["BertModel"]}
    assert info.security_repo_status == {"scansDone": False, "filesWithIssues": []}
    assert info.siblings is not None
    assert {one.rfilename: one.size for one in info.siblings} == {
        path: len(data) for path, data in FILES.items()
    }
    large = {one.rfilename for one in info.siblings if one.lfs is not None}
    assert large == set(LARGE)


def test_expand_gives_the_fields_that_are_named_and_passes_over_unknown_ones(api: HfApi) -> None:
    info = api.model_info(
        "org/m", expand=["sha", "siblings", "xetEnabled", "gguf", "trendingScore"]
    )
    assert info.sha == COMMIT
    assert info.siblings is not None
    assert info.tags is None


def test_datasets_and_spaces_are_told_apart(api: HfApi) -> None:
    assert api.dataset_info("org/set", files_metadata=True).id == "org/set"
    assert api.space_info("org/demo").id == "org/demo"
    assert api.repo_info("org/set", repo_type="dataset").sha == sha1("org/set main")
    with pytest.raises(RepositoryNotFoundError):
        api.model_info("org/set")


def test_a_repository_answers_by_its_name_in_this_mirror_too(api: HfApi) -> None:
    assert api.model_info("m").sha == COMMIT
    assert api.model_info("ORG/M").id == "org/m"  # led to the right spelling
    assert api.repo_exists("org/m")
    assert not api.repo_exists("org/other")


def test_what_is_not_there_is_told_in_the_clients_own_errors(api: HfApi, tmp_path: Path) -> None:
    with pytest.raises(RepositoryNotFoundError):
        api.model_info("org/other")
    with pytest.raises(RevisionNotFoundError):
        api.model_info("org/m", revision="nope")
    with pytest.raises(RevisionNotFoundError):
        api.model_info("org/m", revision="0" * 40)
    with pytest.raises(EntryNotFoundError):
        list(api.list_repo_tree("org/m", "no/such/folder"))
    with pytest.raises(EntryNotFoundError):
        api.hf_hub_download("org/m", "nope.bin", cache_dir=tmp_path)
    assert list(tmp_path.rglob(".no_exist/*/nope.bin"))  # it will not be asked for again
    assert not api.file_exists("org/m", "nope.bin")
    assert api.file_exists("org/m", "onnx/model.onnx")
    assert api.revision_exists("org/m", "1.0")
    assert not api.revision_exists("org/m", "1.1")


@pytest.mark.parametrize("revision", [COMMIT, COMMIT[:8], "1.0", "main", "refs/heads/main"])
def test_a_revision_is_found_by_each_of_its_names(api: HfApi, revision: str) -> None:
    assert api.model_info("org/m", revision=revision).sha == COMMIT


@pytest.mark.parametrize("revision", ["release/v2", "release%2Fv2", "refs/tags/release/v2"])
def test_a_revision_with_a_slash_is_found(api: HfApi, revision: str, tmp_path: Path) -> None:
    assert api.list_repo_files("org/m", revision=revision) == ["two"]
    path = hf_hub_download(
        "org/m", "two", revision=revision, endpoint=api.endpoint, cache_dir=tmp_path, token=False
    )
    assert Path(path).read_bytes() == b"2"


def test_refs_and_commits_are_listed(api: HfApi) -> None:
    found = api.list_repo_refs("org/m", include_pull_requests=True)
    names = {one.name: one.target_commit for one in (*found.branches, *found.tags)}
    assert names["main"] == names["1.0"] == COMMIT
    assert names["release/v2"] == sha1("org/m release/v2")
    commits = api.list_repo_commits("org/moved")
    assert [one.commit_id for one in commits] == [sha1("after"), sha1("before")]
    assert [one.commit_id for one in api.list_repo_commits("moved", revision=sha1("before"))] == [
        sha1("before")
    ]


def test_access_may_be_asked_for(api: HfApi) -> None:
    api.auth_check("org/m")
    with pytest.raises(RepositoryNotFoundError):
        api.auth_check("org/other")
    with pytest.raises(HfHubHTTPError, match="Invalid user token"):
        api.whoami(token="hf_" + "x" * 30)


def test_a_write_is_refused_with_words(api: HfApi, tmp_path: Path) -> None:
    with pytest.raises(HfHubHTTPError, match="read-only"):
        api.create_repo("org/new", token="x")
    with pytest.raises(HfHubHTTPError):
        api.delete_repo("org/m", token="x")


def test_models_are_listed_with_filters(api: HfApi) -> None:
    every = ["disk", "odd", "org/m", "org/many", "org/moved"]
    assert [one.id for one in api.list_models()] == every
    assert [one.id for one in api.list_models(author="org", search="MAN")] == ["org/many"]
    assert [one.id for one in api.list_models(filter="license:apache-2.0")] == ["org/m"]
    assert len(list(api.list_models(limit=2, full=True, cardData=True))) == 2
    assert [one.id for one in api.list_datasets()] == ["org/set"]
    assert [one.id for one in api.list_spaces()] == ["org/demo"]


# -- files -----------------------------------------------------------------------------------


def test_the_tree_lists_files_and_folders_with_their_digests(api: HfApi) -> None:
    top = {one.path: one for one in api.list_repo_tree("org/m", expand=True)}
    assert set(top) == {"README.md", "config.json", "model.safetensors", "onnx"}
    assert isinstance(top["onnx"], RepoFolder)
    weights = top["model.safetensors"]
    assert isinstance(weights, RepoFile)
    assert weights.lfs is not None
    assert weights.lfs.size == weights.size == len(WEIGHTS)
    assert weights.last_commit is not None
    assert weights.last_commit.oid == COMMIT
    below = [one.path for one in api.list_repo_tree("org/m", "onnx")]
    assert below == ["onnx/model.onnx"]
    every = [one.path for one in api.list_repo_tree("org/m", recursive=True)]
    assert every == sorted([*FILES, "onnx"])


def test_2528_files_come_over_several_pages_and_each_once(api: HfApi) -> None:
    items = list(api.list_repo_tree("org/many", recursive=True))
    assert len(items) == MANY + 40
    assert len({one.path for one in items}) == MANY + 40
    assert len(api.list_repo_files("org/many")) == MANY


def test_paths_are_described_and_unknown_ones_left_out(api: HfApi) -> None:
    found = api.get_paths_info("org/m", ["onnx", "config.json", "nope", "onnx/"], expand=True)
    assert [one.path for one in found] == ["onnx", "config.json"]
    odd = api.get_paths_info("odd", list(ODD))
    assert {one.path for one in odd} == set(ODD)


def test_odd_names_arrive_as_they_are(api: HfApi, tmp_path: Path) -> None:
    folder = snapshot_download("odd", endpoint=api.endpoint, cache_dir=tmp_path, token=False)
    assert {path: (Path(folder) / path).read_bytes() for path in ODD} == {
        path: path.encode() for path in ODD
    }


def test_a_snapshot_is_downloaded_and_not_asked_for_again(served: Serving, tmp_path: Path) -> None:
    options = {"endpoint": served.url, "cache_dir": tmp_path, "token": False}
    folder = Path(snapshot_download("org/m", **options))
    assert folder.name == COMMIT
    assert {path: (folder / path).read_bytes() for path in FILES} == FILES
    assert snapshot_download("org/m", revision=COMMIT, **options) == str(folder)


@pytest.mark.parametrize("repo", ["org/m", "disk"])
def test_downloads_verify_against_the_tree(served: Serving, tmp_path: Path, repo: str) -> None:
    """`hf cache verify` compares SHA-256 or git oids; of a directory there are no git oids."""
    env = _environment(served, tmp_path)
    for words in (["download", repo], ["cache", "verify", repo]):
        done = subprocess.run(
            [sys.executable, "-m", "huggingface_hub.cli.hf", *words],
            env=env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr + done.stdout


def test_a_commit_that_was_replaced_can_still_be_downloaded(api: HfApi, tmp_path: Path) -> None:
    for revision, content in (("before", b"before"), ("after", b"after")):
        path = api.hf_hub_download("org/moved", "f", revision=sha1(revision), cache_dir=tmp_path)
        assert Path(path).read_bytes() == content


def test_safetensors_are_inspected_from_their_head(api: HfApi) -> None:
    metadata = api.get_safetensors_metadata("org/m")
    assert metadata.parameter_count == {"F32": 2048}


def test_the_file_system_lists_and_reads_ranges(served: Serving) -> None:
    system = HfFileSystem(endpoint=served.url, token=False, skip_instance_cache=True)
    assert sorted(system.ls("org/m", detail=False)) == sorted(
        f"org/m/{name}" for name in ("README.md", "config.json", "model.safetensors", "onnx")
    )
    assert system.info("org/m/onnx/model.onnx")["size"] == 100_000
    assert system.read_block("org/m/model.safetensors", 8, 40) == WEIGHTS[8:48]
    assert system.cat_file("datasets/org/set/data.csv") == b"a,b\n"
    assert len(system.find("org/many")) == MANY


def test_one_variable_is_enough(served: Serving, tmp_path: Path) -> None:
    """HF_ENDPOINT and nothing else, in a process of its own."""
    script = (
        "import json; from huggingface_hub import *;"
        "print(json.dumps([snapshot_download('org/m'), model_info('org/m').sha,"
        " list_repo_files('org/set', repo_type='dataset')]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=_environment(served, tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    folder, sha, files = json.loads(done.stdout)
    assert (Path(folder) / "onnx/model.onnx").stat().st_size == 100_000
    assert (sha, files) == (COMMIT, ["data.csv"])


def _environment(served: Serving, folder: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    return kept | {
        "HF_ENDPOINT": served.url,
        "HF_HOME": str(folder),
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        "NO_PROXY": "127.0.0.1",
    }
