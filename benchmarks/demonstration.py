"""The daemon by the minute, under a real clock: what an operator sees, as a transcript.

    python benchmarks/demonstration.py [--every 1m]

A double of the Hub is the origin, a directory the store; both go with the script. It takes
three to five minutes. The same story, by seconds, is a test: tests/e2e/test_demonstration.py.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.support.demonstration import Demonstration

PATIENCE = 150.0


def main() -> None:
    """Print the transcript; any surprise ends it with an error."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--every", default="1m", help="the schedule; 1m unless told otherwise")
    every = parser.parse_args().every
    began = time.monotonic()

    def say(text: str) -> None:
        at = f"[{time.monotonic() - began:5.1f} s] " if text.startswith("\n---") else ""
        print(f"\n{at}{text.lstrip()}" if at else text, flush=True)

    with tempfile.TemporaryDirectory(prefix="sync-daemon-demonstration-") as folder:
        Demonstration(Path(folder), every, say, PATIENCE).show()


if __name__ == "__main__":
    main()
