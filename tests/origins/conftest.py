"""A Hub with one repository."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from sync_daemon.wire import Http
from tests.support.hub import (
    Hub,
    Synthetic,
)
from tests.support.hub_bench import (
    LARGE,
    NAME,
    SIZE,
    Bench,
)


@pytest.fixture
def bench() -> Iterator[Bench]:
    with ExitStack() as stack:
        hub = stack.enter_context(Hub())
        http = Http("origin", connect_timeout=2, read_timeout=0.5)
        stack.callback(http.close)
        repo = hub.repo(NAME)
        repo.commit({"config.json": b"{}", LARGE: Synthetic(SIZE, seed=3)})
        yield Bench(hub, http, repo)
