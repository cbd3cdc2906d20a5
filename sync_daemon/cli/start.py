"""Where the command begins: what must be so before the first large import, and at the end.

Imports make a hundred thousand objects and no garbage, which Python would look through some
hundred times: a tenth of the start. It would do so once more before it ends, to free one by
one what ends with the process anyhow: as much again.
"""

from __future__ import annotations

import gc

_SWEEP = 5_000
"""Objects that are made and not freed before Python looks for circles of garbage; its own: 700."""


def main() -> int:
    """Run the command line and return its exit code."""
    gc.set_threshold(_SWEEP)
    from sync_daemon.cli import main as program  # noqa: PLC0415 - see above

    try:
        return program.main()
    finally:
        gc.freeze()
