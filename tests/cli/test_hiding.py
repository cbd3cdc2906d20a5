"""Which texts are hidden: secrets, and what is secret within a URL."""

import base64

import pytest

from sync_daemon.cli.hiding import secrets_around, secrets_in
from sync_daemon.config import Secret


@pytest.mark.parametrize(
    ("url", "hidden", "shown"),
    [
        ("tgram://123456789:AAbot-t0ken/987654321", {"123456789", "AAbot-t0ken", "987654321"}, ()),
        ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdn", {"T1JJ3T3L2", "A1BRTD4JD"}, ()),
        (
            "https://user01234:pa%40ss@alerts01234/h00k-token",
            {"pa@ss", "h00k-token"},
            {"alerts01234"},
        ),
        (
            "http://alertmanager:9093/notifications",
            set(),
            {"alertmanager", "notifications", "9093"},
        ),
        ("json://h:80/x?token=abcd12345", {"abcd12345"}, {"json", "token", "h", "80", "x"}),
        ("http://[broken", set(), ()),
    ],
)
def test_parts_of_an_address_that_look_like_tokens_are_hidden_and_words_are_not(
    url: str, hidden: set[str], shown: set[str]
) -> None:
    found = set(secrets_in({"urls": (Secret(url),)}))
    assert found >= hidden | {url}
    assert not found & set(shown)


def test_a_user_with_a_password_is_hidden_as_a_header_has_it() -> None:
    wanted = base64.b64encode(b"u:p/w").decode()
    assert set(secrets_in(Secret("http://u:p%2Fw@proxy:3128"))) >= {"p/w", wanted}
    assert set(secrets_around({"HTTPS_PROXY": "http://u:p%2Fw@proxy"})) == {"p/w", wanted}


def test_what_libraries_find_by_themselves_is_hidden() -> None:
    around = {
        "HF_TOKEN": "hf_x",
        "AWS_SECRET_ACCESS_KEY": "k",
        "AWS_SESSION_TOKEN": "",
        "HOME": "/",
    }
    assert set(secrets_around(around)) == {"hf_x", "k"}
