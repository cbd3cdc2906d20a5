"""Every verb, by name: a call loads only the one that it names, because loading all of them
takes longer than many a command does. What the help says of all stands here, so that it loads none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType

from sync_daemon.cli.command import Command


@dataclass(frozen=True, slots=True)
class Verb:
    """The module of a verb, what it does in a few words, and the name of its `Command`."""

    module: str
    summary: str
    attribute: str = "COMMAND"


VERBS: Mapping[str, Verb] = MappingProxyType(
    {
        "run-once": Verb("run_once", "bring everything that is declared up to date, once"),
        "run": Verb(
            "run", "the daemon: keep everything that is declared up to date, on a schedule"
        ),
        "plan": Verb("plan", "tell what run-once would do: files, exact bytes, requests"),
        "status": Verb(
            "status", "show what is declared, what is stored, and what the newest run said"
        ),
        "ls": Verb("ls", "list the models in the store, or the versions of one"),
        "show": Verb("show", "show what a published version is, and its files"),
        "diff": Verb("diff", "show which files lead from one version to another"),
        "history": Verb("history", "list former runs, or show one of them"),
        "verify": Verb("verify", "prove what the store holds, and change nothing"),
        "inspect": Verb("inspect", "what files of weights hold: tensors, dtypes, parameters"),
        "accept": Verb("accept", "let a refused or held version through"),
        "unlock": Verb("unlock", "show who works on what, and release locks"),
        "gateway": Verb("gateway", "serve what is published to Hub clients"),
        "pull": Verb("pull", "fetch a version from a mirror onto this machine"),
        "doctor": Verb("doctor", "check the configuration, the store and the origins"),
        "store init": Verb(
            "store_init",
            "make the bucket, put the marker, set quota and expiry, make read-only accounts",
        ),
        "store status": Verb(
            "store_status", "room, use by kind of object, quota, expiry, and what init would change"
        ),
        "token create": Verb("token", "make a token that the gateway lets in", "CREATE"),
        "token list": Verb("token", "list the tokens of the gateway", "LIST"),
        "token revoke": Verb("token", "take a token out of use", "REVOKE"),
        "alerts test": Verb("alerts", "send one alert to everybody who is configured", "TEST"),
        "config validate": Verb(
            "config", "report every problem of the file, each with its line", "VALIDATE"
        ),
        "config show": Verb("config", "print the effective configuration, secrets as ***", "SHOW"),
        "config schema": Verb("config", "print the JSON Schema of the file, for editors", "SCHEMA"),
        "version": Verb("version", "print the version, the store's format and the libraries"),
    }
)
"""In the order of the help; `config show` is a verb of two words."""

GROUPS: Mapping[str, str] = MappingProxyType(
    {
        "config": "look at the configuration",
        "store": "set up the store, and see how it stands",
        "token": "who may read by the gateway",
        "alerts": "try out who is told of alerts",
    }
)
"""The first of two words, and what they are about."""

_WITH_VALUE = frozenset({"-c", "--config", "--log-format", "--log-level"})


def find_commands(argv: Sequence[str]) -> tuple[Command, ...]:
    """Return the verb that the arguments name; none for a help of more, or for a mistake."""
    words: list[str] = []
    given = iter(argv)
    for one in given:
        if one in _WITH_VALUE:
            next(given, None)
        elif not one.startswith("-"):
            words.append(one)
        elif one in {"-h", "--help"} and not words:
            break
    for name in (" ".join(words[:2]), *words[:1]):
        if name in VERBS:
            return (_load(name),)
    return ()


def all_commands() -> tuple[Command, ...]:
    """Return every verb, in the order of the help."""
    return tuple(_load(name) for name in VERBS)


def _load(name: str) -> Command:
    verb = VERBS[name]
    module = import_module(f"sync_daemon.cli.{verb.module}")
    command: Command = getattr(module, verb.attribute)
    return command
