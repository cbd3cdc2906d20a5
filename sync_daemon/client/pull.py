"""The line of a pull: find the commit, make the cache hold it, put the files where they belong.

    resolve -> the engine syncs the version into the cache -> prove the blobs -> place

The cache is a mirror store in a directory and the mirrors are the endpoints of one origin, so
the engine does what it does for the daemon. A version that the cache holds, sound, costs one
question to a mirror, or none if a full commit is asked for.
"""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from pathlib import Path

from sync_daemon import bootstrap
from sync_daemon.client.account import Account
from sync_daemon.client.cache import Cache, Held, make_folder, open_cache
from sync_daemon.client.hub_cache import HubCache
from sync_daemon.client.online import Online
from sync_daemon.client.options import PULLED
from sync_daemon.client.placing import Folder, How as Placing
from sync_daemon.client.report import (
    NotInCache,
    PullReport,
    Status,
    VersionRefused,
)
from sync_daemon.client.request import Request
from sync_daemon.client.sites import Sites
from sync_daemon.client.torch_home import fill_torch_home
from sync_daemon.client.unpacking import unpack_all
from sync_daemon.domain.digests import CommitId
from sync_daemon.domain.errors import (
    ConfigurationError,
    Forbidden,
    Interrupted,
    OriginUnavailable,
    RepositoryNotFound,
    SyncError,
)
from sync_daemon.ports import Emit

_TOKEN_KEYS = "--token-file, $SYNC_DAEMON_TOKEN or pull.token_file"  # noqa: S105


def pull(request: Request, sites: Sites, emit: Emit, stop: threading.Event) -> PullReport:
    """Pull one version and report; only ConfigurationError is raised.

    `emit` hears the engine's events; `stop` asks for a tidy end.
    """
    _check_places(request, sites)
    began, account = time.monotonic(), Account()
    status: Status = "planned" if request.dry_run else "ok"
    cause: SyncError | None = None
    try:
        _pull(request, sites, emit, stop, account)
    except ConfigurationError:
        raise
    except Interrupted as error:
        status, cause = "interrupted", error
    except VersionRefused as error:
        status, cause = "refused", error
    except SyncError as error:
        status, cause = "failed", _with_hint(error, sites)
    return account.report(request, status, cause, sites.names, time.monotonic() - began)


def _check_places(request: Request, sites: Sites) -> None:
    """Refuse places within the cache, but for those that `pull` chooses there by itself."""
    cache = sites.cache.resolve()
    places = {
        "output": request.output,
        "hf-cache": request.hub_cache,
        "torch-home": request.torch_home,
    }
    for name, place in places.items():
        whole = place.resolve() if place is not None else Path("/")
        if whole.is_relative_to(cache) and cache / PULLED not in whole.parents:
            message = f"--{name} {place}: lies in the cache {cache}, among its own files"
            raise ConfigurationError(message, hint="name a directory outside, or another --cache")


def _pull(
    request: Request, sites: Sites, emit: Emit, stop: threading.Event, account: Account
) -> None:
    retry = bootstrap.retry(sites.settings, emit, stop)
    with ExitStack() as stack:
        if not (request.offline or request.dry_run):
            make_folder(sites.cache)
        cache = stack.enter_context(open_cache(sites.cache, retry, stop))
        held = _held(request, cache)
        if held is None and not request.offline:
            held = Online(request, sites, cache, emit, stop, account).fetch()
        if held is None:
            return  # a dry run
        account.commit = held.commit
        account.measure(held.manifest)
        if not request.dry_run:
            _fill(request, held, cache, stop, account)


def _held(request: Request, cache: Cache) -> Held | None:
    """Return the version if nobody need be asked for it. Raises NotInCache if nobody may be."""
    by_commit = CommitId.is_one(request.version)
    if not (request.offline or by_commit):
        return None
    held = cache.find(request.wanted) or cache.find_commit(request.wanted, request.version)
    if held is not None and not cache.unsound(held.manifest, again=request.verify):
        return held
    if not request.offline:
        return None
    what = "does not hold it" if held is None else "lacks some of its files, or they are damaged"
    message = f"{request}: the cache in {cache.root} {what}, and --offline asks nobody"
    raise NotInCache(message, hint="run the same without --offline while a mirror can be reached")


def _with_hint(error: SyncError, sites: Sites) -> SyncError:
    """Say what a developer can do, where the engine speaks to an operator."""
    if isinstance(error, Forbidden | RepositoryNotFound):
        lack = "is the token right?" if sites.has_token else "no token was given, does it want one?"
        error.hint = f"check the name; {lack} {_TOKEN_KEYS}"
    elif isinstance(error, OriginUnavailable) and "certificate" in str(error):
        error.hint = "name a private authority's certificates in $SSL_CERT_FILE or pull.ca_file"
    elif isinstance(error, OriginUnavailable):
        error.hint = "is a mirror reachable? --offline takes what the cache holds"
    return error


def _fill(
    request: Request, held: Held, cache: Cache, stop: threading.Event, account: Account
) -> None:
    try:
        _place(request, held, cache, stop, account)
    except FileNotFoundError as error:
        message = f"{request}: a file vanished while it was placed: {error.filename}"
        raise SyncError(message, hint="does anything else write there? run it again") from error


def _place(
    request: Request, held: Held, cache: Cache, stop: threading.Event, account: Account
) -> None:
    """Fill every place that was asked for."""
    entries = held.manifest.files
    if request.output is not None:
        how = Placing(copy=request.copy, force=request.force, verify=request.verify)
        about = {"model": request.model, "version": request.version, "commit": str(held.commit)}
        done = Folder(request.output, cache, how, stop).fill(entries, about)
        account.warnings += [f"{path}: was changed, and is replaced" for path in done.edited]
        account.warnings += [
            f"{path}: is no longer part of it, and stays: it was changed" for path in done.left
        ]
        account.add(done)
        if request.unpack:
            unpack_all(request.output.absolute(), entries, frozenset(done.fresh))
    if request.hub_cache is not None:
        hub = HubCache(request.hub_cache, request.repository, cache)
        account.add(hub.fill(entries, held.commit, request.version, copy=request.copy, stop=stop))
    if request.torch_home is not None:
        home = request.torch_home
        done = fill_torch_home(
            home, entries, cache, copy=request.copy, force=request.force, stop=stop
        )
        account.add(done)
