"""What a server is and all that it may do: plain frozen values. Nothing that is not in a ServerSpec is allowed.

A spec comes from a profile and flags through config/, whose schema.py judges every key; here is nothing to judge, and
nothing heavy to import. Sizes are bytes, durations seconds, and a mount's source is absolute and was looked at.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Server:
    """[server]: what runs. Either package or image is given."""

    package: str = ""
    image: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    working_dir: str = "/work"


@dataclass(frozen=True)
class Limits:
    """[limits]: every key has a safe default."""

    cpus: float = 1.0
    memory: int = 512 * 2**20
    pids: int = 128
    tmp: int = 64 * 2**20
    open_files: int = 1024
    message: int = 16 * 2**20
    output: int = 4 * 2**20
    start: float = 30.0
    call: float = 60.0
    calls_per_minute: int = 600
    concurrent_calls: int = 16
    approval: float = 300.0


@dataclass(frozen=True)
class Mount:
    """[[mounts]]: one folder or file of the host."""

    source: str
    target: str
    write: bool = False


@dataclass(frozen=True)
class EgressRule:
    """[[egress]]: one host and its ports. tls None: what the port is known for."""

    host: str
    ports: tuple[int, ...]
    private: bool = False
    tls: bool | None = None


@dataclass(frozen=True)
class SecretBinding:
    """[[secrets]]: one secret, where it comes from (``from`` in a profile) and how it is used.

    methods, paths and places narrow the requests into which it is injected, see egress/injectable.py.
    """

    name: str
    source: str
    use: Literal["inject", "file", "env"] = "inject"
    hosts: tuple[str, ...] = ()
    methods: tuple[str, ...] = ("*",)
    paths: tuple[str, ...] = ("*",)
    places: tuple[str, ...] = ("header",)
    ttl: float = 900.0
    tools: tuple[str, ...] = ("*",)

    @property
    def is_file(self) -> bool:
        """Whether the server reads it as a file of /run/secrets: what is no variable's name is a file's."""
        return self.use == "file" or not self.name.isidentifier()


@dataclass(frozen=True)
class Tools:
    """[tools]: shell-style patterns of tool names. Deny wins over approve, approve over allow."""

    allow: tuple[str, ...] = ("*",)
    deny: tuple[str, ...] = ()
    approve: tuple[str, ...] = ()


@dataclass(frozen=True)
class Guards:
    """[guards]: what is judged of each message beyond names and limits.

    pin: what is pinned unasked. arguments: whether they have to fit the pinned tool's schema. rules: Cedar policies.
    secrets, invisible: what becomes of them in a result. baseline: what becomes of a call unlike those before.
    """

    pin: Literal["first-use", "approve"] = "first-use"
    arguments: bool = True
    rules: str = ""
    secrets: Literal["redact", "refuse", "pass"] = "redact"
    invisible: Literal["show", "refuse", "pass"] = "show"
    marking: bool = False
    baseline: Literal["off", "warn", "hold"] = "warn"


@dataclass(frozen=True)
class Screen:
    """[screen]: a service that reads what goes to the model, and what becomes of a message when it does not answer."""

    endpoint: str = ""
    key: str = ""
    timeout: float = 5.0
    outage: Literal["deny", "allow"] = "deny"


@dataclass(frozen=True)
class Sandbox:
    """[sandbox]: which engine, and what of its hardening this server needs otherwise."""

    engine: Literal["auto", "docker", "oci", "kubernetes"] = "auto"
    runtime: str = ""
    seccomp: str = "default"
    user: str = ""
    exec_tmp: bool = False


@dataclass(frozen=True)
class ServerSpec:
    """A whole profile. name is the profile's file name, or made from the package by ``run -- npx``."""

    name: str
    server: Server
    description: str = ""
    limits: Limits = Limits()
    mounts: tuple[Mount, ...] = ()
    egress: tuple[EgressRule, ...] = ()
    secrets: tuple[SecretBinding, ...] = ()
    tools: Tools = Tools()
    guards: Guards = Guards()
    screen: Screen = Screen()
    sandbox: Sandbox = Sandbox()
