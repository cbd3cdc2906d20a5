"""Whatever the file holds, it loads or gives a ConfigError."""

import contextlib
from pathlib import Path

import yaml
from hypothesis import given, settings, strategies as st

from sync_daemon.config import ConfigError, json_schema, load

CONTRACT = Path(__file__).with_name("contract.yaml").read_text()
LINES = CONTRACT.splitlines()


def every_key() -> set[str]:
    """All keys that the schema knows."""
    schema = json_schema()
    sections = [schema, *schema["$defs"].values()]
    return {key for section in sections for key in section.get("properties", {})}


WORDS = [
    *sorted(every_key()),
    "hf",
    "type",
    "huggingface",
    "http",
    "directory",
    "<<",
    "1",
    "s3://abc",
]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(WORDS)
    | st.sampled_from(["${A}", "${A:-}", "${", "$$", "10%", "8MiB", "* * * * *", "1d", "08:00,1M"])
)
TREES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=5), inner, max_size=6)
    ),
    max_leaves=30,
)


def try_to_load(text: bytes) -> None:
    with contextlib.suppress(ConfigError):
        load(text, environ={"A": "x"})


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_load_or_are_refused(text: bytes) -> None:
    try_to_load(text)


@settings(deadline=None)
@given(st.text(alphabet="ab:-[]{}&*!|>'\"%@`#,? \n\t\\$<0x1.~", max_size=80))
def test_any_yaml_like_text_loads_or_is_refused(text: str) -> None:
    try_to_load(text.encode())


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(WORDS), TREES, max_size=8))
def test_any_tree_of_known_words_loads_or_is_refused(tree: dict[str, object]) -> None:

    try_to_load(b"version: 1\n" + yaml.safe_dump(tree, allow_unicode=True).encode())


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(LINES) - 1), st.data())
def test_a_changed_line_of_a_right_file_loads_or_is_refused(line: int, data: st.DataObject) -> None:
    key, colon, _ = LINES[line].partition(": ")
    value = data.draw(
        st.sampled_from(["", "[]", "{}", "x", "1", "1.5", "[[]]", "{a: b}", "off", "*a"])
    )
    changed = [*LINES[:line], f"{key}{colon}{value}", *LINES[line + 1 :]]
    try_to_load("\n".join(changed).encode())
