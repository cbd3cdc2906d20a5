"""Archives are unpacked whole or not at all, and nothing leaves their folder."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from sync_daemon.client.archives import ArchiveRefused, is_archive, unpack
from sync_daemon.domain.errors import StoreFull

FILES = {"a.txt": b"one", "folder/b b.bin": b"two" * 1000}


def make_tar(path: Path, files: dict[str, bytes], *more: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        folder = tarfile.TarInfo("./")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name, data in files.items():
            info = tarfile.TarInfo(f"./{name}" if not name.startswith(("/", ".")) else name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for info in more:
            tar.addfile(info)
    return path


def make_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


MAKERS = {"data.tar.gz": make_tar, "data.tgz": make_tar, "data.zip": make_zip}
Make = Callable[[Path, dict[str, bytes]], Path]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def read(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize(("name", "make"), MAKERS.items())
def test_an_archive_becomes_a_folder_of_its_name(name: str, make: Make, tmp_path: Path) -> None:
    target = unpack(make(tmp_path / name, FILES))
    assert target == tmp_path / "data"
    assert read(target) == FILES
    assert names(tmp_path) == ["data", name]


def test_a_zlib_stream_becomes_a_file(tmp_path: Path) -> None:
    data = os.urandom(100) * 50_000
    (tmp_path / "model.bin.zz").write_bytes(zlib.compress(data))
    assert unpack(str(tmp_path / "model.bin.zz")).read_bytes() == data
    assert names(tmp_path) == ["model.bin", "model.bin.zz"]


def test_what_was_unpacked_before_is_replaced_as_a_whole(tmp_path: Path) -> None:
    unpack(make_zip(tmp_path / "data.zip", {"old": b"1"}))
    assert read(unpack(make_zip(tmp_path / "data.zip", {"new": b"2"}))) == {"new": b"2"}


HOSTILE = ["../out", "a/../../out", "/out", "a//b", "a\\..\\out", "a\nb", "..", "a/./b"]


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize(("name", "make"), MAKERS.items())
def test_a_name_that_leads_elsewhere_refuses_the_archive(
    name: str, make: Make, hostile: str, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    archive = make(tmp_path / "in" / name, {"good": b"1", hostile: b"evil"})
    with pytest.raises(ArchiveRefused, match="data"):
        unpack(archive)
    assert [path.name for path in tmp_path.rglob("*")] == ["in", name]


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE]
)
def test_links_and_devices_refuse_the_archive(kind: bytes, tmp_path: Path) -> None:
    info = tarfile.TarInfo("link")
    info.type, info.linkname = kind, "/etc"
    with pytest.raises(ArchiveRefused, match="neither a file nor a folder"):
        unpack(make_tar(tmp_path / "data.tgz", FILES, info))
    assert names(tmp_path) == ["data.tgz"]


def test_a_link_inside_a_zip_refuses_it(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        info = zipfile.ZipInfo("link")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc")
    with pytest.raises(ArchiveRefused, match="neither a file nor a folder"):
        unpack(tmp_path / "data.zip")


@pytest.mark.parametrize(
    "files",
    [{"a": b"1", "a/b": b"2"}, {"a/b": b"1", "a": b"2"}],
    ids=["file-first", "folder-first"],
)
@pytest.mark.parametrize(("name", "make"), MAKERS.items())
def test_a_path_that_is_a_file_and_a_folder_refuses_the_archive(
    name: str, make: Make, files: dict[str, bytes], tmp_path: Path
) -> None:
    with pytest.raises(ArchiveRefused, match="same name, or one lies below a file"):
        unpack(make(tmp_path / name, files))
    assert names(tmp_path) == [name]


@pytest.mark.parametrize("name", [*MAKERS, "model.zz"])
def test_every_cut_of_an_archive_leaves_nothing_behind(name: str, tmp_path: Path) -> None:
    if name in MAKERS:
        data = MAKERS[name](tmp_path / name, FILES).read_bytes()
    else:
        data = zlib.compress(b"weights" * 1000)
    for length in range(0, len(data), max(1, len(data) // 20)):
        (tmp_path / name).write_bytes(data[:length])
        with pytest.raises(ArchiveRefused, match=name):
            unpack(tmp_path / name)
        assert names(tmp_path) == [name]


def test_an_archive_that_does_not_fit_leaves_the_disk_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "bomb.bin.zz").write_bytes(zlib.compress(bytes(50_000_000)))
    with pytest.raises(StoreFull, match="does not fit"):
        unpack(tmp_path / "bomb.bin.zz", spare=2**62)
    assert names(tmp_path) == ["bomb.bin.zz"]


def test_archives_are_known_by_their_names() -> None:
    assert all(map(is_archive, ["a.tar.gz", "x/b.tgz", "c.zip", "model.bin.zz"]))
    assert not any(map(is_archive, ["a.tar", "zip", ".zip", "x/.zz", "model.gz"]))
