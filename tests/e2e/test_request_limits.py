"""Limits on requests, as an origin enforces them: kept by all jobs of a run together."""

import json
import time
from collections import Counter

import pytest

from tests.e2e.conftest import Mirror
from tests.support.hub import Hub

pytestmark = pytest.mark.parametrize("mirror", ["directory"], indirect=True)


def fill(hub: Hub, repo: str, files: int) -> None:
    hub.repo(repo).commit({f"data/{n:03}.json": f"{repo} {n}".encode() for n in range(files)})


def logged(err: str) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in err.splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == "origin.throttled"]


def run(mirror: Mirror, hub: Hub) -> tuple[list[dict[str, object]], float]:
    """Mirror both repositories at once; return the waits that were told, and the seconds."""
    models = [{"name": name, "repo": f"org/{name}"} for name in ("one", "two")]
    mirror.write(*models)
    began = time.monotonic()
    ran = mirror.daemon.sync(timeout=60)
    assert ran.code == 0, ran.err
    assert [len(v.files) for v in mirror.published().values()] == [100, 100]
    assert hub.count("hub", path="*resolve*") >= 400
    return logged(ran.err), time.monotonic() - began


def test_after_the_first_refusal_nobody_asks_before_the_reset(mirror: Mirror, hub: Hub) -> None:
    """Two versions at once; the server warns of nothing and refuses with Retry-After alone."""
    fill(hub, "org/one", 100)
    fill(hub, "org/two", 100)
    hub.rate_limit_headers = False
    hub.limit("resolvers", 150, window=2)
    hub.limit("api", 150, window=2)
    waits, _ = run(mirror, hub)
    quota = hub.quotas["resolvers"]
    assert quota.refused > 0, "or this proves nothing"
    assert quota.deaf == 0
    assert waits
    assert {wait["reason"] for wait in waits} == {"retry_after"}


def test_headers_keep_a_mirror_of_small_files_from_almost_every_refusal(
    mirror: Mirror, hub: Hub
) -> None:
    """400 requests for 200 files, 60 of them in 2 seconds: the headers tell when to wait."""
    fill(hub, "org/one", 100)
    fill(hub, "org/two", 100)
    hub.limit("resolvers", 60, window=2)
    waits, seconds = run(mirror, hub)
    quota = hub.quotas["resolvers"]
    print(f"{seconds:.1f} s, refused {quota.refused}, deaf {quota.deaf}, {len(waits)} waits told")
    assert quota.refused <= 4
    assert quota.deaf == 0
    assert seconds < 20, "400 requests at 30 a second take 13"
    assert {(wait["limit"], wait["reason"]) for wait in waits} <= {
        ("resolvers", "used_up"),
        ("resolvers", "spread"),
        ("resolvers", "retry_after"),
    }
    assert waits


def test_the_operators_own_rate_is_kept(mirror: Mirror, hub: Hub) -> None:
    """Listing, redirects and bytes together: forty requests, twenty a second."""
    fill(hub, "org/one", 18)
    mirror.write({"name": "one", "repo": "org/one"}, transfer={"request_rate": 20})
    mirror.sync(timeout=60)
    moments = sorted(one.at for one in hub.requests)
    busiest = max(Counter(int(moment - moments[0]) for moment in moments).values())
    assert len(moments) >= 38
    assert moments[-1] - moments[0] > (len(moments) - 11) / 20 - 0.2
    assert busiest <= 31, "twenty a second and a burst of ten"


def test_listings_keep_to_the_budget_of_the_api(mirror: Mirror, hub: Hub) -> None:
    """huggingface_hub's own requests are governed as well: six of them, three in 2 seconds."""
    fill(hub, "org/one", 1)
    fill(hub, "org/two", 1)
    hub.limit("api", 3, window=2)
    mirror.write(*({"name": name, "repo": f"org/{name}"} for name in ("one", "two")))
    ran = mirror.daemon.sync(timeout=60)
    assert ran.code == 0, ran.err
    assert hub.count("api") >= 6
    assert hub.quotas["api"].refused <= 1
    assert hub.quotas["api"].deaf == 0
    assert {wait["limit"] for wait in logged(ran.err)} <= {"api"}
