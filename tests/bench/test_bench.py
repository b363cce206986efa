"""What the bench measures is what it says: percentiles, memory, an echo, and one hardening for both containers."""

from __future__ import annotations

import os
import socket
import ssl
import sys
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from bulkhead.config import load_profile
from bulkhead.engines.hardening import Bind, Plan, Tmpfs
from tests.bench import (
    bare,
    far_end,
    guest,
    judging_costs,
    judging_report,
    network_report,
    network_ways,
    report,
    secret_costs,
    secret_report,
    ways,
)
from tests.bench.memory import family
from tests.bench.percentile import percentile
from tests.bench.session import Session

if TYPE_CHECKING:
    from collections.abc import Iterator

PLAN = Plan(
    id="bench",
    server="echo",
    image="sha256:" + "1" * 64,
    command=("/bin/server", "--flag"),
    env={"HOME": "/home/x"},
    working_dir="/work",
    uid=70001,
    gid=70002,
    seccomp="{}",
    cpus=0.5,
    memory=77 * 2**20,
    pids=33,
    open_files=99,
    tmpfs=(Tmpfs("/tmp", 4096, 64), Tmpfs("/run", 8192, 32, exec=True, mode=0o700)),  # noqa: S108
    binds=(Bind("/a", "/b", write=False), Bind("/c", "/d", write=True)),
)

NETWORK = {
    "connect": {
        kind: {"bridge": {"p50": 0.0004}, "bulkhead": {"p50": 0.0004 + over}}
        for kind, over in (("by address", 0.0009), ("by name", 0.0011))
    },
    "rates": {
        "1 down": {"bridge": 2e9, "bulkhead": 499e6},
        "1 up": {"bridge": 2e9, "bulkhead": 501e6},
        "50 up": {"bridge": 2e8, "bulkhead": 101e6},
    },
}


def test_a_percentile_is_a_measured_value() -> None:
    assert [percentile(range(1, 101), percent) for percent in (50, 99, 100)] == [50, 99, 100]
    assert percentile([3.0, 1.0, 2.0], 50) == 2.0
    assert percentile([5.0], 99) == 5.0


def test_memory_is_the_processes_own() -> None:
    with Session([sys.executable, str(ways.HERE / "server.py")]) as session:
        assert 0 < session.open() < 30
        (server,) = family(session.process.pid)
        # The kernel's two counts of it differ by what the processors have not added up yet.
        assert abs(server.rss - psutil.Process(session.process.pid).memory_info().rss) < 2**20
        assert 0 < server.uss <= server.pss <= server.rss
        assert server.rss in [member.rss for member in family(os.getpid())[1:]]


def test_the_server_echoes_both_sizes() -> None:
    with Session([sys.executable, str(ways.HERE / "server.py")]) as session:
        session.open()
        assert all(session.echo("x" * size) > 0 for size in (100, 1_000_000))


def test_a_server_that_ends_is_no_measurement() -> None:
    with pytest.raises(SystemExit, match="ended with 7"), Session([sys.executable, "-c", "exit(7)"]) as session:
        session.open()


def test_docker_run_gets_the_whole_plan() -> None:
    line = " ".join(ways._docker(PLAN, Path("/filter.json"), "none"))
    for flag in (
        "--init", "--rm", "--log-driver=none", "--network=none", "--read-only", "--cap-drop=ALL", "no-new-privileges",
        "seccomp=/filter.json", "--user=70001:70002", "--workdir=/work", f"--memory={77 * 2**20}",
        f"--memory-swap={77 * 2**20}", "--cpus=0.5", "--pids-limit=33", "nofile=99", "core=0", "--env=HOME=/home/x",
        "/tmp:rw,nosuid,nodev,noexec,size=4096,nr_inodes=64,mode=1777", "/run:rw,nosuid,nodev,exec,size=8192",  # noqa: S108
        "source=/a,target=/b,readonly", "source=/c,target=/d ", f"--entrypoint=/bin/server {PLAN.image} --flag",
    ):  # fmt: skip
        assert flag in line


def test_a_network_is_asked_of_docker_only_by_who_has_one() -> None:
    assert "--network=none" in ways._docker(PLAN, Path("/filter.json"), "none")
    assert "--network=bridge" in ways._docker(PLAN, Path("/filter.json"), "bridge")


@pytest.fixture
def ports() -> Iterator[list[int]]:
    with network_ways._sink("127.0.0.1") as ports:
        yield ports


def test_connections_reach_the_sink(ports: list[int]) -> None:
    speaks, asked = ports
    assert [0 < seconds < 5 for seconds in guest.connect(["127.0.0.1", speaks], None, "", 3, 0)] == [True] * 3
    assert [0 < seconds < 5 for seconds in guest.connect(["127.0.0.1", asked], None, "example.com", 3, 0)] == [True] * 3


def test_the_second_port_answers_only_who_has_spoken(ports: list[int]) -> None:
    with socket.create_connection(("127.0.0.1", ports[1])) as sock:
        sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            sock.recv(1)
        sock.sendall(guest._hello("example.com"))
        assert sock.recv(2) == guest.GREETING


@pytest.mark.parametrize("up", [False, True])
def test_transfers_count_what_arrived(up: bool, ports: list[int]) -> None:
    carried, elapsed = guest.transfer(["127.0.0.1", ports[0]], None, up, 3, 0.2)
    assert carried > 2**20
    assert 0.2 <= elapsed < 5
    assert not up or carried % guest.BLOCK == 0


def test_a_proxys_answer_is_no_byte_of_the_far_end() -> None:
    asked: list[bytes] = []

    def serve(listener: socket.socket) -> None:
        with listener.accept()[0] as sock:
            asked.append(sock.recv(4096))
            sock.sendall(b"HTTP/1.0 200 Connection established\r\n")
            sock.sendall(b"Proxy-agent: test\r\n\r\n!")
            sock.recv(1)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=serve, args=(listener,))
        thread.start()
        (seconds,) = guest.connect(["198.51.100.7", 7000], list(listener.getsockname()), "", 1, 0)
        thread.join(5)
    assert 0 < seconds < 5
    assert asked[0].startswith(b"CONNECT 198.51.100.7:7000 HTTP/1.1\r\n")


def test_a_proxy_that_refuses_is_no_measurement() -> None:
    def serve(listener: socket.socket) -> None:
        with listener.accept()[0] as sock:
            sock.recv(4096)
            sock.sendall(b"HTTP/1.0 403 Forbidden\r\n\r\n!")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=serve, args=(listener,))
        thread.start()
        with pytest.raises(OSError, match="403"):
            guest.connect(["198.51.100.7", 7000], list(listener.getsockname()), "", 1, 0)
        thread.join(5)


def test_a_session_has_the_variables_that_it_is_given() -> None:
    command = [sys.executable, "-c", "import os; exit(int(os.environ['CODE']) if 'PATH' in os.environ else 1)"]
    with pytest.raises(SystemExit, match="ended with 7"), Session(command, {"CODE": "7"}) as session:
        session.open()


@pytest.fixture
def secured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str | int]]:
    """The far end of requests, whose secret is in TOKEN."""
    with secret_costs.far_end(tmp_path) as port:
        monkeypatch.setenv("TOKEN", (tmp_path / far_end.SECRET).read_text())
        yield [ways.own_name(), port]


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Where connections were made to."""
    made: list[tuple[str, int]] = []
    create = socket.create_connection

    def counted(place: tuple[str, int], *args: Any) -> socket.socket:
        made.append(place)
        return create(place, *args)

    monkeypatch.setattr(socket, "create_connection", counted)
    return made


@pytest.mark.parametrize("variable", ["", "TOKEN"])
def test_requests_are_made_on_one_connection_or_on_one_each(
    variable: str, secured: list[str | int], connected: list[tuple[str, int]]
) -> None:
    assert [0 < seconds < 5 for seconds in guest.ask(secured, variable, 3)] == [True] * 3
    assert len(connected) == 1
    assert [0 < seconds < 5 for seconds in guest.ask_anew(secured, variable, 3, 0)] == [True] * 3
    assert len(connected) == 1 + 3


def test_a_request_without_its_secret_is_no_measurement(
    secured: list[str | int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "placeholder")
    with pytest.raises(OSError, match="answered 401"):
        guest.ask(secured, "TOKEN", 1)
    with pytest.raises(OSError, match="answered 401"):
        guest.ask_anew(secured, "TOKEN", 1, 0)


def test_the_far_end_is_vouched_for_and_answers_some_200_bytes(secured: list[str | int], tmp_path: Path) -> None:
    trusting = ssl.create_default_context(cafile=tmp_path / far_end.AUTHORITY)
    with (
        socket.create_connection((str(secured[0]), int(secured[1])), 5) as sock,
        trusting.wrap_socket(sock, server_hostname=ways.own_name()) as tls,
    ):
        tls.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert 150 < len(tls.recv(4096)) < 250


def test_the_secret_is_not_left_behind(tmp_path: Path) -> None:
    with secret_costs.far_end(tmp_path):
        assert (tmp_path / far_end.SECRET).stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / far_end.SECRET).exists()


def test_all_that_two_profiles_differ_in_is_the_secret(tmp_path: Path) -> None:
    plain, injected = (
        load_profile(path) for path in secret_costs.profiles(tmp_path, "guest", "guest.py", 8443).values()
    )
    assert (plain.secrets, [secret.use for secret in injected.secrets]) == ((), ["inject"])
    assert [(rule.host, rule.ports, rule.tls) for rule in plain.egress] == [(ways.own_name(), (8443,), True)]
    assert replace(injected, name=plain.name, secrets=()) == plain


def test_a_secrets_cost_is_told_over_plain() -> None:
    def measured(p50: float, p99: float) -> dict[str, dict[str, float]]:
        return {"plain": {"p50": 4e-4, "p99": 1e-3}, "injected": {"p50": p50, "p99": p99}}

    requests = {"kept connection": measured(1.4e-3, 2.5e-3), "new connection": measured(9e-4, 9e-4)}
    made = secret_report.tables({"requests": requests, "calls": measured(5e-4, 1)})
    rows = [row for table in made for row in zip(*(column.cells for column in table.columns), strict=True)]
    assert rows == [
        ("kept connection p50", "400", "1,400", "+1,000"),
        ("kept connection p99", "1,000", "2,500", "+1,500"),
        ("new connection p50", "400", "900", "+500"),
        ("new connection p99", "1,000", "900", "-100"),
        ("100 B p50", "400", "500", "+100"),
    ]


def test_aims_are_judged() -> None:
    times = {"direct": 0.1, "docker run -i": 1.0, "bulkhead": 1.2}
    calls = {way: {"p50": seconds * 1e-3, "p99": 1.0} for way, seconds in times.items()}
    memory = family(os.getpid())
    starts = {ways.ECHO: times, ways.NETWORKED: times | {"bulkhead": 1.5}}
    numbers = {"starts": starts, "calls": {100: calls, 1_000_000: calls}, "memory": {"bulkhead": memory}}
    others = {"network": NETWORK | {"memory": memory}, "judging": JUDGING}
    start, gate, small, large, runner, *_ = report.aims(numbers | others)
    assert (start.held, str(start)) == (True, "1.20 x")
    assert (gate.held, str(gate)) == (False, "300 ms")
    assert (small.held, str(small)) == (False, "200 us")
    assert (large.held, str(large)) == (True, "1.20 x")
    assert runner.held == (memory[0].rss <= 45e6)


JUDGING = {
    "calls": {"bare": {"p50": 5e-4, "p99": 1e-3}, "judged": {"p50": 6e-4, "p99": 1e-3}}
    | {"judged, synced": {"p50": 1.2e-3, "p99": 5e-3}},
    "rules": {"p50": 1.3e-3, "p99": 6e-3},
    "sync": 3e-4,
}


def test_what_judging_costs_is_told_with_and_without_the_disk() -> None:
    unsynced, synced = judging_report.aims(JUDGING)
    assert (unsynced.held, str(unsynced)) == (True, "100 us")
    assert (synced.held, str(synced)) == (False, "700 us")
    (made,) = judging_report.tables(JUDGING)
    assert [list(column.cells) for column in made.columns][-1] == ["300", "300"]
    assert [column.header for column in made.columns][1:4] == list(judging_costs.WAYS)


def test_the_bare_runner_is_the_real_one_with_less(monkeypatch: pytest.MonkeyPatch) -> None:
    from bulkhead import relay
    from bulkhead.policy import chain

    for module, name in ((relay, "Relay"), (chain, "REQUEST"), (chain, "RESULT")):
        monkeypatch.setattr(module, name, getattr(module, name))
    monkeypatch.setattr(bare, "main", lambda: 7)
    assert bare.bare() == 7
    assert vars(relay)["Relay"] is bare._without_books
    assert len(chain.REQUEST) + len(chain.RESULT) == 5


def test_aims_of_the_network_are_judged() -> None:
    by_address, by_name, slow, fast, half, _ = network_report.aims(NETWORK | {"memory": family(os.getpid())})
    assert (by_address.held, str(by_address)) == (True, "900 us")
    assert (by_name.held, str(by_name)) == (False, "1100 us")
    assert (slow.held, str(slow), slow.bound) == (False, "499 MB/s", 500)
    assert (fast.held, fast.bound) == (True, 500)
    assert (half.held, half.bound) == (True, 100)
