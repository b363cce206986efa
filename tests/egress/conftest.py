"""Real gates with a server behind each, and behaviours on the runner's side: one a port."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import secrets
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio.from_thread import start_blocking_portal

from bulkhead.egress.opening import open_gate
from bulkhead.engines import seccomp
from bulkhead.engines.docker import DockerEngine
from bulkhead.engines.hardening import plan_for
from bulkhead.engines.registry import find_endpoint
from bulkhead.resources import seccomp_profile
from bulkhead.spec import Server, ServerSpec
from tests.egress import program
from tests.security.guest import Guest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import docker
    from anyio.from_thread import BlockingPortal

    from bulkhead.egress.caught import Caught
    from bulkhead.egress.opening import Gate
    from bulkhead.engines.base import Engine

MEGABYTE = 2**20
PATIENCE = 20.0

ECHO, RESETS, STALLS, SPEAKS_FIRST, LISTENS, STREAMS = PORTS = (7001, 7002, 7003, 7004, 7005, 443)


@dataclass
class Seen:
    """What came, on the runner's side. All of it happens in the event loop's thread."""

    caught: list[Caught] = field(default_factory=list)
    places: list[tuple[str, int]] = field(default_factory=list)
    ends: dict[int, Any] = field(default_factory=dict)  # by port: how its last connection ended
    ended: threading.Event = field(default_factory=threading.Event)

    def end(self, port: int, how: Any) -> None:
        self.ends[port] = how
        self.ended.set()


async def _received(caught: Caught) -> bytes:
    loop, data = asyncio.get_running_loop(), bytearray()
    while piece := await loop.sock_recv(caught.sock, 2**16):
        data += piece
    if caught.was_reset:
        raise ConnectionResetError
    return bytes(data)


async def _behave(caught: Caught, seen: Seen) -> None:
    loop = asyncio.get_running_loop()
    try:
        match caught.port:
            case 7001:
                while piece := await loop.sock_recv(caught.sock, 2**16):
                    await loop.sock_sendall(caught.sock, piece)
            case 7002:
                await loop.sock_recv(caught.sock, 1)
                caught.abort()
            case 7003:
                return  # held open, and never read
            case 7004:
                await loop.sock_sendall(caught.sock, b"x" * MEGABYTE)
                caught.sock.shutdown(1)
                seen.end(caught.port, (await _received(caught)).decode())
            case 7005:
                seen.end(caught.port, hashlib.sha256(await _received(caught)).hexdigest())
            case _:
                while True:
                    await loop.sock_sendall(caught.sock, b"x" * 2**16)
    except OSError as error:
        seen.end(caught.port, type(error).__name__)
    caught.close()


def _answer(query: bytes, *, tcp: bool) -> bytes | None:
    """A real answer to a real query of type A (the asker's own bytes, one record); else words, told apart."""
    if query.startswith(b"silent"):
        return None
    if query.startswith(b"words"):
        return (b"tcp " if tcp else b"udp ") + query
    end = query.index(b"\0", 12) + 5
    is_a = query[end - 4 : end - 2] == b"\0\1"
    head = query[:2] + b"\x81\x80\0\1" + (b"\0\1" if is_a else b"\0\0") + b"\0\0\0\0"
    return head + query[12:end] + (b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4\xc6\x12\0\7" if is_a else b"")


@dataclass
class Room:
    """A gate, and a server behind it. said: what serve() returned, once it has."""

    gate: Gate
    guest: Guest
    seen: Seen
    over: threading.Event
    said: list[str]


@dataclass(frozen=True)
class Rooms:
    """Opens rooms."""

    portal: BlockingPortal
    engine: Engine
    daemon: docker.DockerClient
    state: Path
    images: dict[str, str]

    @contextmanager
    def room(self, mode: str, *, connections: int = 64) -> Iterator[Room]:
        seen, over, said = Seen(), threading.Event(), []
        gate = self.portal.call(self.gate, mode, connections)

        async def serve() -> None:
            async with anyio.create_task_group() as tasks:

                def caught_one(caught: Caught) -> None:
                    seen.caught.append(caught)
                    seen.places.append((caught.address, caught.port))
                    tasks.start_soon(_behave, caught, seen)

                said.append(await gate.serve(caught_one, _answer))
                tasks.cancel_scope.cancel()
            for caught in seen.caught:  # whoever took them over ends them
                caught.abort()
            over.set()

        serving = self.portal.start_task_soon(serve)
        try:
            with self._guest(gate.id) as guest:
                yield Room(gate, guest, seen, over, said)
        finally:
            self.portal.call(gate.close)
            serving.result(PATIENCE)

    async def gate(self, mode: str, connections: int = 64) -> Gate:
        return await open_gate(
            self.engine,
            gate_id=f"egress-tests-{secrets.token_hex(4)}",
            server="egress-tests",
            image_digest=self.images["bulkhead/gate"],
            seccomp=seccomp.load(seccomp_profile("default")),
            ports=PORTS,
            connections=connections,
            state=self.state,
            share=mode == "fds",
        )

    @contextmanager
    def _guest(self, gate: str) -> Iterator[Guest]:
        server = Server(image="bulkhead/python", command=("python3", "-I", "-c", inspect.getsource(program)))
        plan = plan_for(
            ServerSpec(name="egress-tests", server=server),
            sandbox_id=f"egress-tests-{secrets.token_hex(4)}",
            image_digest=self.images["bulkhead/python"],
            image_command=(),
            seccomp=seccomp.load(seccomp_profile("default")),
            owners={},
            gate=gate,
        )
        sandbox = self.portal.call(self.engine.start, plan)
        try:
            yield Guest(self.portal, sandbox, plan, self.container(plan.id))
        finally:
            self.portal.call(sandbox.stop, 0)

    def container(self, sandbox_id: str) -> dict[str, Any]:
        attrs: dict[str, Any] = self.daemon.containers.get(f"bulkhead-{sandbox_id}").attrs
        return attrs


@pytest.fixture(scope="session")
def rooms(daemon: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rooms]:
    names = ("bulkhead/gate", "bulkhead/python")
    subprocess.run([sys.executable, "-m", "bulkhead", "images", "build", *names], check=True, stdout=subprocess.DEVNULL)
    images = {name: str(daemon.images.get(name).id) for name in names}
    state = tmp_path_factory.mktemp("state")
    with start_blocking_portal() as portal:
        engine = portal.call(_opened, state)
        try:
            yield Rooms(portal, engine, daemon, state, images)
        finally:
            portal.call(engine.close)


async def _opened(state: Path) -> Engine:
    return DockerEngine(find_endpoint(), state=state)


@pytest.fixture(scope="session", params=["fds", "mux"])
def room(request: pytest.FixtureRequest, rooms: Rooms) -> Iterator[Room]:
    """One of either mode, for the whole suite. Tests leave nothing open in it."""
    with rooms.room(request.param) as room:
        assert room.gate.mode == request.param
        yield room


@pytest.fixture
def seen(room: Room) -> Iterator[Seen]:
    """What comes from now on; what is still open afterwards is closed."""
    before = len(room.seen.caught)
    room.seen.places.clear()
    room.seen.ends.clear()
    room.seen.ended.clear()
    yield room.seen
    for caught in room.seen.caught[before:]:
        with suppress(OSError):
            room.guest.portal.call(caught.close)
