"""`pull`: one version of one model from a mirror onto this machine, every byte proven."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sync_daemon.cli.command import Command, add_files, add_json, add_many
from sync_daemon.cli.hiding import secrets_around, secrets_in
from sync_daemon.cli.output import Output
from sync_daemon.cli.session import Session
from sync_daemon.client.hub_cache import default_hub_cache
from sync_daemon.client.options import Options, find_settings, make_request
from sync_daemon.client.pull import pull
from sync_daemon.client.report import PullReport
from sync_daemon.client.request import Request, split_version
from sync_daemon.client.sites import TOKEN, Flags, choose_sites, read_token
from sync_daemon.client.torch_home import default_torch_home
from sync_daemon.config import Settings
from sync_daemon.domain.errors import ConfigurationError
from sync_daemon.domain.words import exact_size, human_size, plural
from sync_daemon.observers.fanout import Listener

_USUAL = "usual"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `pull`."""
    parser.add_argument(
        "model",
        nargs="?",
        metavar="MODEL[@VERSION]",
        help="a model or repository id; VERSION is a version, alias, branch, tag or commit",
    )
    _add_places(parser)
    _add_sites(parser)
    _add_choices(parser)
    add_files(parser)
    add_json(parser)


def _add_places(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o", "--output", type=Path, metavar="DIR", help="directory for the files of the version"
    )
    parser.add_argument(
        "--hf-cache",
        nargs="?",
        const=_USUAL,
        metavar="DIR",
        help="fill the cache of huggingface_hub; without DIR the one that it uses by itself",
    )
    parser.add_argument(
        "--torch-home",
        nargs="?",
        const=_USUAL,
        metavar="DIR",
        help="put checkpoints where torch.hub looks; without DIR $TORCH_HOME",
    )
    parser.add_argument("--cache", type=Path, metavar="DIR", help="directory of the local cache")


def _add_sites(parser: argparse.ArgumentParser) -> None:
    add_many(parser, "--mirror", "URL", "a mirror to fetch from; may be repeated, the best first")
    parser.add_argument(
        "--token-file", type=Path, metavar="FILE", help="file with the access token of the mirrors"
    )
    parser.add_argument(
        "--connections", type=int, metavar="N", help="ranges in flight together; 16 by default"
    )
    parser.add_argument(
        "--bandwidth", metavar="RATE", help="bytes per second, as 8MiB, or a timetable"
    )
    parser.add_argument(
        "--offline", action="store_true", help="ask nobody: take what the cache holds"
    )


def _add_choices(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--repo-type", choices=("model", "dataset", "space"), help="kind of repository"
    )
    for name, what in (("include", "only files"), ("exclude", "no files")):
        add_many(parser, f"--{name}", "PATTERN", f"{what} that match; may be repeated")
    parser.add_argument(
        "--copy", action="store_true", help="copy the files, to be edited; do not link them"
    )
    parser.add_argument(
        "--force", action="store_true", help="replace files that pull did not put there"
    )
    parser.add_argument(
        "--verify", action="store_true", help="hash every file again, also in the cache"
    )
    parser.add_argument(
        "--unpack", action="store_true", help="unpack .tar.gz, .tgz, .zip and .zz in the output"
    )
    parser.add_argument("--dry-run", action="store_true", help="only tell what would be fetched")


def run(session: Session) -> int:
    """Pull what was asked for and print the report."""
    arguments = session.arguments
    settings = find_settings(arguments.config, session.environ, Path.cwd())
    flags = Flags(
        tuple(arguments.mirror),
        read_token(arguments.token_file) if arguments.token_file else None,
        arguments.cache,
        arguments.connections,
        arguments.bandwidth,
    )
    _hide(session, settings, flags)
    request = make_request(_options(session), settings, offline=arguments.offline)
    _check_places(request)
    sites = choose_sites(settings, flags, session.environ, offline=arguments.offline)
    with _watching(session, request) as listeners, session.listening(*listeners) as emit:
        report = pull(request, sites, emit, session.stop)
    if arguments.json:
        session.out.json(report.to_json())
    else:
        _show(session, report)
    return report.exit_code


def _options(session: Session) -> Options:
    arguments, environ = session.arguments, session.environ
    model, version = split_version(arguments.model) if arguments.model else (None, None)
    hub, torch = arguments.hf_cache, arguments.torch_home
    return Options(
        model=model,
        version=version,
        repo_type=arguments.repo_type,
        include=tuple(arguments.include),
        exclude=tuple(arguments.exclude),
        output=arguments.output,
        hub_cache=default_hub_cache(environ) if hub == _USUAL else Path(hub) if hub else None,
        torch_home=default_torch_home(environ)
        if torch == _USUAL
        else Path(torch)
        if torch
        else None,
        dry_run=arguments.dry_run,
        verify=arguments.verify,
        copy=arguments.copy,
        force=arguments.force,
        unpack=arguments.unpack,
    )


def _check_places(request: Request) -> None:
    places = (request.output, request.hub_cache, request.torch_home)
    if places == (None, None, None) and not request.dry_run:
        message = "nothing says where to"
        raise ConfigurationError(message, hint="give --output DIR, --hf-cache or --torch-home")


def _hide(session: Session, settings: Settings | None, flags: Flags) -> None:
    """Mask every token in all that is written from now on."""
    texts = [*secrets_in(settings), *secrets_around(session.environ)]
    texts += [flags.token.reveal()] if flags.token else []
    texts += [session.environ[TOKEN]] if session.environ.get(TOKEN) else []
    session.out.mask = session.talk.mask = session.talk.mask.with_more(texts)


@contextmanager
def _watching(session: Session, request: Request) -> Iterator[tuple[Listener, ...]]:
    """Draw progress bars where a person is looking and bytes will move."""
    quiet = request.dry_run or request.offline
    if quiet or not (session.talk.terminal and session.log_format() == "text"):
        yield ()
        return
    from sync_daemon.observers.progress import Progress  # noqa: PLC0415 - rich takes its time

    with Progress(session.talk) as progress:
        yield (progress,)


def _show(session: Session, report: PullReport) -> None:
    """Print what came of it for people."""
    out, request = session.out, report.request
    commit = f" at {report.commit[:12]}" if report.commit else ""
    style = "bold" if report.exit_code == 0 else "red"
    out.line(f"{request}: {report.status}{commit}", style)
    for warning in report.warnings:
        out.line(f"  warning: {warning}")
    if report.error is not None:
        out.line(f"  {report.error.message}")
        if report.error.hint:
            out.line(f"  hint: {report.error.hint}")
    if report.status == "planned":
        _show_plan(report, out, files=session.arguments.files)
    if report.status == "ok":
        _show_places(report, out)
    if report.status != "planned":
        _show_sizes(report, out)


def _show_plan(report: PullReport, out: Output, *, files: bool) -> None:
    plan = report.plan or ()
    size = sum(size for _, size in plan)
    total = f"{plural(report.files, 'file')}, {exact_size(report.bytes.total)}; " if plan else ""
    out.line(f"  {total}to fetch: {plural(len(plan), 'file')}, {exact_size(size)}")
    for path, length in plan if files else ():
        out.line(f"      + {path}  {human_size(length)}")


def _show_places(report: PullReport, out: Output) -> None:
    request, done = report.request, report.outcome
    places = (request.output, report.snapshot, request.torch_home)
    for place in (one for one in places if one is not None):
        out.line(f"  {place}")
    out.line(
        f"  {plural(report.files, 'file')}, {exact_size(report.bytes.total)}: {done.linked} linked,"
        f" {done.copied} copied, {done.kept} there already, {done.removed} removed"
    )


def _show_sizes(report: PullReport, out: Output) -> None:
    fetched, seconds = report.bytes.fetched, max(report.seconds, 0.001)
    where = f" from {report.site}" if report.site and fetched else ""
    rate = f", {human_size(int(fetched / seconds))}/s" if fetched else ""
    out.line(f"  {exact_size(fetched)} fetched{where} in {report.seconds:.1f} s{rate}")


COMMAND = Command(
    name="pull",
    description=(
        "Fetch one version of one model from the nearest mirror that works, prove every byte, and\n"
        "put the files into a directory. Versions share files through a local cache; what was\n"
        "interrupted goes on where it was. Mirrors are named by --mirror, $SYNC_DAEMON_MIRRORS,\n"
        "mirror_sites of the YAML, or $HF_ENDPOINT, whichever comes first."
    ),
    exits=(0, 1, 2, 3, 130),
    run=run,
    configure=configure,
    graceful=True,
)
