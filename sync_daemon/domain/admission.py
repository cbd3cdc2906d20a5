"""Admission: the listed files that the YAML selects, or every reason why they are refused."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from fnmatch import fnmatchcase

from sync_daemon.domain.digests import Digest, GitOid
from sync_daemon.domain.errors import InvalidName
from sync_daemon.domain.listing import Listing, RawFile, RemoteFile
from sync_daemon.domain.names import RepoPath, find_file_and_folder
from sync_daemon.domain.selection import Selection

MAX_FILE_BYTES = 5 * 1024**4
"""Largest object that S3 stores (5 TiB)."""

_COMPANIONS = ("*config.json", "*tokenizer*", "*vocab*", "*merges.txt", "*chat_template*", "*.py")
_WEIGHTS = ("*.safetensors", "*.bin", "*.gguf", "*.pt", "*.pth")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What admission decided. With any reason, nothing is admitted: a version is whole or not."""

    files: tuple[RemoteFile, ...]
    reasons: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    @property
    def allowed(self) -> bool:
        """Tell whether the version may be mirrored."""
        return not self.reasons


def admit(listing: Listing, selection: Selection) -> Verdict:
    """Select the files of `listing`, sorted by path, and check their names and sizes."""
    selected = [raw for raw in listing.files if selection.holds(raw.path)]
    files: list[RemoteFile] = []
    reasons: list[str] = []
    for raw in selected:
        try:
            files.append(_parse(raw))
        except InvalidName as error:
            reasons.append(str(error))
    reasons += _contradictions(files)
    if not selected:
        reasons.append(
            f"none of the {len(listing.files)} files is selected: correct include and exclude"
            if listing.files
            else "the repository holds no files at this commit"
        )
    if reasons:
        return Verdict((), tuple(sorted(reasons)))
    return Verdict(tuple(sorted(files)), (), _left_behind(listing, selection, files))


def _parse(raw: RawFile) -> RemoteFile:
    path = RepoPath(raw.path)
    if not 0 <= raw.size <= MAX_FILE_BYTES:
        message = f"file name {raw.path!r}: a size of {raw.size} bytes cannot be stored"
        raise InvalidName(message)
    return RemoteFile(
        path=path,
        size=raw.size,
        sha256=Digest(raw.sha256) if raw.sha256 is not None else None,
        git_oid=GitOid(raw.git_oid) if raw.git_oid is not None else None,
        lfs=raw.lfs,
        token=raw.token,
        ranges=raw.ranges,
        declared=raw.declared,
    )


def _contradictions(files: list[RemoteFile]) -> list[str]:
    paths = [file.path for file in files]
    doubled = sorted(path for path, count in Counter(paths).items() if count > 1)
    reasons = [f"file name {path!r}: listed twice" for path in doubled]
    if both := find_file_and_folder(paths):
        reasons.append(f"file name {both!r}: is both a file and a folder")
    sizes: dict[object, int] = {}
    reasons.extend(
        f"file name {file.path!r}: one content is listed with two sizes"
        for file in files
        if (content := file.sha256 or file.git_oid) is not None
        and not (file.lfs and file.sha256 is None)
        and sizes.setdefault(content, file.size) != file.size
    )
    return reasons


def _left_behind(
    listing: Listing, selection: Selection, files: list[RemoteFile]
) -> tuple[str, ...]:
    """Warn about small files that weights are useless without (vllm#11929)."""
    if not any(_any_match(file.path, _WEIGHTS) for file in files):
        return ()
    dropped = sorted(
        raw.path
        for raw in listing.files
        if not selection.holds(raw.path) and _any_match(raw.path, _COMPANIONS)
    )
    return tuple(f"the selection leaves out {path}, which the weights may need" for path in dropped)


def _any_match(path: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in patterns)
