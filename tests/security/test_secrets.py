"""Secrets of a whole session: a curious server behind `bulkhead run`, and a host outside that tells what it was sent.

The canary is looked for wherever it could be; it has to be at the one host that it is for, and nowhere else.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import shutil
import socket
import ssl
import subprocess
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from bulkhead import resources
from bulkhead.config import state_dir
from tests.conftest import BULKHEAD, run_command, until
from tests.credentials.azure_server import DOMAIN, VAULT, FakeAzure
from tests.credentials.vault_server import FakeVault
from tests.faults.client import Host, reason, why
from tests.servers.curious import memory_of
from tests.servers.profiles import SHORT, write_profile

if TYPE_CHECKING:
    from collections.abc import Iterator

    import docker

pytestmark = pytest.mark.engine

NAME = socket.gethostname().lower()
SHIPPED = ("everything", "fetch", "filesystem", "git", "memory", "sequential-thinking", "time")
LIMITS = SHORT | {"memory": "256MiB", "start": "20s", "call": "20s"}


@dataclass
class Outside:
    """A server on this machine, with TLS or without: what came, whole; it answers with the request's own head."""

    port: int = 0
    heads: list[str] = field(default_factory=list)

    @contextmanager
    def serving(self, context: ssl.SSLContext | None) -> Iterator[Outside]:
        outside = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outside.heads.append(f"{self.requestline}\n{self.headers}")
                body = outside.heads[-1].encode()
                self.send_response(200)
                self.send_header("X-Echo", self.headers.get("Authorization", ""))
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        server = ThreadingHTTPServer(("0.0.0.0", 0), Handler)  # noqa: S104 - wherever this machine's name leads
        server.daemon_threads = True
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        self.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield self
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class Session:
    """A runner, its host and the folder of its state. canary is where the provider finds it."""

    host: Host
    folder: Path
    canary: Path
    profile: Path

    @property
    def value(self) -> str:
        return self.canary.read_text()

    def spans(self, name: str) -> list[dict[str, Any]]:
        path = self.folder / "state" / "bulkhead" / "traces" / "spans.jsonl"

        def named() -> list[dict[str, Any]]:
            lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
            return [span for span in map(json.loads, lines) if span["name"] == name]

        until(lambda: bool(named()), 10)
        return named()


class Opener:
    """Opens sessions with one secret. canary is the file where its value is; through, what the runner is started by."""

    def __init__(self, folder: Path, closing: ExitStack) -> None:
        self._folder, self._closing = folder, closing
        self.through: list[str] = []
        self.canary = folder / "outside" / "canary"
        self.canary.parent.mkdir(mode=0o700)
        self.canary.write_text(f"canary{secrets.token_hex(4)}-{secrets.token_hex(12)}")
        self.canary.chmod(0o600)

    def __call__(
        self,
        secret: str,
        egress: str = "",
        *,
        source: str = "",
        called: str = "TOKEN",
        shipped: str = "",
        shaken: bool = True,
    ) -> Session:
        """source: another provider than the canary's file, whose path stands for {} in it. shipped: a profile."""
        canary = self.canary
        name = self._folder.name.replace("_", "-").lower()[:40].strip("-")
        profile = write_profile(self._folder, "curious", name=name, limits=LIMITS)
        if shipped:
            shutil.copyfile(resources.folder("profiles") / "servers" / f"{shipped}.toml", profile)
            shutil.copytree(state_dir() / "locks", self._folder / "state" / "bulkhead" / "locks")
        source = json.dumps(source.replace("{}", str(canary)) or f"file:{canary}")
        tables = f'\n[[secrets]]\nname = "{called}"\nfrom = {source}\n{secret}\n{egress}'
        profile.write_text(profile.read_text(encoding="utf-8") + tables, encoding="utf-8")
        host = Host([*self.through, *run_command(profile)], name=name, state=self._folder / "state")
        self._closing.callback(host.close)
        if shaken:
            host.shake()
        return Session(host, self._folder, canary, profile)


def reaches(*ports: int, tls: bool = True) -> str:
    """The rule for this machine's name."""
    return f'[[egress]]\nhost = "{NAME}"\nports = {list(ports)}\nprivate = true\ntls = {str(tls).lower()}\n'


INJECTED = f'hosts = ["{NAME}"]\n'
# Headers of requests come and go in these tools' arguments and results; own values are taken out all the same.
PASSING = '[guards]\nsecrets = "pass"\n'
REDACTED = "[redacted: secret token]"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def opened(
    tmp_path_factory: pytest.TempPathFactory, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Opener]:
    folder = tmp_path_factory.mktemp("secrets")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(folder / "ca.pem"))
    with ExitStack() as closing:
        yield Opener(folder, closing)


@pytest.fixture
def outside(authority: trustme.CA) -> Iterator[Outside]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(NAME).configure_cert(context)
    with Outside().serving(context) as serving:
        yield serving


def fetched(session: Session, outside: Outside, **arguments: str) -> tuple[int, dict[str, str], str]:
    """What the server got: status, headers, body."""
    url = f"https://{NAME}:{outside.port}{arguments.pop('path', '/')}"
    status, headers, body = json.loads(session.host.text("fetch", url=url, **arguments))
    return status, headers, body


# Inject


def test_the_value_is_at_its_host_and_what_comes_back_is_the_placeholder(opened: Opener, outside: Outside) -> None:
    session = opened(INJECTED, reaches(outside.port) + PASSING)
    placeholder = session.host.text("variable", name="TOKEN")
    assert (len(placeholder), placeholder == session.value) == (len(session.value), False)
    status, headers, body = fetched(session, outside, header="Authorization: Bearer $TOKEN")
    assert status == 200
    assert f"Authorization: Bearer {session.value}\n" in outside.heads[0]
    assert headers["X-Echo"] == f"Bearer {placeholder}"
    assert f"Authorization: Bearer {placeholder}\n" in body
    assert session.value not in f"{headers}{body}{session.host.frames}{session.host.stderr!r}"


def test_a_password_is_found_in_basic_credentials(opened: Opener, outside: Outside) -> None:
    session = opened(INJECTED, reaches(outside.port))
    _, headers, body = fetched(session, outside, basic="TOKEN")
    word = base64.b64encode(f"me:{session.value}".encode()).decode()
    assert f"Authorization: Basic {word}\n" in outside.heads[0]
    assert word not in f"{headers}{body}"


def test_a_placeholder_is_a_file_where_its_name_is_no_variables(opened: Opener, outside: Outside) -> None:
    session = opened(INJECTED, reaches(outside.port) + PASSING, called="api-token")
    placeholder, mode, own = session.host.text("secret", name="api-token").split()
    assert (len(placeholder), mode, own) == (len(session.value), "400", "True")
    fetched(session, outside, header=f"Authorization: Bearer {placeholder}")
    assert f"Authorization: Bearer {session.value}\n" in outside.heads[0]
    assert json.loads(session.host.text("canaries")) == []


def test_a_query_only_where_the_binding_says_so(opened: Opener, outside: Outside) -> None:
    session = opened(f'{INJECTED}places = ["query"]\n', reaches(outside.port))
    assert fetched(session, outside, path="/a?key=$TOKEN")[0] == 200
    assert outside.heads[0].startswith(f"GET /a?key={session.value} ")
    assert fetched(session, outside, header="Authorization: Bearer $TOKEN")[0] == 403
    assert len(outside.heads) == 1


def test_only_while_a_call_is_in_flight_that_the_binding_names(opened: Opener, outside: Outside) -> None:
    session = opened(f'{INJECTED}tools = ["variable"]\n', reaches(outside.port))
    status, _, body = fetched(session, outside, header="Authorization: Bearer $TOKEN")
    assert status == 403
    assert "lease" in body
    assert outside.heads == []
    [span] = session.spans(f"connect {NAME}:{outside.port}")
    assert (span["attributes"]["bulkhead.decision"], span["attributes"]["bulkhead.egress.reason"]) == ("deny", "lease")


def test_a_placeholder_that_leaves_in_the_clear_is_an_exfiltration(opened: Opener, outside: Outside) -> None:
    with Outside().serving(None) as plain:
        egress = reaches(outside.port) + (
            f'[[egress]]\nhost = "127.0.0.1"\nports = [{plain.port}]\nprivate = true\n'  # a literal address: no name
        )
        session = opened(INJECTED, egress)
        answer = session.host.call("fetch", url=f"http://127.0.0.1:{plain.port}/", header="X-Key: $TOKEN")
        assert reason(answer) == "denied"
        assert plain.heads == []
        [span] = session.spans(f"connect 127.0.0.1:{plain.port}")
        assert span["attributes"]["bulkhead.egress.reason"] == "exfiltration"


def test_a_lease_is_told_by_name_on_the_span_of_its_call(opened: Opener, outside: Outside) -> None:
    session = opened(INJECTED, reaches(outside.port))
    fetched(session, outside)
    [call, *_] = [span for span in session.spans("tools/call fetch") if span["kind"] == "SERVER"]
    assert [(event["name"], event["attributes"]) for event in call["events"]] == [
        ("bulkhead.secret.granted", {"bulkhead.secret": "TOKEN"})
    ]


# Where the canary is


def test_the_canary_is_nowhere_in_the_sandbox(opened: Opener, outside: Outside) -> None:
    session = opened(INJECTED, reaches(outside.port))
    fetched(session, outside, header="Authorization: Bearer $TOKEN")
    assert json.loads(session.host.text("canaries")) == []


def test_the_search_finds_one_that_is_there(opened: Opener) -> None:
    """Or the test above would prove nothing."""
    found = json.loads(opened('use = "env"').host.text("canaries"))
    assert {where.split()[0] for where in found} == {"environ", "memory"}


@pytest.mark.parametrize("use", ["inject", "file", "env"])
def test_no_trace_of_it_is_left_on_this_machine(
    opened: Opener, outside: Outside, daemon: docker.DockerClient, use: str
) -> None:
    """Not with the engine, not in an argument of any process, not in the state, at stderr or in a trace."""
    session = opened(INJECTED if use == "inject" else f'use = "{use}"', reaches(outside.port))
    if use == "inject":
        fetched(session, outside, header="Authorization: Bearer $TOKEN")
    session.host.text("variable", name="HOME")
    _assert_nowhere(session, daemon)


@pytest.mark.parametrize(
    "source", ["env:CANARY", "keyring:canary", "vault:secret/app#key", 'exec:["cat", "{}"]', f"azure:{VAULT}/app"]
)
@pytest.mark.usefixtures("providers")
def test_nor_with_another_provider(opened: Opener, outside: Outside, daemon: docker.DockerClient, source: str) -> None:
    session = opened(INJECTED, reaches(outside.port), source=source)
    fetched(session, outside, header="Authorization: Bearer $TOKEN")
    assert f"Authorization: Bearer {session.value}\n" in outside.heads[0]
    assert json.loads(session.host.text("canaries")) == []
    _assert_nowhere(session, daemon)


@pytest.fixture
def providers(opened: Opener, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """All that have the canary too."""
    value = opened.canary.read_text()
    vault = FakeVault("hvs-of-the-tests", {"secret/app": {"key": value}})
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(f"{VAULT}.{DOMAIN}").configure_cert(context)
    azure = FakeAzure(context, "token-of-the-tests", {"app": {"v1": value}})
    opened.through = _where_this_machine_is(f"{VAULT}.{DOMAIN}", tmp_path)
    settings = azure.environment(Path(os.environ["SSL_CERT_FILE"])) | {
        "VAULT_ADDR": vault.url,
        "VAULT_TOKEN": vault.token,
        "CANARY": value,
        "PYTHON_KEYRING_BACKEND": "keyrings.alt.file.PlaintextKeyring",
        "XDG_DATA_HOME": str(tmp_path),
    }
    for name, text in settings.items():
        monkeypatch.setenv(name, text)
    subprocess.run([*BULKHEAD, "secrets", "set", "canary"], input=value, text=True, check=True, capture_output=True)
    yield
    vault.close()
    azure.close()


def _where_this_machine_is(name: str, folder: Path) -> list[str]:
    """What a program is started by that finds this machine under that name, too. Takes root.

    Azure's library believes a vault only by a name with a domain, and no name of this machine need have one.
    """
    hosts = folder / "hosts"
    hosts.write_text(f"127.0.0.1 {name}\n{Path('/etc/hosts').read_text(encoding='utf-8')}", encoding="utf-8")
    return ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', str(hosts)]


@pytest.mark.parametrize("server", SHIPPED)
def test_the_canary_is_in_no_official_server(
    opened: Opener, outside: Outside, daemon: docker.DockerClient, server: str
) -> None:
    session = opened(INJECTED, reaches(outside.port), shipped=server)
    tools = session.host.answer(session.host.ask("tools/list"))["result"]["tools"]
    session.host.call(tools[0]["name"])
    _assert_nowhere(session, daemon)


def _assert_nowhere(session: Session, daemon: docker.DockerClient) -> None:
    value = session.value
    [container] = daemon.containers.list(filters={"name": f"bulkhead-{session.host.name}"})
    assert value not in json.dumps(container.attrs)
    assert value not in json.dumps(daemon.images.get(container.attrs["Image"]).attrs)
    arguments = [_content(path) for path in Path("/proc").glob("[0-9]*/cmdline")]
    assert value.encode() not in b"".join(arguments)
    if "use" not in session.profile.read_text(encoding="utf-8"):  # else the server has it
        pids = [row[1] for row in container.top()["Processes"]]
        assert pids
        assert not any(value.encode() in piece for pid in pids for piece in memory_of(pid))
    session.host.close()
    left = [path for path in (session.folder / "state").rglob("*") if path.is_file()]
    assert left
    assert [path for path in left if value.encode() in path.read_bytes()] == []
    assert value.encode() not in session.host.stderr
    found = subprocess.run(["grep", "-rqF", value, "/run", "/dev/shm"], check=False)  # noqa: S108
    assert found.returncode != 0  # 2 where a file cannot be read, such as a socket


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


# File and variable


def test_a_file_has_the_value_for_its_user_alone(opened: Opener) -> None:
    session = opened('use = "file"')
    assert session.host.text("digest", name="TOKEN") == sha256(session.value.encode()).hexdigest()
    assert session.host.text("secret", name="TOKEN") == f"{REDACTED} 400 True", "and it does not go to the model"


def test_a_file_is_removed_at_its_ttl_and_written_anew_for_a_call(opened: Opener) -> None:
    session = opened('use = "file"\nttl = "1s"\ntools = ["variable"]')
    assert session.host.text("digest", name="TOKEN") == sha256(session.value.encode()).hexdigest()
    until(lambda: session.host.text("secret", name="TOKEN") == "", 10)
    session.canary.write_text(f"canary{secrets.token_hex(4)}-{secrets.token_hex(12)}")
    session.host.text("variable", name="HOME")
    assert session.host.text("digest", name="TOKEN") == sha256(session.value.encode()).hexdigest()


def test_a_variable_has_the_value(opened: Opener) -> None:
    session = opened('use = "env"')
    assert session.host.text("digest", name="TOKEN") == sha256(session.value.encode()).hexdigest()
    assert session.host.text("variable", name="TOKEN") == REDACTED, "and it does not go to the model"


# A provider that fails


def test_a_call_fails_closed(opened: Opener, outside: Outside) -> None:
    session = opened(INJECTED, reaches(outside.port))
    session.canary.unlink()
    answer = session.host.call("fetch", url=f"https://{NAME}:{outside.port}/")
    assert answer["error"]["code"] == -31007
    assert reason(answer) == "secret"
    assert "canary" in answer["error"]["message"]
    assert "No such file" in why(answer)
    assert outside.heads == []


def test_a_slow_provider_holds_up_its_own_call_alone(opened: Opener, outside: Outside) -> None:
    source = 'exec:["sh", "-c", "test ! -e {}.slow || sleep 2; cat {}"]'
    session = opened(f'{INJECTED}tools = ["variable"]', reaches(outside.port), source=source)
    session.canary.with_name("canary.slow").touch()
    slow, cancelled = (session.host.start("variable", name="HOME") for _ in range(2))
    session.host.send(method="notifications/cancelled", params={"requestId": cancelled})
    assert session.host.text("secret", name="TOKEN") == ""
    assert session.host.answers(slow) == []
    assert "result" in session.host.answer(slow)
    # The cancelled call's lease came when nobody waited for it any more, and is nobody's.
    time.sleep(0.5)
    assert fetched(session, outside, header="Authorization: Bearer $TOKEN")[0] == 403
    assert session.host.answers(cancelled) == []


def test_a_server_does_not_start_without(opened: Opener) -> None:
    session = opened('use = "env"', shaken=False)
    session.host.close()
    session.canary.chmod(0o644)
    again = Host(
        session.host.process.args,  # type: ignore[arg-type]
        name=session.host.name,
        state=session.folder / "state",
    )
    answer = again.answer(again.ask("initialize", {}), 20)
    assert reason(answer) == "secret"
    assert "chmod 600" in why(answer)
    assert again.process.wait(10) == 7
    again.close()
