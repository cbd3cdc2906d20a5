"""Gateways over the sample of tests/support/published.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.published import Serving, publish_sample, serving


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store of one's own, to be changed."""
    return publish_sample(tmp_path)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(publish_sample(tmp_path_factory.mktemp("store"))) as found:
        yield found


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(publish_sample(tmp_path_factory.mktemp("store")), anonymous=False) as found:
        yield found
