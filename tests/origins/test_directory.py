"""A folder as an origin: links, odd entries, and files that change under the reader."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sync_daemon.domain.admission import admit
from sync_daemon.domain.digests import CommitId
from sync_daemon.domain.errors import (
    Forbidden,
    OriginChanged,
    OriginFileNotFound,
    OriginRefused,
    OriginUnavailable,
    RepositoryNotFound,
)
from sync_daemon.domain.listing import RemoteFile, Repository
from sync_daemon.domain.selection import Selection
from sync_daemon.origins.directory import DirectoryOrigin
from sync_daemon.ports import Reader

REPOSITORY = Repository("model")
NO_COMMIT = CommitId("0" * 64)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "root"
    (made / "model").mkdir(parents=True)
    (made / "model" / "a.bin").write_bytes(b"a" * 1000)
    return made


@pytest.fixture
def origin(root: Path) -> DirectoryOrigin:
    return DirectoryOrigin("disk", root)


def paths(origin: DirectoryOrigin) -> list[str]:
    commit = origin.refs(REPOSITORY).branches["main"]
    return [file.path for file in origin.list(REPOSITORY, commit).files]


def exhaust(reader: Reader) -> None:
    buffer = memoryview(bytearray(500))
    while reader.readinto(buffer):
        pass


def only_file(origin: DirectoryOrigin) -> RemoteFile:
    commit = origin.refs(REPOSITORY).branches["main"]
    (file,) = admit(origin.list(REPOSITORY, commit), Selection()).files
    return file


def test_a_git_folder_is_not_listed(root: Path, origin: DirectoryOrigin) -> None:
    (root / "model" / ".git" / "objects").mkdir(parents=True)
    (root / "model" / ".git" / "HEAD").write_text("ref")
    (root / "model" / ".gitattributes").write_text("x")
    assert paths(origin) == [".gitattributes", "a.bin"]


def test_links_inside_the_root_are_followed(root: Path, origin: DirectoryOrigin) -> None:
    """As in a Hugging Face cache, whose snapshots link to blobs next to them."""
    (root / "blobs" / "deep").mkdir(parents=True)
    (root / "blobs" / "deep" / "x").write_bytes(b"12345")
    (root / "model" / "b.bin").symlink_to("../blobs/deep/x")
    (root / "model" / "folder").symlink_to(root / "blobs")
    (root / "link").symlink_to("model")
    assert paths(origin) == ["a.bin", "b.bin", "folder/deep/x"]
    assert origin.refs(Repository("link")) == origin.refs(REPOSITORY)


@pytest.mark.parametrize("target", ["/etc/hostname", "../../secret", "/"])
def test_a_link_out_of_the_root_is_refused(
    root: Path, origin: DirectoryOrigin, target: str
) -> None:
    (root.parent / "secret").write_text("s")
    (root / "model" / "out").symlink_to(target)
    with pytest.raises(Forbidden, match=r"model/out.*leads out of") as caught:
        origin.refs(REPOSITORY)
    assert caught.value.hint


def test_a_repository_that_is_a_link_out_of_the_root_is_refused(
    root: Path, origin: DirectoryOrigin, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (root / "away").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Forbidden):
        origin.refs(Repository("away"))


def test_a_link_put_in_place_of_a_listed_file_is_refused(
    root: Path, origin: DirectoryOrigin
) -> None:
    file = only_file(origin)
    secret = root.parent / "secret"
    (root / "model" / "a.bin").rename(secret)
    (root / "model" / "a.bin").symlink_to(secret)
    with pytest.raises(Forbidden):
        origin.open(REPOSITORY, NO_COMMIT, file, 0, file.size)


def test_entries_that_cannot_be_mirrored_are_named(root: Path, origin: DirectoryOrigin) -> None:
    pipe = root / "model" / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OriginRefused, match="neither a file nor a folder"):
        origin.refs(REPOSITORY)
    pipe.unlink()
    (root / "model" / "round").symlink_to(root / "model")
    with pytest.raises(OriginRefused, match="a folder that it lies in"):
        origin.refs(REPOSITORY)
    (root / "model" / "round").unlink()
    (root / "model" / "nowhere").symlink_to("gone")
    with pytest.raises(OriginFileNotFound, match="gone"):
        origin.refs(REPOSITORY)


def test_a_name_that_is_no_text_reaches_admission_and_is_refused_there(
    root: Path, origin: DirectoryOrigin
) -> None:
    (Path(os.fsdecode(os.fsencode(root) + b"/model/\xff\xfe"))).write_bytes(b"x")
    commit = origin.refs(REPOSITORY).branches["main"]
    verdict = admit(origin.list(REPOSITORY, commit), Selection())
    assert len(verdict.reasons) == 1
    assert "not valid Unicode" in verdict.reasons[0]


@pytest.mark.parametrize("change", ["longer", "shorter", "touched", "replaced"])
def test_a_change_after_the_listing_is_caught_at_open(
    root: Path, origin: DirectoryOrigin, change: str
) -> None:
    file = only_file(origin)
    path = root / "model" / "a.bin"
    if change == "touched":
        os.utime(path, ns=(1, 1))
    else:
        path.write_bytes(b"b" * {"longer": 1001, "shorter": 999, "replaced": 1000}[change])
        os.utime(path, ns=(2, 2))
    with pytest.raises(OriginChanged, match=r"a\.bin changed after it was listed"):
        origin.open(REPOSITORY, NO_COMMIT, file, 0, file.size)


@pytest.mark.parametrize("size", [999, 1000, 1001])
def test_a_change_while_reading_is_caught_at_the_end(
    root: Path, origin: DirectoryOrigin, size: int
) -> None:
    file = only_file(origin)
    path = root / "model" / "a.bin"
    with origin.open(REPOSITORY, NO_COMMIT, file, 0, 1000) as reader:
        assert reader.readinto(memoryview(bytearray(500))) == 500
        path.write_bytes(b"b" * size)
        os.utime(path, ns=(3, 3))
        with pytest.raises(OriginChanged):
            exhaust(reader)


def test_a_missing_root_may_only_not_be_mounted(tmp_path: Path) -> None:
    origin = DirectoryOrigin("usb", tmp_path / "mnt")
    for call in (origin.check, lambda: origin.refs(REPOSITORY)):
        with pytest.raises(OriginUnavailable, match=r"usb.*mnt") as caught:
            call()
        assert "mounted" in (caught.value.hint or "")


def test_a_missing_folder_is_named_with_its_origin(root: Path, origin: DirectoryOrigin) -> None:
    with pytest.raises(RepositoryNotFound) as caught:
        origin.refs(Repository("gone"))
    assert "'disk'" in str(caught.value)
    assert str(root / "gone") in str(caught.value)
    with pytest.raises(RepositoryNotFound):
        origin.refs(Repository("model/a.bin"))
