"""Endpoints over a clock that stands still: who is asked, and what happens there."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field

from sync_daemon.domain.errors import (
    Interrupted,
    OriginLied,
    OriginUnavailable,
    SyncError,
)
from sync_daemon.origins.endpoint import LONGEST_REST, Endpoint
from sync_daemon.origins.endpoints import Endpoints, FailureRule
from sync_daemon.ports import Reader
from tests.support.fakes import BytesReader, FakeClock, Recorder

A, B, C = "https://a.example", "https://b.example", "https://c.example"
MIB = 1024**2
BY_DEFAULT = FailureRule()
DOWN = OriginUnavailable("a.example: cannot connect (connection refused)")


@dataclass
class Servers:
    """Endpoints over a clock that stands still, and what happens at each of them."""

    endpoints: Endpoints
    clock: FakeClock
    told: Recorder
    trouble: dict[str, SyncError] = field(default_factory=dict)
    delay: dict[str, float] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def ask(self, times: int = 1) -> list[str]:
        """Ask for something small; return whom, in order."""
        self.asked.clear()
        for _ in range(times):
            self.endpoints.ask(self._answer)
        return list(self.asked)

    def _answer(self, url: str) -> str:
        self.asked.append(url)
        with self.endpoints.timed(url):
            self.clock.wait(self.delay.get(url, 0.0))
            if url in self.trouble:
                raise self.trouble[url]
        return url

    def read(
        self, size: int = 100, *, about: str = "file", breaks: SyncError | None = None
    ) -> list[str]:
        """Read a body of so many bytes, that may break at its end; return whom was asked."""
        self.asked.clear()

        def opened(url: str) -> Reader:
            self.asked.append(url)
            if url in self.trouble:
                raise self.trouble[url]
            return SlowReader(size, self.delay.get(url, 0.0), self.clock)

        with (
            suppress(OriginUnavailable, OriginLied, Interrupted),
            self.endpoints.open(opened, about, size) as reader,
        ):
            buffer = memoryview(bytearray(size))
            while reader.readinto(buffer):
                pass
            if breaks is not None:
                raise breaks
        return list(self.asked)

    def switches(self) -> list[tuple[str, str]]:
        return [(e.fields()["to_endpoint"], e.fields()["reason"]) for e in self.switched()]

    def switched(self) -> list:  # type: ignore[type-arg]
        return self.told.named("endpoint.switched")

    def notable(self) -> list[str]:
        """What is told besides each request."""
        return [event.name for event in self.told.events if event.level != "debug"]

    def rests(self) -> list[float]:
        return [e.fields()["seconds"] for e in self.told.named("endpoint.rested")]

    def fail(self, url: str, times: int) -> None:
        """Have an endpoint fail so often, each time when it does not rest."""
        self.trouble[url] = DOWN
        for _ in range(times):
            self.clock.wait(LONGEST_REST + 1)
            self.ask()
        del self.trouble[url]


class SlowReader(BytesReader):
    """A body that takes some seconds."""

    def __init__(self, size: int, seconds: float, clock: FakeClock) -> None:
        super().__init__(bytes(size))
        self._seconds, self._clock = seconds, clock

    def readinto(self, buffer: memoryview, /) -> int:
        self._clock.wait(self._seconds)
        self._seconds = 0.0
        return super().readinto(buffer)


def servers(*endpoints: str | tuple[str, int], rule: FailureRule = BY_DEFAULT) -> Servers:
    clock, told = FakeClock(), Recorder()
    made = [
        Endpoint(one, place) if isinstance(one, str) else Endpoint(*one)
        for place, one in enumerate(endpoints, 1)
    ]
    return Servers(Endpoints("hf", made, clock=clock, emit=told, rule=rule), clock, told)
