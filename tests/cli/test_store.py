"""`store init` and `store status`, with a directory, a server that is no MinIO, and MinIO."""

from __future__ import annotations

import http.client
import json
import re
import stat
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

from sync_daemon import bootstrap
from sync_daemon.config import load
from tests.cli.conftest import Cli
from tests.conftest import NO_MINIO
from tests.support.daemon import Ran
from tests.support.servers import (
    BUCKET,
    S3Server,
    admin_of,
    find_minio,
    keep_uploads_for_a_day,
    make_client,
    run_minio,
)
from tests.support.web import Reply

ROOT = Path(__file__).parents[2]
GIB = 1024**3
BLOB = f"blobs/sha256/ab/{'ab' * 32}"
TREE = "trees/llama/1.0/config.json"
CLOSED = (
    BLOB,
    "trees/qwen/1.0/config.json",
    "quarantine/llama/1.0/x.json",
    "staging/x",
    "uploads/x/y.json",
    "locks/x.json",
)
"""What an account for llama alone may not see."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A MinIO of our own, whose rules may change."""
    binary = find_minio()
    if binary is None:
        pytest.skip(NO_MINIO)
    with run_minio(binary, tmp_path_factory.mktemp("administered")) as running:
        yield running


@pytest.fixture
def prefix() -> str:
    return f"store/{uuid.uuid4().hex[:8]}"


@pytest.fixture
def account() -> str:
    return f"team-{uuid.uuid4().hex[:8]}"


def use(cli: Cli, server: S3Server, prefix: str, bucket: str = BUCKET, **keys: Any) -> None:
    """Let mirror.yaml name a bucket of a server, and two models."""
    cli.write(
        {"name": "llama", "repo": "org/m"},
        {"name": "qwen", "repo": "org/m"},
        store={
            "url": f"s3://{bucket}/{prefix}",
            "endpoint": server.endpoint,
            "credentials": {"access_key": server.access_key, "secret_key": server.secret_key},
            **keys,
        },
        transfer={"attempts": 1},
    )


def states(ran: Ran) -> dict[str, str]:
    return {step["name"]: step["status"] for step in ran.json["steps"]}


def refused(ask: Callable[[], object]) -> bool:
    try:
        ask()
    except ClientError as error:
        return error.response["Error"]["Code"] in {"AccessDenied", "403"}
    return False


# -- a directory ----------------------------------------------------------------------


def test_a_directory_is_made_and_marked_once(cli: Cli) -> None:
    assert states(cli("store", "init", "--dry-run", "--json")) == {
        "directory": "planned",
        "format": "planned",
    }
    assert not cli.store.exists()
    assert states(cli("store", "init", "--json")) == {"directory": "done", "format": "done"}
    assert json.loads((cli.store / "mirror.json").read_text()) == {"format": 1}
    again = cli("store", "init", "--json")
    assert (again.code, states(again)) == (0, {"directory": "already", "format": "already"})


def test_init_exits_3_for_a_directory_that_cannot_be_made_or_holds_something(cli: Cli) -> None:
    cli.write(store={"url": (cli.folder / "away/store").as_uri()})
    ran = cli("store", "init")
    assert (ran.code, "cannot be made" in ran.err) == (3, True)
    (cli.folder / "photos").mkdir()
    (cli.folder / "photos/cat.jpg").write_bytes(b"x")
    cli.write(store={"url": (cli.folder / "photos").as_uri()})
    for verb in ("init", "status"):
        ran = cli("store", verb)
        assert (ran.code, "cat.jpg" in ran.err) == (3, True)


def test_status_of_a_directory_tells_its_room_and_what_is_in_it(cli: Cli) -> None:
    assert cli("run-once").code == 0
    before = cli.snapshot()
    ran = cli("store", "status", "--json")
    document = ran.json
    assert ran.code == 0
    assert document["server"] == "directory"
    room = document["capacity"]
    assert room["total"] == room["used"] + room["free"]
    usage = {one["kind"]: one for one in document["usage"]}
    assert usage["blobs"] == {"kind": "blobs", "objects": 2, "bytes": 5002}
    assert usage["manifests"]["objects"] == 2
    assert document["unfinished"] == {"uploads": 0, "bytes": 0, "journals": 0}
    assert (document["quota"], document["uploads_expire_seconds"]) == (None, None)
    assert cli("store", "status", "--no-usage", "--json").json["usage"] is None
    text = cli("store", "status").out
    assert "blobs            2  4.9 KiB" in text
    assert "unfinished  none" in text
    assert cli.snapshot() == before


def test_status_of_a_directory_that_is_not_there_tells_what_init_would_do(cli: Cli) -> None:
    ran = cli("store", "status")
    assert ran.code == 0
    assert "planned    directory" in ran.out
    assert "room        not known: the directory is not there yet" in ran.out
    assert "`sync-daemon store init` does what is planned" in ran.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--reader", "team"), "is a directory"),
        (("--rotate",), "--rotate goes with --reader"),
        (("--network", "10.0.0.0/8"), "--network goes with --reader"),
        (("--secret-file", "x"), "--secret-file goes with --reader"),
    ],
)
def test_a_wrong_use_touches_nothing(cli: Cli, words: tuple[str, ...], said: str) -> None:
    ran = cli("store", "init", *words)
    assert (ran.code, said in ran.err) == (2, True)
    assert not cli.store.exists()


# -- a server that is no MinIO ----------------------------------------------------------


@pytest.mark.parametrize("name", ["moto", "seaweedfs"])
def test_another_server_gets_bucket_and_marker_and_tells_what_it_cannot(
    cli: Cli, prefix: str, name: str, request: pytest.FixtureRequest
) -> None:
    other: S3Server = request.getfixturevalue(f"{name}_server")
    bucket = f"new-{uuid.uuid4().hex[:8]}"
    use(cli, other, prefix, bucket, capacity="10GiB")
    assert cli("store", "init").code == 0
    ran = cli("store", "init", "--json", "--reader", "team", "--model", "llama")
    assert (ran.code, states(ran)) == (
        1,
        {"bucket": "already", "format": "already", "reader": "impossible"},
    )
    assert "trees/llama/*" in json.dumps(ran.json["steps"][2]["policy"])
    document = cli("store", "status", "--json").json
    stored = len(b'{"format":1}\n')
    assert document["capacity"] == {
        "total": 10 * GIB,
        "used": stored,
        "free": 10 * GIB - stored,
    }
    assert document["unfinished"]["uploads"] == 0
    cheap = cli("store", "status", "--json", "--no-usage").json
    assert cheap["capacity"] == {"total": 10 * GIB, "used": None, "free": None}


def test_a_quota_cannot_be_set_at_another_server(
    cli: Cli, moto_server: S3Server, prefix: str
) -> None:
    use(cli, moto_server, prefix, quota="1GiB")
    ran = cli("store", "init", "--json")
    assert (ran.code, states(ran)["quota"]) == (1, "impossible")


def test_unfinished_uploads_of_another_server_are_counted(
    cli: Cli, moto_server: S3Server, prefix: str
) -> None:
    make_client(moto_server).create_multipart_upload(Bucket=BUCKET, Key=f"{prefix}/staging/x")
    use(cli, moto_server, prefix)
    assert cli("store", "status", "--json").json["unfinished"]["uploads"] == 1
    assert "store.capacity" in cli("store", "status").out


def test_a_server_that_does_not_answer_exits_3(cli: Cli, prefix: str) -> None:
    use(cli, S3Server("away", "http://127.0.0.1:9"), prefix)
    assert cli("store", "init").code == 3
    assert cli("store", "status").code == 3


def test_wrong_keys_exit_3(cli: Cli, server: S3Server, prefix: str) -> None:
    use(cli, replace(server, secret_key="wrong-secret"), prefix)
    ran = cli("store", "init")
    assert (ran.code, "secret key is wrong" in ran.err) == (3, True)


# -- MinIO ------------------------------------------------------------------------------


def test_minio_is_set_up_once(cli: Cli, server: S3Server, prefix: str) -> None:
    bucket = f"new-{uuid.uuid4().hex[:8]}"
    admin = admin_of(server)
    admin.config_set(key="api", config={"stale_uploads_expiry": "24h", "requests_max": "77"})
    use(cli, server, prefix, bucket, quota="1GiB")
    assert set(states(cli("store", "init", "--dry-run", "--json")).values()) == {"planned"}
    assert set(states(cli("store", "status", "--json")).values()) == {"planned"}
    first = cli("store", "init", "--json")
    assert (first.code, set(states(first).values())) == (0, {"done"})
    assert states(first).keys() == {"bucket", "format", "quota", "expiry"}
    assert json.loads(admin.bucket_quota_get(bucket))["quota"] == GIB
    rules = admin.config_get(key="api")
    assert "stale_uploads_expiry=720h" in rules
    assert "requests_max=77" in rules, "what others have set must stay"
    again = cli("store", "init", "--json")
    assert (again.code, set(states(again).values())) == (0, {"already"})
    document = cli("store", "status", "--json").json
    assert (document["server"], document["quota"]) == ("minio", GIB)
    assert document["uploads_expire_seconds"] == 30 * 86400
    assert 0 < document["capacity"]["free"] <= document["capacity"]["total"] == GIB


def test_minio_tells_its_room_to_whoever_holds_the_store(
    cli: Cli, server: S3Server, prefix: str
) -> None:
    use(cli, server, prefix, capacity="10TiB")
    settings = load(cli.config.read_bytes(), environ={})
    with bootstrap.store(settings) as store:
        room = store.capacity()
        assert room is not None
        assert room.total < 10 * 1024 * GIB, "the server's own word counts more than the YAML's"
        assert room.used
        assert store.free_bytes()


@pytest.fixture
def filled(cli: Cli, server: S3Server, prefix: str) -> Cli:
    """A mirror with an object of every kind that consumers may, or may not, see."""
    use(cli, server, prefix)
    assert cli("store", "init").code == 0
    client = make_client(server)
    for key in (TREE, "models/llama/1.0/current.json", *CLOSED):
        client.put_object(Bucket=BUCKET, Key=f"{prefix}/{key}", Body=b"content")
    return cli


def new_reader(cli: Cli, server: S3Server, account: str, *words: str) -> Any:
    """Make an account and return a client of it."""
    ran = cli("store", "init", "--json", "--reader", account, *words)
    assert ran.code == 0, ran.out
    secret = ran.json["reader"]["secret_key"]
    assert secret
    assert secret not in ran.err
    return make_client(replace(server, access_key=account, secret_key=secret))


def list_below(client: Any, prefix: str) -> list[str]:
    found = client.list_objects_v2(Bucket=BUCKET, Prefix=prefix)
    return [one["Key"].removeprefix(prefix) for one in found.get("Contents", ())]


def test_a_reader_reads_and_lists_the_trees_of_its_models_only(
    filled: Cli, server: S3Server, prefix: str, account: str
) -> None:
    client = new_reader(filled, server, account, "--model", "llama")
    body = client.get_object(Bucket=BUCKET, Key=f"{prefix}/{TREE}")["Body"].read()
    assert body == b"content"
    assert list_below(client, f"{prefix}/trees/llama/") == ["1.0/config.json"]
    assert client.get_object(Bucket=BUCKET, Key=f"{prefix}/models/llama/1.0/current.json")
    assert client.get_object(Bucket=BUCKET, Key=f"{prefix}/mirror.json")
    assert client.get_bucket_location(Bucket=BUCKET)
    for key in CLOSED:
        assert refused(lambda key=key: client.get_object(Bucket=BUCKET, Key=f"{prefix}/{key}")), key
        assert refused(lambda key=key: client.head_object(Bucket=BUCKET, Key=f"{prefix}/{key}")), (
            key
        )
    for folder in ("", "blobs/", "blobs/sha256/ab/", "trees/", "trees/qwen/", "staging/", "locks/"):
        assert refused(lambda folder=folder: list_below(client, f"{prefix}/{folder}")), folder
    assert refused(lambda: client.list_objects_v2(Bucket=BUCKET))
    assert refused(lambda: client.list_object_versions(Bucket=BUCKET, Prefix=f"{prefix}/blobs/"))


def test_a_reader_cannot_write(filled: Cli, server: S3Server, prefix: str, account: str) -> None:
    client = new_reader(filled, server, account)
    key = f"{prefix}/{TREE}"
    assert refused(lambda: client.put_object(Bucket=BUCKET, Key=key, Body=b"mine"))
    assert refused(lambda: client.delete_object(Bucket=BUCKET, Key=key))
    source = {"Bucket": BUCKET, "Key": f"{prefix}/{BLOB}"}
    assert refused(lambda: client.copy_object(Bucket=BUCKET, Key=key, CopySource=source))


def ask(url: str, address: str = "127.0.0.1") -> int:
    """Return the status of the answer to who asks from this address."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, source_address=(address, 0))
    return Reply.to(connection, "GET", f"{parts.path}?{parts.query}").status


def test_a_reader_fetches_a_blob_by_an_address_that_the_mirror_signed_and_by_none_of_its_own(
    filled: Cli, server: S3Server, prefix: str, account: str
) -> None:
    params = {"Bucket": BUCKET, "Key": f"{prefix}/{BLOB}"}
    client = new_reader(filled, server, account)
    for signer, status in ((make_client(server), 200), (client, 403)):
        url = signer.generate_presigned_url("get_object", Params=params)
        assert ask(url) == status


def test_a_reader_works_from_its_networks_only(
    filled: Cli, server: S3Server, prefix: str, account: str
) -> None:
    client = new_reader(filled, server, account, "--network", "127.0.0.2/32")
    key = f"{prefix}/{TREE}"
    assert refused(lambda: client.get_object(Bucket=BUCKET, Key=key))
    assert refused(lambda: list_below(client, f"{prefix}/trees/llama/"))
    url = client.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": key})
    assert ask(url, "127.0.0.1") == 403
    assert ask(url, "127.0.0.2") == 200


def test_again_changes_rights_and_keeps_the_secret_unless_it_is_to_rotate(
    filled: Cli, server: S3Server, prefix: str, account: str
) -> None:
    client = new_reader(filled, server, account, "--model", "llama")
    changed = filled("store", "init", "--json", "--reader", account, "--model", "qwen")
    assert (states(changed)["reader"], changed.json["reader"]["secret_key"]) == ("done", None)
    assert refused(lambda: client.get_object(Bucket=BUCKET, Key=f"{prefix}/{TREE}"))
    assert list_below(client, f"{prefix}/trees/qwen/") == ["1.0/config.json"]
    same = filled("store", "init", "--json", "--reader", account, "--model", "qwen")
    assert states(same)["reader"] == "already"
    fresh = new_reader(filled, server, account, "--rotate")
    assert list_below(fresh, f"{prefix}/trees/qwen/") == ["1.0/config.json"]
    assert refused(lambda: list_below(fresh, f"{prefix}/trees/llama/")), "rights were not asked for"
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        list_below(client, f"{prefix}/trees/qwen/")


def test_a_secret_is_printed_once_or_kept_in_a_file_of_ones_own(
    filled: Cli, account: str, tmp_path: Path
) -> None:
    shown = filled("store", "init", "--reader", account).out
    assert "shown this once" in shown
    assert "shown this once" not in filled("store", "init", "--reader", account).out
    path = tmp_path / "secret"
    words = ("store", "init", "--reader", account, "--rotate", "--secret-file", str(path))
    ran = filled(*words)
    secret = path.read_text().strip()
    assert len(secret) == 40
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert secret not in ran.out + ran.err
    assert [one.name for one in tmp_path.iterdir() if "secret" in one.name] == ["secret"]


def test_a_file_that_cannot_be_written_stops_the_account_and_nothing_else(
    filled: Cli, server: S3Server, account: str, tmp_path: Path
) -> None:
    path = tmp_path / "no/folder"
    ran = filled("store", "init", "--json", "--reader", account, "--secret-file", str(path))
    assert (ran.code, states(ran)["reader"]) == (1, "impossible")
    assert account not in admin_of(server).user_list()


def test_an_account_of_others_is_left_alone(filled: Cli, server: S3Server, account: str) -> None:
    admin = admin_of(server)
    admin.user_add(account, "their-own-secret")
    admin.attach_policy(policies=["readwrite"], user=account)
    ran = filled("store", "init", "--json", "--reader", account, "--rotate")
    assert (ran.code, states(ran)["reader"]) == (1, "impossible")
    assert json.loads(admin.user_info(account))["policyName"] == "readwrite"


def test_the_mirrors_own_key_is_no_reader(filled: Cli, server: S3Server) -> None:
    assert filled("store", "init", "--reader", server.access_key).code == 2


@pytest.mark.parametrize("word", ["a b", "ab"])
def test_a_wrong_name_is_a_wrong_use(filled: Cli, word: str) -> None:
    assert filled("store", "init", "--reader", word).code == 2
    assert filled("store", "init", "--reader", "team", "--model", "*/llama").code == 2
    assert filled("store", "init", "--reader", "team", "--network", "10.0.0.1/8").code == 2


def test_a_model_that_the_yaml_does_not_have_is_noted(filled: Cli, account: str) -> None:
    words = ("store", "init", "--reader", account, "--model", "lama", "--model", "qw*")
    assert "no model of the YAML is named lama\n" in filled(*words).out
    assert filled(*words, "--json").json["reader"]["unknown_models"] == ["lama"]


def test_without_administration_rights_it_says_so_and_goes_on(
    cli: Cli, server: S3Server, prefix: str, account: str
) -> None:
    admin = admin_of(server)
    admin.user_add(account, "plain-secret-key")
    admin.attach_policy(policies=["readwrite"], user=account)
    plain = replace(server, access_key=account, secret_key="plain-secret-key")
    use(cli, plain, prefix, quota="1GiB", capacity="10GiB")
    ran = cli("store", "init", "--json", "--reader", "somebody")
    assert (ran.code, states(ran)) == (
        1,
        {
            "bucket": "already",
            "format": "done",
            "quota": "impossible",
            "expiry": "impossible",
            "reader": "impossible",
        },
    )
    assert all("no administration rights" in one["message"] for one in ran.json["steps"][2:])
    assert all(one["command"].startswith(("mc", "echo")) for one in ran.json["steps"][2:])
    text = cli("store", "init").out
    assert "an administrator: mc admin config set ALIAS api stale_uploads_expiry=720h" in text
    status = cli("store", "status", "--json")
    assert (status.code, status.json["server"]) == (0, "minio")
    assert status.json["capacity"]["total"] == 10 * GIB
    assert status.json["capacity"]["used"] > 0, "counted by the listing"


def test_the_documented_rights_are_enough(
    cli: Cli, server: S3Server, prefix: str, account: str
) -> None:
    page = (ROOT / "docs/accounts.md").read_text()
    cells = [line.split("|")[-2] for line in page.splitlines() if "| `admin:" in line]
    names = {name for cell in cells for name in re.findall(r"(\w+)`", cell)}
    allowed = [
        {"Effect": "Allow", "Action": [f"admin:{name}" for name in sorted(names)]},
        {"Effect": "Allow", "Action": ["s3:*"], "Resource": ["arn:aws:s3:::*"]},
    ]
    admin = admin_of(server)
    admin.user_add(account, "plain-secret-key")
    policy = {"Version": "2012-10-17", "Statement": allowed}
    admin.policy_add(policy_name=account, policy=policy)
    admin.attach_policy(policies=[account], user=account)
    keep_uploads_for_a_day(server)
    plain = replace(server, access_key=account, secret_key="plain-secret-key")
    use(cli, plain, prefix, f"new-{uuid.uuid4().hex[:8]}", quota="1GiB")
    ran = cli("store", "init", "--json", "--reader", f"{account}-reader")
    assert (ran.code, set(states(ran).values())) == (0, {"done"})
    assert cli("store", "status", "--json").json["capacity"]["total"] == GIB


def test_without_the_right_to_make_a_bucket_it_says_so(
    cli: Cli, server: S3Server, prefix: str, account: str
) -> None:
    admin = admin_of(server)
    admin.user_add(account, "plain-secret-key")
    statement = {"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": ["arn:aws:s3:::*"]}
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    admin.policy_add(policy_name=account, policy=policy)
    admin.attach_policy(policies=[account], user=account)
    plain = replace(server, access_key=account, secret_key="plain-secret-key")
    use(cli, plain, prefix, "not-there")
    ran = cli("store", "init", "--json")
    assert ran.code == 1
    assert ran.json["steps"][0]["command"] == "mc mb ALIAS/not-there"
    assert set(states(ran).values()) == {"impossible"}


def test_a_prefix_of_others_is_refused_before_anything_is_set(
    cli: Cli, server: S3Server, prefix: str, account: str
) -> None:
    make_client(server).put_object(Bucket=BUCKET, Key=f"{prefix}/photo.jpg", Body=b"x")
    use(cli, server, prefix)
    ran = cli("store", "init", "--reader", account)
    assert (ran.code, "photo.jpg" in ran.err) == (3, True)
    assert account not in admin_of(server).user_list()
