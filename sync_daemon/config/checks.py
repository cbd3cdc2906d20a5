"""Checks that look at more than one key: names, references, limits, and warnings.

They work on the raw tree and not on finished settings, so that everything wrong in a
file is told in one go.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from fnmatch import fnmatchcase

from sync_daemon.config.document import Document
from sync_daemon.config.entries import (
    Model,
    Raw,
    Version,
    mapping,
    mappings,
    models,
    origin_types,
    text,
)
from sync_daemon.config.model import MIB, MIN_PART_SIZE, MIN_PARTS, Metrics, Transfer
from sync_daemon.config.problems import Path, clip
from sync_daemon.config.revisions import check_revision
from sync_daemon.config.units import UnitError, format_size, parse_address, parse_size, suggest
from sync_daemon.domain.errors import ConfigurationError, InvalidName
from sync_daemon.domain.names import GroupName, ModelName, RepoPath, VersionName
from sync_daemon.wire.trust import Certificates, read_certificates

NOT_YET = ("schedule", "retention")
"""Sections that are checked, but that this release does not act upon."""

ACTED_UPON = {
    *(
        ("schedule", key)
        for key in ("incremental", "full", "verify", "window", "any_time", "jitter", "timezone")
    ),
    *(
        ("schedule", key)
        for name in ("webhook_secret", "api_token")
        for key in (name, f"{name}_file")
    ),
    ("schedule", "webhook_debounce"),
    ("retention", "reports"),
}
"""Keys of those sections that do have an effect."""

_NAME_RULE = "letters, digits, '.', '_' and '-', at most 96, the first a letter or digit"
_ORIGIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_HUB_SEGMENT = re.compile(r"[A-Za-z0-9._-]{1,96}")
S3_ONLY = (
    *("endpoint", "region", "addressing", "checksum", "credentials", "ca_file", "proxy"),
    *("quota", "capacity"),
)
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HUB = "huggingface"


def check(document: Document) -> None:
    """Note everything that is wrong between keys."""
    _check_store(document)
    _check_origins(document)
    _check_sites(document)
    _check_certificates(document)
    _check_listens(document)
    _check_memory(document)
    _check_policy(document)
    found = models(document)
    _check_model_names(document, found)
    _check_groups(document, found)
    for model in found:
        _check_versions(document, model)
        _check_repo(document, model)
        _check_files(document, model)
    _check_shared_files(document, found)


def _check_store(document: Document) -> None:
    store = mapping(document.tree, "store")
    if (text(store, "url") or "").startswith("file:"):
        for key in S3_ONLY:
            if key in store:
                document.add(("store", key), "is only for an s3:// store", at_key=True)
    for key in ("quota", "capacity"):
        with suppress(UnitError):  # reported with all other types
            if parse_size(store.get(key, 1)) == 0:
                document.add(("store", key), "must be more than nothing", "or leave the key out")
    credentials = mapping(store, "credentials")
    names = ("access_key", "secret_key")
    given = [k for k in names if k in credentials or f"{k}_file" in credentials]
    if len(given) == 1:
        other = "secret_key" if given == ["access_key"] else "access_key"
        document.add(("store", "credentials", other), "is missing", f"it goes with {given[0]}")


def _check_origins(document: Document) -> None:
    origins = mapping(document.tree, "origins")
    for name in origins:
        if not _ORIGIN_NAME.fullmatch(name):
            document.add(("origins", name), "is no name for an origin", _NAME_RULE, at_key=True)
        _check_endpoints(document, ("origins", name), mapping(origins, name))
        for header in mapping(mapping(origins, name), "headers"):
            if not _HEADER.fullmatch(header):
                path = ("origins", name, "headers", header)
                document.add(path, "is no name for a header", at_key=True)


def _check_certificates(document: Document) -> None:
    """Read what `ca_file` names: a wrong one would look like a wrong server."""
    origins = mapping(document.tree, "origins")
    sections: list[tuple[Path, Raw]] = [(("store",), mapping(document.tree, "store"))]
    sections += [(("origins", name), mapping(origins, name)) for name in origins]
    sections += [((name,), mapping(document.tree, name)) for name in ("pull", "alerts")]
    for path, section in sections:
        if (name := text(section, "ca_file")) is None:
            continue
        try:
            read_certificates(Certificates("ca_file", name))
        except (ConfigurationError, ValueError) as error:
            reason = str(error).rpartition(": ")[2]
            document.add((*path, "ca_file"), f"cannot be read: {reason}", "name a PEM file")


def _check_endpoints(document: Document, path: Path, origin: Raw) -> None:
    written = origin.get("endpoints")
    seen: set[str] = set()
    for index, item in enumerate(written if isinstance(written, tuple) else ()):
        url = item.get("url") if isinstance(item, dict) else item
        if isinstance(url, str):
            if url.rstrip("/") in seen:
                document.add((*path, "endpoints", index), "is listed twice")
            seen.add(url.rstrip("/"))


def _check_sites(document: Document) -> None:
    for key in ("url", "name"):
        seen: set[str] = set()
        for path, site in mappings(document.tree, "mirror_sites", ()):
            if (given := text(site, key)) is None:
                continue
            if given.rstrip("/") in seen:
                document.add((*path, key), "is listed twice")
            seen.add(given.rstrip("/"))


def _check_listens(document: Document) -> None:
    """Two servers of one daemon cannot have the same port."""
    default = str(Metrics.model_fields["listen"].default)
    metrics = mapping(document.tree, "metrics").get("listen", default)
    with suppress(UnitError):  # reported with all other types
        gateway = parse_address(mapping(document.tree, "gateway").get("listen"))
        if gateway.port and gateway == parse_address(metrics):
            hint = "take another port for one of the two"
            document.add(("gateway", "listen"), "is metrics.listen as well", hint)


def _check_memory(document: Document) -> None:
    transfer = mapping(document.tree, "transfer")
    defaults = Transfer.model_fields
    try:
        part = parse_size(transfer.get("part_size", defaults["part_size"].default))
        memory = parse_size(transfer.get("memory", defaults["memory"].default))
    except UnitError:
        return  # reported with all other types
    if part < MIN_PART_SIZE:
        document.add(("transfer", "part_size"), "is below 5MiB, which S3 servers refuse")
    elif part > 5 * 1024 * MIB:
        document.add(("transfer", "part_size"), "is above 5GiB, which S3 servers refuse")
    elif memory < MIN_PARTS * part:
        where = "memory" if "memory" in transfer else "part_size"
        sizes = f"{MIN_PARTS} parts of {format_size(part)}"
        message = f"{format_size(memory)} of memory do not hold {sizes}"
        document.add(("transfer", where), message, _memory_hint(part, memory))


def _memory_hint(part: int, memory: int) -> str:
    enough = f"set memory to {format_size(MIN_PARTS * part)} or more"
    fitting = memory // MIN_PARTS // MIB * MIB
    if fitting < MIN_PART_SIZE:
        return enough
    return f"{enough}, or part_size to {format_size(fitting)} or less"


def _check_policy(document: Document) -> None:
    if mapping(document.tree, "policy"):
        message = "this release has no gates, and a gate that is not enforced must not look it"
        document.add(("policy",), message, "remove the section", at_key=True)
        document.tree["policy"] = {}


def _check_model_names(document: Document, found: tuple[Model, ...]) -> None:
    seen: dict[str, str] = {}
    for model in found:
        if model.name is None or not _check_name(document, (*model.path, "name"), model.name):
            continue
        _check_unique(document, (*model.path, "name"), model.name, seen)
    for model in found:
        for version in model.versions:
            both = f"{model.name}/{version.name}".casefold()
            if model.name and version.name and both in seen:
                path = (*version.path, "name") if version.written else model.path
                message = f"would share its folder with the model {clip(seen[both])!r}"
                document.add(path, message, "rename one of the two")


def _check_groups(document: Document, found: tuple[Model, ...]) -> None:
    """A group is a folder beside those of the models: neither may take the other's place."""
    groups: dict[str, str] = {}
    folders = {model.name.partition("/")[0].casefold(): model.name for model in found if model.name}
    for model in found:
        if (group := text(model.raw, "group")) is None:
            continue
        path = (*model.path, "group")
        try:
            GroupName(group)
        except InvalidName:
            document.add(path, "is no name for a group", f"one segment of {_NAME_RULE}")
            continue
        if (other := folders.get(group.casefold())) is not None:
            message = f"would share its folder with the model {clip(other)!r}"
            document.add(path, message, "rename one of the two")
        if (first := groups.setdefault(group.casefold(), group)) != group:
            message = f"differs from the group {clip(first)!r} only in case"
            document.add(path, message, "write it the same way")


def _check_name(document: Document, path: Path, name: str) -> bool:
    try:
        ModelName(name)
    except InvalidName:
        document.add(path, "is no name for a model", f"one or two segments of {_NAME_RULE}")
        return False
    return True


def _check_unique(document: Document, path: Path, name: str, seen: dict[str, str]) -> None:
    other = seen.get(name.casefold())
    seen.setdefault(name.casefold(), name)
    if other is None:
        return
    how = "is used twice" if other == name else f"differs from {clip(other)!r} only in case"
    message = f"the name {clip(name)!r} {how}"
    document.add(path, message, "names must be unique when case is ignored")


def _check_versions(document: Document, model: Model) -> None:
    names: dict[str, str] = {}
    patterns: set[str] = set()
    for version in model.versions:
        _check_origin(document, version)
        check_revision(document, version)
        if version.name is not None:
            _check_version_name(document, version, names)
        elif version.tags is not None:
            _check_tags(document, version, patterns)
    _check_tag_clashes(document, model)


def _check_origin(document: Document, version: Version) -> None:
    known = origin_types(document)
    if version.origin in known or not known:
        return
    if version.origin is not None:
        near = suggest(version.origin, known) or f"known are: {', '.join(map(clip, known))}"
        message = f"there is no origin {clip(version.origin)!r}"
        document.add(version.origin_path, message, near)
    elif not document.has(version.origin_path):
        document.add(version.origin_path, "is missing", f"name one of: {', '.join(known)}")


def _check_version_name(document: Document, version: Version, names: dict[str, str]) -> None:
    path, name = (*version.path, "name"), version.name or ""
    try:
        VersionName(name)
    except InvalidName:
        document.add(path, "is no name for a version", _NAME_RULE)
        return
    _check_unique(document, path, name, names)


def _check_tags(document: Document, version: Version, patterns: set[str]) -> None:
    pattern = version.tags or ""
    if pattern in patterns:
        document.add((*version.path, "tags"), f"the pattern {clip(pattern)!r} is used twice")
    patterns.add(pattern)


def _check_tag_clashes(document: Document, model: Model) -> None:
    for entry, named in clashes(model):
        if entry.raw.get("latest") is None and text(named.raw, "revision") == named.name:
            message = f"its tag {clip(named.name or '')!r} is a version of its own already"
            document.add((*entry.path, "tags"), message, "give that version another name")


def clashes(model: Model) -> Iterator[tuple[Version, Version]]:
    """Yield each entry of tags with each named version that it could also make."""
    named = [version for version in model.versions if version.name is not None]
    for entry in model.versions:
        if entry.tags is not None:
            pattern = entry.tags.replace("/", "%2F").casefold()
            yield from (
                (entry, version)
                for version in named
                if fnmatchcase((version.name or "").casefold(), pattern)
            )


def _check_repo(document: Document, model: Model) -> None:
    types = origin_types(document)
    kinds = {types.get(version.origin or "") for version in model.versions}
    path = (*model.path, "repo")
    if "repo" not in model.raw:
        if kinds & {_HUB, "directory"}:
            document.add(path, "is missing", "give the repository's id, or the folder")
    elif model.repo is not None and _HUB in kinds and not _is_hub_id(model.repo):
        document.add(path, "is no repository id", "write NAME or OWNER/NAME")
    elif model.repo is not None and not _is_folder(model.repo):
        document.add(path, "is no folder below the origin", "a relative path without '..'")


def _is_hub_id(repo: str) -> bool:
    parts = repo.split("/")
    plain = len(parts) <= 2 and all(_HUB_SEGMENT.fullmatch(part) for part in parts)  # noqa: PLR2004
    return plain and not any(bad in repo for bad in ("--", "..")) and not repo.endswith(".git")


def _is_folder(repo: str) -> bool:
    if repo == ".":
        return True
    try:
        RepoPath(repo)
    except InvalidName:
        return False
    return True


def _check_files(document: Document, model: Model) -> None:
    types = origin_types(document)
    kinds = {types.get(version.origin or "") for version in model.versions}
    path = (*model.path, "files")
    if "http" in kinds and not model.raw.get("files"):
        document.add(path, "is missing", "an HTTP origin cannot list: name the files")
    if model.raw.get("files") and kinds and not kinds & {"http", None}:
        document.add(path, "is only for HTTP origins", at_key=True)
    seen: set[str] = set()
    for here, raw in mappings(model.raw, "files", model.path):
        _check_file(document, (*here, "path"), text(raw, "path"), seen)


def _check_shared_files(document: Document, found: tuple[Model, ...]) -> None:
    """An HTTP origin cannot list: models of one folder there must name the same files of it."""
    types = origin_types(document)
    first: dict[tuple[str, str], Model] = {}
    for model in found:
        for origin in sorted({version.origin or "" for version in model.versions}):
            if types.get(origin) != "http":
                continue
            other = first.setdefault((origin, model.repo or ""), model)
            if _named_files(model) != _named_files(other):
                path = (*model.path, "files")
                folder, name = model.repo or "the origin's folder", other.name or ""
                message = f"names different files of {clip(folder)} than the model {clip(name)!r}"
                hint = "give each of them a repo, its own folder, or the same files"
                document.add(path, message, hint, at_key=True)


def _named_files(model: Model) -> list[tuple[str | None, str]]:
    """Return paths and digests; digests are read in either case."""
    files = mappings(model.raw, "files", model.path)
    return [(text(raw, "path"), (text(raw, "sha256") or "").lower()) for _, raw in files]


def _check_file(document: Document, path: Path, name: str | None, seen: set[str]) -> None:
    if name is None:
        return
    if name in seen:
        document.add(path, "is listed twice")
    seen.add(name)
    try:
        RepoPath(name)
    except InvalidName:
        document.add(path, "is no path of a file", "a relative path without '..'")
