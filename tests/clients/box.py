"""A sandbox with all the clients, behind a real gate and proxy. Only the resolver outside is the tests' own: it leads
their names to this machine, where their servers are.
"""

from __future__ import annotations

import inspect
import ssl
from contextlib import contextmanager
from dataclasses import dataclass, field
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from bulkhead.credentials.leases import Handed
from bulkhead.egress.authority import Authority
from bulkhead.egress.bounds import DEFAULT
from bulkhead.egress.network import Gated, Network
from bulkhead.egress.opening import open_gate
from bulkhead.egress.proxy import EgressProxy
from bulkhead.engines import seccomp
from bulkhead.engines.hardening import plan_for
from bulkhead.resources import seccomp_profile
from bulkhead.spec import EgressRule, Limits, Mount, Server, ServerSpec
from tests.clients import inside
from tests.conftest import until
from tests.security.guest import PATIENCE, Guest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from anyio.from_thread import BlockingPortal

    from bulkhead.egress.connection import Connection
    from bulkhead.engines.base import Engine

SHARED = "/opt/clients"
CA = f"{SHARED}/ca/ca.pem"
MEGABYTE = 2**20

# Where each client takes a CA from, as a company with one of its own sets it; nothing here tells of a gate or a proxy.
ENVIRONMENT = {
    "CURL_CA_BUNDLE": CA, "SSL_CERT_FILE": CA, "NODE_EXTRA_CA_CERTS": CA, "GIT_SSL_CAINFO": CA, "PIP_CERT": CA,
    "npm_config_cafile": CA, "PGSSLROOTCERT": CA, "PGCONNECT_TIMEOUT": "10", "GIT_TERMINAL_PROMPT": "0",
    "PYTHONPATH": f"{SHARED}/python", "NODE_PATH": f"{SHARED}/node",
}  # fmt: skip
# The others: where secrets are injected, the sandbox itself says whom to trust.
OTHERS = {name: value for name, value in ENVIRONMENT.items() if value != CA}


@dataclass
class Secret:
    """An egress.injectable.Injectable that is always there."""

    name: str
    placeholder: bytes
    real: bytes
    hosts: tuple[str, ...]
    methods: tuple[str, ...] = ("*",)
    paths: tuple[str, ...] = ("*",)
    places: tuple[str, ...] = ("header",)

    def value(self) -> bytes:
        return self.real


@dataclass(frozen=True)
class Place:
    """A server of the tests: the name by which the sandbox knows it, and where it is on this machine."""

    name: str
    address: str
    ports: tuple[int, ...]

    @property
    def rule(self) -> EgressRule:
        return EgressRule(self.name, self.ports, private=True)


@dataclass
class Journal:
    """See egress.network.Journal. caught is how many there were, connections those that have ended."""

    caught: int = 0
    connections: list[Connection] = field(default_factory=list)
    refused: list[Connection] = field(default_factory=list)

    def begun(self) -> Callable[[Connection], None]:
        self.caught += 1
        return self.connections.append

    def report(self, connection: Connection) -> None:
        self.refused.append(connection)


@dataclass
class Box:
    """Runs programs in the sandbox. journal is what the proxy told of them."""

    guest: Guest
    journal: Journal

    def run(self, *argv: str, stdin: str = "", env: Mapping[str, str] | None = None, patience: float = 30.0) -> str:
        """What the program printed; it has to end well."""
        done = self._ran(argv, stdin, env, patience)
        assert done["code"] == 0, (argv, done, self.journal.refused, self.journal.connections[-3:])
        return str(done["out"])

    def fails(self, *argv: str, env: Mapping[str, str] | None = None, patience: float = 30.0) -> tuple[int, str]:
        """The code and the stderr of a program that has to fail."""
        done = self._ran(argv, "", env, patience)
        assert done["code"], (argv, done)
        return done["code"], done["err"]

    def python(self, source: str, *argv: str) -> str:
        """What a script printed."""
        return self.run("python3", "-c", inspect.cleandoc(source), *argv)

    def node(self, source: str, *argv: str) -> str:
        """What a script of an async function's body printed."""
        return self.run("node", "-e", f"(async () => {{{source}}})()", "--", *argv)

    def ended(self) -> Connection:
        """The last connection, once all have ended."""
        until(lambda: len(self.journal.connections) == self.journal.caught, PATIENCE)
        return self.journal.connections[-1]

    def _ran(self, argv: tuple[str, ...], stdin: str, env: Mapping[str, str] | None, patience: float) -> dict[str, Any]:
        assert patience < PATIENCE
        return self.guest.ask(inside.ran, list(argv), stdin, dict(env or {}), patience)


@dataclass(frozen=True)
class Boxes:
    """Opens boxes. shared are the folders of this machine below SHARED, read-only."""

    portal: BlockingPortal
    engine: Engine
    state: Path
    gate: str
    image: str
    shared: Mapping[str, Path]

    @contextmanager
    def box(
        self, *places: Place, mode: str = "fds", image: str = "", secret: Secret | None = None, ca: bytes = b""
    ) -> Iterator[Box]:
        """A sandbox that may reach these places, and is gone afterwards; nothing was to be refused to it.

        secret: is injected, as a session does it; ca: whom the proxy believes then, as PEM.
        """
        journal = Journal()
        authority = Authority(secret.hosts) if secret else None
        injected: dict[str, Any] = {}
        if secret is not None:
            trust = ssl.create_default_context(cadata=ca.decode())
            injected = {"injectables": (secret,), "authority": authority, "trust": trust}
        network = self.portal.call(self._network, places, mode, journal, injected)
        carried = self.portal.start_task_soon(network.serve)
        try:
            plan = plan_for(
                self._spec(ENVIRONMENT if secret is None else OTHERS),
                sandbox_id=network.id.removeprefix("gate-"),
                image_digest=image or self.image,
                image_command=(),
                seccomp=seccomp.load(seccomp_profile("default")),
                owners={str(source): (0, 0) for source in self.shared.values()},
                gate=network.id,
                handed=Handed({secret.name: secret.placeholder.decode()}, {}, {}) if secret else None,
                trusted=ca + authority.pem if authority else b"",
            )
            sandbox = Gated(self.portal.call(self.engine.start, plan), network)
            try:
                yield Box(Guest(self.portal, sandbox, plan, {}), journal)
                assert not [it for it in (*journal.connections, *journal.refused) if it.decision == "deny"]
            finally:
                self.portal.call(sandbox.stop, 0)
        finally:
            self.portal.call(network.close)
            carried.result(PATIENCE)

    async def _network(
        self, places: tuple[Place, ...], mode: str, journal: Journal, injected: Mapping[str, Any]
    ) -> Network:
        """As egress.network.open_network(), but for the resolver and the mode."""
        addresses = {place.name: [place.address] for place in places}
        rules = tuple(place.rule for place in places)
        proxy = EgressProxy(rules, report=journal.report, lookup=addresses.__getitem__, **injected)
        gate = await open_gate(
            self.engine,
            gate_id=f"gate-clients-{token_hex(4)}",
            server="clients",
            image_digest=self.gate,
            seccomp=seccomp.load(seccomp_profile("default")),
            ports=proxy.ports,
            connections=2 * DEFAULT.connections,
            state=self.state,
            share=mode == "fds",
        )
        assert gate.mode == mode
        return Network(gate, proxy, journal)

    def _spec(self, environment: Mapping[str, str]) -> ServerSpec:
        return ServerSpec(
            name="clients",
            server=Server(
                image="-",
                command=("python3", "-I", "-c", inspect.getsource(inside)),
                env=environment,
                working_dir="/work",
            ),
            limits=Limits(memory=2**30, tmp=256 * MEGABYTE),
            mounts=tuple(Mount(str(source), f"{SHARED}/{name}") for name, source in self.shared.items()),
        )
