from sync_daemon.cli.command import Command

COMMAND = Command(
    name="status", summary="(coming)", description="(coming)", exits=(0,), run=lambda s: 0
)
