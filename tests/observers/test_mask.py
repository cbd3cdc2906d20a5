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


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("GET /x?X-Amz-Signature=0ab1&b=2", "GET /x?X-Amz-Signature=***&b=2"),
        ('{"url": "http://h/x?Signature=a~b-c_"}', '{"url": "http://h/x?Signature=***"}'),
        ("SignedHeaders=host, Signature=0ab1'", "SignedHeaders=host, Signature=***'"),
        ("x-amz-credential=AKIA%2F2026 next", "x-amz-credential=*** next"),
        ("Authorization: Bearer hf_0123abc", "Authorization: Bearer ***"),
        ("the Bearer token was refused", "the Bearer token was refused"),
        ("design=good, policy: x", "design=good, policy: x"),
    ],
)
def test_what_opens_a_door_is_known_by_its_form(text: str, shown: str) -> None:
    assert Mask().text(text) == shown
    assert Mask().text(shown) == shown


def test_what_was_a_secret_stays_one() -> None:
    assert Mask(["old-one"]).with_more(["new-one"]).text("old-one new-one") == "*** ***"


def test_values_are_masked_at_any_depth_and_keep_their_form() -> None:
    value = {"a": ["hf_abcd", 1, None, {"b": ("x hf_abcd", True)}], "c": 1.5}
    masked = Mask(["hf_abcd"]).value(value)
    assert masked == {"a": ["***", 1, None, {"b": ["x ***", True]}], "c": 1.5}


def test_other_objects_pass_unchanged() -> None:
    path = Path("/x")
    assert Mask(["hf_abcd"]).value(path) is path
    assert Mask().value(value := {"a": 1}) == value
