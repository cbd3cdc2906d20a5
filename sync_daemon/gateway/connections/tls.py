"""The gateway's certificate, which can be replaced while connections go on.

Each handshake asks for the newest context. So a new pair of files is tried as a whole before
anybody gets to see it, and a wrong one changes nothing. Connections that are open keep what they
began with.
"""

from __future__ import annotations

import ssl
import threading
from pathlib import Path
from typing import Protocol

from sync_daemon.domain.errors import ConfigurationError
from sync_daemon.domain.events import CertificateInvalid, CertificateLoaded
from sync_daemon.ports import Emit

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_Stamp = tuple[tuple[int, int, int, int], ...]


class TlsFiles(Protocol):
    """What the section `gateway.tls` of the YAML says."""

    @property
    def cert_file(self) -> Path: ...
    @property
    def key_file(self) -> Path: ...
    @property
    def min_version(self) -> str: ...


def make_ssl_context(tls: TlsFiles) -> ssl.SSLContext:
    """Return a server's context with these files.

    Raises ConfigurationError for files that cannot be read, or do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[tls.min_version]
    context.set_alpn_protocols(["http/1.1"])
    for name, path in (("cert_file", tls.cert_file), ("key_file", tls.key_file)):
        _check_file(name, path)
    asked = []

    def answer() -> str:  # instead of the person at the terminal, whom OpenSSL would ask
        asked.append("a passphrase")
        return ""

    try:
        context.load_cert_chain(tls.cert_file, tls.key_file, answer)
    except (ssl.SSLError, ValueError) as error:
        reason = "the key has a passphrase" if asked else _explain(error)
        message = f"gateway.tls: {tls.cert_file} and {tls.key_file}: {reason}"
        hint = "the chain and its own key, both as PEM, the key without a passphrase"
        raise ConfigurationError(message, hint=hint) from error
    return context


def _check_file(name: str, path: Path) -> None:
    try:
        text = path.read_bytes()
    except OSError as error:
        message = f"gateway.tls.{name}: {path} cannot be read: {error.strerror}"
        raise ConfigurationError(
            message, hint="is it there, and readable for this user?"
        ) from error
    if b"-----BEGIN " not in text:
        message = f"gateway.tls.{name}: {path} is no PEM file"
        raise ConfigurationError(message, hint="it begins with -----BEGIN in a line of its own")


def _explain(error: Exception) -> str:
    reason = getattr(error, "reason", None) or ""
    known = {
        "KEY_VALUES_MISMATCH": "the key is not the certificate's",
        "EE_KEY_TOO_SMALL": "the key is too small",
        "CA_MD_TOO_WEAK": "a signature of the chain is too weak",
    }
    return known.get(reason, reason.replace("_", " ").lower() or "they cannot be used")


class Certificate:
    """The certificate that new connections get. `context` is for the next handshake."""

    def __init__(self, tls: TlsFiles, emit: Emit) -> None:
        """Load the files. Raises ConfigurationError."""
        self._tls = tls
        self._emit = emit
        self._lock = threading.Lock()
        self._stamp = _stamp(tls)
        self._wrong: _Stamp | None = None
        self.context = make_ssl_context(tls)

    def refresh(self) -> bool:
        """Load the files if they have changed; return whether they were loaded.

        A wrong pair is told once it has been seen twice: the two files are seldom replaced in
        the same moment.
        """
        with self._lock:
            stamp = _stamp(self._tls)
            return stamp != self._stamp and self._load(stamp, patient=True)

    def reload(self) -> bool:
        """Load the files, changed or not; return whether that was possible. Never raises."""
        with self._lock:
            return self._load(_stamp(self._tls), patient=False)

    def _load(self, stamp: _Stamp, *, patient: bool) -> bool:
        try:
            found = make_ssl_context(self._tls)
        except ConfigurationError as error:
            if not patient:
                self._wrong = self._stamp = stamp
                self._tell(error)
            elif stamp == self._wrong:
                self._stamp = stamp
                self._tell(error)
            self._wrong = stamp
            return False
        self.context, self._stamp, self._wrong = found, stamp, None
        self._emit(CertificateLoaded(cert_file=str(self._tls.cert_file)))
        return True

    def _tell(self, error: ConfigurationError) -> None:
        self._emit(CertificateInvalid(cert_file=str(self._tls.cert_file), error=str(error)))


def _stamp(tls: TlsFiles) -> _Stamp:
    """Return what changes with the files, and with what links lead to."""
    return tuple(_stamp_of(path) for path in (tls.cert_file, tls.key_file))


def _stamp_of(path: Path) -> tuple[int, int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return 0, 0, 0, 0
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
