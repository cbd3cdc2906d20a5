"""Settings from a few lines of YAML."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from sync_daemon.config import Settings, load

Configure = Callable[..., Settings]


@pytest.fixture
def configure() -> Configure:
    """Models `a` and `b`, unless told otherwise; keywords are sections."""

    def make(**sections: Any) -> Settings:
        document: dict[str, Any] = {
            "version": 1,
            "store": {"url": "file:///nowhere/store"},
            "origins": {"disk": {"type": "directory", "path": "/nowhere/disk"}},
            "models": [{"name": "a", "repo": "a"}, {"name": "b", "repo": "b"}],
        }
        return load(json.dumps(document | sections).encode(), environ={})

    return make
