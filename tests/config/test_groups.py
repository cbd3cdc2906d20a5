"""Groups of plain trees: their names, and what they may not be beside."""

import pytest

from sync_daemon.config import ConfigError, load
from sync_daemon.config.resolve import resolve_models

TEXT = "version: 1\nstore: {url: file:///srv/mirror}\nmodels:\n"


def entry(name: str, group: str | None, trees: str = "true") -> str:
    extra = f", group: {group!r}" if group else ""
    return f"  - {{name: {name}, repo: org/m, trees: {trees}{extra}}}\n"


def problems(*entries: str) -> list[tuple[str, str]]:
    with pytest.raises(ConfigError) as raised:
        load((TEXT + "".join(entries)).encode(), environ={})
    return [(str(one.path), one.message) for one in raised.value.problems]


def test_a_group_reaches_every_version_of_its_model() -> None:
    (model,) = resolve_models(load((TEXT + entry("m", "nlp")).encode(), environ={}))
    assert [(one.trees, one.group) for one in model.versions] == [(True, "nlp")]


@pytest.mark.parametrize("group", ["a/b", "..", "-x", "a b", "x" * 97])
def test_a_group_is_one_plain_segment(group: str) -> None:
    assert problems(entry("m", group)) == [("models[0].group", "is no name for a group")]


@pytest.mark.parametrize("name", ["nlp", "nlp/bert", "NLP/bert"])
def test_a_group_is_no_folder_of_models(name: str) -> None:
    found = problems(entry("m", "nlp"), entry(name, None))
    assert found == [("models[0].group", f"would share its folder with the model {name!r}")]


def test_groups_that_differ_only_in_case_are_one_mistake() -> None:
    found = problems(entry("m", "nlp"), entry("n", "NLP"))
    assert found == [("models[1].group", "differs from the group 'nlp' only in case")]


def test_a_group_without_trees_draws_a_warning() -> None:
    settings = load((TEXT + entry("m", "nlp", trees="false")).encode(), environ={})
    assert [(str(one.path), one.message) for one in settings.warnings] == [
        ("models[0].group", "has no effect without `trees: true`")
    ]
