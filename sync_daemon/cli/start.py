"""Where the command begins: what must be so before the first large import.

Imports make a hundred thousand objects and no garbage, which Python would look through some
hundred times: a tenth of the start.
"""

from __future__ import annotations

import gc

_SWEEP = 5_000
"""Objects that are made and not freed before Python looks for circles of garbage; its own: 700."""


def main() -> int:
    """Run the command line and return its exit code."""
    gc.set_threshold(_SWEEP)
    from sync_daemon.cli import main as program  # noqa: PLC0415 - see above

    return program.main()
