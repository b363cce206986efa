"""What a secret costs: a request that gets it on its way beside one that needs none, and a call with a lease, by turns.

Both requests go through a gate to the same far end, by the same rule. The gate passes the TLS of the one, and ends that
of the other: a handshake more on a new connection.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from tests.bench.far_end import AUTHORITY, SECRET
from tests.bench.percentile import p50_and_p99
from tests.bench.session import Session
from tests.bench.ways import BIN, HERE, own_name, profile

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

PLAIN, INJECTED = WAYS = ("plain", "injected")
KEPT, ANEW = KINDS = ("kept connection", "new connection")

_VARIABLE = "TOKEN"
# Seconds before each connection: a sandbox may open 200 a second, so none of them waits for its turn.
_APART = 0.006
_WARM_UP = 20
_TEXT = "x" * 100
_REACHES = """
[[egress]]
host = "{host}"
ports = [{port}]
private = true
tls = true
"""
_INJECTS = """
[[secrets]]
name = "{name}"
from = {source}
use = "inject"
hosts = ["{host}"]
"""


def measure_secrets(folder: Path, *, rounds: int, count: int, calls: int) -> dict[str, Any]:
    """In each round, with a secret and without: count requests of each kind, and so many calls that echo 100 B.

    {"requests": {kind: {way: {p50, p99}}}, "calls": {way: {p50, p99}}} in seconds; a call of the way INJECTED has a
    lease, which is opened and closed for it.
    """
    with ExitStack() as closing:
        port = closing.enter_context(far_end(folder))
        env = {"SSL_CERT_FILE": str(folder / AUTHORITY)}
        guests, echoes = (
            {way: _opened(closing, path, env) for way, path in profiles(folder, name, program, port).items()}
            for name, program in (("guest", "guest.py"), ("echo", "server.py"))
        )
        return {"requests": _requests(guests, port, rounds, count), "calls": _calls(echoes, rounds, calls)}


@contextmanager
def far_end(folder: Path) -> Iterator[int]:
    """Its port; folder has its AUTHORITY and SECRET meanwhile, which is made for it."""
    secret = folder / SECRET
    secret.touch(mode=0o600)
    secret.write_text(token_hex(20), encoding="utf-8")
    command = [sys.executable, "-m", "tests.bench.far_end", str(folder)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=HERE.parent.parent
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline() or sys.exit("the far end did not start"))
        finally:
            process.stdin.close()
            secret.unlink()


def profiles(folder: Path, name: str, program: str, port: int) -> dict[str, Path]:
    """Of each way; all that they differ in is the secret."""
    tables = {PLAIN: "", INJECTED: _INJECTS.format(name=_VARIABLE, source=_source(folder), host=own_name())}
    made = {}
    for way, table in tables.items():
        made[way] = profile(folder, f"{name}-{way}", program, cpus=os.cpu_count() or 1)
        with made[way].open("a", encoding="utf-8") as file:
            file.write(_REACHES.format(host=own_name(), port=port) + table)
    return made


def _source(folder: Path) -> str:
    return json.dumps(f"file:{folder / SECRET}")


def _opened(closing: ExitStack, path: Path, env: Mapping[str, str]) -> Session:
    session = closing.enter_context(Session([str(BIN / "bulkhead"), "run", "--profile", str(path)], env))
    session.open()
    return session


def _requests(guests: Mapping[str, Session], port: int, rounds: int, count: int) -> dict[str, Any]:
    taken: dict[str, dict[str, list[float]]] = {kind: {way: [] for way in WAYS} for kind in KINDS}
    for way, guest in guests.items():
        for kind in KINDS:
            _asked(guest, way, kind, port, _WARM_UP)
    for _ in range(rounds):
        for kind in KINDS:
            for way, guest in guests.items():
                taken[kind][way] += _asked(guest, way, kind, port, count)
    return {kind: {way: p50_and_p99(values) for way, values in ways.items()} for kind, ways in taken.items()}


def _asked(guest: Session, way: str, kind: str, port: int, count: int) -> list[float]:
    arguments = {"place": (own_name(), port), "variable": _VARIABLE if way == INJECTED else "", "count": count}
    if kind == ANEW:
        return list(guest.call("ask_anew", arguments | {"apart": _APART}))
    return list(guest.call("ask", arguments))


def _calls(echoes: Mapping[str, Session], rounds: int, calls: int) -> dict[str, dict[str, float]]:
    taken: dict[str, list[float]] = {way: [] for way in WAYS}
    for echo in echoes.values():
        for _ in range(_WARM_UP):
            echo.echo(_TEXT)
    for _ in range(rounds):
        for way, echo in echoes.items():
            taken[way] += [echo.echo(_TEXT) for _ in range(calls)]
    return {way: p50_and_p99(values) for way, values in taken.items()}
