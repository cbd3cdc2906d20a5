"""A fault of our own in one version is told with its trace, and stops no other."""

import pytest

from sync_daemon.domain.digests import CommitId
from sync_daemon.domain.errors import OriginUnavailable
from sync_daemon.domain.events import InternalError, VersionFailed
from sync_daemon.domain.listing import Listing, Repository
from sync_daemon.engine.tools import How
from sync_daemon.stores.memory import MemoryStore
from tests.support.fakes import FakeOrigin, Recorder, running, wanted


class Faulty(FakeOrigin):
    """Breaks in a way that nobody wrote a rule for."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    def list(self, repository: Repository, commit: CommitId) -> Listing:
        if repository.name == "org/bad":
            raise self._error
        return super().list(repository, commit)


def sync(error: Exception) -> tuple[dict[str, str], Recorder]:
    origin, recorder = Faulty(error), Recorder()
    for repo in ("org/bad", "org/m"):
        origin.commit(repo, {"a.txt": b"x"})
    with running(MemoryStore(), origin, emit=recorder) as engine:
        report = engine.run((wanted("bad", repo="org/bad"), wanted()), How())
    return {str(one.model): one.status for one in report.versions}, recorder


@pytest.mark.parametrize("error", [RuntimeError("no rule"), OSError(5, "no rule"), KeyError("x")])
def test_an_unforeseen_error_leaves_its_trace_in_the_events(error: Exception) -> None:
    """I6."""
    statuses, recorder = sync(error)
    assert statuses == {"bad": "failed", "m": "published"}
    (event,) = (one for one in recorder.events if isinstance(one, InternalError))
    assert (event.model, event.version, event.level) == ("bad", "main", "error")
    assert event.trace.startswith("Traceback")
    assert "in list" in event.trace
    assert type(error).__name__ in event.trace.splitlines()[-1]
    (failed,) = (one for one in recorder.events if isinstance(one, VersionFailed))
    assert failed.kind == "internal_error"
    assert failed.hint


def test_an_error_that_was_foreseen_has_none() -> None:
    statuses, recorder = sync(OriginUnavailable("down"))
    assert statuses["bad"] == "failed"
    assert recorder.named("internal.error") == []
