"""Names: what is hostile is refused by the types, what is merely odd is kept exactly."""

import pytest
from hypothesis import given, strategies as st

from sync_daemon.domain.errors import InvalidName
from sync_daemon.domain.names import ModelName, RepoPath, VersionName, find_file_and_folder

HOSTILE = [
    "",
    "..",
    ".",
    "../x",
    "a/../b",
    "a/..",
    "/etc/passwd",
    "a//b",
    "a/",
    "./a",
    "a/./b",
    "a\\b",
    "..\\x",
    "a\0b",
    "a\nb",
    "a\x1bb",
    "a\x7fb",
    "a\x85b",
    "x" * 1025,
    "é" * 513,
    "a\ud800",
]

ODD = [
    "a b",
    "a#b",
    "a+b",
    "a%20b",
    "a%2Fb",
    "e\u0301.txt",
    "\u00e9.txt",
    "🦙/weights.bin",
    ".hidden",
    "trailing.",
    "...",
    "..a",
    "a..",
    "x" * 1024,
    "-rf",
    "~root",
    "C:",
    "con",
    "q?x=1&y",
    "'\"<>|*",
    "\u202eabc",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_path_is_refused(name: str) -> None:
    with pytest.raises(InvalidName):
        RepoPath(name)


@pytest.mark.parametrize("name", ODD)
def test_an_odd_but_legal_path_is_kept_exactly(name: str) -> None:
    assert RepoPath(name) == name


@given(st.text())
def test_a_path_never_leaves_its_folder(name: str) -> None:
    """Whatever is accepted has no segment that a file system gives a meaning to."""
    try:
        path = RepoPath(name)
    except InvalidName:
        return
    assert not path.startswith("/")
    assert not {"", ".", ".."} & set(path.split("/"))
    assert len(path.encode()) <= 1024


@pytest.mark.parametrize("name", ["llama-7b", "meta/llama.7b", "0", "A" * 96])
def test_a_model_has_one_or_two_segments(name: str) -> None:
    assert ModelName(name) == name


@pytest.mark.parametrize("name", ["", "a/b/c", "-a", ".a", "a b", "a/", "/a", "A" * 97, "ä", "a\n"])
def test_a_model_name_that_no_url_holds_is_refused(name: str) -> None:
    with pytest.raises(InvalidName):
        ModelName(name)


def test_a_tag_with_a_slash_becomes_a_version() -> None:
    assert VersionName.of_tag("release/v1") == "release%2Fv1"


@pytest.mark.parametrize("tag", ["", "/", "v 1", "v%20", "-v", "v" * 97])
def test_a_tag_that_cannot_be_a_version_is_refused(tag: str) -> None:
    with pytest.raises(InvalidName):
        VersionName.of_tag(tag)


def test_a_path_that_is_file_and_folder_is_found() -> None:
    paths = [RepoPath("a/b/c"), RepoPath("a.b"), RepoPath("a/b")]
    assert find_file_and_folder(paths) == "a/b"
    assert find_file_and_folder(paths[:2]) is None
