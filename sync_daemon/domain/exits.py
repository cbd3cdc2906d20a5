"""The exit codes; docs/commands.md says what they mean."""

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_UNREACHABLE = 3
EXIT_DAMAGED = 4
EXIT_LOCKED = 5
EXIT_INTERRUPTED = 130
