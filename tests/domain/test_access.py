"""What consumers may see: patterns of models, and the policy that is made of them."""

import json

import pytest

from sync_daemon.domain.access import (
    AccountName,
    ModelPattern,
    make_policy,
    name_policy,
    same_policy,
)
from sync_daemon.domain.errors import ConfigurationError, InvalidName

KEPT = ("blobs/", "staging/", "uploads/", "quarantine/", "locks/", "runs/", "condemned/")


@pytest.mark.parametrize(
    ("pattern", "model", "covered"),
    [
        ("llama", "llama", True),
        ("llama", "llama2", False),
        ("llama", "llama/chat", True),
        ("llama*", "llama2", True),
        ("meta/*", "meta/llama", True),
        ("meta/*", "meta", False),
        ("*", "meta/llama", True),
    ],
)
def test_a_pattern_is_a_name_or_the_beginning_of_names(
    pattern: str,
    model: str,
    covered: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    assert ModelPattern(pattern).matches(model) is covered


@pytest.mark.parametrize(
    "pattern",
    ["", "*/llama", "a*b", "a?", "a/b/c", "a/b/c*", "../x", "${aws:username}", "/a", "**"],
)
def test_a_pattern_that_could_reach_into_other_models_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidName):
        ModelPattern(pattern)


@pytest.mark.parametrize("name", ["ab", "a b", "-team", "x" * 65, "a;b", "a/b"])
def test_an_account_has_a_plain_name(name: str) -> None:
    with pytest.raises(InvalidName):
        AccountName(name)


def test_the_policy_of_one_model_and_one_network_is_this() -> None:
    found = make_policy("bucket", "hub", [ModelPattern("llama")], ["10.0.0.0/8"])
    source = {"aws:SourceIp": ["10.0.0.0/8"]}
    assert found == {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["s3:GetObject"],
                "Resource": [
                    "arn:aws:s3:::bucket/hub/aliases/llama/*",
                    "arn:aws:s3:::bucket/hub/mirror.json",
                    "arn:aws:s3:::bucket/hub/models/llama/*",
                    "arn:aws:s3:::bucket/hub/trees/llama/*",
                ],
                "Condition": {"IpAddress": source},
            },
            {
                "Effect": "Allow",
                "Action": ["s3:ListBucket"],
                "Resource": ["arn:aws:s3:::bucket"],
                "Condition": {
                    "StringLike": {
                        "s3:prefix": [
                            "hub/aliases/llama/*",
                            "hub/models/llama/*",
                            "hub/trees/llama/*",
                        ]
                    },
                    "IpAddress": source,
                },
            },
            {
                "Effect": "Allow",
                "Action": ["s3:GetBucketLocation"],
                "Resource": ["arn:aws:s3:::bucket"],
                "Condition": {"IpAddress": source},
            },
            {
                "Effect": "Allow",
                "Action": ["s3:HeadBucket"],
                "Resource": ["arn:aws:s3:::bucket"],
                "Condition": {"IpAddress": source},
            },
        ],
    }


@pytest.mark.parametrize("models", [[], ["*"], ["llama", "meta/*"]])
@pytest.mark.parametrize("prefix", ["", "hub"])
def test_no_policy_names_what_the_mirror_keeps_for_itself(models: list[str], prefix: str) -> None:
    policy = make_policy("bucket", prefix, [ModelPattern(one) for one in models], [])
    root = f"{prefix}/" if prefix else ""
    resources = policy["Statement"][0]["Resource"]
    prefixes = policy["Statement"][1]["Condition"]["StringLike"]["s3:prefix"]
    for folder in KEPT:
        assert not any(folder in text for text in [*resources, *prefixes])
    assert all(
        text.startswith(f"{root}{folder}")
        for text, folder in zip(
            prefixes, sorted(["aliases/", "models/", "trees/"] * max(1, len(models))), strict=True
        )
    )
    assert "Deny" not in json.dumps(policy)
    assert "IpAddress" not in json.dumps(policy)


def test_a_prefix_that_a_policy_would_read_as_a_pattern_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no policy can name"):
        make_policy("bucket", "hu*b", [], [])


def test_two_mirrors_give_one_account_policies_of_different_names() -> None:
    team = AccountName("team")
    names = {name_policy(team, "a", "hub"), name_policy(team, "a", ""), name_policy(team, "b", "")}
    assert len(names) == 3


def test_a_policy_is_the_same_in_another_order() -> None:
    first = make_policy("bucket", "hub", [ModelPattern("a"), ModelPattern("b")], ["10.0.0.0/8"])
    again = json.loads(json.dumps(first))
    again["Statement"].reverse()
    again["Statement"][3]["Resource"].reverse()
    assert same_policy(first, again)
    again["Statement"][2]["Resource"].pop()
    assert not same_policy(first, again)
