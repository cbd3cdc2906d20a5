"""Every verb, by name: a call loads only the one that it names, because loading all of them
takes longer than many a command does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from types import MappingProxyType

from sync_daemon.cli.command import Command

VERBS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "run-once": ("run_once", "COMMAND"),
        "run": ("run", "COMMAND"),
        "plan": ("plan", "COMMAND"),
        "status": ("status", "COMMAND"),
        "ls": ("ls", "COMMAND"),
        "show": ("show", "COMMAND"),
        "diff": ("diff", "COMMAND"),
        "history": ("history", "COMMAND"),
        "verify": ("verify", "COMMAND"),
        "inspect": ("inspect", "COMMAND"),
        "accept": ("accept", "COMMAND"),
        "unlock": ("unlock", "COMMAND"),
        "gateway": ("gateway", "COMMAND"),
        "pull": ("pull", "COMMAND"),
        "doctor": ("doctor", "COMMAND"),
        "store init": ("store_init", "COMMAND"),
        "store status": ("store_status", "COMMAND"),
        "token create": ("token", "CREATE"),
        "token list": ("token", "LIST"),
        "token revoke": ("token", "REVOKE"),
        "alerts test": ("alerts", "TEST"),
        "config validate": ("config", "VALIDATE"),
        "config show": ("config", "SHOW"),
        "config schema": ("config", "SCHEMA"),
        "version": ("version", "COMMAND"),
    }
)
"""Where each verb is, in the order of the help; `config show` is a verb of two words."""

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
    """Return the verb that the arguments name, or all of a group, or all: for the help, and for
    whoever mistyped."""
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
    return tuple(_load(name) for name in VERBS)


def all_commands() -> tuple[Command, ...]:
    """Return every verb, in the order of the help."""
    return find_commands(())


def _load(name: str) -> Command:
    module, attribute = VERBS[name]
    command: Command = getattr(import_module(f"sync_daemon.cli.{module}"), attribute)
    return command
