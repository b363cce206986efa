"""What a network does to clients beside being fast: large, slow, half closed, reset, and thousands; in either mode."""

from __future__ import annotations

import hashlib
import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.clients.box import MEGABYTE, Place
from tests.clients.servers.content import content, digest
from tests.conftest import until
from tests.egress.sinks import Sink, keep

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.clients.box import Box, Boxes
    from tests.clients.servers.web import Web

LARGE = 64 * MEGABYTE
COUNT = 2000


def _digests(conn: socket.socket, _: Sink) -> None:
    """Says what came, once all has."""
    conn.sendall(digest(keep(conn)).encode())


def _ends_first(conn: socket.socket, sink: Sink) -> None:
    """Says something, ends, and goes on reading."""
    conn.sendall(b"all of it")
    conn.shutdown(socket.SHUT_WR)
    sink.arrived.append(keep(conn))


def _resets(conn: socket.socket, _: Sink) -> None:
    conn.recv(1)
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@dataclass(frozen=True)
class Sinks:
    """One a behaviour."""

    digests: Sink
    ends_first: Sink
    resets: Sink

    @property
    def place(self) -> Place:
        return Place("sinks.bulkhead.test", "127.0.0.1", (self.digests.port, self.ends_first.port, self.resets.port))


@pytest.fixture(scope="module")
def sinks() -> Iterator[Sinks]:
    with Sink(_digests) as digests, Sink(_ends_first) as ends_first, Sink(_resets) as resets:
        yield Sinks(digests, ends_first, resets)


@pytest.fixture(scope="module", params=["fds", "mux"])
def box(request: pytest.FixtureRequest, boxes: Boxes, web: Web, sinks: Sinks) -> Iterator[Box]:
    with boxes.box(web.place, sinks.place, mode=request.param) as box:
        yield box


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_large_download(box: Box, web: Web, scheme: str) -> None:
    said = box.run("sh", "-c", 'curl -sS "$1" | sha256sum', "-", web.url(f"/bytes/{LARGE}", scheme))
    assert said.split()[0] == digest(content(LARGE))
    assert box.ended().received > LARGE


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_large_upload(box: Box, web: Web, scheme: str) -> None:
    script = 'head -c "$1" /dev/zero | curl -sS -T - "$2"'
    box.run("sh", "-c", script, "-", str(LARGE), web.url("/upload", scheme))
    assert web.arrived[-1].sha256 == hashlib.sha256(bytes(LARGE)).hexdigest()
    assert box.ended().sent > LARGE


def test_both_ways_at_once(box: Box, web: Web) -> None:
    """Four of each, none of which holds another back."""
    script = """
        head -c "$1" /dev/zero >/tmp/up
        for number in 1 2 3 4; do
          curl -sS "$2" | sha256sum &
          curl -sS -T /tmp/up "$3" &
        done
        wait
    """
    size = 8 * MEGABYTE
    said = box.run("sh", "-c", script, "-", str(size), web.url(f"/bytes/{size}"), web.url("/upload"))
    expected = [digest(content(size)), digest(bytes(size))]
    assert sorted(line.split()[0] for line in said.splitlines()) == sorted(expected * 4)


def test_slow_both_ways(box: Box, web: Web) -> None:
    """A byte at a time down, and a trickle up."""
    said = box.run("sh", "-c", 'curl -sS "$1" | sha256sum', "-", web.url("/slowly/50"))
    assert said.split()[0] == digest(content(50))
    script = 'head -c 100000 /dev/zero | curl -sS --limit-rate 100k -T - "$1"'
    box.run("sh", "-c", script, "-", web.url("/upload"))
    assert (web.arrived[-1].size, web.arrived[-1].sha256) == (100_000, digest(bytes(100_000)))


def test_a_program_that_reads_slowly(box: Box, web: Web) -> None:
    """Nothing is lost where the reader is behind."""
    size = 4 * MEGABYTE
    said = box.run("sh", "-c", 'curl -sS --limit-rate 4M "$1" | sha256sum', "-", web.url(f"/bytes/{size}"))
    assert said.split()[0] == digest(content(size))


def test_the_programs_half_close(box: Box, sinks: Sinks) -> None:
    said = box.python(
        """
        import socket, sys
        with socket.create_connection(("sinks.bulkhead.test", int(sys.argv[1]))) as client:
            client.sendall(b"half of it" * 10**5)
            client.shutdown(socket.SHUT_WR)
            print(client.makefile().read())
        """,
        str(sinks.digests.port),
    )
    assert said.strip() == digest(b"half of it" * 10**5)


def test_the_servers_half_close(box: Box, sinks: Sinks) -> None:
    sinks.ends_first.arrived.clear()
    said = box.python(
        """
        import socket, sys
        with socket.create_connection(("sinks.bulkhead.test", int(sys.argv[1]))) as client:
            print(client.makefile().read())
            client.sendall(b"still heard" * 10**5)
        """,
        str(sinks.ends_first.port),
    )
    assert said.strip() == "all of it"
    box.ended()
    assert sinks.ends_first.data == b"still heard" * 10**5


def test_thousands_of_short_connections(box: Box, sinks: Sinks) -> None:
    before = sinks.digests.connections
    said = box.python(
        """
        import asyncio, hashlib, sys

        async def one(number, free):
            async with free:
                reader, writer = await asyncio.open_connection("sinks.bulkhead.test", int(sys.argv[1]))
                writer.write(str(number).encode())
                writer.write_eof()
                answer = await reader.read()
                writer.close()
                return answer.decode() == hashlib.sha256(str(number).encode()).hexdigest()

        async def main():
            free = asyncio.Semaphore(50)
            print(sum(await asyncio.gather(*(one(number, free) for number in range(int(sys.argv[2]))))))

        asyncio.run(main())
        """,
        str(sinks.digests.port),
        str(COUNT),
    )
    assert int(said) == COUNT
    assert sinks.digests.connections == before + COUNT


class TestTheServersReset:
    def test_curl(self, box: Box, web: Web) -> None:
        code, said = box.fails("curl", "-sS", "-o", "/dev/null", web.url("/reset/", "http"))
        assert (code, said) == (56, "curl: (56) Recv failure: Connection reset by peer\n")

    def test_node(self, box: Box, web: Web) -> None:
        said = box.node(
            "console.log(await fetch(process.argv[1]).then((a) => a.text()).catch((e) => e.cause.code))",
            web.url("/reset/", "http"),
        )
        assert said == "ECONNRESET\n"

    def test_python(self, box: Box, sinks: Sinks) -> None:
        said = box.python(
            """
            import socket, sys
            with socket.create_connection(("sinks.bulkhead.test", int(sys.argv[1]))) as client:
                client.sendall(b"x")
                try:
                    print(client.recv(1))
                except ConnectionResetError:
                    print("reset")
            """,
            str(sinks.resets.port),
        )
        assert said == "reset\n"


def test_a_program_that_is_killed_in_an_upload(box: Box, web: Web) -> None:
    """The server sees a reset, and no whole body."""
    box.python(
        """
        import socket, struct, sys
        client = socket.create_connection((sys.argv[1], 80))
        head = f"PUT /broken HTTP/1.1\\r\\nHost: {sys.argv[1]}\\r\\nContent-Length: 1000000\\r\\n\\r\\n"
        client.sendall(head.encode() + bytes(10**5))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        """,
        web.place.name,
    )
    until(lambda: web.arrived[-1].path == "/broken", 10)
    assert web.arrived[-1].broken
