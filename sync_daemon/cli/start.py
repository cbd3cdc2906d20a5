"""Where the command begins: what must be so before the first large import, and at the end.

Imports make a hundred thousand objects and no garbage, which Python would look through some
hundred times: a tenth of the start. It would do so once more before it ends, to free one by
one what ends with the process anyhow: as much again.
"""

from __future__ import annotations

import gc
import os
import sys

_SWEEP = 5_000
"""Objects that are made and not freed before Python looks for circles of garbage; its own: 700."""


def main() -> int:
    """Run the command line and return its exit code."""
    _open_what_is_closed()
    gc.set_threshold(_SWEEP)
    from sync_daemon.cli import main as program  # noqa: PLC0415 - see above

    try:
        return program.main()
    finally:
        gc.freeze()


def _open_what_is_closed() -> None:
    """Lead standard streams that the caller closed (`2>&-`) to nowhere: the next file to be
    opened would get their number, a blob for instance, and what is said to people its bytes."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
        if getattr(sys, name) is None:
            mode = "w" if number else "r"
            stream = os.fdopen(number, mode, encoding="utf-8", closefd=False)
            setattr(sys, name, stream)
