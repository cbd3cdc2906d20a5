"""Whose certificates are believed: those of the system, or a private authority's instead.

A private one is named for one side by `ca_file`, or for all by the variables that other tools
use; of these the first that is set counts.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sync_daemon.domain.errors import ConfigurationError

VARIABLES = (
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "AWS_CA_BUNDLE",
    "SSL_CERT_DIR",
)


@dataclass(frozen=True, slots=True)
class Certificates:
    """Where they are, and who says so. No `path`: the system knows."""

    source: str
    path: str | None

    @property
    def is_folder(self) -> bool:
        """Tell whether it is a folder of certificates, as `openssl rehash` makes it."""
        return self.path is not None and Path(self.path).is_dir()


def find_certificates(ca_file: str | None, environ: Mapping[str, str] = os.environ) -> Certificates:
    """Return `ca_file`, else what the first variable names, else nothing special."""
    if ca_file is not None:
        return Certificates("ca_file", ca_file)
    named = ((name, environ.get(name)) for name in VARIABLES)
    found = next(((name, value) for name, value in named if value), None)
    return Certificates(*found) if found else Certificates("the system", None)


def certificate_file(ca_file: str | None) -> str | None:
    """Return the same for clients that can read a file only; None for their own.

    Raises ConfigurationError for a folder.
    """
    found = find_certificates(ca_file)
    if found.is_folder:
        message = f"{found.source}: {found.path} is a folder, and the store needs one file"
        raise ConfigurationError(message, hint="name a PEM file in store.ca_file")
    return found.path


def make_tls(ca_file: str | None) -> ssl.SSLContext:
    """Return how TLS is spoken: 1.2 or later, and the other side must prove its name.

    Raises ConfigurationError when the certificates cannot be read.
    """
    context = read_certificates(find_certificates(ca_file))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def read_certificates(found: Certificates) -> ssl.SSLContext:
    """Return a context that trusts these. Raises ConfigurationError."""
    try:
        if found.path is not None and found.is_folder:
            next(Path(found.path).iterdir(), None)  # OpenSSL looks later, and says nothing
            return ssl.create_default_context(capath=found.path)
        return ssl.create_default_context(cafile=found.path)
    except OSError as error:
        told = None if isinstance(error, ssl.SSLError) else error.strerror
        reason = told or "it holds no certificates in PEM format"
        message = f"{found.source}: cannot read certificates from {found.path}: {reason}"
        hint = f"name a PEM file that this user can read in {found.source}"
        raise ConfigurationError(message, hint=hint) from error
