"""The gateway's certificate: shown by a real handshake, replaced under open connections."""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPSConnection
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from sync_daemon.domain.errors import ConfigurationError
from sync_daemon.domain.events import CertificateInvalid, CertificateLoaded, Event
from sync_daemon.gateway.connections.protocol import Patience
from sync_daemon.gateway.connections.tls import Certificate, make_ssl_context
from tests.support.certificates import make_certificate
from tests.support.door import Door, open_door
from tests.support.waiting import wait_until


@dataclass
class Files:
    """The section `gateway.tls`."""

    cert_file: Path
    key_file: Path
    min_version: str = "1.3"


def make_files(folder: Path) -> Files:
    """Write a certificate and its key as two files."""
    folder.mkdir(exist_ok=True)
    whole = make_certificate(folder).read_text()
    start = whole.index("-----BEGIN PRIVATE KEY")
    files = Files(folder / "cert.pem", folder / "key.pem")
    files.cert_file.write_text(whole[:start])
    files.key_file.write_text(whole[start:])
    return files


def shown(door: Door, host: str | None = None, **limits: ssl.TLSVersion) -> bytes:
    """Return the certificate that a new connection gets."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for name, version in limits.items():
        setattr(context, name, version)
    with (
        socket.create_connection(("127.0.0.1", door.port), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname=host) as line,
    ):
        return line.getpeercert(binary_form=True) or b""


def der(files: Files) -> bytes:
    return ssl.PEM_cert_to_DER_cert(files.cert_file.read_text())


def replace(files: Files, other: Files) -> None:
    files.cert_file.write_bytes(other.cert_file.read_bytes())
    files.key_file.write_bytes(other.key_file.read_bytes())


@pytest.mark.parametrize("host", [None, "models.invalid"])
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_new_certificate_is_shown_to_new_connections_and_old_ones_go_on(
    tmp_path: Path, host: str | None, version: str
) -> None:
    files, other = make_files(tmp_path / "a"), make_files(tmp_path / "b")
    files.min_version = version
    limits = {"maximum_version": ssl.TLSVersion.TLSv1_2} if version == "1.2" else {}
    events: list[Event] = []
    certificate = Certificate(files, events.append)
    with open_door(anonymous=True, context=lambda: certificate.context) as door:
        trust = ssl.create_default_context(cafile=str(files.cert_file))
        old = HTTPSConnection("127.0.0.1", door.port, timeout=5, context=trust)
        old.request("GET", "/healthz")
        assert old.getresponse().read()
        assert shown(door, host, **limits) == der(files)
        replace(files, other)
        assert certificate.refresh()
        assert not certificate.refresh(), "nothing has changed since"
        assert shown(door, host, **limits) == der(other)
        old.request("GET", "/healthz")
        assert old.getresponse().read(), "an open connection goes on"
        old.close()
    assert [type(event) for event in events] == [CertificateLoaded]


def test_the_scheme_is_https(tmp_path: Path) -> None:
    files = make_files(tmp_path)
    trust = ssl.create_default_context(cafile=str(files.cert_file))
    context = make_ssl_context(files)
    with open_door(anonymous=True, context=lambda: context) as door:
        assert door.ask(trust=trust).json["scheme"] == "https"


def test_an_old_tls_is_refused(tmp_path: Path) -> None:
    context = make_ssl_context(make_files(tmp_path))
    with open_door(context=lambda: context) as door:
        with pytest.raises(ssl.SSLError):
            shown(door, maximum_version=ssl.TLSVersion.TLSv1_2)
        assert shown(door)


def test_a_wrong_pair_changes_nothing_and_is_told_once(tmp_path: Path) -> None:
    files, other = make_files(tmp_path / "a"), make_files(tmp_path / "b")
    events: list[Event] = []
    certificate = Certificate(files, events.append)
    before = der(files)
    with open_door(context=lambda: certificate.context) as door:
        files.key_file.write_bytes(other.key_file.read_bytes())
        assert not certificate.refresh()
        assert events == [], "the other file may be on its way"
        for _ in range(3):
            assert not certificate.refresh()
        (told,) = events
        assert isinstance(told, CertificateInvalid)
        assert "not the certificate's" in told.error
        assert shown(door) == before
        files.cert_file.write_bytes(other.cert_file.read_bytes())
        assert certificate.refresh()
        assert shown(door) == der(other)


def test_a_reload_by_hand_tells_at_once(tmp_path: Path) -> None:
    files = make_files(tmp_path)
    events: list[Event] = []
    certificate = Certificate(files, events.append)
    files.cert_file.unlink()
    assert not certificate.reload()
    (told,) = events
    assert isinstance(told, CertificateInvalid)
    assert "cannot be read" in told.error


def _encrypt(files: Files) -> None:
    key = serialization.load_pem_private_key(files.key_file.read_bytes(), None)
    files.key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"word"),
        )
    )


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda files: files.key_file.unlink(), "cannot be read"),
        (lambda files: files.cert_file.write_text("x"), "no PEM file"),
        (_encrypt, "passphrase"),
    ],
)
def test_wrong_files_stop_the_start(tmp_path: Path, spoil: object, words: str) -> None:
    files = make_files(tmp_path)
    spoil(files)  # type: ignore[operator]
    with pytest.raises(ConfigurationError, match=words) as caught:
        Certificate(files, lambda _: None)
    assert caught.value.hint


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\n\r\n"])
def test_a_handshake_that_does_not_come_is_counted_and_cut(tmp_path: Path, sent: bytes) -> None:
    context = make_ssl_context(make_files(tmp_path))
    with (
        open_door(context=lambda: context, patience=Patience(head=0.5)) as door,
        door.connect() as line,
    ):
        line.sendall(sent)
        if not sent.startswith(b"GET"):
            wait_until(lambda: door.doors.total == 1)
        with suppress(ConnectionResetError):
            while line.recv(4096):
                pass
        wait_until(lambda: door.doors.total == 0)
        assert shown(door)


def test_whoever_leaves_before_the_handshake_leaves_nothing_behind(tmp_path: Path) -> None:
    context = make_ssl_context(make_files(tmp_path))
    with open_door(context=lambda: context) as door:
        for _ in range(20):
            door.connect().close()
        wait_until(lambda: door.doors.total == 0)
        assert shown(door)


def test_one_handshake_too_many_is_told_to_wait(tmp_path: Path) -> None:
    files = make_files(tmp_path)
    context = make_ssl_context(files)
    with open_door(anonymous=True, context=lambda: context, client_connections=1) as door:
        trust = ssl.create_default_context(cafile=str(files.cert_file))
        with door.connect():
            wait_until(lambda: door.doors.total == 1)
            assert door.ask("/healthz", trust=trust).status == 429
        wait_until(lambda: door.doors.total == 0)
        assert door.ask("/healthz", trust=trust).status == 200
