"""What a verb is: its own help, its arguments, its exit codes, and what it does."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from sync_daemon.domain.exits import (
    EXIT_DAMAGED,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_LOCKED,
    EXIT_OK,
    EXIT_UNREACHABLE,
    EXIT_USAGE,
)

if TYPE_CHECKING:  # the help of all verbs needs none of it
    from sync_daemon.cli.session import Session

EXIT_CODES: Mapping[int, str] = MappingProxyType(
    {
        EXIT_OK: "all as declared",
        EXIT_FAILED: "something failed or was refused; the rest was done",
        EXIT_USAGE: "usage or configuration is wrong; nothing was touched",
        EXIT_UNREACHABLE: "the store, or every origin, cannot be used; nothing could be done",
        EXIT_DAMAGED: "verify found damage",
        EXIT_LOCKED: "everything selected is locked by another process",
        EXIT_INTERRUPTED: "interrupted; the next run takes it up again",
    }
)
"""The one table of exit codes; each verb names those that it can give."""


@dataclass(frozen=True, slots=True)
class Command:
    """A verb. `graceful`: a first signal sets the stop event instead of ending the process.

    `meanings` are those of its exit codes that mean something else than EXIT_CODES says.
    """

    name: str
    description: str
    exits: tuple[int, ...]
    run: Callable[[Session], int]
    configure: Callable[[argparse.ArgumentParser], None] = lambda _: None
    graceful: bool = False
    meanings: Mapping[int, str] = field(default_factory=dict)


def add_json(parser: argparse.ArgumentParser) -> None:
    """Offer `--json`."""
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")


def add_files(parser: argparse.ArgumentParser) -> None:
    """Offer `--files`."""
    parser.add_argument(
        "-v", "--files", action="store_true", help="name the files, do not only count them"
    )


def add_many(
    parser: argparse.ArgumentParser,
    option: str,
    metavar: str,
    words: str,
    choices: Sequence[str] | None = None,
) -> None:
    """Offer an option that may be repeated; `words` are its help."""
    parser.add_argument(
        option, action="append", default=[], metavar=metavar, choices=choices, help=words
    )


def add_selection(parser: argparse.ArgumentParser) -> None:
    """Offer the options that say which versions are meant."""
    add_many(parser, "--model", "MODEL", "only this model of the YAML; may be repeated")
    add_many(parser, "--version", "VERSION", "only this version; may be repeated")
    parser.add_argument(
        "--full",
        action="store_true",
        help="list again and prove that every blob is there in its size; files with a known digest"
        " are not fetched again",
    )
