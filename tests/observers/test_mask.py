"""The last line of defence for secrets."""

from pathlib import Path

import pytest

from sync_daemon.observers.mask import Mask


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("token hf_abcd.", "token ***."),
        ("hf_abcdhf_abcd", "******"),
        ("https://x/?key=p%2Fw%3D%3D&a", "https://x/?key=***&a"),
        ("p/w==", "***"),
        ("nothing here", "nothing here"),
        ("", ""),
    ],
)
def test_a_secret_is_hidden_wherever_it_stands(text: str, shown: str) -> None:
    assert Mask(["hf_abcd", "p/w=="]).text(text) == shown


def test_of_two_secrets_the_longer_one_is_hidden_first() -> None:
    assert Mask(["abcd", "abcd-efgh"]).text("abcd-efgh abcd") == "*** ***"


def test_texts_that_occur_by_chance_are_no_secrets() -> None:
    assert Mask(["", "a", "abc"]).text("abc") == "abc"


def test_values_are_masked_at_any_depth_and_keep_their_form() -> None:
    value = {"a": ["hf_abcd", 1, None, {"b": ("x hf_abcd", True)}], "c": 1.5}
    masked = Mask(["hf_abcd"]).value(value)
    assert masked == {"a": ["***", 1, None, {"b": ["x ***", True]}], "c": 1.5}


def test_other_objects_pass_unchanged() -> None:
    path = Path("/x")
    assert Mask(["hf_abcd"]).value(path) is path
    assert Mask().value(value := {"a": 1}) == value
