"""What is special about buckets: probing, damage on the way, adoption and refusals."""

from __future__ import annotations

import os
import re
import socket
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from sync_daemon.domain.errors import (
    ConfigurationError,
    PreconditionFailed,
    StoreRefused,
    StoreUnavailable,
    SyncError,
    UploadGone,
)
from sync_daemon.meter import Meter, use
from sync_daemon.ports import ObjectStore, Reader
from sync_daemon.stores.s3 import S3Store
from tests.stores.backends import CHECKSUMS, MIB, SERVERS, connect
from tests.stores.relay import Change, cut_after, damage, relay
from tests.support.servers import S3Server

INTACT, BROKEN = b"INTACT", b"BROKEN"
HONEST = tuple(name for name in SERVERS if name != "moto")
"""Servers that look at keys and checksums, as moto does not."""


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> S3Server:
    found: S3Server = request.getfixturevalue(f"{request.param}_server")
    return found


@pytest.fixture
def prefix() -> str:
    return uuid.uuid4().hex


@pytest.fixture
def store(server: S3Server, prefix: str) -> S3Store:
    return connect(server, prefix)


def only(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("server", names, indirect=True)


def requests(work: Callable[[], object]) -> int:
    with use(Meter()) as meter:
        work()
    return meter.store_requests


def consume(reader: Reader, buffer: memoryview) -> None:
    while reader.readinto(buffer):
        pass


def _speak_as_ceph(data: bytes) -> bytes:
    """Change the answers of MinIO, and keep their length."""
    data = data.replace(b"<Code>NoSuchUpload</Code>", b"<Code>NoSuchKey</Code>   ")
    return re.sub(
        rb"<ETag>(.*?)</ETag>(?=.*</CompleteMultipartUploadResult>)",
        lambda found: b"<ETag></ETag>" + b" " * len(found[1]),
        data,
    )


def every_call(store: ObjectStore) -> Iterator[Callable[[], object]]:
    """One call of each kind of request."""
    yield lambda: store.get("key")
    yield lambda: store.open("key", 1, 2)
    yield lambda: store.copy("key", "copy")
    yield lambda: list(store.list(""))
    yield lambda: store.put("key", b"x")
    yield lambda: store.put("key", b"x", if_absent=True)
    yield lambda: store.delete("key")
    yield lambda: store.create_upload("key")
    yield lambda: store.parts("key", "upload")
    yield store.capabilities


class TestProbing:
    def test_reading_never_probes(self, store: S3Store) -> None:
        assert requests(lambda: store.stat("key")) == 1
        assert requests(lambda: list(store.list(""))) == 1
        with pytest.raises(FileNotFoundError):
            store.get("key")
        assert store.url.startswith("s3://mirror/")

    def test_the_probe_finds_the_cheapest_checksum_that_the_server_verifies(
        self, store: S3Store, server: S3Server
    ) -> None:
        found = store.capabilities().checksum
        assert found == CHECKSUMS.get(server.name, found)
        assert store.capabilities().conditional_put

    def test_the_probe_runs_once_and_leaves_nothing(self, store: S3Store, prefix: str) -> None:
        assert requests(store.capabilities) > 5
        assert requests(store.capabilities) == 0
        assert list(store.list("")) == []
        assert store.capabilities().key_bytes == 1024 - len(prefix) - 1

    def test_what_is_named_is_not_probed(self, server: S3Server, prefix: str) -> None:
        store = connect(server, prefix, checksum="md5", conditional_writes="off")
        assert requests(store.capabilities) == 0
        assert store.capabilities().checksum == "md5"
        store.put("key", b"x" * 100_000)
        assert store.get("key").data == b"x" * 100_000

    def test_without_conditional_writes_a_single_writer_looks_first(
        self, server: S3Server, prefix: str
    ) -> None:
        store = connect(server, prefix, conditional_writes="off", checksum="none")
        assert not store.capabilities().conditional_put
        etag = store.put("key", b"first", if_absent=True)
        with pytest.raises(PreconditionFailed):
            store.put("key", b"second", if_absent=True)
        with pytest.raises(PreconditionFailed):
            store.put("key", b"second", if_match="another")
        with pytest.raises(PreconditionFailed):
            store.put("other", b"second", if_match=etag)
        store.put("key", b"third", if_match=etag)
        assert store.get("key").data == b"third"


class TestUploads:
    @pytest.mark.parametrize("checksum", ["auto", "crc64nvme", "crc32c", "md5", "none"])
    def test_another_process_can_go_on_with_an_upload(
        self, server: S3Server, prefix: str, checksum: str
    ) -> None:
        if (server.name, checksum) == ("seaweedfs", "crc32c"):
            pytest.skip("SeaweedFS wants the parts' CRC32C at the end and does not list them")
        ours, theirs = (connect(server, prefix, checksum=checksum) for _ in range(2))
        chunks = [os.urandom(5 * MIB), b"end"]
        upload = ours.create_upload("key")
        first = ours.put_part("key", upload, 1, 0, chunks[0])
        second = theirs.put_part("key", upload, 2, 5 * MIB, chunks[1])
        assert ours.parts("key", upload) == theirs.parts("key", upload) == (first, second)
        theirs.complete_upload("key", upload, (first, second))
        assert ours.get("key").data == b"".join(chunks)

    def test_an_upload_begun_without_checksums_is_finished_by_a_store_with_them(
        self, server: S3Server, prefix: str
    ) -> None:
        upload = connect(server, prefix, checksum="none").create_upload("key")
        store = connect(server, prefix)
        part = store.put_part("key", upload, 1, 0, b"part")
        store.complete_upload("key", upload, [part])
        assert store.get("key").data == b"part"

    def test_a_completion_whose_answer_was_lost_is_repeated_with_success(
        self, server: S3Server, store: S3Store, prefix: str
    ) -> None:
        upload = store.create_upload("key")
        part = store.put_part("key", upload, 1, 0, b"part")
        store.complete_upload("key", upload, [part])
        store.complete_upload("key", upload, [part])
        connect(server, prefix).complete_upload("key", upload, [part])

    @only("moto", "minio")
    def test_another_object_under_the_key_is_not_taken_for_the_upload(self, store: S3Store) -> None:
        upload = store.create_upload("key")
        part = store.put_part("key", upload, 1, 0, b"part")
        store.complete_upload("key", upload, [part])
        store.put("key", b"trap")
        other = store.create_upload("key")
        store.complete_upload("key", other, [store.put_part("key", other, 1, 0, b"trap")])
        with pytest.raises(UploadGone):
            store.complete_upload("key", upload, [part])

    def test_a_part_is_one_request_and_so_is_the_completion(self, store: S3Store) -> None:
        store.capabilities()
        upload = store.create_upload("key")
        assert requests(lambda: store.put_part("key", upload, 1, 0, b"part")) == 1
        part = store.parts("key", upload)[0]
        assert requests(lambda: store.complete_upload("key", upload, [part])) == 1


class TestTrouble:
    @pytest.fixture
    def through(self, server: S3Server, prefix: str) -> Iterator[Callable[..., S3Store]]:
        """Open a store through a relay that changes what is sent or answered."""
        with ExitStack() as stack:

            def connect_through(**changes: Change) -> S3Store:
                endpoint = stack.enter_context(relay(server.endpoint, **changes))
                checksum = CHECKSUMS.get(server.name, "auto")
                options = {"checksum": checksum, "conditional_writes": "on"}
                return connect(server, prefix, endpoint=endpoint, **options)

            yield connect_through

    @only(*HONEST)
    def test_bytes_damaged_on_their_way_are_refused_and_leave_nothing(
        self, through: Callable[..., S3Store], store: S3Store
    ) -> None:
        """I2: what the server stores is what was hashed here."""
        faulty = through(sent=damage(INTACT, BROKEN))
        data = INTACT * 100_000
        with pytest.raises(StoreUnavailable):
            faulty.put("key", data)
        with pytest.raises(StoreUnavailable):
            faulty.put("small", INTACT, if_absent=True)
        assert list(store.list("")) == []
        upload = store.create_upload("key")
        with pytest.raises(StoreUnavailable):
            faulty.put_part("key", upload, 1, 0, data)
        assert store.parts("key", upload) == ()
        store.complete_upload("key", upload, [store.put_part("key", upload, 1, 0, data)])
        assert store.get("key").data == data

    @only(*HONEST)
    def test_a_body_cut_short_leaves_nothing(
        self, through: Callable[..., S3Store], store: S3Store
    ) -> None:
        faulty = through(sent=cut_after(2 * MIB))
        with pytest.raises(StoreUnavailable):
            faulty.put("key", os.urandom(4 * MIB))
        assert store.stat("key") is None
        assert list(store.list("")) == []

    def test_an_answer_cut_short_is_an_error(
        self, through: Callable[..., S3Store], store: S3Store
    ) -> None:
        store.put("key", os.urandom(3 * MIB))
        with pytest.raises(StoreUnavailable):
            through(answered=cut_after(MIB)).get("key")
        with through(answered=cut_after(MIB)).open("key") as reader:
            buffer = memoryview(bytearray(4 * MIB))
            with pytest.raises(StoreUnavailable):
                consume(reader, buffer)

    @only("minio")
    def test_uploads_end_and_are_gone_in_the_words_of_ceph_16(
        self, through: Callable[..., S3Store], store: S3Store
    ) -> None:
        """It gives a completed upload no ETag, and misses the key where the upload is gone."""
        ceph = through(answered=_speak_as_ceph)
        upload = ceph.create_upload("key")
        ceph.complete_upload("key", upload, [ceph.put_part("key", upload, 1, 0, b"data")])
        assert store.get("key").data == b"data"
        gone = ceph.create_upload("gone")
        part = ceph.put_part("gone", gone, 1, 0, b"data")
        ceph.abort_upload("gone", gone)
        ceph.abort_upload("gone", gone)
        for call in (
            lambda: ceph.put_part("gone", gone, 2, 0, b"data"),
            lambda: ceph.parts("gone", gone),
            lambda: ceph.complete_upload("gone", gone, [part]),
        ):
            with pytest.raises(UploadGone, match="gone: the store does not know this upload"):
                call()

    def test_no_server_is_found_out_quickly(self, server: S3Server) -> None:
        started = time.monotonic()
        for call in every_call(connect(server, endpoint="http://127.0.0.1:9")):
            with pytest.raises(StoreUnavailable) as caught:
                call()
            assert caught.value.hint
        assert time.monotonic() - started < 5

    def test_a_server_that_does_not_answer_is_given_up(self, server: S3Server) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
            store = connect(server, endpoint=endpoint, read_timeout=0.2, connect_timeout=0.2)
            with pytest.raises(StoreUnavailable):
                store.get("key")
            with pytest.raises(StoreUnavailable):
                store.delete("key")


class TestRefusals:
    @only(*HONEST)
    @pytest.mark.parametrize("wrong", [{"secret_key": "another-secret"}, {"access_key": "nobody"}])
    def test_a_wrong_key_is_refused_with_a_hint_and_without_secrets(
        self, server: S3Server, wrong: dict[str, str]
    ) -> None:
        """I7: no secret and no signature in a message."""
        store = connect(server, **wrong)
        for call in every_call(store):
            with pytest.raises(StoreRefused) as caught:
                call()
            self.assert_helpful_and_clean(caught.value, server, *wrong.values())

    def test_a_missing_bucket_is_refused_with_a_hint(self, server: S3Server) -> None:
        store = S3Store(
            "no-such-bucket",
            endpoint=server.endpoint,
            access_key=server.access_key,
            secret_key=server.secret_key,
        )
        calls = list(every_call(store))
        for call in (*calls[:2], *calls[3:6]):
            with pytest.raises(StoreRefused) as caught:
                call()
            self.assert_helpful_and_clean(caught.value, server)
            assert "bucket" in str(caught.value)

    def test_no_credentials_are_refused_with_a_hint(
        self, server: S3Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        store = connect(server, access_key=None, secret_key=None)
        for call in every_call(store):
            with pytest.raises(StoreRefused) as caught:
                call()
            assert "credentials" in str(caught.value)
            assert "AWS_ACCESS_KEY_ID" in str(caught.value.hint)

    def test_an_endpoint_that_is_no_address_is_a_configuration_error(
        self, server: S3Server
    ) -> None:
        for endpoint in ("127.0.0.1:9000", "ftp://host", "http://user:secret@host"):
            with pytest.raises(ConfigurationError) as caught:
                connect(server, endpoint=endpoint)
            assert "secret" not in str(caught.value)

    def assert_helpful_and_clean(self, error: SyncError, server: S3Server, *secrets: str) -> None:
        told = "".join(traceback.format_exception(error)) + str(error.hint)
        assert error.hint
        assert "Signature=" not in told
        assert server.secret_key not in told
        assert not [secret for secret in secrets if secret in told]


class TestClock:
    def test_the_clock_is_the_servers_and_never_a_guess(self) -> None:
        moment = datetime(2001, 2, 3, 4, 5, 6, tzinfo=UTC)

        class Answer(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self.send_response_only(403)
                self.send_header("Date", "Sat, 03 Feb 2001 04:05:06 GMT")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        with HTTPServer(("127.0.0.1", 0), Answer) as http:
            thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
            thread.start()
            endpoint = f"http://127.0.0.1:{http.server_port}"
            store = S3Store("bucket", endpoint=endpoint, access_key="a", secret_key="b")
            assert requests(store.now) == 1
            assert 0 <= (store.now() - moment).total_seconds() < 2
            assert requests(store.now) == 0
            http.shutdown()

    def test_without_a_server_there_is_no_time(self) -> None:
        store = S3Store("bucket", endpoint="http://127.0.0.1:9", access_key="a", secret_key="b")
        with pytest.raises(StoreUnavailable):
            store.now()
