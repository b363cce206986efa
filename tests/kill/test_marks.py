"""What is kept of a kill: whole or not at all, and what cannot be read stops its server all the same."""

from __future__ import annotations

import os
import time
from threading import Event
from typing import TYPE_CHECKING

import anyio
import pytest

from bulkhead import killed
from bulkhead.cli import main
from bulkhead.errors import DeniedError, SecretError
from tests.credentials.test_leases import Till, Trace, run, until

if TYPE_CHECKING:
    from pathlib import Path

    from bulkhead.credentials.base import Fetched
    from bulkhead.credentials.leases import Lease
    from tests.credentials.test_leases import Files


def why(state: Path, name: str) -> str:
    """Of a server that must be killed."""
    error = killed.refusal(state, name)
    assert isinstance(error, DeniedError)
    assert (error.reason, error.exit_code) == ("killed", 3)
    return f"{error.what}; {error.why}; {error.hint}"


def test_what_is_not_marked_may_run(tmp_path: Path) -> None:
    assert killed.refusal(tmp_path, "github") is None
    killed.require_alive(tmp_path, "github")
    assert killed.marked(tmp_path) == []


def test_a_mark_names_who_and_why_until_it_is_released(tmp_path: Path) -> None:
    killed.mark(tmp_path, "github", "it wrote to strangers", "ann@desk")
    told = why(tmp_path, "github")
    assert told.startswith("github is killed; ann@desk, ")
    assert told.endswith(": it wrote to strangers; it stays stopped until `bulkhead release github`")
    assert killed.refusal(tmp_path, "githu") is None
    assert [path.name for path in (tmp_path / "killed").iterdir()] == ["github.json"]
    assert killed.released(tmp_path, "github")
    assert not killed.released(tmp_path, "github")
    assert killed.refusal(tmp_path, "github") is None


def test_a_mark_of_all_is_everybodys(tmp_path: Path) -> None:
    killed.mark(tmp_path, killed.ALL, "fire", "ann@desk")
    assert why(tmp_path, "any").startswith("every server is killed; ann@desk, ")
    assert "`bulkhead release --all`" in why(tmp_path, "any")
    assert killed.NAME.fullmatch(killed.ALL) is None
    with pytest.raises(DeniedError, match="every server is killed"):
        killed.require_alive(tmp_path, "any")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"server": "x"}', "\x00\xff", '{"time":1e99}'])
def test_what_cannot_be_understood_stops_all_the_same(tmp_path: Path, text: str) -> None:
    killed.mark(tmp_path, "github", "r", "a")
    (tmp_path / "killed/github.json").write_bytes(text.encode("latin-1"))
    assert "its mark cannot be read" in why(tmp_path, "github")


def test_what_cannot_be_opened_stops_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "killed").write_text("in the way")
    assert "its mark cannot be read: Not a directory" in why(tmp_path, "github")


def test_asking_costs_next_to_nothing(tmp_path: Path) -> None:
    """It is asked at each request, of which most find nothing."""
    (tmp_path / "killed").mkdir()
    best = 1.0
    for _ in range(20):
        begun = time.perf_counter()
        for _ in range(100):
            killed.refusal(tmp_path, "github")
        best = min(best, (time.perf_counter() - begun) / 100)
    assert best < 50e-6


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The state folder of commands in this process."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "bulkhead"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("kill",), "which server?"),
        (("kill", "x", "--all"), "which server?"),
        (("kill", "../x"), "'../x' is no server's name"),
        (("kill", "ALL"), "'ALL' is no server's name"),
        (("release",), "which server?\n  why: NAME, or --all\n  do:  nothing is killed"),
        (("release", "x"), "x was not killed"),
        (("release", "--all"), "any server was not killed"),
    ],
)
def test_what_names_no_server(
    state: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], told: str
) -> None:
    assert main(words) == 2
    assert told in capsys.readouterr().err
    assert killed.marked(state) == []


def test_a_release_of_another_tells_what_is_killed(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    killed.mark(state, "github", "r", "a")
    assert main(["release", "gitlab"]) == 2
    assert "gitlab was not killed\n  do:  killed: github" in capsys.readouterr().err
    assert killed.marked(state) == ["github"]


def test_a_suspended_secret_is_gone_and_the_next_call_gets_it_anew() -> None:
    till = Till()

    async def test(lease: Lease, _: Files) -> None:
        call = Trace()
        await lease.open(call)
        assert lease.value() is not None
        lease.suspend()
        assert lease.value() is None
        assert call.events == ["granted", "suspended"]
        await until(lambda: till.revoked == 1)
        await lease.open(Trace())
        assert lease.value() is not None

    run(test, till)


class Slow(Till):
    """A provider that answers once it may."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.may = Event(), Event()

    def fetch(self) -> Fetched:
        self.asked.set()
        self.may.wait(10)
        return super().fetch()


def test_a_call_that_waits_for_a_suspended_secret_does_not_get_it() -> None:
    till = Slow()

    async def test(lease: Lease, _: Files) -> None:
        async def call() -> None:
            with pytest.raises(SecretError) as caught:
                await lease.open(Trace())
            assert caught.value.why == "its server was killed meanwhile"

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            await until(till.asked.is_set)
            lease.suspend()
            till.may.set()
        assert (lease.value(), till.revoked) == (None, 1)

    run(test, till)


def test_a_watch_sees_every_change(tmp_path: Path) -> None:
    watch = killed.Watch(tmp_path, "a")
    for _ in range(200):
        assert watch.refusal() is None
        killed.mark(tmp_path, "a", "why", "me")
        refused = watch.refusal()
        assert refused is not None
        assert refused.reason == "killed"
        killed.released(tmp_path, "a")
    os.utime(tmp_path / "killed", ns=(1, 1))
    assert watch.refusal() is None
    (tmp_path / "killed" / "ALL.json").write_text("{}")
    assert watch.refusal() is not None
