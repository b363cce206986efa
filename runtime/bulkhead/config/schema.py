"""What may be written in a profile and in config.toml: the only schema, and the only judge of a key's value.

How a text such as "512MiB" or "30s" becomes a number stands here. Defaults are those of spec.py. Importing this imports
pydantic, so it is done only for what was not judged before (kept.py).

Rules: only what can be judged without a look at the host stands here; a refusal never repeats a value, which may be a
secret; where a validator sees more than one key, its error's context says ``at`` which one (problems.py reads it).
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from bulkhead import grammar, spec
from bulkhead.egress.allowlist import TLS_PORTS
from bulkhead.engines.hardening import ENVIRONMENT, TRUSTING

_SIZES = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "kB": 10**3, "MB": 10**6, "GB": 10**9}
_TIMES = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_NUMBER = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)\s*([A-Za-z]+)\Z", re.ASCII)


def _scaled(text: object, units: dict[str, float] | dict[str, int], example: str) -> float:
    match = _NUMBER.match(text) if isinstance(text, str) else None
    if match is None or match[2] not in units:
        raise ValueError(f"write a number with a unit ({', '.join(units)}), such as {example!r}")
    return float(match[1]) * units[match[2]]


def _size(text: object) -> int:
    """Bytes from a text such as "512MiB"; an int is taken as bytes already."""
    return text if type(text) is int else int(_scaled(text, _SIZES, "512MiB"))


def _seconds(text: object) -> float:
    """Seconds from a text such as "30s"; a number is taken as seconds already."""
    return text if type(text) in (int, float) else _scaled(text, _TIMES, "30s")  # type: ignore[return-value]


Size = Annotated[int, BeforeValidator(_size)]
Seconds = Annotated[float, BeforeValidator(_seconds)]
_DNS = 53
# What a profile's own secret would take the place of.
_OWN_VARIABLES = {*ENVIRONMENT, *TRUSTING, "LD_PRELOAD", "LD_LIBRARY_PATH"}
# The gate has a listener for each, of both families, and the runner holds them all.
_PORTS = 100
Port = Annotated[int, Field(ge=1, le=65535)]


def _refused(message: str, *at: str | int) -> PydanticCustomError:
    return PydanticCustomError("refused", message, {"at": at})


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Server(_Model):
    """[server]: what runs."""

    package: str = ""
    image: str = ""
    command: tuple[str, ...] = Field(default=(), strict=False)
    args: tuple[str, ...] = Field(default=(), strict=False)
    env: dict[str, str] = Field(default_factory=dict)
    working_dir: str = "/work"

    @model_validator(mode="after")
    def _one_source(self) -> Server:
        if bool(self.package) == bool(self.image):
            raise ValueError("give package or image, one of the two")
        if self.package and not grammar.PACKAGE.match(self.package):
            raise _refused('package must be "npm:NAME@VERSION" or "pypi:NAME@VERSION" with an exact version', "package")
        if self.image and not grammar.IMAGE.match(self.image):
            raise _refused('image must be "NAME@sha256:DIGEST", or one of ours such as "bulkhead/python"', "image")
        if self.image and not self.command:
            raise _refused("image needs command: what an image says of itself is never used", "image")
        self._no_nul()
        for name in self.env:
            if not grammar.VARIABLE.match(name):
                raise _refused("a variable's name is made of letters, digits and '_'", "env", name)
        if not self.working_dir.startswith("/") or ".." in PurePosixPath(self.working_dir).parts:
            raise _refused("working_dir must be an absolute path without '..'", "working_dir")
        return self

    def _no_nul(self) -> None:
        texts = {"command": self.command, "args": self.args, "working_dir": (self.working_dir,)}
        texts |= {"env": tuple(self.env.values())}
        for key, values in texts.items():
            if any("\0" in value for value in values):
                raise _refused("a NUL character cannot stand in a command, argument, path or variable", key)


class Limits(_Model):
    """[limits]: every key has a safe default."""

    cpus: float = Field(default=spec.Limits.cpus, gt=0, le=1024)
    memory: Size = Field(default=spec.Limits.memory, ge=16 * 2**20)
    pids: int = Field(default=spec.Limits.pids, ge=2, le=32768)
    tmp: Size = Field(default=spec.Limits.tmp, ge=2**16)
    open_files: int = Field(default=spec.Limits.open_files, ge=16, le=2**20)
    message: Size = Field(default=spec.Limits.message, ge=2**10, le=2**30)
    output: Size = Field(default=spec.Limits.output, ge=2**10, le=2**30)
    start: Seconds = Field(default=spec.Limits.start, gt=0, le=3600)
    call: Seconds = Field(default=spec.Limits.call, gt=0, le=86400)
    calls_per_minute: int = Field(default=spec.Limits.calls_per_minute, ge=1)
    concurrent_calls: int = Field(default=spec.Limits.concurrent_calls, ge=1, le=4096)
    approval: Seconds = Field(default=spec.Limits.approval, gt=0, le=86400)


class Mount(_Model):
    """[[mounts]]: one folder or file of the host. source is absolute once config.py has expanded and checked it."""

    source: str = Field(min_length=1, max_length=4096)
    target: Annotated[str, AfterValidator(grammar.target)]
    write: bool = False


class EgressRule(_Model):
    """[[egress]]: one host and its ports."""

    host: Annotated[str, AfterValidator(grammar.host)]
    ports: tuple[Port, ...] = Field(min_length=1, strict=False)
    private: bool = False
    tls: bool | None = None

    @model_validator(mode="after")
    def _can_be_kept(self) -> EgressRule:
        address = not grammar.HOST_NAME.match(self.host)
        if not self.private and (address or "." not in self.host):
            raise _refused("an address, or a name without a dot, needs private = true", "host")
        if address and self.tls:
            raise _refused("a hello of TLS names no address, so there is nothing to compare it with", "tls")
        if address and (kind := _never(self.host)):
            raise _refused(f"the address is {kind}: it is never dialled, with private = true neither", "host")
        if _DNS in self.ports:
            raise _refused("port 53 is that of the sandbox's own resolver: no name is looked up elsewhere", "ports")
        return self


def _never(network: str) -> str:
    """What kind of address no rule can open; "" for any other. A CIDR is judged by its first."""
    from bulkhead.egress import addresses

    first = network.partition("/")[0]
    # 198.18.0.0/15 stands for names inside a sandbox; a name may lead there outside, where somebody uses it.
    benchmark = addresses.vet(first, private=False) == "benchmark"
    return "benchmark" if benchmark else addresses.vet(first, private=True)


class SecretBinding(_Model):
    """[[secrets]]: one secret, where it comes from and how it is used."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True)

    name: str = Field(pattern=grammar.SECRET_NAME)
    source: Annotated[str, AfterValidator(grammar.secret_source)] = Field(alias="from")
    use: Literal["inject", "file", "env"] = "inject"
    hosts: tuple[Annotated[str, AfterValidator(grammar.host)], ...] = Field(default=(), strict=False)
    methods: tuple[str, ...] = Field(default=("*",), strict=False)
    paths: tuple[str, ...] = Field(default=("*",), strict=False)
    places: tuple[Literal["header", "path", "query"], ...] = Field(default=("header",), strict=False)
    ttl: Seconds = Field(default=900.0, gt=0)
    tools: tuple[str, ...] = Field(default=("*",), strict=False)

    @model_validator(mode="after")
    def _has_a_place(self) -> SecretBinding:
        if self.use == "inject" and not self.hosts:
            raise _refused("an injected secret needs the hosts that may get it", "hosts")
        if self.use != "inject" and self.hosts:
            raise _refused(f'hosts are for use = "inject": with {self.use!r} the server has the value itself', "hosts")
        if self.use == "env" and not grammar.VARIABLE.match(self.name):
            raise _refused("a name that a server reads from its environment has only letters, digits and _", "name")
        if self.use != "file" and self.name in _OWN_VARIABLES:
            raise _refused("this variable is the sandbox's own", "name")
        return self


class Tools(_Model):
    """[tools]: shell-style patterns of tool names. Deny wins over approve, approve over allow."""

    allow: tuple[str, ...] = Field(default=("*",), strict=False)
    deny: tuple[str, ...] = Field(default=(), strict=False)
    approve: tuple[str, ...] = Field(default=(), strict=False)


def _rules(text: str) -> str:
    """Cedar's own parser judges them; it is imported where there are any."""
    if text:
        from bulkhead.policy.rules import check

        check(text)
    return text


class Guards(_Model):
    """[guards]: what is judged of each message beyond names and limits."""

    pin: Literal["first-use", "approve"] = "first-use"
    arguments: bool = True
    rules: Annotated[str, AfterValidator(_rules)] = ""
    secrets: Literal["redact", "refuse", "pass"] = "redact"
    invisible: Literal["show", "refuse", "pass"] = "show"
    marking: bool = False
    baseline: Literal["off", "warn", "hold"] = "warn"


def _endpoint(url: str) -> str:
    if url and not url.startswith(("http://", "https://")):
        raise ValueError("give a URL that begins with http:// or https://")
    return url


class Screen(_Model):
    """[screen]: a service that reads what goes to the model."""

    endpoint: Annotated[str, AfterValidator(_endpoint)] = ""
    key: Annotated[str, AfterValidator(lambda source: source and grammar.secret_source(source))] = ""
    timeout: Seconds = Field(default=spec.Screen.timeout, gt=0, le=60)
    outage: Literal["deny", "allow"] = "deny"


class Sandbox(_Model):
    """[sandbox]: which engine, and what of its hardening this server needs otherwise."""

    engine: Literal["auto", "docker", "oci", "kubernetes"] = "auto"
    runtime: Annotated[str, AfterValidator(grammar.runtime)] = ""
    seccomp: Annotated[str, AfterValidator(grammar.seccomp)] = "default"
    user: Annotated[str, AfterValidator(grammar.user)] = ""
    exec_tmp: bool = False


def _apart(mounts: tuple[Mount, ...]) -> tuple[Mount, ...]:
    for index, mount in enumerate(mounts):
        for other in mounts[:index]:
            if grammar.inside(mount.target, other.target) or grammar.inside(other.target, mount.target):
                raise _refused("target is, or overlaps, the target of another mount", index, "target")
    return mounts


def _named_once(secrets: tuple[SecretBinding, ...]) -> tuple[SecretBinding, ...]:
    for index, secret in enumerate(secrets):
        if secret.name in (other.name for other in secrets[:index]):
            raise _refused("a secret of this name is there already", index, "name")
    return secrets


def _hosts_once(rules: tuple[EgressRule, ...]) -> tuple[EgressRule, ...]:
    if len({port for rule in rules for port in rule.ports}) > _PORTS:
        raise _refused(f"all rules together have more than {_PORTS} ports", len(rules) - 1, "ports")
    for index, rule in enumerate(rules):
        if rule.host in (other.host for other in rules[:index]):
            raise _refused("a rule for this host is there already; give it all ports", index, "host")
    return rules


def _reaches(rule: EgressRule, host: str) -> bool:
    """Whether a secret for host is injected into what the rule lets out."""
    fits = rule.host == host or (rule.host.startswith("*.") and host.endswith(rule.host[1:]))
    return fits and rule.tls is not False and bool(rule.tls or TLS_PORTS.intersection(rule.ports))


class ServerSpec(_Model):
    """A whole profile. name is the profile's file name, or made from the package by ``run -- npx``."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")
    description: str = ""
    server: Server
    limits: Limits = Field(default_factory=Limits)
    mounts: Annotated[tuple[Mount, ...], AfterValidator(_apart)] = Field(default=(), strict=False)
    egress: Annotated[tuple[EgressRule, ...], AfterValidator(_hosts_once)] = Field(default=(), strict=False)
    secrets: Annotated[tuple[SecretBinding, ...], AfterValidator(_named_once)] = Field(default=(), strict=False)
    tools: Tools = Tools()
    guards: Guards = Guards()
    screen: Screen = Screen()
    sandbox: Sandbox = Sandbox()

    @model_validator(mode="after")
    def _secrets_have_a_way(self) -> ServerSpec:
        for index, secret in enumerate(self.secrets):
            if secret.use != "file" and secret.name in self.server.env:
                raise _refused("[server] env has a variable of this name", "secrets", index, "name")
            for host in secret.hosts:
                if not any(_reaches(rule, host) for rule in self.egress):
                    raise _refused(
                        "no [[egress]] rule lets the server reach this host with TLS", "secrets", index, "hosts"
                    )
        return self


class Exporters(_Model):
    """[exporters] of config.toml: where traces go. otlp is the base URL of a collector, or "" for none."""

    file: bool = True
    console: bool = False
    otlp: Annotated[str, AfterValidator(_endpoint)] = ""


class Audit(_Model):
    """[audit] of config.toml."""

    sync: bool = True
    arguments: Literal["digest", "values"] = "digest"


def _trusted_key(text: str) -> str:
    from bulkhead.config.signed import is_key

    if not is_key(text):
        raise ValueError('give a key as `bulkhead policy keygen` prints it: "ed25519:" and 32 bytes in base64')
    return text


class Settings(_Model):
    """config.toml. limits holds the defaults of every profile: only the keys that are written count."""

    engine: Literal["auto", "docker", "oci", "kubernetes"] = "auto"
    exporters: Exporters = Exporters()
    audit: Audit = Audit()
    limits: Limits = Field(default_factory=Limits)
    trusted_keys: tuple[Annotated[str, AfterValidator(_trusted_key)], ...] = Field(default=(), strict=False)


def to_spec(model: ServerSpec) -> spec.ServerSpec:
    """The plain value of a judged profile: the classes of spec.py have the names of those here."""
    value: spec.ServerSpec = _plain(model)
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        kind = getattr(spec, type(value).__name__)
        return kind(**{name: _plain(getattr(value, name)) for name in type(value).model_fields})
    return tuple(map(_plain, value)) if isinstance(value, tuple) else value
