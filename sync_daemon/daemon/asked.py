"""What became of runs by hand: queued, running, finished with the report. Bounded, in memory.

`POST /api/runs` answers an id before the run has begun; whoever asked may look here how it
is. The newest are kept; older ones, and those of a former process, are in the history.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Any, Literal

from sync_daemon.daemon.jobs import Asked
from sync_daemon.domain.report import Failure, RunReport

MOST = 32
"""Runs that are remembered. A report has 200 KB at most, or so (`report.MOST_NAMED`)."""

State = Literal["queued", "running", "finished"]


@dataclass(frozen=True, slots=True)
class Known:
    """A run by hand. A finished one has a report, as the store keeps it, or an error."""

    asked: Asked
    state: State = "queued"
    report: bytes | None = None
    error: Failure | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the answer of `GET /api/runs/ID`."""
        error = self.error
        return {
            "run": self.asked.run,
            "state": self.state,
            "models": list(self.asked.models),
            "full": self.asked.full,
            "report": json.loads(self.report) if self.report else None,
            "error": (
                {"kind": error.kind, "message": error.message, "hint": error.hint}
                if error
                else None
            ),
        }


class AskedRuns:
    """The newest runs by hand, for several threads."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._known: OrderedDict[str, Known] = OrderedDict()

    def queue(self, asked: Asked) -> None:
        """Note that a run was asked for; the oldest finished one is forgotten for it."""
        with self._lock:
            self._known[asked.run] = Known(asked)
            done = [run for run, known in self._known.items() if known.state == "finished"]
            for run in done[: max(0, len(self._known) - self._most)]:
                del self._known[run]

    def begin(self, asked: Asked) -> None:
        """Note that it begins."""
        self._change(asked, "running")

    def finish(self, asked: Asked, result: RunReport | Failure | None) -> None:
        """Note that it has ended, with its report, or with what kept it from being made."""
        if isinstance(result, RunReport):
            self._change(asked, "finished", report=result.to_record())
        else:
            self._change(asked, "finished", error=result)

    def find(self, run: str) -> Known | None:
        """Return what is known of a run, by what was answered or by the id that it got."""
        with self._lock:
            return self._known.get(run.rpartition("-")[2])

    def _change(
        self,
        asked: Asked,
        state: State,
        *,
        report: bytes | None = None,
        error: Failure | None = None,
    ) -> None:
        with self._lock:
            if (known := self._known.get(asked.run)) is not None:
                self._known[asked.run] = replace(known, state=state, report=report, error=error)
