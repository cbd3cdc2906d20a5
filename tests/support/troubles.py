"""What a bad origin does, where, and what has to come of it: the rows of the fault table.

A `Trouble` names effects of hub_faults for each place that it can strike, and the outcome of
a run that meets it a few times (`passing`) and at every request (`lasting`). An outcome is
"published", or the kind of error that the version fails with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from tests.support import hub as hubs
from tests.support.hub import Effect, Fault

MIB = 1024**2
LITTLE, LARGE = "org/little", "org/large"
DOWN, LIED, MISMATCH = "origin_unavailable", "origin_lied", "digest_mismatch"
PUBLISHED, SLOW = "published", "too_slow"
EITHER = f"{LIED} or {DOWN}"  # what is left of a lie spoils the connection, or not


@dataclass(frozen=True, slots=True)
class Place:
    """One kind of request. `middle` is a number of bytes inside its answer."""

    name: str
    where: str
    repo: str
    path: str
    middle: int


REFS = Place("refs", "refs", LITTLE, "*", 50)
INFO = Place("info", "info", LITTLE, "*", 50)
TREE = Place("tree", "tree", LITTLE, "*", 50)
SMALL = Place("small file", "small", LITTLE, "config.json", 10_000)
ONE = Place("LFS, one part", "cdn", LITTLE, "one.bin", 100_000)
LINK = Place("LFS, link", "resolve", LARGE, "big.safetensors", 20)
PARTS = Place("LFS, parts", "cdn", LARGE, "big.safetensors", 2 * MIB)

METADATA = (REFS, INFO, TREE)
BYTES = (SMALL, ONE, PARTS)
ALL = (*METADATA, *BYTES)
EVERYWHERE = (*ALL, LINK)


@dataclass(frozen=True, slots=True)
class Scene:
    """Where an effect is to strike; `elsewhere` is the same request at another Hub."""

    place: Place
    elsewhere: str


Effects = Callable[[Scene], tuple[Effect, ...]]


@dataclass(frozen=True, slots=True)
class Trouble:
    """One row: what happens, where, and the outcome when it lasts; `but` names the places that
    differ. When it passes, the outcome is success.

    `wait` is the least that must be waited before the next try, in seconds. `passes` is how
    often the passing kind strikes, from the `nth` request on; 0: there is no passing kind.
    """

    name: str
    effects: Effects
    places: tuple[Place, ...]
    lasting: str = DOWN
    lasting_but: Mapping[Place, str] = field(default_factory=dict)
    wait: float = 0.0
    passes: int = 2
    nth: int = 1

    def faults(self, scene: Scene, *, lasting: bool) -> tuple[Fault, ...]:
        """Return what arms the double."""
        place, times = scene.place, None if lasting else self.passes
        return tuple(
            Fault(place.where, effect, path=place.path, nth=self.nth, times=times)
            for effect in self.effects(scene)
        )

    def outcome(self, place: Place, *, lasting: bool) -> str:
        """Return what has to come of it."""
        return self.lasting_but.get(place, self.lasting) if lasting else PUBLISHED


def _always(*effects: Effect) -> Effects:
    return lambda scene: effects


def _drip(scene: Scene) -> tuple[Effect, ...]:
    return (hubs.Drip(60 if scene.place in METADATA else 400),)


def _unavailable() -> Iterator[Trouble]:
    """Trouble that can heal: it is tried again, and what arrived is kept."""
    moves_on = {ONE: PUBLISHED, PARTS: PUBLISHED}  # each answer brings something
    for code in (500, 502, 503):
        yield Trouble(f"status {code}", _always(hubs.Status(code)), EVERYWHERE)
    wish = (("Retry-After", "1"),)
    yield Trouble("429, Retry-After", _always(hubs.Status(429, wish)), EVERYWHERE, wait=1)
    wish = (("RateLimit", '"api";r=0;t=1'),)
    yield Trouble("429, RateLimit", _always(hubs.Status(429, wish)), EVERYWHERE, wait=1)
    yield Trouble("RST before the status", _always(hubs.Reset()), EVERYWHERE)
    yield Trouble("RST before the body", _always(hubs.Reset(0)), ALL)
    yield Trouble(
        "RST in the middle",
        lambda scene: (hubs.Reset(scene.place.middle),),
        EVERYWHERE,
        lasting_but=moves_on,
    )
    yield Trouble("FIN before the status", _always(hubs.Cut()), EVERYWHERE)
    yield Trouble(
        "body cut short",
        lambda scene: (hubs.Cut(scene.place.middle),),
        EVERYWHERE,
        lasting_but=moves_on,
    )
    yield Trouble(
        "stall before the status",
        _always(hubs.Stall(2.5)),
        (TREE, SMALL, PARTS, LINK),
        passes=1,
    )
    yield Trouble(
        "stall in the middle",
        lambda scene: (hubs.Stall(2.5, scene.place.middle),),
        (TREE, SMALL, PARTS),
        lasting_but=moves_on,
        passes=1,
    )
    # bytes that do not fill a buffer in time count as none
    slow = dict.fromkeys(BYTES, f"{SLOW} or {DOWN}")
    yield Trouble("slow drip", _drip, (TREE, SMALL, PARTS), lasting_but=slow, passes=1)
    in_chunks: Effects = lambda scene: (*_drip(scene), hubs.Chunked())  # noqa: E731
    yield Trouble("slow drip in chunks", in_chunks, (INFO, PARTS), lasting_but=slow, passes=1)


def _odd() -> Iterator[Trouble]:
    """Answers that are unusual but right."""
    right = {"lasting": PUBLISHED, "passes": 0}
    yield Trouble("chunked", _always(hubs.Chunked()), EVERYWHERE, **right)  # type: ignore[arg-type]
    yield Trouble("no length", _always(hubs.NoLength()), EVERYWHERE, **right)  # type: ignore[arg-type]
    yield Trouble("signed URL expires mid-file", _always(hubs.ExpireAfter(1)), (PARTS,), **right)  # type: ignore[arg-type]
    yield Trouble(
        "redirect to another host",
        lambda scene: (hubs.RedirectTo(scene.elsewhere),),
        (*METADATA, SMALL, LINK),
        **right,  # type: ignore[arg-type]
    )
    no_names = hubs.ReplaceBody(b'{"branches": [], "tags": [], "converts": []}')
    yield Trouble("no names at all", _always(no_names), (REFS,), **right)  # type: ignore[arg-type]


def _lies() -> Iterator[Trouble]:
    """Answers that contradict what was asked or listed: asked again, as often as trouble is."""
    lie = {"lasting": LIED}
    at_metadata = dict.fromkeys(METADATA, DOWN)
    yield Trouble("body too long", _always(hubs.Resize(5)), ALL, **lie)  # type: ignore[arg-type]
    yield Trouble("body too short", _always(hubs.Resize(-5)), ALL, **lie)  # type: ignore[arg-type]
    yield Trouble(
        "Content-Length too large",
        _always(hubs.WrongLength(7)),
        ALL,
        lasting_but=at_metadata,
        **lie,  # type: ignore[arg-type]
    )
    yield Trouble(
        "Content-Length too small",
        _always(hubs.WrongLength(-7)),
        ALL,
        lasting_but=dict.fromkeys(METADATA, EITHER),
        **lie,  # type: ignore[arg-type]
    )
    yield Trouble("200 instead of 206", _always(hubs.IgnoreRange()), (PARTS,), **lie)  # type: ignore[arg-type]
    yield Trouble("wrong Content-Range", _always(hubs.WrongRange(1)), (PARTS,), **lie)  # type: ignore[arg-type]
    yield Trouble("no Content-Range", _always(hubs.WrongRange(None)), (PARTS,), **lie)  # type: ignore[arg-type]
    # the digest proves the bytes whatever the ETag says, if the attempts last
    changes, either = _always(hubs.ChangeEtag()), f"{PUBLISHED} or {LIED}"
    yield Trouble("ETag changes mid-file", changes, (PARTS,), nth=2, lasting=either)
    yield Trouble(
        "corrupt bytes",
        _always(hubs.Corrupt()),
        ALL,
        lasting_but=dict.fromkeys(BYTES, MISMATCH),
        passes=1,  # a file begins anew once
        **lie,  # type: ignore[arg-type]
    )
    yield Trouble(
        "gzip, not asked for",
        _always(hubs.Gzip()),
        ALL,
        lasting_but=dict.fromkeys(METADATA, PUBLISHED),
        **lie,  # type: ignore[arg-type]
    )
    claimed = hubs.SetHeader("Content-Encoding", "gzip")
    yield Trouble("says gzip and is not", _always(claimed), ALL, **lie)  # type: ignore[arg-type]
    yield Trouble("login page with 200", _always(hubs.Html()), EVERYWHERE, **lie)  # type: ignore[arg-type]
    yield Trouble("redirect loop", _always(hubs.RedirectLoop()), EVERYWHERE, **lie)  # type: ignore[arg-type]
    yield Trouble("lost Link header", _always(hubs.DropHeader("Link")), (TREE,), **lie)  # type: ignore[arg-type]
    yield Trouble("truncated list", _always(hubs.TruncateList(1)), (TREE,), **lie)  # type: ignore[arg-type]
    yield Trouble("403 from the CDN", _always(hubs.Status(403)), (ONE, PARTS), **lie)  # type: ignore[arg-type]


TROUBLES = (*_unavailable(), *_odd(), *_lies())
