from sync_daemon.cli.command import Command

COMMAND = Command(
    name="diff", summary="(coming)", description="(coming)", exits=(0,), run=lambda s: 0
)
