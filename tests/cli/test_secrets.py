"""`bulkhead secrets`: what a person is told of secrets, and no value ever; and their end in a session that runs."""

from __future__ import annotations

import json
import os
import pty
import secrets
import select
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from bulkhead.cli import main
from bulkhead.cli.serve import _revoke_when_told
from bulkhead.engines import runners
from bulkhead.sessions import SessionStatus, path_of, write_session
from tests.conftest import BULKHEAD, run_command, until
from tests.credentials.vault_server import FakeVault
from tests.faults.client import Host, reason, why

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Run = Callable[..., subprocess.CompletedProcess[str]]

SERVER = '[server]\npackage = "npm:server@1.0.0"\n'


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the test's own, with a keyring in a file, and an empty current folder."""
    for name in [name for name in os.environ if name.startswith(("XDG_", "VAULT_", "BAO_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyrings.alt.file.PlaintextKeyring")
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path


@pytest.fixture
def canary(monkeypatch: pytest.MonkeyPatch) -> str:
    """A value that must be nowhere; the variable CANARY has it."""
    value = f"canary-{secrets.token_hex(12)}"
    monkeypatch.setenv("CANARY", value)
    return value


@pytest.fixture
def profile(home: Path) -> Callable[..., Path]:
    """Writes one of the user's."""

    def write(*tables: str, name: str = "github", folder: str = ".config/bulkhead/servers") -> Path:
        path = home / folder / f"{name}.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(SERVER + "".join(tables), encoding="utf-8")
        return path

    return write


@pytest.fixture
def run() -> Run:
    """The command in a process of its own, which has the keyring of the test."""

    def run(*words: str, said: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        command, variables = [*BULKHEAD, "secrets", *words], os.environ | environment
        return subprocess.run(
            command, input=said, env=variables, capture_output=True, text=True, timeout=60, check=False
        )

    return run


def table(name: str = "TOKEN", source: str = "env:CANARY", use: str = "file", more: str = "") -> str:
    """A [[secrets]] table."""
    return f"\n[[secrets]]\nname = {json.dumps(name)}\nfrom = {json.dumps(source)}\nuse = {json.dumps(use)}\n{more}\n"


def injected(source: str = "env:CANARY") -> str:
    """One for api.example.org, and the rule that lets the server reach it."""
    rule = '\n[[egress]]\nhost = "api.example.org"\nports = [443]\n'
    return rule + table(source=source, use="inject", more='hosts = ["api.example.org"]\ntools = ["read_*"]\nttl = "1m"')


# ls


def test_ls_has_every_secret_of_every_profile(profile: Any, capsys: pytest.CaptureFixture[str], canary: str) -> None:
    profile(injected("vault:kv/app#key"))
    profile(table("key", f'exec:["pass", "{canary}"]'), table("B", use="env"), name="zeta")
    assert main(["secrets", "ls", "--json"]) == 0
    said = capsys.readouterr().out
    assert canary not in said
    whole = {"hosts": [], "tools": ["*"], "ttl": 900.0}
    assert json.loads(said) == [
        {
            "server": "github", "name": "TOKEN", "from": "vault:kv/app#key", "use": "inject",
            "hosts": ["api.example.org"], "tools": ["read_*"], "ttl": 60.0,
        },
        {"server": "zeta", "name": "key", "from": 'exec:["pass", ...]', "use": "file"} | whole,
        {"server": "zeta", "name": "B", "from": "env:CANARY", "use": "env"} | whole,
    ]  # fmt: skip


def test_ls_for_people(profile: Any, capsys: pytest.CaptureFixture[str]) -> None:
    profile(injected("file:/a\x1b]0;b"))
    assert main(["secrets", "ls", "github"]) == 0
    heading, row = capsys.readouterr().out.splitlines()
    assert heading.split() == ["SERVER", "NAME", "FROM", "USE", "HOSTS", "TOOLS", "TTL"]
    assert row.split() == ["github", "TOKEN", "file:/a\\u001b]0;b", "inject", "api.example.org", "read_*", "60", "s"]
    assert main(["secrets", "ls", "time"]) == 0
    assert capsys.readouterr().out == "no secrets\n"


def test_ls_of_a_file(profile: Any, capsys: pytest.CaptureFixture[str]) -> None:
    path = profile(table(), folder="elsewhere")
    assert main(["secrets", "ls", "--json", "--profile", str(path)]) == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == ["TOKEN"]


def test_ls_says_which_profiles_it_could_not_read(profile: Any, capsys: pytest.CaptureFixture[str]) -> None:
    profile(table("GOOD"))
    strange = profile(table("STRANGE"), name="strange", folder="project/.bulkhead")
    assert main(["secrets", "ls", "--json"]) == 0
    said = capsys.readouterr()
    assert [row["name"] for row in json.loads(said.out)] == ["GOOD"]
    assert said.err == f"bulkhead: {strange} is not valid: `bulkhead profile check` says why\n"


# test


def test_each_secret_is_fetched(profile: Any, capsys: pytest.CaptureFixture[str], canary: str) -> None:
    profile(injected(), table("key", f'exec:["printf", "{canary}"]'), table("C", "env:NOT_THERE", "env"), table("D"))
    assert main(["secrets", "test", "github"]) == 7
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        "TOKEN from env:CANARY: ok",
        'key from exec:["printf", ...]: ok',
        "C from env:NOT_THERE: failed",
        "D from env:CANARY: ok",
    ]
    assert said.err.splitlines() == [
        "bulkhead: the secret at env:NOT_THERE is not available",
        "  why: the variable is not set",
        "  do:  set it where bulkhead is started, which may be the host's configuration",
    ]
    assert canary not in said.out + said.err


def test_one_alone_is_fetched(profile: Any, capsys: pytest.CaptureFixture[str], canary: str) -> None:
    path = profile(table("A"), table("B", "env:NOT_THERE"))
    for words in (["github", "A"], ["--profile", str(path), "A"]):
        assert main(["secrets", "test", *words]) == 0
        assert capsys.readouterr().out == "A from env:CANARY: ok\n"
    assert main(["secrets", "test", "github", "C"]) == 2
    assert "github has no secret of this name" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["github", "A", "--profile", "github.toml"]], ids=["none", "two"])
def test_one_profile_is_tested(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["secrets", "test", *words]) == 2
    assert "name one profile" in capsys.readouterr().err


def test_what_cannot_be_injected_fails(
    profile: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    profile(injected(), table("SAME"))
    monkeypatch.setenv("CANARY", "short-value")
    assert main(["secrets", "test", "github"]) == 7
    said = capsys.readouterr()
    assert said.out == "TOKEN from env:CANARY: failed\nSAME from env:CANARY: ok\n"
    assert "the secret TOKEN cannot be injected" in said.err
    assert 'use = "file"' in said.err
    assert "short-value" not in said.err


@pytest.fixture
def vault(canary: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeVault]:
    server = FakeVault(f"hvs-{secrets.token_hex(8)}", {"database/creds/app": {"key": canary, "short": "short"}})
    monkeypatch.setenv("VAULT_ADDR", server.url)
    monkeypatch.setenv("VAULT_TOKEN", server.token)
    yield server
    server.close()


@pytest.mark.parametrize(("field", "code"), [("key", 0), ("short", 7)])
def test_a_dynamic_secret_is_revoked_after_the_test(
    profile: Any, vault: FakeVault, capsys: pytest.CaptureFixture[str], field: str, code: int
) -> None:
    profile(injected(f"vault:database/creds/app#{field}"))
    assert main(["secrets", "test", "github"]) == code
    assert (vault.given, vault.leases) == (1, {})


# set and rm


def test_a_value_goes_from_stdin_to_the_keyring_and_away(run: Run, profile: Any, canary: str) -> None:
    value = f"{canary}\n"  # a newline of its own
    done = run("set", "github", said=f"{value}\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, 'from = "keyring:github"\n', "")
    path = profile(table(source="keyring:github"))
    code = "from bulkhead.credentials.sources import provider_for; print(provider_for('keyring:github').fetch().value)"
    fetched = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert fetched.stdout == f"{value.encode()!r}\n"
    assert run("test", "--profile", str(path)).stdout == "TOKEN from keyring:github: ok\n"
    done = run("rm", "github")
    assert (done.returncode, done.stdout) == (0, "deleted keyring:github\n")
    assert run("test", "--profile", str(path)).returncode == 7
    done = run("rm", "github")
    assert (done.returncode, done.stdout) == (7, "")
    assert "why: nothing is stored there" in done.stderr


def test_a_user_of_its_own(run: Run, profile: Any, canary: str) -> None:
    done = run("set", 'git"hub', "--user", "me", said=canary)
    assert (done.returncode, done.stdout) == (0, 'from = "keyring:git\\"hub/me"\n')
    profile(f'\n[[secrets]]\nname = "TOKEN"\nuse = "file"\n{done.stdout}')
    assert run("test", "github").returncode == 0
    assert run("rm", 'git"hub').returncode == 7
    assert run("rm", 'git"hub', "--user", "me").returncode == 0


def _read_to(end: bytes, terminal: int) -> bytes:
    shown = b""
    while not shown.endswith(end):
        assert select.select([terminal], [], [], 30)[0], shown
        shown += os.read(terminal, 4096)
    return shown


def test_a_value_is_typed_without_echo(canary: str) -> None:
    leader, follower = pty.openpty()
    command = [*BULKHEAD, "secrets", "set", "github"]
    process = subprocess.Popen(
        command, stdin=follower, stdout=subprocess.PIPE, stderr=follower, text=True, start_new_session=True
    )
    shown = _read_to(b"not shown: ", leader)
    os.write(leader, canary.encode() + b"\n")
    printed, _ = process.communicate(timeout=60)
    os.write(follower, b"end")
    shown += _read_to(b"end", leader)
    os.close(leader)
    os.close(follower)
    assert (process.returncode, printed) == (0, 'from = "keyring:github"\n')
    assert shown == b"the value of github, which is not shown: \r\nend"


def test_a_value_in_the_command_line_is_refused(run: Run, canary: str) -> None:
    done = run("set", "github", canary)
    assert done.returncode == 2
    assert "does not belong into the command line" in done.stderr
    assert canary not in done.stdout + done.stderr
    assert run("rm", "github").returncode == 7


def test_what_is_no_text_is_refused(canary: str) -> None:
    command = [*BULKHEAD, "secrets", "set", "github"]
    done = subprocess.run(command, input=canary.encode() + b"\xff", capture_output=True, check=False)
    assert done.returncode == 2
    assert b"no value was read" in done.stderr
    assert canary.encode() not in done.stderr


@pytest.mark.parametrize(
    ("said", "backend", "told"),
    [
        ("", "keyrings.alt.file.PlaintextKeyring", ("it is empty", "put the value there")),
        ("x", "keyring.backends.fail.Keyring", ("there is no keyring on this machine", "file: or exec: instead")),
    ],
    ids=["empty", "no keyring"],
)
def test_what_cannot_be_stored_is_told(run: Run, said: str, backend: str, told: tuple[str, str]) -> None:
    done = run("set", "github", said=said, PYTHON_KEYRING_BACKEND=backend)
    assert (done.returncode, done.stdout) == (7, "")
    assert f"  why: {told[0]}\n  do:  " in done.stderr
    assert done.stderr.endswith(f"{told[1]}\n")


# revoke


@pytest.fixture
def session(home: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """A process that takes no signal, told of in the state folder as a runner's session."""
    processes, held = list[subprocess.Popen[bytes]](), list[runners.Runner]()
    state = home / ".local/state/bulkhead"

    def begin(*names: str, server: str = "github", dead: bool = False) -> subprocess.Popen[bytes]:
        processes.append(subprocess.Popen(["sleep", "60"]))
        held.append(runners.hold(state))
        write_session(path_of(state, held[-1].id), SessionStatus(server, processes[-1].pid, secrets=names))
        if dead:
            held.pop().release()
        return processes[-1]

    yield begin
    for process in processes:
        process.kill()
        process.wait()
    for runner in held:
        runner.release()


def test_only_runners_that_have_secrets_of_the_server_are_told(
    session: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    told = [session("TOKEN"), session("TOKEN", "key")]
    others = [session(), session("TOKEN", server="other"), session("TOKEN", dead=True)]
    assert main(["secrets", "revoke", "github"]) == 0
    assert capsys.readouterr().out == ("told 2 sessions of github: calls that need a secret fail there from now on\n")
    assert [process.wait(10) for process in told] == [-signal.SIGUSR1] * 2
    time.sleep(0.2)
    assert [process.poll() for process in others] == [None] * 3


def test_no_session_to_revoke_secrets_of(session: Any, capsys: pytest.CaptureFixture[str]) -> None:
    session()
    session("TOKEN", dead=True)
    assert main(["secrets", "revoke", "github"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "there is no session to revoke secrets of\n  why: none of this name runs, or it has no secrets" in said.err


class CountingLeases:
    """Of a session that has none."""

    def __init__(self) -> None:
        self.count, self.revoked = 0, anyio.Event()

    def revoke(self) -> None:
        self.count += 1
        self.revoked.set()


def test_a_revocation_that_comes_late_ends_no_runner() -> None:
    before = signal.getsignal(signal.SIGUSR1)

    async def session() -> CountingLeases:
        leases = CountingLeases()
        async with anyio.create_task_group() as tasks:
            listening = anyio.CancelScope()
            await tasks.start(_revoke_when_told, leases, "github", lambda _: None, listening)
            os.kill(os.getpid(), signal.SIGUSR1)
            with anyio.fail_after(10):
                await leases.revoked.wait()
            listening.cancel()
        return leases

    try:
        leases = anyio.run(session)
        os.kill(os.getpid(), signal.SIGUSR1)
        assert leases.count == 1
    finally:
        signal.signal(signal.SIGUSR1, before)


PROGRAM = """
import json, os, sys
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message:
        continue
    tool = message.get("params", {}).get("name")
    if tool == "crash":
        os._exit(3)
    result = {"content": [{"type": "text", "text": json.dumps(os.listdir("/run/secrets"))}]}
    if message["method"] == "initialize":
        server = {"name": "files", "version": "1"}
        result = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": server}
    if message["method"] == "tools/list":
        result = {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in ("bound", "free", "crash")]}
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
"""


@pytest.fixture
def host(home: Path, canary: str) -> Iterator[Host]:
    """With a server that says which secrets it has as files; its tool "bound" needs one, "free" does not."""
    (home / "server").mkdir()
    (home / "server/files.py").write_text(PROGRAM, encoding="utf-8")
    server = '[server]\nimage = "bulkhead/python"\ncommand = ["python3", "/srv/files.py"]\n'
    mount = f'\n[[mounts]]\nsource = "{home}/server"\ntarget = "/srv"\n'
    profile = home / f"revoked-{secrets.token_hex(4)}.toml"
    profile.write_text(server + mount + table("key", more='tools = ["bound"]'), encoding="utf-8")
    host = Host(run_command(profile), name=profile.stem, state=home / "state")
    host.shake()
    yield host
    host.close()


@pytest.mark.engine
def test_a_session_whose_secrets_are_revoked(host: Host, run: Run, home: Path, canary: str) -> None:
    assert [host.text("bound"), host.text("free")] == ['["key"]'] * 2
    done = run("revoke", host.name, XDG_STATE_HOME=str(home / "state"))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"told 1 session of {host.name}: calls that need a secret fail there from now on\n"
    until(lambda: host.text("free") == "[]", 10)
    refused = host.call("bound")
    assert reason(refused) == "secret"
    assert "somebody revoked it" in why(refused)
    assert run("revoke", host.name, XDG_STATE_HOME=str(home / "state")).returncode == 0
    assert [host.text("free"), reason(host.call("bound"))] == ["[]", "secret"]
    host.call("crash")
    assert reason(host.call("free")) == "secret", "a server that is started again gets no secrets either"
    assert canary.encode() not in host.stderr
    assert b"its secrets are revoked, for the rest of the session" in host.stderr
    host.end_input()
    assert host.wait(10) == 0
