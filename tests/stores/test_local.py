"""What is special about a directory: links, death in the middle, full disks, other users."""

from __future__ import annotations

import hashlib
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sync_daemon.domain.errors import StoreFull, StoreRefused, StoreUnavailable, UploadGone
from sync_daemon.stores.local import LocalStore


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture
def store(root: Path) -> LocalStore:
    return LocalStore(root)


def files_below(folder: Path) -> list[str]:
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and path.name != "lock"
    )


def run_python(program: str, *arguments: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", program, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)


WRITE_FOREVER = """
import hashlib, itertools, os, sys, threading
from pathlib import Path
from sync_daemon.stores.local import LocalStore

store = LocalStore(Path(sys.argv[1]))

def whole(ident):
    for turn in itertools.count():
        data = os.urandom(300_000)
        key = f"blobs/{hashlib.sha256(data).hexdigest()}"
        store.put(key, data, if_absent=bool(turn % 2))
        store.put(f"current-{ident}", data)

def parts(ident):
    while True:
        chunks = [os.urandom(100_000) for _ in range(3)]
        key = f"blobs/{hashlib.sha256(b''.join(chunks)).hexdigest()}"
        upload = store.create_upload(key)
        sent = [store.put_part(key, upload, i + 1, i * 100_000, c) for i, c in enumerate(chunks)]
        store.complete_upload(key, upload, sent)
        store.copy(key, f"copies/{key[6:]}")

for ident in range(2):
    threading.Thread(target=whole, args=(ident,), daemon=True).start()
    threading.Thread(target=parts, args=(ident,), daemon=True).start()
print("ready", flush=True)
threading.Event().wait()
"""


class TestDeath:
    @pytest.mark.parametrize("delay", [0.03, 0.1, 0.25, 0.5])
    def test_a_killed_writer_leaves_only_whole_objects(self, root: Path, delay: float) -> None:
        """I2: not even after kill -9."""
        with run_python(WRITE_FOREVER, root) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"ready\n"
            time.sleep(delay)
            child.send_signal(signal.SIGKILL)
        store = LocalStore(root)
        for info in store.list(""):
            assert info.size == 300_000
            if not info.key.startswith("current-"):
                digest = hashlib.sha256(store.get(info.key).data).hexdigest()
                assert info.key.endswith(digest)
        store.put("alive", b"the first write sweeps up")
        left = [path for path in files_below(root / ".tmp") if not path.startswith("uploads/")]
        assert left == []

    def test_folders_of_dead_processes_are_swept_and_those_of_the_living_stay(
        self, root: Path, store: LocalStore
    ) -> None:
        store.put("object", b"x")
        (own,) = (path.name for path in (root / ".tmp").iterdir() if path.is_dir())
        host, boot, pid, started = own.rsplit("-", 3)
        living = f"{host}-{boot}-{os.getppid()}-{start_of(os.getppid())}"
        elsewhere = f"other.host-{boot}-1-1"
        dead = [f"{host}-{'0' * 32}-{pid}-{started}", f"{host}-{boot}-{pid}-1"]
        for name in (*dead, living, elsewhere):
            (root / ".tmp" / name).mkdir()
            (root / ".tmp" / name / "half").write_bytes(b"half an object")
        LocalStore(root).put("object", b"y")
        held = {path.name for path in (root / ".tmp").iterdir() if path.is_dir()}
        assert held == {own, living, elsewhere}

    def test_an_upload_outlives_its_process(self, root: Path, store: LocalStore) -> None:
        upload = store.create_upload("key")
        first = store.put_part("key", upload, 1, 0, b"first ")
        heir = LocalStore(root)
        assert heir.parts("key", upload) == (first,)
        second = heir.put_part("key", upload, 2, 6, b"second")
        heir.complete_upload("key", upload, [first, second])
        assert heir.get("key").data == b"first second"
        assert files_below(root / ".tmp" / "uploads") == []
        with pytest.raises(UploadGone):
            store.put_part("key", upload, 3, 12, b"late")

    def test_an_upload_that_nobody_remembers_is_swept_after_a_month(
        self, root: Path, store: LocalStore
    ) -> None:
        old, young = store.create_upload("old"), store.create_upload("young")
        month = time.time() - 31 * 24 * 3600
        os.utime(root / ".tmp" / "uploads" / old, (month, month))
        LocalStore(root).put("object", b"x")
        assert store.parts("young", young) == ()
        with pytest.raises(UploadGone):
            store.parts("old", old)

    def test_a_forked_child_has_a_folder_of_its_own(self, root: Path, store: LocalStore) -> None:
        store.put("parent", b"x")
        child = os.fork()
        if child == 0:
            store.put("child", b"y")
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        store.put("parent", b"z")
        assert [info.key for info in store.list("")] == ["child", "parent"]
        assert len([path for path in (root / ".tmp").iterdir() if path.is_dir()]) == 2


def start_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]


class TestUploads:
    def test_parts_must_cover_the_object_without_a_gap(self, store: LocalStore) -> None:
        upload = store.create_upload("key")
        first = store.put_part("key", upload, 1, 0, b"0123")
        apart = store.put_part("key", upload, 2, 5, b"5678")
        with pytest.raises(StoreRefused):
            store.complete_upload("key", upload, [first, apart])
        with pytest.raises(StoreRefused):
            store.complete_upload("key", upload, [])
        store.complete_upload("key", upload, [first, store.put_part("key", upload, 2, 4, b"4")])
        assert store.get("key").data == b"01234"

    def test_a_record_without_content_does_not_count(self, root: Path, store: LocalStore) -> None:
        """I2: power loss can leave the name of a record without its content."""
        upload = store.create_upload("key")
        store.put_part("key", upload, 1, 0, b"part")
        (root / ".tmp" / "uploads" / upload / "part-00001").write_bytes(b"")
        assert store.parts("key", upload) == ()

    @pytest.mark.parametrize("upload", ["", ".", "..", "../..", "x" * 32, "0" * 32, "a/b"])
    def test_an_upload_id_is_no_path(self, root: Path, store: LocalStore, upload: str) -> None:
        store.put("object", b"x")
        with pytest.raises(UploadGone):
            store.parts("object", upload)
        with pytest.raises(UploadGone):
            store.put_part("object", upload, 1, 0, b"y")
        store.abort_upload("object", upload)
        assert (root / "object").read_bytes() == b"x"


class TestKeys:
    @pytest.mark.parametrize(
        "key",
        [
            "", "/", "/etc/passwd", "a//b", "a/", ".", "..", "../a", "a/../../b", "a/./b", "nul\0",
            ".tmp/lock", ".tmp", "x" * 256, "é" * 128, "deep/" + "x" * 300 + "/a", "\ud800",
        ],
    )  # fmt: skip
    def test_a_key_that_is_no_safe_path_is_refused(self, store: LocalStore, key: str) -> None:
        for call in (store.get, store.stat, store.open, store.delete, store.create_upload):
            with pytest.raises(StoreRefused):
                call(key)
        with pytest.raises(StoreRefused):
            store.put(key, b"x")
        store.put("source", b"x")
        with pytest.raises(StoreRefused):
            store.copy("source", key)
        assert [info.key for info in store.list("")] == ["source"]

    def test_the_longest_segment_fits(self, store: LocalStore) -> None:
        store.put(f"{'x' * 255}/{'é' * 127}", b"x")
        assert [info.key for info in store.list("")] == [f"{'x' * 255}/{'é' * 127}"]

    def test_a_key_cannot_lie_below_an_object(self, store: LocalStore) -> None:
        store.put("a", b"x")
        with pytest.raises(StoreRefused) as caught:
            store.put("a/b", b"y")
        assert caught.value.hint
        store.put("c/d", b"x")
        with pytest.raises(StoreRefused):
            store.put("c", b"y")
        assert [info.key for info in store.list("")] == ["a", "c/d"]

    @pytest.mark.parametrize("prefix", ["../", "a/../", ".tmp/", ".tmp", "/", "./"])
    def test_a_listing_stays_inside(self, root: Path, store: LocalStore, prefix: str) -> None:
        (root.parent / "outside").write_bytes(b"x")
        store.put("a/b", b"x")
        assert list(store.list(prefix)) == []

    def test_links_are_never_followed(self, root: Path, store: LocalStore) -> None:
        outside = root.parent / "outside"
        outside.mkdir()
        (outside / "file").write_bytes(b"secret")
        (root / "folder").symlink_to(outside)
        (root / "link").symlink_to(outside / "file")
        assert list(store.list("")) == []
        assert list(store.list("folder/")) == []
        with pytest.raises(FileNotFoundError):
            store.get("folder/file")
        with pytest.raises(StoreRefused):
            store.get("link")
        with pytest.raises(StoreRefused):
            store.stat("link")
        with pytest.raises(StoreRefused):
            store.put("folder/new", b"x")
        store.delete("folder/file")
        store.put("link", b"replaces the link itself")
        assert (outside / "file").read_bytes() == b"secret"
        assert files_below(outside) == ["file"]

    def test_what_is_not_an_object_is_not_listed(self, root: Path, store: LocalStore) -> None:
        os.mkfifo(root / "fifo")
        (root / "folder").mkdir()
        (root / os.fsdecode(b"\xff")).write_bytes(b"x")
        assert list(store.list("")) == []
        with pytest.raises(FileNotFoundError):
            store.get("fifo")


class TestFiles:
    def test_objects_are_read_only_and_readable_by_all(self, root: Path, store: LocalStore) -> None:
        before = os.umask(0o022)
        try:
            store.put("a", b"x")
            upload = store.create_upload("b")
            store.complete_upload("b", upload, [store.put_part("b", upload, 1, 0, b"y")])
            store.copy("a", "c")
        finally:
            os.umask(before)
        assert [(root / name).stat().st_mode & 0o777 for name in "abc"] == [0o444] * 3

    def test_an_etag_is_never_given_twice(self, store: LocalStore) -> None:
        etags = [store.put("key", b"%03d" % index) for index in range(200)]
        assert len(set(etags)) == len(etags)

    def test_a_closed_store_holds_nothing_and_opens_again(
        self, root: Path, store: LocalStore
    ) -> None:
        other = LocalStore(root)
        for user in (store, other):
            user.put("key", b"x")
        store.close()
        other.put("key", b"y")
        other.close()
        assert [path.name for path in (root / ".tmp").iterdir()] == ["lock"]
        store.put("key", b"z")
        assert store.get("key").data == b"z"

    def test_nothing_temporary_is_left(self, root: Path, store: LocalStore) -> None:
        store.put("a", b"x")
        store.copy("a", "b")
        store.copy("a", "b")
        upload = store.create_upload("c")
        store.put_part("c", upload, 1, 0, b"y")
        store.abort_upload("c", upload)
        assert files_below(root / ".tmp") == []

    def test_deleting_removes_the_folders_that_it_empties(
        self, root: Path, store: LocalStore
    ) -> None:
        store.put("a/b/c/one", b"x")
        store.put("a/two", b"x")
        store.delete("a/b/c/one")
        assert not (root / "a" / "b").exists()
        assert (root / "a" / "two").exists()

    def test_a_file_cut_short_while_it_is_read_is_noticed(
        self, root: Path, store: LocalStore
    ) -> None:
        store.put("key", b"x" * 1_000)
        with store.open("key") as reader:
            (root / "key").chmod(0o644)
            os.truncate(root / "key", 10)
            assert reader.readinto(memoryview(bytearray(500))) == 10
            with pytest.raises(StoreUnavailable):
                reader.readinto(memoryview(bytearray(500)))


class TestTrouble:
    def test_a_root_that_is_not_there_is_refused(self, root: Path) -> None:
        store = LocalStore(root / "not-mounted")
        for call in (store.get, store.stat, store.open, store.create_upload):
            with pytest.raises(StoreRefused) as caught:
                call("key")
            assert "mkdir" in str(caught.value.hint)
        with pytest.raises(StoreRefused):
            store.put("key", b"x")
        with pytest.raises(StoreRefused):
            list(store.list(""))
        assert not (root / "not-mounted").exists()

    def test_a_full_disk_is_said_to_be_full_and_nothing_is_left(self, tiny_disk: Path) -> None:
        """I2: half an object is no object."""
        store = LocalStore(tiny_disk)
        store.put("small", b"fits")
        upload = store.create_upload("parts")
        part = store.put_part("parts", upload, 1, 0, b"fits")
        with pytest.raises(StoreFull) as caught:
            store.put("large", bytes(4 << 20))
        assert caught.value.hint
        assert str(tiny_disk) in str(caught.value)
        with pytest.raises(StoreFull):
            store.put_part("parts", upload, 2, 4, bytes(4 << 20))
        assert [info.key for info in store.list("")] == ["small"]
        assert store.parts("parts", upload) == (part,)
        store.abort_upload("parts", upload)
        store.put("again", bytes(200_000))
        store.close()

    def test_a_directory_of_somebody_else_is_refused(self) -> None:
        program = """
import os, sys
from pathlib import Path
from sync_daemon.domain.errors import StoreRefused
from sync_daemon.stores.local import LocalStore
if os.geteuid() == 0:
    os.seteuid(65534)
try:
    LocalStore(Path(sys.argv[1])).put("key", b"x")
except StoreRefused as error:
    print(error.hint)
"""
        with tempfile.TemporaryDirectory(dir="/tmp") as folder:
            Path(folder).chmod(0o555)
            with run_python(program, folder) as child:
                assert b"must own the directory" in child.communicate()[0]
            assert list(Path(folder).iterdir()) == []


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one mebibyte, or where that needs rights we lack: a limit of file sizes."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode == 0:
        yield folder
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        return
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    yield folder
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
