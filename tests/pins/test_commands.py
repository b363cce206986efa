"""`bulkhead approve`, `reject` and `rollback`: what a person is shown, what their word does, and what is left of it."""

from __future__ import annotations

import io
import json
import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pytest

from bulkhead.approvals import all_waiting, decision, digest_of, put, waiting
from bulkhead.cli import main
from bulkhead.config import load_profile, state_dir
from bulkhead.config.flags import Flags
from bulkhead.config.keys import command_key, profile_key
from bulkhead.errors import IntegrityError
from bulkhead.pins import PinBook, Store
from tests.pins.conftest import Session, tool

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Captured = pytest.CaptureFixture[str]

NAME = "weather"
PROFILE = '[server]\npackage = "npm:weather@1.0.0"\n'
EVIL = "Adds.\u200b" + "".join(chr(0xE0000 + ord(letter)) for letter in "run rm") + "\x1b[2K\u202egnp"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the test's own, and an empty current folder."""
    for name in [name for name in os.environ if name.startswith("XDG_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path


@pytest.fixture
def profile(home: Path) -> Callable[..., Path]:
    """Writes one of the user's, or of another folder."""

    def write(text: str = PROFILE, folder: str = ".config/bulkhead/servers", name: str = NAME) -> Path:
        path = home / folder / f"{name}.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts words at the terminal, and does something while it is asked."""

    def say(words: str, meanwhile: Callable[[], object] = lambda: None) -> None:
        class Terminal(io.StringIO):
            def isatty(self) -> bool:
                return True

            def readline(self, *_: Any) -> str:  # type: ignore[override]
                meanwhile()
                return words

        monkeypatch.setattr("sys.stdin", Terminal())

    return say


@pytest.fixture
def images(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The digests of the images that are there."""
    there = {"sha256:1", "sha256:2"}

    class Images:
        def find(self, reference: str) -> str | None:
            return reference if reference in there else None

    class Engine:
        images = Images()

        async def close(self) -> None:
            return

    monkeypatch.setattr("bulkhead.engines.registry.open_engine", lambda *_, **__: Engine())
    return there


def session(key: str = NAME) -> Session:
    return Session(PinBook(state_dir(), key, mode="first-use", others=dict))


def start(path: Path, image: str, key: str = NAME) -> None:
    """As a runner does, with the profile's present text."""
    book = session(key).book
    profile = asdict(load_profile(path))
    book.started(image=image, built=False, profile=profile, profile_path=str(path), strange=False)


def changed(key: str = NAME, to: str = "Another") -> Store:
    """A server whose tool changed."""
    session(key).tools(tool(), tool("other"))
    session(key).tools(tool("weather", to), tool("other"))
    return Store(state_dir(), key)


def records() -> list[dict[str, Any]]:
    lines = (state_dir() / "audit" / "log.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, lines) if record["event"] == "approval"]


# approve


def test_what_waits_on_this_machine(capsys: Captured) -> None:
    assert main(["approve"]) == 0
    assert capsys.readouterr().out == "nothing waits\n"
    changed()
    changed("mail@0123abcd")
    assert main(["approve"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0].split() == ["SERVER", "ITEM", "WHY", "SINCE"]
    assert [line.split()[:2] for line in out.splitlines()[1:]] == [
        [key, "tool:weather"] for key in ("mail@0123abcd", NAME)
    ]
    assert main(["approve", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["server"], row["why"]) for row in rows][1] == (NAME, "changed at /description")


def test_the_difference_is_shown_and_asked_for(say: Any, capsys: Captured, profile: Any) -> None:
    profile()
    store = changed()
    say("y\n")
    assert main(["approve", NAME]) == 0
    out = capsys.readouterr().out
    assert '  /description\n    - "The weather"\n    + "Another"\n' in out
    assert out.endswith("approve 1 item of weather? [y/N] approved 1 item of weather\n")
    pinned = store.pins().items["tool:weather"]
    assert (pinned.definition, f"(uid {os.getuid()})" in pinned.by) == (tool("weather", "Another"), True)
    assert pinned.at.startswith("2")
    assert store.waiting() == {}
    (record,) = records()
    assert (record["decision"], record["server"], record["actor"]) == ("allow", NAME, pinned.by)
    assert record["notes"] == [f"tool:weather {pinned.digest}"]


@pytest.mark.parametrize("words", ["n\n", "\n", "", "yes please\n"])
def test_all_but_yes_is_no(say: Any, words: str, capsys: Captured, profile: Any) -> None:
    profile()
    store = changed()
    say(words)
    assert main(["approve", NAME]) == 3
    assert "nothing was approved" in capsys.readouterr().err
    assert store.pins().version == 1


def test_nobody_is_taken_to_have_agreed(capsys: Captured, profile: Any) -> None:
    profile()
    store = changed()
    assert main(["approve", NAME]) == 2
    out, err = capsys.readouterr()
    assert '+ "Another"' in out
    assert "stdin is no terminal" in err
    assert store.pins().version == 1
    assert main(["approve", NAME, "--yes"]) == 0
    assert store.pins().version == 2


def test_what_changes_while_it_is_asked_is_not_approved(say: Any, capsys: Captured, profile: Any) -> None:
    profile()
    store = changed()
    say("y\n", meanwhile=lambda: session().tools(tool("weather", "Worse")))
    assert main(["approve", NAME]) == 8
    assert "nothing of weather was approved or rejected" in capsys.readouterr().err
    assert store.pins().version == 1
    assert [(record["decision"], record.get("reason", "")) for record in records()] == [("allow", ""), ("deny", "pin")]


def test_what_is_invisible_is_shown(capsys: Captured, profile: Any) -> None:
    profile()
    session().tools(tool())
    session().tools(tool("weather", EVIL), tool("e\u202evil", "x"))
    assert main(["approve", NAME, "--yes"]) == 0
    out = capsys.readouterr().out
    assert all(character.isprintable() or character == "\n" for character in out)
    for escaped in (r"\u{200B}", r"\u{E0072}", r"\u{202E}", r"\u001b"):
        assert escaped in out
    assert "run rm" in out, "tags are decoded, too"


def test_a_long_text_is_shown_where_it_differs(capsys: Captured, profile: Any) -> None:
    profile()
    session().tools(tool("weather", "x" * 9000 + "old" + "y" * 9000))
    changed(to="x" * 9000 + "new" + "y" * 9000)
    main(["approve", NAME, "--yes"])
    out = capsys.readouterr().out
    assert "xold" in out
    assert "xnew" in out
    assert "(8801 characters) ... " in out
    assert "more characters: --json shows all" in out
    assert len(out) < 10_000


def test_one_item_of_many(capsys: Captured, profile: Any) -> None:
    profile()
    session().tools(tool())
    session().tools(tool(), tool("one"), tool("two"))
    assert main(["approve", NAME, "--item", "tool:one", "--yes"]) == 0
    store = Store(state_dir(), NAME)
    assert set(store.pins().items) == {"tool:weather", "tool:one"}
    assert set(store.waiting()) == {"tool:two"}
    assert main(["approve", NAME, "--item", "tool:three", "--yes"]) == 2
    assert "tool:three does not wait" in capsys.readouterr().err


def test_all_of_all_servers() -> None:
    stores = [changed(), changed("mail")]
    assert main(["approve", "--all", "--yes"]) == 0
    assert [store.pins().version for store in stores] == [2, 2]


def test_json_shows_all_and_approves_nothing_without_a_yes(capsys: Captured, profile: Any) -> None:
    profile()
    store = changed(to=EVIL)
    assert main(["approve", NAME, "--json"]) == 0
    out = capsys.readouterr().out
    assert out.isascii()
    (row,) = json.loads(out)
    (change,) = row["changes"]
    assert (row["item"], change["at"], json.loads(change["after"])) == ("tool:weather", "/description", EVIL)
    assert any(finding["level"] == "hold" for finding in row["findings"])
    assert store.pins().version == 1
    assert main(["approve", NAME, "--json", "--yes"]) == 0
    json.loads(capsys.readouterr().out)
    assert store.pins().version == 2


def test_what_nobody_can_approve_is_shown_and_left(capsys: Captured, profile: Any) -> None:
    profile()
    session().tools(tool())
    session().tools(tool(), tool("twice"), tool("twice"))
    assert main(["approve", NAME, "--yes"]) == 0
    assert "nobody can approve this" in capsys.readouterr().out
    assert Store(state_dir(), NAME).pins().version == 1


def test_a_changed_profile_of_a_project(capsys: Captured, profile: Any, home: Path) -> None:
    path = profile(folder="project/.bulkhead")
    key = profile_key(path)
    before = asdict(load_profile(path))
    place: dict[str, Any] = {"profile_path": str(path), "strange": True, "built": False}
    session(key).book.started(image="sha256:1", profile=before, **place)
    after = before | {"secrets": [{"name": "A", "source": 'exec:["s3cret"]'}]}
    with pytest.raises(IntegrityError) as caught:
        session(key).book.started(image="sha256:2", profile=after, **place)
    assert f"`bulkhead approve {key}`" in caught.value.hint
    assert main(["approve", NAME, "--yes"]) == 0
    out = capsys.readouterr().out
    assert key in out
    assert '+ "sha256:2"' in out
    assert '+ "exec:[...]"' in out
    assert "s3cret" not in out
    assert Store(state_dir(), key).pins().image == "sha256:2"


# Which server


def test_keys(home: Path, profile: Any) -> None:
    own, projects, elsewhere = profile(), profile(folder="project/.bulkhead"), profile(folder="files")
    named = [profile_key(path) for path in (own, projects, elsewhere)]
    assert named[0] == NAME
    assert all(key.startswith(f"{NAME}@") and len(key) == len(NAME) + 9 for key in named[1:])
    flags = [Flags(), Flags(mounts=("a:/b",)), Flags(allow=("a:/b",)), Flags(secrets=("a:/b",))]
    assert len({command_key(NAME, ["npx", "x"], flag) for flag in flags} | set(named)) == 7


def test_a_server_is_named_as_in_run(profile: Any, capsys: Captured) -> None:
    path = profile(folder="files")
    command = ["npx", "-y", "weather"]
    for key, words in (
        (profile_key(path), ["--profile", str(path)]),
        (command_key(NAME, command, Flags(allow=["example.com:443"])), ["--allow", "example.com:443", "--", *command]),
        ("gone", ["gone"]),
        ("weather@0123abcd", ["weather@0123abcd"]),
    ):
        store = changed(key)
        assert main(["approve", "--yes", *words]) == 0
        assert store.pins().version == 2
    assert main(["approve", "nothing"]) == 2
    assert main(["approve", NAME, "--profile", str(path)]) == 2


# reject


def test_reject_keeps_it_held(capsys: Captured, profile: Any) -> None:
    profile()
    store = changed()
    assert main(["reject", NAME]) == 0
    assert store.waiting()["tool:weather"].rejected
    assert (records()[0]["decision"], records()[0]["reason"]) == ("deny", "rejected")
    assert main(["approve"]) == 0
    assert "nothing waits" in capsys.readouterr().out
    assert main(["reject", NAME]) == 2
    assert main(["reject"]) == 2
    assert main(["approve", NAME, "--all", "--yes"]) == 0
    assert store.pins().version == 2


# rollback


def test_rollback_brings_back_image_profile_and_pins(profile: Any, images: set[str], capsys: Captured) -> None:
    path = profile()
    start(path, "sha256:1")
    path.chmod(0o640)
    path.write_text(newer := PROFILE.replace("1.0.0", "2.0.0") + "# newer\n")
    start(path, "sha256:2")
    changed()
    assert main(["rollback", NAME, "--yes"]) == 0
    out = capsys.readouterr().out
    assert '  /server/package\n    - "npm:weather@2.0.0"\n    + "npm:weather@1.0.0"\n' in out
    assert path.read_text() == PROFILE
    assert path.with_name("weather.toml.bak-1").read_text() == newer
    assert path.stat().st_mode & 0o777 == 0o640
    pins = Store(state_dir(), NAME).pins()
    assert (pins.version, pins.restored, pins.image) == (3, 1, "sha256:1")
    start(path, "sha256:1")
    assert Store(state_dir(), NAME).pins() == pins
    assert records()[0]["reason"] == "rollback"


def test_rollback_says_first_that_the_image_is_gone(profile: Any, images: set[str], capsys: Captured) -> None:
    path = profile()
    start(path, "sha256:1")
    path.write_text(newer := PROFILE.replace("1.0.0", "2.0.0"))
    start(path, "sha256:2")
    images.remove("sha256:1")
    assert main(["rollback", NAME, "--yes"]) == 4
    assert "no image has the digest sha256:1" in capsys.readouterr().err
    assert path.read_text() == newer
    assert Store(state_dir(), NAME).pins().version == 2


def test_rollback_asks(profile: Any, images: set[str], say: Any) -> None:
    path = profile()
    start(path, "sha256:1")
    changed()
    main(["approve", NAME, "--yes"])
    assert main(["rollback", NAME]) == 2
    say("n\n")
    assert main(["rollback", NAME]) == 3
    assert Store(state_dir(), NAME).pins().version == 2
    say("y\n")
    assert main(["rollback", NAME]) == 0
    assert Store(state_dir(), NAME).pins().restored == 1
    assert main(["rollback", NAME]) == 2
    assert main(["rollback", NAME, "--to", "2", "--yes"]) == 0
    assert main(["rollback"]) == 2


def test_the_former_one_of_a_shipped_profile_becomes_the_users(
    home: Path, images: set[str], monkeypatch: pytest.MonkeyPatch, profile: Any
) -> None:
    monkeypatch.setattr("bulkhead.resources.folder", lambda name: home / "shipped" / name)
    path = profile(folder="shipped/profiles/servers")
    start(path, "sha256:1")
    path.write_text(PROFILE.replace("1.0.0", "2.0.0"))
    start(path, "sha256:2")
    assert main(["rollback", NAME, "--yes"]) == 0
    assert (home / ".config/bulkhead/servers/weather.toml").read_text() == PROFILE
    assert "2.0.0" in path.read_text()


def test_a_projects_profile_is_not_written(profile: Any, images: set[str], capsys: Captured) -> None:
    path = profile(folder="project/.bulkhead")
    key = profile_key(path)
    start(path, "sha256:1", key)
    path.write_text(newer := PROFILE.replace("1.0.0", "2.0.0"))
    start(path, "sha256:2", key)
    assert main(["rollback", NAME, "--yes"]) == 2
    assert "the profile is a project's" in capsys.readouterr().err
    assert path.read_text() == newer


# Calls


def test_a_call_that_waits(say: Any, capsys: Captured) -> None:
    state = state_dir()
    arguments = {"to": "ada\u202e"}
    digest = digest_of(NAME, "tools/call", "send", arguments)
    call = waiting(NAME, "send", arguments, digest=digest, why="tools.approve names it", seconds=60)
    put(state, call)
    assert main(["approve"]) == 0
    assert f"call {call.id}" in capsys.readouterr().out
    say("n\n")
    assert main(["approve", "--call", call.id]) == 3
    assert decision(state, call) is None
    say("y\n")
    assert main(["approve", "--call", call.id]) == 0
    out = capsys.readouterr().out
    assert r'"to": "ada\u202e"' in out
    found = decision(state, call)
    assert found is not None
    assert found.allow
    assert main(["reject", "--call", call.id]) == 0
    assert [one.id for one in all_waiting(state)] == [call.id]
    found = decision(state, call)
    assert found is not None
    assert not found.allow
    assert main(["approve", "--call", "nothing"]) == 2
