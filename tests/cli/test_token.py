"""`token create|list|revoke`: what they print, and that a token is shown once."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from sync_daemon.domain.tokens import decode_token, digest_of, is_whole


def create(cli: Any, *argv: str) -> Any:
    ran = cli("token", "create", *argv, "--json")
    assert ran.code == 0, ran.err
    return ran.json


def tokens(cli: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = cli("token", "list", "--json").json["tokens"]
    return found


def test_a_token_is_printed_once_and_kept_as_its_digest(cli: Any) -> None:
    ran = cli("--log-format", "text", "token", "create", "ci", "--model", "m*")
    secret = ran.out.strip()
    assert re.fullmatch(r"sdm_[0-9A-Za-z]{49}", secret)
    assert is_whole(secret)
    assert "reads m* until it is revoked" in ran.err
    assert secret not in ran.err
    stored = cli.snapshot()
    (kept,) = (data for path, data in stored.items() if path.startswith("tokens/"))
    assert secret.encode() not in b"".join(stored.values())
    assert decode_token(kept).sha256 == digest_of(secret)
    for argv in (("token", "list"), ("token", "list", "--json"), ("token", "revoke", "ci")):
        again = cli(*argv)
        assert secret not in again.out + again.err


def test_a_store_with_a_token_is_a_mirror(cli: Any) -> None:
    create(cli, "ci")
    assert cli("run-once").code == 0
    assert cli("verify").code == 0
    usage = {one["kind"]: one["objects"] for one in cli("store", "status", "--json").json["usage"]}
    assert usage["tokens"] == 1
    assert usage["other"] == 1, "the marker, and nothing else that is unknown"


def test_the_list_says_how_tokens_stand(cli: Any) -> None:
    made = create(cli, "ci", "--model", "m", "--expires", "30d")
    create(cli, "other")
    assert cli("token", "revoke", "other").code == 0
    found = {one["name"]: one for one in tokens(cli)}
    assert found["ci"]["state"] == "active"
    assert found["ci"]["models"] == ["m"]
    assert found["ci"]["expires"]
    assert found["other"]["state"] == "revoked"
    assert found["other"]["models"] == ["*"]
    assert "token" not in found["ci"]
    assert made["id"] == found["ci"]["id"]
    shown = cli("token", "list").out
    assert "revoked" in shown
    assert made["token"] not in shown


def test_a_name_has_one_active_token(cli: Any) -> None:
    first = create(cli, "ci")
    ran = cli("token", "create", "CI")
    assert ran.code == 2
    assert "active already" in ran.err
    assert cli("token", "revoke", "ci").code == 0
    second = create(cli, "ci")
    assert first["id"] != second["id"]
    assert len(tokens(cli)) == 2


@pytest.mark.parametrize("by", ["name", "id", "token"])
def test_a_token_is_revoked_once(cli: Any, by: str) -> None:
    made = create(cli, "ci")
    first = cli("token", "revoke", made[by], "--json").json
    second = cli("token", "revoke", made[by], "--json").json
    assert first["changed"]
    assert not second["changed"]
    assert first["state"] == second["state"] == "revoked"
    assert first["revoked"] == second["revoked"]


def test_a_new_token_of_a_name_is_the_one_that_is_revoked(cli: Any) -> None:
    create(cli, "ci")
    cli("token", "revoke", "ci")
    second = create(cli, "ci")
    assert cli("token", "revoke", "ci", "--json").json["id"] == second["id"]
    assert {one["state"] for one in tokens(cli)} == {"revoked"}


def test_nobody_is_revoked_by_a_wrong_name_and_a_token_is_not_repeated(cli: Any) -> None:
    create(cli, "ci")
    for which in ("c", "nobody", "0" * 16, "sdm_" + "A" * 49):
        ran = cli("token", "revoke", which)
        assert ran.code == 2
        assert "sdm_A" not in ran.err
    assert tokens(cli)[0]["state"] == "active"


@pytest.mark.parametrize(
    "argv",
    [
        ("ci", "--model", "a*b"),
        ("ci", "--model", "../x"),
        ("ci", "--model", ""),
        ("ci", "--expires", "0d"),
        ("ci", "--expires", "soon"),
        ("",),
        ("a/b",),
        ("x" * 65,),
        ("906ed36a0b239ed3",),
        ("sdm_" + "A" * 49,),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_written(
    cli: Any, argv: tuple[str, ...]
) -> None:
    assert cli("token", "create", *argv).code == 2
    assert not cli.store.exists()


def test_a_pattern_that_no_model_has_is_told(cli: Any) -> None:
    assert (
        "no model of the YAML is named lama" in cli("token", "create", "a", "--model", "lama").err
    )


def test_a_token_that_cannot_be_read_is_listed(cli: Any) -> None:
    made = create(cli, "ci")
    (cli.store / "tokens" / f"{made['id']}.json").write_text(json.dumps({"id": made["id"]}))
    ran = cli("token", "list", "--json")
    assert ran.code == 1
    assert ran.json["tokens"] == [{"id": made["id"], "name": None, "state": "unreadable"}]
    assert cli("token", "revoke", made["id"]).code == 3
    assert create(cli, "ci")["id"] != made["id"]


def test_without_a_store_nothing_is_listed(cli: Any) -> None:
    assert cli("token", "list").code == 3
