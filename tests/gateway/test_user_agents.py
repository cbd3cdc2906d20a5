"""What the name of a client tells."""

from __future__ import annotations

import pytest

from sync_daemon.gateway.files.agents import parse_agent


@pytest.mark.parametrize(
    ("header", "hub", "needs_size"),
    [
        ("unknown/None; hf_hub/0.36.2; python/3.11", (0, 36), True),
        ("unknown/None; hf_hub/1.30.0; python/3.11", (1, 30), True),
        ("transformers/5.0; hf_hub/1.31.0; python/3.11; torch/2.9", (1, 31), False),
        ("unknown/None; hf_hub/2.4.0.dev0", (2, 4), False),
        ("curl/8.5.0", None, False),
        ("nothf_hub/1.2", None, False),
        ("hf_hub/", None, False),
        ("", None, False),
        (None, None, False),
    ],
)
def test_versions_of_huggingface_hub_are_told_apart(
    header: str | None, hub: tuple[int, int] | None, *, needs_size: bool
) -> None:
    agent = parse_agent(header)
    assert agent.hub == hub
    assert agent.needs_size is needs_size
    assert agent.drops_token is agent.limits_size is (hub is not None)


def test_our_own_client_drops_its_token_and_takes_files_of_any_size() -> None:
    agent = parse_agent("sync-daemon/1.0.0")
    assert agent.drops_token
    assert not agent.limits_size
    assert not parse_agent("curl/8 sync-daemon/1.0.0").drops_token
