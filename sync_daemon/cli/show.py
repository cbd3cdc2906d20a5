"""`show`: what a published version is, where it came from, and its files."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sync_daemon.cli.command import Command, add_files, add_json
from sync_daemon.cli.output import Output
from sync_daemon.cli.reading import browsing, names_of, read_version, whole
from sync_daemon.cli.selecting import parse_target
from sync_daemon.cli.session import Session
from sync_daemon.domain.manifest import Current, FileEntry, ModelFacts
from sync_daemon.domain.words import exact_size, human_age, plural
from sync_daemon.engine.browse import Stored, file_json, summarise, version_json
from sync_daemon.engine.clock import SystemClock


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `show`."""
    parser.add_argument("target", metavar="MODEL[@VERSION]", help="a model, or one version of it")
    add_files(parser)
    add_json(parser)


def run(session: Session) -> int:
    """Read what is asked for and print it."""
    settings = session.settings()
    target = session.arguments.target
    model, version = parse_target(target)
    files = session.arguments.files or version is not None
    with browsing(session, settings) as browser:
        found: Iterable[Stored] = (
            (read_version(browser, model, version),)
            if version is not None
            else browser.read_all(names_of(browser, model))
        )
        if session.arguments.json:
            versions = [_to_json(one, files=files) for one in found]
            store = str(settings.store.url)
            session.out.json({"store": store, "model": model, "versions": versions})
        else:
            _show(found, session, files=files)
    return 0


def _to_json(stored: Stored, *, files: bool) -> dict[str, Any]:
    manifest, pointer = stored.manifest, stored.pointer
    return {
        "version": stored.version,
        **version_json(summarise(stored)),
        "previous": pointer.previous if pointer else None,
        "selection": manifest.selection if manifest else None,
        "origin": _origin_json(stored),
        "licence": manifest.licence if manifest else None,
        "facts": _facts_json(manifest.facts) if manifest else None,
        "requires": dict(manifest.requires) if manifest else None,
        "entries": [file_json(one) for one in manifest.files] if manifest and files else None,
    }


def _origin_json(stored: Stored) -> dict[str, str] | None:
    if stored.manifest is None:
        return None
    source = stored.manifest.source
    return {
        "type": source.type,
        "repo": source.repo,
        "repo_type": source.repo_type,
        "revision": source.revision,
        "commit": source.commit,
    }


def _facts_json(facts: ModelFacts) -> dict[str, str | int | None]:
    return {
        "architecture": facts.architecture,
        "parameters": facts.parameters,
        "dtype": facts.dtype,
    }


def _show(found: Iterable[Stored], session: Session, *, files: bool) -> None:
    now, out = SystemClock(session.stop).now(), session.out
    for number, stored in enumerate(found):
        if number:
            out.line()
        _show_version(stored, now, out)
        if files and stored.manifest is not None:
            _show_files(stored.manifest.files, out)


def _show_version(stored: Stored, now: datetime, out: Output) -> None:
    out.line(str(stored), "bold")
    if stored.problem is not None:
        out.line(f"  damaged    {stored.problem}", "red")
        out.line("  hint: run `sync-daemon verify` to see what is damaged")
        return
    for name, text in _facts(stored, now).items():
        if text:
            out.line(f"  {name:<12} {text}")


def _facts(stored: Stored, now: datetime) -> dict[str, str]:
    pointer, manifest = whole(stored)
    source, facts = manifest.source, manifest.facts
    kind = "pinned" if pointer.pin else "followed"
    published = pointer.published_at
    return {
        "commit": pointer.commit,
        "revision": f"{source.revision} ({'held' if pointer.hold else kind})",
        "origin": f"{source.type} {source.repo_type} {source.repo}",
        "published": f"{published:%Y-%m-%d %H:%M:%S %Z} ({human_age(published, now)})",
        "licence": manifest.licence or "not declared",
        "architecture": facts.architecture or "",
        "parameters": f"{facts.parameters:,}" if facts.parameters is not None else "",
        "dtype": facts.dtype or "",
        "files": plural(len(manifest.files), "file"),
        "size": exact_size(manifest.size),
        "manifest": stored.manifest_key or "",
        "tree": _tree(pointer),
        "previous": pointer.previous or "",
    }


def _tree(pointer: Current) -> str:
    if (tree := pointer.tree) is None:
        return ""
    if not tree.whole:
        return f"{tree.key} (not whole yet)"
    return tree.key if tree.manifest == pointer.manifest else f"{tree.key} (of an older manifest)"


def _show_files(files: tuple[FileEntry, ...], out: Output) -> None:
    """Print a line a file. Plain lines, for there may be 100,000 of them."""
    widest = max((len(f"{entry.size:,}") for entry in files), default=0)
    for entry in files:
        out.line(f"  {entry.sha256}  {entry.size:>{widest},}  {entry.path}")


COMMAND = Command(
    name="show",
    description=(
        "Show where a version came from, its licence, what its files say of the model, and\n"
        "every file with its SHA-256 and its size in bytes. Of a model all versions are\n"
        "shown, the newest first, and their files only with --files."
    ),
    exits=(0, 2, 3, 130),
    run=run,
    configure=configure,
)
