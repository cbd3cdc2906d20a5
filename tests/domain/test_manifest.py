"""Manifests: canonical bytes, the same everywhere, and back again."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, strategies as st

from sync_daemon.domain import canonical, keys
from sync_daemon.domain.digests import CommitId, Digest, GitOid
from sync_daemon.domain.errors import StoreRefused
from sync_daemon.domain.manifest import (
    Current,
    FileEntry,
    Manifest,
    ModelFacts,
    Source,
    decode,
    decode_current,
)
from sync_daemon.domain.names import ModelName, RepoPath, VersionName

HEX = "0123456789abcdef"
digests = st.text(HEX, min_size=64, max_size=64).map(Digest)
oids = st.text(HEX, min_size=40, max_size=40).map(GitOid)
paths = st.text("aé🦙e\u0301 #+%.-_", min_size=1, max_size=12).filter(
    lambda t: t not in {".", ".."}
)
entries = st.builds(
    FileEntry,
    path=paths.map(RepoPath),
    size=st.integers(0, 2**50),
    sha256=digests,
    git_oid=st.none() | oids,
    lfs=st.booleans(),
)
manifests = st.builds(
    Manifest,
    model=st.just(ModelName("org/m")),
    version=st.just(VersionName("1.0")),
    source=st.builds(
        Source,
        type=st.just("huggingface"),
        repo=st.text(max_size=8),
        repo_type=st.just("model"),
        revision=st.text(max_size=8),
        commit=oids.map(CommitId),
    ),
    selection=digests,
    files=st.lists(entries, unique_by=lambda e: e.path).map(
        lambda es: tuple(sorted(es, key=lambda e: e.path))
    ),
    licence=st.none() | st.text(max_size=8),
    facts=st.builds(
        ModelFacts, architecture=st.none() | st.just("A"), parameters=st.none() | st.integers(0)
    ),
)


@given(manifests)
def test_decoding_undoes_encoding(manifest: Manifest) -> None:
    assert decode(manifest.encode()) == manifest


@given(manifests)
def test_the_bytes_are_canonical(manifest: Manifest) -> None:
    """UTF-8 unescaped, keys sorted, no spaces, no null, one final newline."""
    data = manifest.encode()
    assert data.endswith(b"}\n")
    assert b"\n" not in data[:-1].replace(b"\\n", b"")
    document = json.loads(data)
    text = json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    assert data.decode() == text + "\n"
    assert None not in document.values()


def test_a_manifest_has_the_fields_of_format_1() -> None:
    manifest = Manifest(
        ModelName("m"),
        VersionName("1"),
        Source("huggingface", "org/m", "model", "main", CommitId("a" * 40)),
        Digest("b" * 64),
        (FileEntry(RepoPath("x"), 3, Digest("c" * 64), GitOid("d" * 40), lfs=True),),
        "mit",
    )
    assert json.loads(manifest.encode()) == {
        "format": 1,
        "model": "m",
        "version": "1",
        "origin": {
            "type": "huggingface",
            "repo": "org/m",
            "repo_type": "model",
            "revision": "main",
            "commit": "a" * 40,
        },
        "selection": "b" * 64,
        "files": [{"path": "x", "size": 3, "sha256": "c" * 64, "git_oid": "d" * 40, "lfs": True}],
        "size": 3,
        "licence": "mit",
    }


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"format":2}', b"\xff", b'{"format":1}'])
def test_what_is_no_manifest_is_refused(data: bytes) -> None:
    with pytest.raises(StoreRefused):
        decode(data)


@pytest.mark.parametrize("value", [{"a": 1.5}, {"a": None}, {"a": [None]}])
def test_floats_and_null_have_no_canonical_form(value: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="canonical"):
        canonical.encode(value)


def test_a_pointer_survives_its_encoding() -> None:
    pointer = Current(
        CommitId("a" * 40), Digest("b" * 64), Digest("c" * 64), datetime(2026, 1, 2, tzinfo=UTC)
    )
    assert decode_current(pointer.encode()) == pointer
    pinned = replace(pointer, previous=Digest("d" * 64), hold=True, pin=True)
    assert decode_current(pinned.encode()) == pinned


@pytest.mark.parametrize("data", [b"", b"{}", b"null", b'{"commit":"x"}'])
def test_what_is_no_pointer_is_refused(data: bytes) -> None:
    with pytest.raises(StoreRefused):
        decode_current(data)


def test_keys_lead_back_to_what_they_name() -> None:
    model, version = ModelName("org/m"), VersionName("v%2F1")
    assert keys.parse_current(keys.current(model, version)) == (model, version)
    manifest = keys.manifest(model, version, Digest("a" * 64))
    assert keys.parse_current(manifest) is None
    assert keys.parse_manifest(manifest) == (model, version, "a" * 64)
    assert keys.parse_manifest(keys.current(model, version)) is None
    assert keys.parse_current("models/-foreign/v/current.json") is None
    assert keys.parse_digest(keys.blob(Digest("a" * 64))) == "a" * 64
    assert keys.parse_digest(keys.condemned(Digest("a" * 64))) == "a" * 64
    assert keys.parse_digest("blobs/sha256/aa/readme") is None
