"""`diff`: which files lead from one published version to another."""

from __future__ import annotations

import argparse
from typing import Any

from sync_daemon.cli.command import Command, add_json
from sync_daemon.cli.output import Output
from sync_daemon.cli.reading import browsing, read_version, whole
from sync_daemon.cli.selecting import parse_version
from sync_daemon.cli.session import Session
from sync_daemon.domain.manifest import FileEntry
from sync_daemon.domain.words import exact_size, human_size, plural
from sync_daemon.engine.browse import (
    Difference,
    Stored,
    compare,
    file_json,
    summarise,
    version_json,
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `diff`."""
    parser.add_argument("before", metavar="MODEL@A", help="the version to start from")
    parser.add_argument("after", metavar="MODEL@B", help="the version to compare with it")
    add_json(parser)


def run(session: Session) -> int:
    """Compare two versions; that they differ is no failure."""
    settings, arguments = session.settings(), session.arguments
    before, after = parse_version(arguments.before), parse_version(arguments.after)
    with browsing(session, settings) as browser:
        old, new = read_version(browser, *before), read_version(browser, *after)
    difference = compare(whole(old)[1], whole(new)[1])
    if arguments.json:
        session.out.json({"store": str(settings.store.url)} | _to_json(old, new, difference))
    else:
        _show(old, new, difference, session.out)
    return 0


def _to_json(old: Stored, new: Stored, found: Difference) -> dict[str, Any]:
    return {
        "from": _version_json(old),
        "to": _version_json(new),
        "added": [file_json(one) for one in found.added],
        "changed": [
            {"path": a.path, "from": file_json(a), "to": file_json(b)} for a, b in found.changed
        ],
        "removed": [file_json(one) for one in found.removed],
        "same": {"files": len(found.same), "bytes": _size(found.same)},
        "new_bytes": found.new_bytes,
    }


def _version_json(stored: Stored) -> dict[str, Any]:
    return {
        "model": stored.model,
        "version": stored.version,
        **version_json(summarise(stored)),
    }


def _show(old: Stored, new: Stored, found: Difference, out: Output) -> None:
    """Print a line a file. Plain lines, for there may be 100,000 of them."""
    out.line(f"{_title(old)} -> {_title(new)}", "bold")
    for one in found.added:
        out.line(f"  + {one.path}  {human_size(one.size)}", "green")
    for before, after in found.changed:
        sizes = f"{human_size(before.size)} -> {human_size(after.size)}"
        out.line(f"  ~ {after.path}  {sizes}", "yellow")
    for one in found.removed:
        out.line(f"  - {one.path}  {human_size(one.size)}", "red")
    out.line(f"  = {plural(len(found.same), 'file')} the same, {human_size(_size(found.same))}")
    out.line(
        f"{len(found.added):,} added, {len(found.changed):,} changed,"
        f" {len(found.removed):,} removed; new content: {exact_size(found.new_bytes)}"
    )


def _title(stored: Stored) -> str:
    pointer, manifest = whole(stored)
    size = human_size(manifest.size)
    return f"{stored} ({pointer.commit[:12]}, {plural(len(manifest.files), 'file')}, {size})"


def _size(files: tuple[FileEntry, ...]) -> int:
    return sum(one.size for one in files)


COMMAND = Command(
    name="diff",
    description=(
        "Show the files that were added (+), changed (~) and removed (-) between two\n"
        "published versions, of one model or of two, and count those that are the same. New\n"
        "content is what the first version holds under no name. Exit code 0, equal or not."
    ),
    exits=(0, 2, 3, 130),
    run=run,
    configure=configure,
)
