"""How long a secret lives: as long as calls that may use it, never past its ttl, and anew for the next call."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio
import pytest

from bulkhead.credentials.base import Fetched
from bulkhead.credentials.leases import Lease, Leases
from bulkhead.errors import SecretError
from bulkhead.spec import SecretBinding

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path
    from typing import Any, Literal

VALUE = b"correct-horse-battery-staple"


@dataclass
class Till:
    """A provider that counts. seconds: what it says that a value is good for; renewals then give as much again."""

    seconds: float | None = None
    fetched: int = 0
    renewed: int = 0
    revoked: int = 0
    down: bool = False

    def fetch(self) -> Fetched:
        if self.down:
            raise SecretError("the secret at till: is not available", why="it is closed")
        self.fetched += 1
        renew = self._renew if self.seconds is not None else None
        return Fetched(VALUE + str(self.fetched).encode(), self.seconds, renew, self._revoke)

    def _renew(self) -> float:
        self.renewed += 1
        assert self.seconds is not None
        return self.seconds

    def _revoke(self) -> None:
        self.revoked += 1


@dataclass(eq=False)
class Trace:
    events: list[str] = field(default_factory=list)

    def event(self, name: str, /, **attributes: str) -> None:
        assert attributes == {"bulkhead.secret": "TOKEN"}
        self.events.append(name.removeprefix("bulkhead.secret."))


@dataclass
class Files:
    """What a sandbox has."""

    written: dict[str, bytes] = field(default_factory=dict)
    noted: list[tuple[str, str]] = field(default_factory=list)

    def note(self, event: str, name: str) -> None:
        self.noted.append((event, name))

    async def write(self, name: str, value: bytes | None) -> None:
        if value is None:
            self.written.pop(name, None)
        else:
            self.written[name] = value


def run(
    test: Callable[[Lease, Files], Awaitable[None]],
    till: Till,
    use: Literal["inject", "file", "env"] = "inject",
    **changes: Any,
) -> None:
    async def main() -> None:
        lease = Lease(SecretBinding("TOKEN", "env:TOKEN", use=use, **changes), till)
        files = Files()
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                lease.begin(tasks, files.write, files.note)
                await test(lease, files)
                tasks.cancel_scope.cancel()

    anyio.run(main)


async def until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110 - nobody tells
        await anyio.sleep(0.01)


def test_it_is_there_while_a_call_is_in_flight_and_fetched_anew_for_the_next() -> None:
    till = Till()

    async def test(lease: Lease, files: Files) -> None:
        for number in (b"1", b"2"):
            call = Trace()
            assert lease.value() is None
            await lease.open(call)
            assert lease.value() == VALUE + number
            lease.close(call)
            assert lease.value() is None
            assert call.events == ["granted"]
        await until(lambda: till.revoked == 2)
        assert files.noted == [("granted", "TOKEN"), ("granted", "TOKEN")]

    run(test, till)


def test_calls_at_once_share_it_until_the_last_has_ended() -> None:
    till = Till()

    async def test(lease: Lease, _: Files) -> None:
        first, second = Trace(), Trace()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lease.open, first)
            tasks.start_soon(lease.open, second)
        lease.close(first)
        assert lease.value() == VALUE + b"1"
        lease.close(second)
        assert lease.value() is None

    run(test, till)
    assert till.fetched == 1


def test_a_call_that_ends_twice_ends_no_other() -> None:
    async def test(lease: Lease, _: Files) -> None:
        first, second = Trace(), Trace()
        await lease.open(first)
        await lease.open(second)
        lease.close(first)
        lease.close(first)
        assert lease.value() == VALUE + b"1"

    run(test, Till())


def test_it_ends_at_its_ttl_in_the_middle_of_a_call() -> None:
    async def test(lease: Lease, _: Files) -> None:
        call = Trace()
        await lease.open(call)
        await until(lambda: lease.value() is None)
        await until(lambda: call.events == ["granted", "expired"])

    run(test, Till(), ttl=0.2)


def test_it_is_renewed_as_long_as_the_call_and_the_ttl_last() -> None:
    till = Till(seconds=0.15)

    async def test(lease: Lease, _: Files) -> None:
        call = Trace()
        await lease.open(call)
        await until(lambda: till.renewed >= 3)
        assert lease.value() == VALUE + b"1"
        assert call.events[:3] == ["granted", "renewed", "renewed"]
        lease.close(call)
        await until(lambda: till.revoked == 1)
        renewed = till.renewed
        await anyio.sleep(0.3)
        assert till.renewed == renewed

    run(test, till, ttl=10.0)


def test_a_provider_that_is_down_fails_the_call() -> None:
    async def test(lease: Lease, _: Files) -> None:
        call = Trace()
        with pytest.raises(SecretError) as caught:
            await lease.open(call)
        assert (caught.value.why, caught.value.reason) == ("it is closed", "secret")
        assert lease.value() is None
        assert call.events == []

    run(test, Till(down=True))


def test_what_is_revoked_stays_so() -> None:
    till = Till()

    async def test(lease: Lease, _: Files) -> None:
        call = Trace()
        await lease.open(call)
        lease.revoke()
        assert lease.value() is None
        assert call.events == ["granted", "revoked"]
        with pytest.raises(SecretError) as caught:
            await lease.open(Trace())
        assert caught.value.why == "somebody revoked it"
        with pytest.raises(SecretError):
            lease.hand()
        await until(lambda: till.revoked == 1)

    run(test, till)


def test_the_end_of_the_session_revokes_what_is_live() -> None:
    till = Till()

    async def test(lease: Lease, _: Files) -> None:
        leases = Leases(())
        leases._all = (lease,)
        await lease.open(Trace())
        await leases.end()
        assert till.revoked == 1
        leases.revoke()
        assert till.revoked == 1

    run(test, till)


def test_a_sandbox_is_handed_a_placeholder_and_keeps_it() -> None:
    till = Till()

    async def test(lease: Lease, _: Files) -> None:
        placeholder = lease.hand()
        assert placeholder == lease.placeholder
        assert len(placeholder) == len(VALUE) + 1
        assert placeholder != VALUE + b"1"
        assert lease.hand() == placeholder
        assert lease.value() is None
        assert till.revoked == 2

    run(test, till)


def test_a_file_is_there_from_the_start_removed_at_its_ttl_and_written_anew_for_the_next_call() -> None:
    async def test(lease: Lease, files: Files) -> None:
        files.written["TOKEN"] = lease.hand()
        lease.started()
        call = Trace()
        await lease.open(call)
        lease.close(call)
        assert files.written == {"TOKEN": VALUE + b"1"}
        await until(lambda: not files.written)
        await lease.open(call)
        assert files.written == {"TOKEN": VALUE + b"2"}

    run(test, Till(), use="file", ttl=0.3)


def test_a_variable_stays() -> None:
    till = Till()

    async def test(lease: Lease, files: Files) -> None:
        assert lease.hand() == VALUE + b"1"
        lease.started()
        await anyio.sleep(0.2)
        assert files.written == {}
        assert till.revoked == 0

    run(test, till, use="env", ttl=0.1)


def test_tools_say_which_calls_may_use_which(tmp_path: Path) -> None:
    bindings = [
        SecretBinding("A", f"file:{tmp_path}/a", hosts=("a.example.org",), tools=("read_*",)),
        SecretBinding("B", f"file:{tmp_path}/b", use="file"),
    ]
    leases = Leases(bindings)
    assert [lease.name for lease in leases.for_tool("read_mail")] == ["A", "B"]
    assert [lease.name for lease in leases.for_tool("write_mail")] == ["B"]
    assert [lease.name for lease in leases.injectables] == ["A"]
    for name in "ab":
        (tmp_path / name).write_bytes(VALUE + name.encode())
        (tmp_path / name).chmod(0o600)
    handed = leases.hand()
    assert handed.files == {"B": VALUE + b"b"}
    assert handed.variables == {}
    assert handed.placeholders.keys() == {"A"}
    assert VALUE.decode() not in repr(leases.for_tool("read_mail"))
