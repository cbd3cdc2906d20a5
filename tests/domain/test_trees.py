"""Which keys a tree has, and what its pointer says from one manifest to the next."""

from dataclasses import replace

import pytest

from sync_daemon.domain.access import ModelPattern, make_policy
from sync_daemon.domain.digests import CommitId, Digest
from sync_daemon.domain.errors import ConfigurationError
from sync_daemon.domain.manifest import Tree
from sync_daemon.domain.names import GroupName, RepoPath
from sync_daemon.domain.trees import (
    TreeFile,
    TreePlan,
    carry,
    find_folder,
    find_problems,
    plan_tree,
)
from tests.support.fakes import wanted

COMMIT = CommitId("0123456789abcdef" * 2 + "01234567")
ONE, TWO = Digest.of(b"1"), Digest.of(b"2")
WHOLE = Tree("trees/m/1/", ONE)


def test_the_folder_of_a_version_is_this() -> None:
    entry = wanted("meta/m", "v%2F1")
    assert find_folder(entry, COMMIT, pin=True) == "trees/meta/m/v%2F1/"
    assert find_folder(entry, COMMIT, pin=False) == "trees/meta/m/v%2F1@0123456789ab/"
    grouped = replace(entry, group=GroupName("nlp"))
    assert find_folder(grouped, COMMIT, pin=True) == "trees/nlp/meta/m/v%2F1/"


@pytest.mark.parametrize(
    ("tree", "folder", "carried"),
    [
        (None, "trees/m/1/", None),
        (WHOLE, "trees/m/1/", replace(WHOLE, whole=False)),
        (WHOLE, "trees/m/main@0/", WHOLE),
        (WHOLE, None, WHOLE),
        (replace(WHOLE, whole=False), "trees/m/1/", None),
        (replace(WHOLE, whole=False), None, None),
    ],
)
def test_a_new_pointer_promises_no_more_than_what_stays_true(
    tree: Tree | None, folder: str | None, carried: Tree | None
) -> None:
    assert carry(tree, folder) == carried


def test_only_what_is_missing_cut_or_doubtful_is_copied_and_the_rest_is_removed() -> None:
    names = ("cut", "doubtful", "missing", "right")
    files = {name: TreeFile(RepoPath(name), 3, ONE) for name in names}
    found = {"t/cut": 2, "t/doubtful": 3, "t/right": 3, "t/right/not": 1}
    plan = plan_tree("t/", files.values(), found, lambda f: f.path == "right", shares=False)
    assert [file.path for file in plan.copies] == ["cut", "doubtful", "missing"]
    assert plan.removes == ("t/right/not",)
    assert (plan.space, plan.requests) == (9, 5)


def test_a_large_copy_takes_a_request_for_each_gib() -> None:
    files = (TreeFile(RepoPath("a"), 5 * 1024**3), TreeFile(RepoPath("b"), 5 * 1024**3 + 1))
    assert TreePlan("t/", files, ()).requests == 1 + (6 + 3) + 1
    assert TreePlan("t/", files, (), shares=True).requests == 3


def test_keys_and_names_that_are_too_long_are_found() -> None:
    paths = [RepoPath("é" * 100), RepoPath("é" * 127), RepoPath("d/" + "é" * 128)]
    assert len(find_problems("trees/m/1/", paths, 1024)) == 1
    assert len(find_problems("trees/m/1/", paths, 210)) == 2
    assert find_problems("trees/m/1/", paths[:1], 210) == ()


GROUPS = [GroupName("nlp"), GroupName("cv")]


def test_an_account_reads_its_models_in_every_group() -> None:
    policy = make_policy("b", "hub", [ModelPattern("llama-*")], [], GROUPS)
    resources = policy["Statement"][0]["Resource"]
    assert {one for one in resources if "/trees/" in one} == {
        f"arn:aws:s3:::b/hub/trees/{folder}llama-*" for folder in ("", "nlp/", "cv/")
    }
    everything = make_policy("b", "hub", [], [], GROUPS)
    assert everything == make_policy("b", "hub", [], [])


@pytest.mark.parametrize("pattern", ["n*", "nlp*", "nlp/*", "nlp", "nlp/bert", "cv/b*"])
def test_a_pattern_that_would_open_a_group_is_refused(pattern: str) -> None:
    with pytest.raises(ConfigurationError, match="would open the whole group"):
        make_policy("b", "hub", [ModelPattern(pattern)], [], GROUPS)


@pytest.mark.parametrize("pattern", ["*", "nlp2", "nlp-*", "meta/*", "np*"])
def test_other_patterns_are_taken(pattern: str) -> None:
    assert make_policy("b", "hub", [ModelPattern(pattern)], [], GROUPS)
