"""Admission: every reason is named, and a version is admitted whole or not at all."""

import pytest

from sync_daemon.domain.admission import MAX_FILE_BYTES, admit
from sync_daemon.domain.digests import CommitId
from sync_daemon.domain.listing import Listing, RawFile
from sync_daemon.domain.selection import Selection

COMMIT = CommitId("a" * 40)
ALL = Selection()


def listing(*files: RawFile) -> Listing:
    return Listing(COMMIT, files)


def test_selected_files_are_admitted_in_order() -> None:
    verdict = admit(
        listing(RawFile("b", 1), RawFile("a", 2), RawFile("c.h5", 3)), Selection((), ("*.h5",))
    )
    assert verdict.allowed
    assert [file.path for file in verdict.files] == ["a", "b"]


def test_every_reason_is_told_and_nothing_is_admitted() -> None:
    files = (
        RawFile("../x", 1),
        RawFile("a", -1),
        RawFile("b", 1),
        RawFile("b/c", 1),
        RawFile("ok", 1),
    )
    verdict = admit(listing(*files), ALL)
    assert verdict.files == ()
    assert len(verdict.reasons) == 3
    assert any("'../x'" in reason for reason in verdict.reasons)


@pytest.mark.parametrize(
    "file",
    [
        RawFile("a", MAX_FILE_BYTES + 1),
        RawFile("a", 1, sha256="A" * 64),
        RawFile("a", 1, sha256="../../x"),
        RawFile("a", 1, git_oid="zz"),
    ],
)
def test_a_size_or_digest_that_cannot_be_is_refused(file: RawFile) -> None:
    assert not admit(listing(file), ALL).allowed


def test_a_hostile_name_that_is_not_selected_does_no_harm() -> None:
    assert admit(listing(RawFile("../x", 1), RawFile("a.json", 1)), Selection(("*.json",))).allowed


def test_a_file_listed_twice_is_refused() -> None:
    assert "listed twice" in admit(listing(RawFile("a", 1), RawFile("a", 2)), ALL).reasons[0]


def test_one_digest_with_two_sizes_is_refused() -> None:
    files = (RawFile("a", 1, sha256="c" * 64), RawFile("b", 2, sha256="c" * 64))
    assert "two sizes" in admit(listing(*files), ALL).reasons[0]
    files = (RawFile("a", 1, git_oid="c" * 40), RawFile("b", 2, git_oid="c" * 40))
    assert "two sizes" in admit(listing(*files), ALL).reasons[0]


def test_nothing_selected_is_refused_rather_than_published_empty() -> None:
    assert (
        "none of the 1 files" in admit(listing(RawFile("a", 1)), Selection(("*.bin",))).reasons[0]
    )
    assert "no files" in admit(listing(), ALL).reasons[0]


def test_leaving_out_what_weights_need_draws_a_warning() -> None:
    files = (RawFile("m.safetensors", 1), RawFile("tokenizer.json", 1), RawFile("config.json", 1))
    verdict = admit(listing(*files), Selection(("*.safetensors", "config.json")))
    assert verdict.allowed
    assert len(verdict.warnings) == 1
    assert "tokenizer.json" in verdict.warnings[0]


def test_patterns_follow_the_hub() -> None:
    """`*` also matches a slash, a trailing slash is the folder, exclude wins, case counts."""
    assert Selection(("*.json",)).holds("deep/down/config.json")
    assert Selection(("onnx/",)).holds("onnx/model.onnx")
    assert not Selection(("*.json",), ("deep/*",)).holds("deep/down/config.json")
    assert not Selection(("*.JSON",)).holds("a.json")


def test_a_selection_is_known_by_its_rules_not_their_order() -> None:
    assert Selection(("a", "b")).digest == Selection(("b", "a", "a")).digest
    assert Selection(("a",)).digest != Selection((), ("a",)).digest
