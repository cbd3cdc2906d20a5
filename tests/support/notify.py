"""Stands in for systemd: takes the datagrams of sd_notify, with the time of each."""

from __future__ import annotations

import os
import socket
import threading
import time
from typing import Self


class NotifySocket:
    """Listens in the abstract namespace, or at `path`; a context manager."""

    def __init__(self, path: str | None = None) -> None:
        self.name = path or f"@sync-daemon-test-{os.getpid()}-{id(self):x}"
        self.messages: list[tuple[float, dict[str, str]]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{self.name[1:]}" if self.name.startswith("@") else self.name)
        self._socket.settimeout(0.05)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ended.set()
        self._thread.join()
        self._socket.close()

    def _listen(self) -> None:
        while not self._ended.is_set():
            try:
                text = self._socket.recv(4096).decode()
            except TimeoutError:
                continue
            lines = dict(line.split("=", 1) for line in text.splitlines())
            self.messages.append((time.monotonic(), lines))

    def told(self, key: str) -> list[str]:
        """Every value of a key, in order."""
        return [lines[key] for _, lines in tuple(self.messages) if key in lines]

    def states(self) -> list[str]:
        """Everything but the words and the watchdog, in order: READY, RELOADING, STOPPING."""
        known = ("READY", "RELOADING", "STOPPING")
        return [key for _, lines in tuple(self.messages) for key in known if key in lines]
