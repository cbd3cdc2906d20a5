"""What is doubtful in a file that is otherwise right."""

from collections.abc import Iterator

from sync_daemon.config.checks import ACTED_UPON, NOT_YET, clashes
from sync_daemon.config.document import Document
from sync_daemon.config.entries import Model, Version, mapping, models, text
from sync_daemon.config.problems import Path, Problem, clip, in_file_order
from sync_daemon.domain.versions import newest_tags

_GUESSED = 16
"""Characters that a secret should have."""

_NOT_YET = "is checked but has no effect in this release"


def find_warnings(document: Document) -> tuple[Problem, ...]:
    """Everything doubtful, in the order of the file."""
    found = models(document)
    return in_file_order(
        document.describe(path, message, hint, at_key=True)
        for path, message, hint in (
            *_without_effect(document, found),
            *_same_revision(found),
            *_possible_clashes(found),
            *_nothing_to_do(found),
            *_doors(document),
        )
    )


Doubt = tuple[Path, str, str]
_Entry = tuple[Model, Version]


def _without_effect(document: Document, found: tuple[Model, ...]) -> Iterator[Doubt]:
    for section in NOT_YET:
        for key in mapping(document.tree, section):
            if (section, key) not in ACTED_UPON:
                yield (section, key), _NOT_YET, ""
    for model in found:
        if "group" in model.raw and model.raw.get("trees") in {None, False}:
            message = "has no effect without `trees: true`"
            yield (*model.path, "group"), message, "it names a folder of plain copies"


def _same_revision(found: tuple[Model, ...]) -> Iterator[Doubt]:
    """Two entries that answer for the same repo id and revision."""
    groups: dict[tuple[str, str, str, str], list[_Entry]] = {}
    for model in found:
        for version in model.versions:
            if model.repo is not None:
                key = (model.repo, model.repo_type, *_wants(version))
                groups.setdefault(key, []).append((model, version))
    for (repo, _, _, revision), (first, *others) in groups.items():
        answer = _label(*_answering(repo, revision, (first, *others)))
        message = f"wants the same revision of {clip(repo)} as {_label(*first)}"
        for _, version in others:
            yield version.path, message, f"the gateway answers with {answer} by repository id"


def _answering(repo: str, revision: str, group: tuple[_Entry, ...]) -> _Entry:
    """Return the entry that the gateway takes: the one named as the revision, or else the newest
    of the model that has the repo's name, or of the first model."""
    ordered = sorted(group, key=lambda entry: entry[0].name != repo)
    for entry in ordered:
        if entry[1].name == revision:
            return entry
    leading = {one.name: (model, one) for model, one in ordered if model == ordered[0][0]}
    newest = newest_tags((name for name in leading if name), "*", 1)
    return leading[newest[0]] if newest else ordered[0]


def _label(model: Model, version: Version) -> str:
    what = clip(version.name) if version.name else f"tags:{clip(version.tags or '')}"
    return f"{clip(model.name or '')}@{what}"


def _wants(version: Version) -> tuple[str, str]:
    if version.tags is not None:
        return "tags", version.tags
    return "revision", text(version.raw, "revision") or "main"


def _possible_clashes(found: tuple[Model, ...]) -> Iterator[Doubt]:
    for model in found:
        for entry, named in clashes(model):
            message = f"a tag {clip(named.name or '')!r} would clash with the version of that name"
            yield (*entry.path, "tags"), message, "such a tag would be refused"


def _nothing_to_do(found: tuple[Model, ...]) -> Iterator[Doubt]:
    if not found:
        yield ("models",), "there are no models", "nothing will be mirrored"


def _doors(document: Document) -> Iterator[Doubt]:
    """What lets others start runs: a server must listen, and its secret be hard to guess."""
    schedule = mapping(document.tree, "schedule")
    for key in ("webhook_secret", "api_token"):
        if not (secret := text(schedule, key)):
            continue
        if mapping(document.tree, "metrics").get("listen") in {False, "off"}:
            hint = "the daemon listens on metrics.listen alone"
            yield ("schedule", key), "has no effect while metrics.listen is off", hint
        if len(secret) < _GUESSED:
            hint = f"take {_GUESSED} or more, for instance of `openssl rand -hex 32`"
            yield ("schedule", key), "is so short that it can be guessed", hint
