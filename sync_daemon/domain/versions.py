"""The order of tags: which `latest: 3` are meant by `{tags: "v*", latest: 3}`."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from packaging.version import InvalidVersion, Version


def newest_tags(tags: Iterable[str], pattern: str, latest: int | None) -> tuple[str, ...]:
    """Return the tags that match, newest first, at most `latest` of them.

    Releases come first by version order, then pre-releases, then tags that are no version
    (by name, descending), so that `v2.0-rc1` never displaces `v1.9`.
    """
    matching = {tag for tag in tags if fnmatchcase(tag, pattern)}
    ordered = sorted(matching, key=_rank, reverse=True)
    return tuple(ordered[:latest])


def is_given(version: str, pattern: str) -> bool:
    """Tell whether a tag pattern gives a version: that of a tag, or the label of the pattern
    itself, under which its tags fail to be read."""
    return version == f"tags:{pattern}" or is_of_tag(version, pattern)


def is_of_tag(version: str, pattern: str) -> bool:
    """Tell whether a version is that of a tag which a pattern gives."""
    return fnmatchcase(version.replace("%2F", "/"), pattern)


def _rank(tag: str) -> tuple[int, Version, str]:
    try:
        version = Version(tag.rpartition("/")[2])
    except InvalidVersion:
        return 0, Version("0"), tag
    return (1 if version.is_prerelease else 2), version, tag
