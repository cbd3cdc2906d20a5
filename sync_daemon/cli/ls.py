from sync_daemon.cli.command import Command

COMMAND = Command(
    name="ls", summary="(coming)", description="(coming)", exits=(0,), run=lambda s: 0
)
