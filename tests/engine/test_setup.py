"""Steps of `store init` against a server in memory: what each says, and what it leaves alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from typing import Any

import pytest

from sync_daemon.domain.access import AccountName
from sync_daemon.domain.administration import Account, UploadRules
from sync_daemon.domain.errors import StoreRefused
from sync_daemon.engine.readers import Grant, set_reader
from sync_daemon.engine.retry import Retry
from sync_daemon.engine.setup import Step, set_quota, set_up, set_upload_life
from sync_daemon.engine.usage import count_usage, stored_bytes, unfinished
from sync_daemon.ports import StoreCapacity
from sync_daemon.stores.memory import MemoryStore
from tests.support.fakes import FakeClock, Recorder

TEAM = AccountName("team")
POLICY = {"Version": "2012-10-17", "Statement": [{"Action": ["s3:GetObject"]}]}
OTHER = {"Version": "2012-10-17", "Statement": []}
GRANT = Grant(TEAM, "p-team", POLICY)
HOURS = timedelta(hours=1)


class Server:
    """An administration that forgets nothing; `refuse` names methods that have no rights."""

    def __init__(self, rules: UploadRules | None = None, *refuse: str) -> None:
        self.rules = rules or UploadRules(24 * HOURS, 6 * HOURS)
        self.refuse = refuse
        self.obeys = True
        self.size = 0
        self.accounts: dict[str, Account] = {}
        self.secrets: dict[str, str] = {}
        self.policies: dict[str, Mapping[str, Any]] = {}
        self.writes: list[str] = []

    def _check(self, name: str, *, write: bool = True) -> None:
        if name in self.refuse:
            raise StoreRefused("the key has no administration rights for this")
        if write:
            self.writes.append(name)

    def quota(self, bucket: str) -> int:
        self._check("quota", write=False)
        return self.size

    def set_quota(self, bucket: str, size: int) -> None:
        self._check("set_quota")
        self.size = size

    def upload_rules(self) -> UploadRules:
        self._check("upload_rules", write=False)
        return self.rules

    def set_upload_rules(self, rules: UploadRules) -> None:
        self._check("set_upload_rules")
        self.rules = rules if self.obeys else self.rules

    def account(self, name: str) -> Account | None:
        self._check("account", write=False)
        return self.accounts.get(name)

    def put_account(self, name: str, secret: str) -> None:
        self._check("put_account")
        held = self.accounts.get(name)
        self.accounts[name] = held or Account(frozenset())
        self.secrets[name] = secret

    def policy(self, name: str) -> Mapping[str, Any] | None:
        return self.policies.get(name)

    def put_policy(self, name: str, policy: Mapping[str, Any]) -> None:
        self._check("put_policy")
        self.policies[name] = policy

    def attach(self, account: str, policy: str) -> None:
        self._check("attach")
        self.accounts[account] = Account(self.accounts[account].policies | {policy})


class Place(MemoryStore):
    """A bucket in memory that may not be there yet."""

    def __init__(self, *, there: bool, allowed: bool = True) -> None:
        super().__init__()
        self.there, self.allowed = there, allowed

    def exists(self) -> bool:
        return self.there

    def create(self) -> None:
        if not self.allowed:
            raise StoreRefused("access denied")
        self.there = True

    def unfinished(self) -> int | None:
        return None

    def unfinished_bytes(self) -> int | None:
        return None


def reader(server: Server, grant: Grant = GRANT, *, apply: bool = True) -> Step:
    return set_reader(server, grant, lambda _: nullcontext(), apply=apply)


def steps(place: Place, *, apply: bool = True) -> list[tuple[str, str]]:
    retry = Retry(1, Recorder(), FakeClock())
    return [(one.name, one.state) for one in set_up(place, retry, "b", apply=apply)]


def test_a_bucket_is_made_once_and_marked_once() -> None:
    place = Place(there=False)
    assert steps(place, apply=False) == [("bucket", "planned"), ("format", "planned")]
    assert not place.there
    assert steps(place) == [("bucket", "done"), ("format", "done")]
    assert steps(place) == [("bucket", "already"), ("format", "already")]


def test_without_the_right_to_make_it_the_bucket_is_left_to_an_administrator() -> None:
    found = list(
        set_up(
            Place(there=False, allowed=False), Retry(1, Recorder(), FakeClock()), "b", apply=True
        )
    )
    assert [one.state for one in found] == ["impossible", "impossible"]
    assert found[0].command == "mc mb ALIAS/b"


def test_what_holds_something_else_is_refused() -> None:
    place = Place(there=True)
    place.put("photo.jpg", b"x")
    with pytest.raises(StoreRefused, match=r"photo\.jpg"):
        steps(place)


def test_an_unknown_format_is_refused() -> None:
    place = Place(there=True)
    place.put("mirror.json", b'{"format":9}\n')
    with pytest.raises(StoreRefused, match="format"):
        steps(place, apply=False)


def test_a_quota_is_set_once() -> None:
    server = Server()
    assert set_quota(server, "b", 2**30, apply=False).state == "planned"
    assert server.writes == []
    assert set_quota(server, "b", 2**30, apply=True).state == "done"
    assert set_quota(server, "b", 2**30, apply=True).state == "already"
    assert server.writes == ["set_quota"]


def test_without_rights_a_step_says_so_and_names_the_command() -> None:
    step = set_quota(Server(None, "quota"), "b", 2**30, apply=True)
    assert (step.state, step.command) == (
        "impossible",
        "mc admin bucket quota ALIAS/b --size 1073741824B",
    )
    step = set_upload_life(Server(None, "upload_rules"), apply=True)
    assert step.command == "mc admin config set ALIAS api stale_uploads_expiry=720h"
    step = reader(Server(None, "account"))
    assert "mc admin policy create ALIAS p-team" in str(step.command)
    assert step.policy == POLICY


@pytest.mark.parametrize(
    ("rules", "state", "after"),
    [
        (UploadRules(24 * HOURS, 6 * HOURS), "done", UploadRules(720 * HOURS, 6 * HOURS)),
        (UploadRules(720 * HOURS, 6 * HOURS), "already", None),
        (UploadRules(900 * HOURS, None), "already", None),
        (UploadRules(900 * HOURS, 99 * HOURS), "done", UploadRules(900 * HOURS, 6 * HOURS)),
        (UploadRules(24 * HOURS, 6 * HOURS, fixed=True), "impossible", None),
        (UploadRules(None, None), "impossible", None),
    ],
)
def test_unfinished_uploads_get_thirty_days_or_more(
    rules: UploadRules, state: str, after: UploadRules | None
) -> None:
    server = Server(rules)
    assert set_upload_life(server, apply=True).state == state
    assert server.rules == (after or rules)


def test_a_server_that_takes_a_change_and_does_not_change_is_found_out() -> None:
    server = Server()
    server.obeys = False
    assert set_upload_life(server, apply=True).state == "impossible"


def test_an_account_is_made_once_and_its_secret_stays() -> None:
    server = Server()
    assert reader(server, apply=False).state == "planned"
    assert server.writes == []
    step = reader(server)
    assert (step.state, step.secret) == ("done", server.secrets["team"])
    assert len(str(step.secret)) == 40
    again = reader(server)
    assert (again.state, again.secret) == ("already", None)


def test_other_rights_leave_the_secret_and_a_new_secret_leaves_the_rights() -> None:
    server = Server()
    first = reader(server).secret
    changed = reader(server, Grant(TEAM, "p-team", OTHER))
    assert (changed.state, changed.secret, server.secrets["team"]) == ("done", None, first)
    rotated = reader(server, Grant(TEAM, "p-team", POLICY, rotate=True, keep=True))
    assert rotated.secret != first
    assert server.policies["p-team"] == OTHER
    assert rotated.policy == OTHER


@pytest.mark.parametrize(
    "held",
    [
        Account(frozenset({"readwrite"})),
        Account(frozenset({"p-team"}), frozenset({"staff"})),
        Account(frozenset({"p-team"}), enabled=False),
    ],
)
def test_an_account_that_may_do_more_or_was_switched_off_is_not_touched(held: Account) -> None:
    server = Server()
    server.accounts["team"] = held
    assert reader(server, Grant(TEAM, "p-team", POLICY, rotate=True)).state == "impossible"
    assert server.writes == []


def test_a_secret_that_cannot_be_kept_makes_no_account() -> None:
    @contextmanager
    def full(secret: str) -> Iterator[None]:
        raise StoreRefused("the disk is full")
        yield

    server = Server()
    assert set_reader(server, GRANT, full, apply=True).state == "impossible"
    assert server.accounts == {}


def test_a_secret_is_not_lost_when_the_rights_cannot_be_attached() -> None:
    server = Server(None, "attach")
    step = reader(server)
    assert (step.state, step.secret) == ("impossible", server.secrets["team"])
    assert step.command == "mc admin policy attach ALIAS p-team --user team"
    server.refuse = ()
    assert reader(server).state == "done"


def test_a_step_never_shows_its_secret_by_itself() -> None:
    step = reader(Server())
    assert str(step.secret) not in repr(step)
    assert str(step.secret) not in str(step.to_json())


def test_usage_counts_every_object_by_its_kind() -> None:
    store = MemoryStore()
    for key in ("blobs/sha256/ab/x", "models/m/1/current.json", "uploads/a/b.json", "mirror.json"):
        store.put(key, b"12345")
    usage = count_usage(store.list(""))
    assert {one.kind: (one.objects, one.bytes) for one in usage if one.objects} == {
        "blobs": (1, 5),
        "manifests": (1, 5),
        "uploads": (1, 5),
        "other": (1, 5),
    }
    assert stored_bytes(usage) == 20
    assert unfinished(usage) == 1


@pytest.mark.parametrize(
    ("room", "counted"),
    [
        (StoreCapacity(100), StoreCapacity(100, 30, 70)),
        (StoreCapacity(20), StoreCapacity(20, 30, 0)),
        (StoreCapacity(100, None, 50), StoreCapacity(100, 30, 50)),
        (StoreCapacity(100, 60, 40), StoreCapacity(100, 60, 40)),
    ],
)
def test_what_is_stored_counts_only_where_the_store_does_not_say(
    room: StoreCapacity, counted: StoreCapacity
) -> None:
    assert room.counting(30) == counted
