"""The files of pins: whole or an error, the user's alone, and shared by processes that run at once."""

from __future__ import annotations

import errno
import fcntl
import json
import stat
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from bulkhead.errors import IntegrityError, UsageError
from bulkhead.pins import Store, keys, other_tools
from bulkhead.pins.decide import approve, former, reject, roll_back
from bulkhead.policy.declared import digest
from tests.pins.conftest import KEY, tool
from tests.pins.rich import PROMPT, TOOL

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PINS = "pins.json"


def _whole(change: Callable[[dict[str, Any]], Any]) -> Callable[[bytes], bytes]:
    def changed(text: bytes) -> bytes:
        data = json.loads(text)
        change(data)
        return json.dumps(data).encode()

    return changed


TORN: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "half": lambda text: text[: len(text) // 2],
    "zeroes": lambda text: b"\0" * len(text),
    "not UTF-8": lambda text: text.replace(b"weather", b"we\xff\xffher"),
    "a list": lambda _: b"[]",
    "of a later version": _whole(lambda data: data.update(form=2)),
    "without items": _whole(lambda data: data.pop("items")),
    "with another key": _whole(lambda data: data.update(other=1)),
    "with another definition": _whole(
        lambda data: data["items"]["tool:weather"]["definition"].update(description="Evil")
    ),
    "with another digest": _whole(lambda data: data["items"]["tool:weather"].update(digest="sha256:0")),
    "nested": lambda _: b"[" * 200_000,
}


@pytest.mark.parametrize("how", TORN)
def test_a_file_that_is_not_understood_is_never_no_pins(session: Any, store: Store, how: str) -> None:
    session().tools(TOOL)
    path = store.folder / PINS
    path.write_bytes(TORN[how](path.read_bytes()))
    for ask in (
        lambda: session().tools(TOOL),
        lambda: session().why("weather"),
        lambda: session().book.schema("weather"),
        lambda: session().book.introduced({}),
        lambda: session().book.started(image="", built=False, profile={}, profile_path="", strange=False),
        session().book.approved_since,
    ):
        with pytest.raises(IntegrityError, match=r"the pins in .*pins\.json cannot be read") as caught:
            ask()
        assert caught.value.reason == "pin"


def test_pins_that_are_gone_are_missed(session: Any, store: Store) -> None:
    it = session()
    it.tools(tool())
    (store.folder / PINS).unlink()
    with pytest.raises(IntegrityError, match="cannot be read") as caught:
        it.why("weather")
    assert caught.value.why == "it is gone"


def test_pins_that_are_gone_are_missed_where_there_were_versions(session: Any, store: Store) -> None:
    session().tools(tool())
    session().tools(tool("weather", "Another"))
    approve(store, store.pins(), store.waiting(), by="ada")
    (store.folder / PINS).unlink()
    with pytest.raises(IntegrityError, match="cannot be read"):
        session().tools(tool())


def test_what_waits_and_is_not_understood_is_an_error(session: Any, store: Store) -> None:
    session().tools(tool())
    (store.folder / "held.json").write_bytes(b"{")
    with pytest.raises(IntegrityError, match=r"held\.json cannot be read"):
        session().tools(tool("weather", "Another"))


def test_a_folder_that_cannot_be_written_stops_a_first_use(session: Any, tmp_path: Path) -> None:
    (tmp_path / "pins").write_text("")
    with pytest.raises(IntegrityError, match="cannot be read"):
        session().tools(tool())


def test_a_disk_without_room_stops_a_first_use(session: Any, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("bulkhead.pins.store.os.fsync", full)
    with pytest.raises(IntegrityError, match="cannot be written") as caught:
        session().tools(tool())
    assert caught.value.why == "No space left on device"
    assert store.pins().version == 0


def test_the_files_are_the_users_alone(session: Any, store: Store) -> None:
    session().tools(tool())
    session().tools(tool("weather", "Another"))
    approve(store, store.pins(), store.waiting(), by="ada")
    files = [path for path in store.folder.rglob("*") if path.is_file()]
    assert {path.name for path in files} == {"pins.json", "held.json", "lock", "0001.json"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE(store.folder.stat().st_mode) == 0o700


def test_a_lock_that_is_not_let_go_is_told(store: Store, session: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    session().tools(tool())
    monkeypatch.setattr("bulkhead.pins.store._PATIENCE", 0.0)
    with (store.folder / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(IntegrityError, match="the pins of weather are locked"):
            session().tools(tool("weather", "Another"))


@pytest.mark.parametrize("key", ["..", "a/b", "", "A", "a@b", "weather@1234567g", ".a", "a\n"])
def test_a_key_is_no_path(tmp_path: Path, key: str) -> None:
    with pytest.raises(UsageError, match="is no server's key"):
        Store(tmp_path, key)


def test_a_call_reads_no_file(session: Any, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    it = session()
    it.tools(TOOL)
    monkeypatch.setattr("bulkhead.pins.store._read", None)
    assert it.why("weather") == ""
    assert it.book.schema("weather") is not None
    assert it.book.approved_since() == frozenset()


# Decisions


def _held(session: Any) -> None:
    session().tools(tool(), tool("other"))
    session().tools(tool("weather", "Another"), tool("other", "Another"))


def test_what_is_approved_is_what_was_shown(session: Any, store: Store) -> None:
    _held(session)
    seen, shown = store.pins(), store.waiting()
    session().tools(tool("weather", "Worse"))
    with pytest.raises(IntegrityError, match="nothing of weather was approved") as caught:
        approve(store, seen, shown, by="ada")
    assert caught.value.reason == "pin"
    assert store.pins().version == 1
    approve(store, seen, {"tool:other": shown["tool:other"]}, by="ada")
    assert store.pins().items["tool:other"].by == "ada"


def test_it_is_compared_with_what_was_shown(session: Any, store: Store) -> None:
    _held(session)
    seen, shown = store.pins(), store.waiting()
    approve(Store(store.folder.parent.parent, KEY), seen, {"tool:weather": shown["tool:weather"]}, by="ada")
    session().tools(tool())
    again = store.waiting()
    with pytest.raises(IntegrityError, match="nothing of weather was approved"):
        approve(store, seen, {"tool:weather": again["tool:weather"]}, by="ada")


def test_what_is_rejected_stays_held_until_it_is_another(session: Any, store: Store) -> None:
    _held(session)
    reject(store, store.pins(), store.waiting(), by="ada")
    it = session()
    it.tools(tool("weather", "Another"), tool("other", "Worse"))
    assert "is held" in it.why("weather")
    waiting = store.waiting()
    assert waiting["tool:weather"].rejected.startswith("ada, 2")
    assert waiting["tool:other"].rejected == ""


def test_every_decision_is_a_version(session: Any, store: Store) -> None:
    _held(session)
    for key in ("tool:weather", "tool:other"):
        approve(store, store.pins(), {key: store.waiting()[key]}, by="ada")
    assert [store.version(number).items["tool:weather"].definition["description"] for number in (1, 2)] == [
        "The weather",
        "Another",
    ]
    assert (store.pins().version, store.pins().by, store.pins().why) == (3, "ada", "approved tool:other")


def test_rolling_back_goes_back_a_version_each_time(session: Any, store: Store) -> None:
    _held(session)
    for key in ("tool:weather", "tool:other"):
        approve(store, store.pins(), {key: store.waiting()[key]}, by="ada")
    back = roll_back(store, store.pins(), former(store), by="ada")
    assert (back.version, back.restored, back.why) == (4, 2, "rolled back to version 2")
    it = session()
    it.tools(tool("weather", "Another"), tool("other", "Another"))
    assert (it.why("weather"), it.why("other") == "") == ("", False)
    back = roll_back(store, store.pins(), former(store), by="ada")
    assert (back.version, back.restored) == (5, 1)
    with pytest.raises(UsageError, match="has no former version"):
        former(store)
    assert roll_back(store, store.pins(), former(store, 3), by="ada").restored == 3


def test_what_was_first_used_since_then_stays_pinned(session: Any, store: Store) -> None:
    _held(session)
    approve(store, store.pins(), store.waiting(), by="ada")
    session().list("prompts/list", PROMPT)
    roll_back(store, store.pins(), former(store), by="ada")
    assert session().list("prompts/list", PROMPT, {"name": "new"}).result["prompts"] == [PROMPT]


def test_a_rollback_is_of_what_was_shown(session: Any, store: Store) -> None:
    _held(session)
    approve(store, store.pins(), {"tool:weather": store.waiting()["tool:weather"]}, by="ada")
    seen = store.pins()
    other = Store(store.folder.parent.parent, KEY)
    approve(other, other.pins(), other.waiting(), by="bob")
    with pytest.raises(IntegrityError, match="nothing of weather was rolled back"):
        roll_back(store, seen, former(store), by="ada")


# Other servers, other processes


def test_the_tools_of_other_servers(session: Any, tmp_path: Path) -> None:
    for key in ("mail", "files@0123abcd", "weather@0123abcd", "torn"):
        session(key=key).tools(tool(f"{key[:4]}_tool"))
    (tmp_path / "pins" / "torn" / PINS).write_bytes(b"")
    assert keys(tmp_path) == ["files@0123abcd", "mail", "torn", "weather@0123abcd"]
    assert other_tools(tmp_path, KEY) == {"mail": {"mail_tool"}, "files@0123abcd": {"file_tool"}}


_RUNNER = """
import sys
from pathlib import Path
from bulkhead.pins import PinBook
me = sys.argv[2]
def tool(n, d): return {"name": n, "description": d, "inputSchema": {"type": "object"}}
for turn in range(20):
    book = PinBook(Path(sys.argv[1]), "weather", mode="first-use", others=dict)
    judged = book.listed("tools/list", {}, {"tools": [tool("same", "Same"), tool(f"of-{me}-{turn}", "New")]})
    assert [t["name"] for t in judged.result["tools"]][:1] == ["same"], judged
"""


def test_runners_at_once_lose_nothing(tmp_path: Path, store: Store) -> None:
    runners = [subprocess.Popen([sys.executable, "-c", _RUNNER, str(tmp_path), str(n)]) for n in range(4)]
    assert [runner.wait(60) for runner in runners] == [0] * 4
    pinned, waiting = store.pins().items, store.waiting()
    new = {key for key in (*pinned, *waiting) if key.startswith("tool:of-")}
    assert len(new) == 80
    assert len([key for key in pinned if key.startswith("tool:of-")]) == 1, "one of them had the first use"
    assert pinned["tool:same"].digest == digest(pinned["tool:same"].definition)
    assert store.pins().version == 1
