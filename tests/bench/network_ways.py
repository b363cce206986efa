"""The ways of a program to the sink: from this machine, on Docker's plain bridge, there through tinyproxy, in Bulkhead.

Bulkhead stands here twice: as it runs beside its engine, and as it does where that is elsewhere (elsewhere.py).
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from tests.bench.session import Session
from tests.bench.ways import HERE, own_name, profile, server

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import ExitStack
    from pathlib import Path

DIRECT, BRIDGE, TINYPROXY, BULKHEAD, MUX = WAYS = ("direct", "bridge", "tinyproxy", "bulkhead", "bulkhead, mux")
BY_ADDRESS, BY_NAME, WITH_TLS = KINDS = ("by address", "by name", "ClientHello")

# Seconds before each connection: a sandbox may open 200 a second, so none of them waits for its turn.
_APART = 0.012
_READY = 10.0
_TINYPROXY = "Listen {}\nPort {}\nMaxClients 256\nTimeout 600\nLogLevel Critical\n"

Place = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Way:
    """A guest, and how it reaches the sink: its place by kind, the proxy it asks, the process that carries its bytes.

    Only Bulkhead has names here: the others would have them from a file, before they connect.
    """

    session: Session
    places: Mapping[str, Place]
    proxy: Place | None = None
    carrier: psutil.Process | None = None

    def connect(self, kind: str, count: int) -> list[float]:
        """Seconds of each connection."""
        sni = own_name() if kind == WITH_TLS else ""
        arguments = {"place": self.places[kind], "proxy": self.proxy, "sni": sni, "count": count, "apart": _APART}
        return list(self.session.call("connect", arguments))

    def transfer(self, count: int, *, up: bool, seconds: float) -> tuple[int, float]:
        """Bytes and seconds."""
        place = self.places[BY_ADDRESS]
        arguments = {"place": place, "proxy": self.proxy, "up": up, "count": count, "seconds": seconds}
        carried, elapsed = self.session.call("transfer", arguments)
        return carried, elapsed

    def used(self) -> float:
        """Processor seconds of the carrier until now."""
        return sum(self.carrier.cpu_times()[:2]) if self.carrier else 0.0


def open_ways(closing: ExitStack, folder: Path) -> dict[str, Way]:
    """All of WAYS, with a sink for them; closing ends them, folder takes the files that they need."""
    gateway = _bridge()
    speaks, asked = ports = closing.enter_context(_sink(gateway))
    path = profile(folder, "guest", "guest.py", reaches={own_name(): ports, gateway: ports}, cpus=os.cpu_count() or 1)
    direct, docker, bulkhead = server(path, folder).commands
    proxy, tinyproxy = closing.enter_context(_tinyproxy(folder, gateway))
    plain = {BY_ADDRESS: (gateway, speaks), BY_NAME: (gateway, speaks), WITH_TLS: (gateway, asked)}
    named = {BY_ADDRESS: (gateway, speaks), BY_NAME: (own_name(), speaks), WITH_TLS: (own_name(), asked)}

    def session(command: Sequence[str]) -> Session:
        opened = closing.enter_context(Session(command))
        opened.open()
        return opened

    def gated(command: Sequence[str]) -> Way:
        runner = session(command)
        return Way(runner, named, carrier=psutil.Process(runner.process.pid))

    return {
        DIRECT: Way(session(direct), plain),
        BRIDGE: Way(session(docker), plain),
        TINYPROXY: Way(session(docker), plain, proxy, tinyproxy),
        BULKHEAD: gated(bulkhead),
        MUX: gated([sys.executable, str(HERE / "elsewhere.py"), *bulkhead[1:]]),
    }


def _bridge() -> str:
    """This machine's address on Docker's bridge."""
    form = "{{(index .IPAM.Config 0).Gateway}}"
    command = ["docker", "network", "inspect", "bridge", "--format", form]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


@contextmanager
def _sink(gateway: str) -> Iterator[list[int]]:
    """Its ports."""
    own = [str(row[4][0]) for row in socket.getaddrinfo(own_name(), None, type=socket.SOCK_STREAM)]
    command = [sys.executable, "-m", "tests.bench.sink", *dict.fromkeys((gateway, *own))]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=HERE.parent.parent
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield json.loads(process.stdout.readline() or sys.exit("the sink did not start"))
        process.stdin.close()


@contextmanager
def _tinyproxy(folder: Path, address: str) -> Iterator[tuple[Place, psutil.Process]]:
    """tinyproxy on the bridge, with nothing to forbid; its place and process."""
    with socket.create_server((address, 0)) as free:
        place = address, free.getsockname()[1]
    configuration = folder / "tinyproxy.conf"
    configuration.write_text(_TINYPROXY.format(*place), encoding="utf-8")
    with subprocess.Popen(["tinyproxy", "-d", "-c", str(configuration)], stdout=subprocess.DEVNULL) as process:
        try:
            _await(place)
            yield place, psutil.Process(process.pid)
        finally:
            process.terminate()


def _await(place: Place) -> None:
    end = time.monotonic() + _READY
    while True:
        try:
            socket.create_connection(place).close()
        except ConnectionRefusedError:
            if time.monotonic() > end:
                sys.exit(f"nothing listens on {place} after {_READY:.0f} s")
            time.sleep(0.02)
        else:
            return
