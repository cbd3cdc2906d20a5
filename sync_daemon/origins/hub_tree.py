"""Lists a tree of the Hub's API as it came, so that what the Hub itself does not say is kept.

A gateway of this program adds `sha256` to every file, where the Hub has one for large files
only. With it small files are proven by SHA-256 too, and shared between repositories.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal
from urllib.parse import quote

from huggingface_hub import (
    get_session,
    utils as hub,  # it documents more than its __all__ names
)

from sync_daemon import __version__
from sync_daemon.domain.digests import CommitId
from sync_daemon.domain.listing import RawFile, Repository


def list_tree(
    endpoint: str, repository: Repository, commit: CommitId, token: str | Literal[False]
) -> Iterator[RawFile]:
    """Yield every file, by one request a page; to be called inside of `asking`.

    Raises what huggingface_hub raises, and TypeError, LookupError or ValueError for what is no
    listing.
    """
    headers = hub.build_hf_headers(  # type: ignore[attr-defined]
        token=token, library_name="sync-daemon", library_version=__version__
    )
    where = f"{endpoint}/api/{repository.kind}s/{repository.name}/tree/{quote(commit, safe='')}"
    page: str | None = f"{where}?recursive=true&expand=false"
    while page is not None:
        response = get_session().get(page, headers=headers)
        hub.hf_raise_for_status(response)  # type: ignore[attr-defined]
        for item in response.json():
            if item["type"] == "file":
                yield _raw(item)
        page = response.links.get("next", {}).get("url")


def _raw(item: dict[str, Any]) -> RawFile:
    """Return a listed file, its name as it came."""
    lfs = item.get("lfs")
    sha256 = lfs["oid"] if lfs is not None else item.get("sha256")
    size = lfs["size"] if lfs is not None else item["size"]
    _expect(item["path"], str)
    _expect(size, int)
    _expect(sha256, str, type(None))
    _expect(item["oid"], str, type(None))
    return RawFile(item["path"], size, sha256, item["oid"], lfs is not None)


def _expect(value: object, *kinds: type) -> None:
    if type(value) not in kinds:
        message = f"{value!r} where something else belongs"
        raise TypeError(message)
