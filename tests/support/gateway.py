"""The gateway as its operator runs it: a process, and the URL that it says it serves."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.daemon import Daemon

_END = 15


class Serving:
    """A running gateway. `lines` are its log lines so far."""

    def __init__(self) -> None:
        self.url = ""
        self.lines: list[dict[str, object]] = []
        self.started = threading.Event()

    def read(self, stream: Iterator[str]) -> None:
        for line in stream:
            entry = json.loads(line)
            self.lines.append(entry)
            if entry["event"] == "gateway.started":
                self.url = str(entry["url"])
                self.started.set()
        self.started.set()

    def events(self, name: str) -> list[dict[str, object]]:
        return [line for line in self.lines if line["event"] == name]


@contextmanager
def serving(daemon: Daemon) -> Iterator[Serving]:
    """Run `sync-daemon gateway` by the daemon's YAML until the block ends."""
    found = Serving()
    with daemon.start("gateway") as process:
        assert process.stderr is not None
        reader = threading.Thread(target=found.read, args=(process.stderr,), daemon=True)
        reader.start()
        try:
            assert found.started.wait(60), "the gateway says nothing"
            assert found.url, found.lines
            yield found
        finally:
            process.terminate()
            code = process.wait(_END)
            reader.join(_END)
    assert code == 0, found.lines
