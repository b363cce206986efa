"""What every format shares: the profile that is made of a document, row by row.

Rules: what a profile cannot say, and what this machine refuses, is left out and told with its line and the reason. A
row (a mount, a rule, a secret) is judged by the schema of profiles before it is taken. Secrets go to the keyring.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bulkhead import grammar
from bulkhead.config import launchers, secretlike
from bulkhead.egress.allowlist import TLS_PORTS
from bulkhead.errors import UsageError
from bulkhead.imports.document import Told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pydantic import BaseModel

    from bulkhead.imports.document import Item, Kind

_NAME = re.compile(r"[^a-z0-9._-]+")
_LAUNCHERS = {"npm": "npx", "pypi": "uvx"}
DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)
REMOTE = "it is remote: bulkhead runs what is started on this machine"


@dataclass(frozen=True, slots=True)
class Choices:
    """What the person says, and the document does not.

    name: the profile's, or "". command: the program of an image, or the launcher of what names no server. pin: gives
    the exact version of "npm:NAME" or "pypi:NAME", or the digest of an image; raises UsageError where it is unknown.
    """

    name: str
    command: tuple[str, ...]
    pin: Callable[[str], str]


@dataclass(slots=True)
class Draft:
    """A profile in the making, what is told of it, and the values that go to the keyring."""

    name: str
    description: str = ""
    server: dict[str, Any] = field(default_factory=dict)
    tools: dict[str, Any] = field(default_factory=dict)
    sandbox: dict[str, Any] = field(default_factory=dict)
    mounts: list[dict[str, Any]] = field(default_factory=list)
    egress: list[dict[str, Any]] = field(default_factory=list)
    secrets: list[dict[str, Any]] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict, repr=False)

    def tell(self, kind: Kind, item: Item, why: str) -> None:
        """Something of one value."""
        self.told.append(Told(kind, item.line, item.at, why))

    def add_image(self, image: Item, arguments: Sequence[str], choices: Choices) -> None:
        """[server] with an image. Raises UsageError without digest, or without its program."""
        if not choices.command:
            raise UsageError(
                f"{self.name}: the program of the image is not known",
                why="what an image says of itself is never used",
                hint="give it at the end: bulkhead import FILE -- PROGRAM ARGS",
            )
        name, _, digest = image.text.partition("@")
        if not digest:
            digest = choices.pin(name)
            self.tell("changed", image, "a tag can be another image tomorrow: the digest is taken")
        pinned = f"{name}@{digest}"
        if not grammar.IMAGE.match(pinned):
            why = "an image is NAME@sha256: and 64 hexadecimal digits"
            raise UsageError(f"{self.name}: {image.at} cannot be used", why=why, hint="give --pin sha256:DIGEST")
        self.server |= {"image": pinned, "command": list(choices.command), "args": list(arguments)}

    def add_package(self, registry: str, package: Item, arguments: Sequence[str], choices: Choices) -> None:
        """[server] with NAME, or NAME@VERSION, of "npm" or "pypi". Raises UsageError."""
        named = package.text.replace("==", "@")
        name = named.rpartition("@")[0] if named.rfind("@") > 0 else named
        try:
            command = launchers.parse_command([_LAUNCHERS[registry], named])
        except UsageError:
            command = launchers.parse_command([_LAUNCHERS[registry], name])
        version = command.version or choices.pin(command.package)
        if not command.version:
            self.tell("changed", package, "it names no one version: the one that was given is taken")
        self.server |= {"package": f"{command.package}@{version}", "args": list(arguments)}

    def add_variable(self, name: str, item: Item, *, hosts: Sequence[str] = ()) -> None:
        """[server] env, or a secret where the value looks like one."""
        if secretlike.in_named(name, item.text):
            self.values[name] = item.text
            self.add_secret(name, item, hosts=hosts)
            self.tell("changed", item, "it looks like a secret: it goes to the keyring, and still stands here")
        elif not grammar.VARIABLE.match(name):
            self.tell("left out", item, "a variable's name is made of letters, digits and '_'")
        else:
            self.server.setdefault("env", {})[name] = item.text

    def add_secret(self, name: str, item: Item, *, hosts: Sequence[str] = ()) -> None:
        """[[secrets]]: injected where its hosts are known, else the server has it in its environment."""
        user = f"{self.name}/{name}"
        row = {"name": name, "from": f"keyring:{user}"} | ({"hosts": list(hosts)} if hosts else {"use": "env"})
        if any(name == other["name"] for other in self.secrets):
            self.tell("left out", item, "a secret of this name is there already")
        elif why := _refusal("SecretBinding", row):
            self.tell("left out", item, why)
        else:
            self.secrets.append(row)
            if not hosts:
                why = 'no host with TLS is named, so the server itself has the value: use = "env"'
                self.tell("changed", item, f"{why}; [[egress]] and hosts would keep it out")
            if name not in self.values:
                self.tell("to do", item, f"bulkhead secrets set {self.name} --user {name}")

    def add_rule(self, host: str, ports: Sequence[int], item: Item) -> None:
        """[[egress]]: a host that is there already gets the ports too."""
        row = next((row for row in self.egress if row["host"] == host), None)
        private = not grammar.HOST_NAME.match(host) or "." not in host
        found: dict[str, Any] = {"host": host, "ports": sorted({*ports, *(row["ports"] if row else ())})}
        found |= {"private": True} if private else {}
        if why := _refusal("EgressRule", found):
            self.tell("left out", item, why)
        elif row:
            row.update(found)
        else:
            self.egress.append(found)
            if private:
                self.tell("changed", item, "it is no public name, so the rule has private = true")

    def add_mount(self, source: str, target: str, item: Item, *, write: bool) -> None:
        """[[mounts]], if this machine gives the folder away. Relative sources, and volumes, are no folders of it."""
        row = {"source": source, "target": target, "write": write}
        taken = [other["target"] for other in self.mounts]
        overlap = any(grammar.inside(target, one) or grammar.inside(one, target) for one in taken)
        why = "its target is, or overlaps, the target of another mount" if overlap else ""
        if not source.startswith(("/", "~/")):
            why = "it is no whole path of this machine, as volumes of a container engine are not"
        if why := why or _refusal("Mount", row) or _unsafe(row):
            self.tell("left out", item, why)
        else:
            self.mounts.append(row)

    def add_tools(self, items: Iterable[Item]) -> None:
        """[tools] allow: these alone."""
        for item in items:
            if any(character in item.text for character in "*?["):
                self.tell("left out", item, "a tool's name with *, ? or [ would be a pattern here")
            else:
                self.tools.setdefault("allow", []).append(item.text)

    def tls_hosts(self) -> list[str]:
        """Those that an injected secret can be for."""
        return [row["host"] for row in self.egress if _has_tls(row)]

    def toml(self) -> str:
        """The profile's text."""
        tables = {"server": self.server, "tools": self.tools, "sandbox": self.sandbox}
        lines = [f"description = {_value(self.description)}"]
        for key, table in tables.items():
            rows = [f"{name} = {_value(value)}" for name, value in table.items() if value not in ({}, [])]
            lines += ["", f"[{key}]", *rows] if rows else []
        for key, items in (("mounts", self.mounts), ("egress", self.egress), ("secrets", self.secrets)):
            for item in items:
                lines += ["", f"[[{key}]]", *(f"{name} = {_value(value)}" for name, value in item.items())]
        return "\n".join(lines) + "\n"


def profile_name(choices: Choices, text: str) -> str:
    """What the profile is called: as the person says, else made of what the document says."""
    return _NAME.sub("-", (choices.name or text).lower()).strip("._-")[:50] or "server"


def volume(draft: Draft, item: Item) -> None:
    """A mount that is written SOURCE:TARGET[:ro], as container engines have it."""
    source, _, rest = item.text.partition(":")
    target, _, options = rest.partition(":")
    if not target:
        draft.tell("left out", item, "it is not SOURCE:TARGET")
    else:
        draft.add_mount(source, target.rstrip("/") or "/", item, write="ro" not in options.split(","))


def host_and_port(text: str) -> tuple[str, int]:
    """Of HOST, HOST:PORT or HOST:PORT/tcp; 443 where there is none. Raises ValueError."""
    text, _, protocol = text.partition("/")
    if protocol not in ("", "tcp"):
        raise ValueError("only TCP leaves a sandbox")
    host, colon, port = text.rpartition(":")
    if not colon or host.count(":") or text.endswith("]"):
        return text.strip("[]").lower(), 443
    if not (port.isascii() and port.isdigit()):
        raise ValueError("it is not HOST:PORT")
    return host.strip("[]").lower(), int(port)


def _has_tls(row: Mapping[str, Any]) -> bool:
    return bool(grammar.HOST_NAME.match(row["host"]) and TLS_PORTS.intersection(row["ports"]))


def _refusal(model: str, row: Mapping[str, Any]) -> str:
    """Why the schema of profiles refuses a row; "" where it does not."""
    from pydantic import ValidationError  # noqa: PLC0415 - heavy, and not needed to list commands

    from bulkhead.config import schema  # noqa: PLC0415 - imports pydantic
    from bulkhead.config.problems import problems_of  # noqa: PLC0415 - beside it

    kind: type[BaseModel] = getattr(schema, model)
    try:
        kind.model_validate(row)
    except ValidationError as error:
        return problems_of(error, kind)[0].why
    return ""


def _unsafe(row: Mapping[str, Any]) -> str:
    """Why this machine does not give a folder away; "" where it does."""
    from bulkhead.config.mounts import check_mounts  # noqa: PLC0415 - for documents with mounts
    from bulkhead.spec import Mount  # noqa: PLC0415 - beside it

    _, problems = check_mounts([Mount(**row)], profile=None, project=Path.cwd())
    return f"{problems[0].why}: {problems[0].hint}" if problems else ""


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {_value(item)}" for name, item in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
