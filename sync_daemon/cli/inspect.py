"""`inspect`: what files of weights hold, from their header bytes only, here or far away."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import closing, contextmanager
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any

from sync_daemon import bootstrap
from sync_daemon.cli.command import Command, add_json, add_many
from sync_daemon.cli.output import Column
from sync_daemon.cli.reading import names_of, read_version, whole
from sync_daemon.cli.selecting import parse_target
from sync_daemon.cli.session import Session
from sync_daemon.client.sources import Blob, LocalFile, RemoteFile
from sync_daemon.client.tensors import NotReadable, Source, Weights
from sync_daemon.client.weights import inspect
from sync_daemon.domain.errors import ConfigurationError
from sync_daemon.domain.exits import EXIT_FAILED, EXIT_OK, EXIT_UNREACHABLE, EXIT_USAGE
from sync_daemon.domain.words import exact_size, plural
from sync_daemon.engine.browse import Browser
from sync_daemon.engine.vault import Vault
from sync_daemon.wire.client import Http
from sync_daemon.wire.places import place_of

SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")
"""Names of weights; `--file` chooses others."""

TOKEN = "SYNC_DAEMON_TOKEN"  # noqa: S105 - the name of a variable
_SCHEMES = ("http://", "https://")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `inspect`."""
    parser.add_argument(
        "target",
        metavar="TARGET",
        help="a file, the URL of one, or MODEL[@VERSION] in the store (else its newest version)",
    )
    add_many(parser, "--file", "PATTERN", "of a version, only these files; may be repeated")
    parser.add_argument("--tensors", action="store_true", help="name every tensor")
    add_json(parser)


def run(session: Session) -> int:
    """Read the headers and print what they say."""
    arguments = session.arguments
    found: list[Weights] = []
    failed: list[str] = []
    with _sources(session, arguments.target) as sources:
        for source in sources:
            try:
                found.append(inspect(source))
            except NotReadable as error:
                failed.append(str(error))
                session.notice("inspect.unreadable", "error", str(error), hint=error.hint)
    if arguments.json:
        session.out.json(
            {
                "target": arguments.target,
                "parameters": sum(one.parameters for one in found),
                "files": [_to_json(one, tensors=arguments.tensors) for one in found],
                "errors": failed,
            }
        )
    elif found:
        _show(session, found)
    return EXIT_FAILED if failed else EXIT_OK


def _check_url(target: str) -> None:
    try:
        place_of(target)
    except ValueError as error:
        message = f"TARGET: {error}"  # which may hold credentials itself
        raise ConfigurationError(message, hint="as in https://host/model.safetensors") from error


@contextmanager
def _sources(session: Session, target: str) -> Iterator[Iterator[Source] | list[Source]]:
    if target.startswith(_SCHEMES):
        token = session.environ.get(TOKEN)
        private = {"Authorization": f"Bearer {token}"} if token else {}
        _check_url(target)
        with closing(Http("origin")) as http:
            yield [RemoteFile(target, http, private)]
    elif Path(target).is_file():
        with LocalFile(Path(target)) as file:
            yield [file]
    elif (target.startswith((".", "/")) or target.count("/") > 1) and Path(target).is_dir():
        message = f"{target}: is a directory"
        raise ConfigurationError(message, hint="name a file in it, or MODEL@VERSION in the store")
    elif target.endswith(SUFFIXES):
        raise ConfigurationError(f"{target}: there is no such file")
    else:
        yield from _version(session, target)


def _version(session: Session, target: str) -> Iterator[Iterator[Source]]:
    model, version = parse_target(target)
    settings = session.settings()
    with session.listening() as emit, bootstrap.store(settings, dry=True) as store:
        retry = bootstrap.retry(settings, emit, session.stop)
        browser, vault = Browser(store, retry), Vault(store, retry)
        browser.open()
        stored = read_version(browser, model, version or names_of(browser, model)[0][1])
        patterns = session.arguments.file or [f"*{suffix}" for suffix in SUFFIXES]
        files = [
            one
            for one in whole(stored)[1].files
            if any(fnmatchcase(one.path, pattern) for pattern in patterns)
        ]
        if not files:
            message = f"{stored} has no file that matches {', '.join(patterns)}"
            raise ConfigurationError(message, hint="`sync-daemon show --files` names its files")
        yield (Blob(one.path, one.size, partial(vault.read, one.sha256)) for one in files)


def _to_json(weights: Weights, *, tensors: bool) -> dict[str, Any]:
    return {
        "file": weights.name,
        "format": weights.form,
        "bytes": weights.size,
        "parameters": weights.parameters,
        "dtypes": dict(weights.dtypes),
        "metadata": dict(weights.metadata),
        "imports": list(weights.modules),
        "tensor_count": len(weights.tensors),
        "tensors": [
            {"name": one.name, "dtype": one.dtype, "shape": list(one.shape)}
            for one in weights.tensors
        ]
        if tensors
        else None,
    }


def _show(session: Session, found: list[Weights]) -> None:
    out = session.out
    out.table(
        [
            ("file", "left"),
            ("format", "left"),
            ("bytes", "right"),
            ("tensors", "right"),
            ("parameters", "right"),
            ("dtypes", "left"),
        ],
        [
            (
                one.name,
                one.form,
                exact_size(one.size),
                str(len(one.tensors)),
                f"{one.parameters:,}",
                ", ".join(f"{name} {count:,}" for name, count in one.dtypes.items()),
            )
            for one in found
        ],
    )
    for one in found:
        if session.arguments.tensors:
            columns: list[Column] = [("tensor", "left"), ("dtype", "left"), ("shape", "left")]
            rows = [(t.name, t.dtype, " x ".join(map(str, t.shape))) for t in one.tensors]
            out.line("")
            out.table(columns, rows)
        if one.modules:
            names = plural(len(one.modules), "name")
            out.line(f"{one.name}: loading it imports {names}: {', '.join(one.modules)}")
    total = sum(one.parameters for one in found)
    if len(found) > 1:
        out.line(f"{total:,} parameters in {plural(len(found), 'file')}")


COMMAND = Command(
    name="inspect",
    description=(
        "Read the header of .safetensors files, and of what torch saves (.bin, .pt, .pth),\n"
        "and print their tensors. Nothing of a pickle is run. Of a version in the store, or\n"
        f"behind a URL, only the header is fetched; ${TOKEN} is sent to the URL's host."
    ),
    exits=(EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_UNREACHABLE),
    run=run,
    configure=configure,
)
