"""Evidence of one session: its own records whole, the others' provable, and verified without the state folder."""

from __future__ import annotations

import io
import json
import shutil
import stat
import tarfile
from typing import TYPE_CHECKING

import pytest

from bulkhead.audit.bundle import verify_bundle, write_bundle
from bulkhead.audit.record import split
from bulkhead.audit.signing import PUBLIC, public_from
from bulkhead.errors import IntegrityError, UsageError
from tests.audit.conftest import OTHER, SESSION, rechained, told

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def bundle(folder: Path, fill: Callable[..., None], tmp_path: Path) -> Path:
    """Of records 5 to 12: another session's until the checkpoint 4, and one between its own."""
    fill(3, session=OTHER)
    fill(2, closed=False)
    fill(1, session=OTHER, closed=False)
    fill(3, closed=False)
    fill(1, session=OTHER)
    fill(4, session=OTHER)
    path = tmp_path / "evidence.tar.gz"
    assert tuple(write_bundle(folder, SESSION, path)) == (4, 12, 5)
    return path


def members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        return {info.name: tar.extractfile(info).read() for info in tar}  # type: ignore[union-attr]


def rewritten(path: Path, lines: list[bytes], *, key: bytes = b"") -> None:
    """The bundle with other lines, or another key."""
    content = members(path) | {"records.jsonl": b"".join(lines)} | ({"key.pub": key} if key else {})
    with tarfile.open(path, "w:gz") as tar:
        for name, data in content.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def records(path: Path) -> list[bytes]:
    return members(path)["records.jsonl"].splitlines(keepends=True)


def test_it_verifies_without_the_state_folder(bundle: Path, folder: Path) -> None:
    kept = public_from((folder / PUBLIC).read_bytes(), "kept")
    shutil.rmtree(folder)
    report = verify_bundle(bundle, key=kept)
    assert (told(report), report.records, report.signed) == ([], 9, 12)
    assert stat.S_IMODE(bundle.stat().st_mode) == 0o600


def test_other_sessions_records_show_their_place_and_nothing_else(bundle: Path) -> None:
    lines = [json.loads(line) for line in records(bundle)]
    assert [line.get("session") for line in lines if line.get("event") == "request"] == [SESSION] * 5
    assert [sorted(line) for line in lines if "v" not in line] == [["digest", "hash", "prev", "seq"]] * 2
    assert OTHER.encode() not in b"".join(records(bundle))


@pytest.mark.parametrize("place", range(1, 7))
def test_a_change_is_found_also_where_all_hashes_are_made_anew(bundle: Path, place: int) -> None:
    """Also of a line that is shown by its digest alone: else a change before one could be hidden behind it."""
    lines = records(bundle)
    changed = lines[place].replace(b"allow", b"denyy").replace(b'"digest":"', b'"digest":"0')
    lines[place] = changed if b'"v"' in changed else changed.replace(b'","hash"', b'","hash"', 1)
    rewritten(bundle, lines)
    assert told(verify_bundle(bundle)) != []
    whole = [split(line) is not None for line in lines]
    if all(whole[place:]):
        rewritten(bundle, rechained(lines, place))
        assert "signature" in {kind for kind, _, _ in told(verify_bundle(bundle))}


def test_a_change_hidden_behind_another_sessions_line_is_found(bundle: Path) -> None:
    """Its prev is made to fit, and its hash is left, so that all behind it stays right."""
    lines = records(bundle)
    place = next(number for number, line in enumerate(lines) if b'"v"' not in line)
    lines[place - 1] = lines[place - 1].replace(b"allow", b"denyy")
    lines[:place] = rechained(lines[:place], place - 1)
    before, data = split(lines[place - 1]), json.loads(lines[place])
    assert before is not None
    lines[place] = json.dumps(data | {"prev": before.hash}).encode() + b"\n"
    rewritten(bundle, lines)
    assert told(verify_bundle(bundle)) == [("edit", data["seq"], data["seq"])]


@pytest.mark.parametrize("place", [1, 4, 7])
def test_a_record_that_was_taken_out_is_found(bundle: Path, place: int) -> None:
    lines = records(bundle)
    rewritten(bundle, lines[:place] + lines[place + 1 :])
    assert told(verify_bundle(bundle)) == [("deletion", place + 4, place + 4)]


def test_without_its_checkpoints_nothing_is_believed(bundle: Path) -> None:
    rewritten(bundle, records(bundle)[1:-1])
    assert told(verify_bundle(bundle)) == [("unproven", 5, 11)]


def test_a_bundle_made_with_another_key_is_told_by_the_one_that_was_kept(
    bundle: Path, folder: Path, tmp_path: Path, fill: Callable[..., None]
) -> None:
    kept = public_from((folder / PUBLIC).read_bytes(), "kept")
    shutil.rmtree(folder)
    fill(3)
    write_bundle(folder, SESSION, tmp_path / "forged.tar.gz")
    assert told(verify_bundle(tmp_path / "forged.tar.gz")) == []
    assert ("key", 4, 4) in told(verify_bundle(tmp_path / "forged.tar.gz", key=kept))


def test_anchors_count_where_they_lie_in_it(bundle: Path) -> None:
    assert told(verify_bundle(bundle, anchors={1: "0" * 64, 99: "0" * 64})) == []
    assert told(verify_bundle(bundle, anchors={6: "0" * 64})) == [("anchor", 6, 6)]


def test_the_readme_says_how_a_digest_and_a_hash_are_made(bundle: Path) -> None:
    from hashlib import sha256

    assert b"bulkhead audit verify FILE.tar.gz --key key.pub" in members(bundle)["README.txt"]
    for line in records(bundle):
        data = json.loads(line)
        digest = data.get("digest")
        if digest is None:
            whole = line[: line.index(b',"prev":')] + b"}"
            digest = sha256(whole).hexdigest()
        assert data["hash"] == sha256((data["prev"] + digest).encode()).hexdigest()


@pytest.mark.parametrize("content", [b"", b"no archive", b"\x1f\x8b\x08\x00"])
def test_what_is_no_bundle_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(IntegrityError, match="is no evidence bundle") as caught:
        verify_bundle(tmp_path / "x")
    assert caught.value.reason == "audit"


def test_a_session_that_is_not_there_is_told(folder: Path, fill: Callable[..., None], tmp_path: Path) -> None:
    fill(2)
    with pytest.raises(UsageError, match="no record is of a session ffff"):
        write_bundle(folder, "ffff", tmp_path / "x")
    assert not (tmp_path / "x").exists()
