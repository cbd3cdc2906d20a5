"""`python -m sync_daemon` is `sync-daemon`."""

import sys

from sync_daemon.cli.start import main

if __name__ == "__main__":
    sys.exit(main())
