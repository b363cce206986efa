"""What a host's entry becomes: a profile, and `bulkhead run NAME` in its place; or the reason why it is left alone.

Rules: only what is surely understood is changed. A profile allows what the entry names and no more: a folder that is an
argument, to be read; the network of the shipped profile of the same package, else none; variables without secrets.
Secrets go to the keyring. What the host fills in itself, or adds (a folder, a file of variables), is left alone.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bulkhead import grammar, resources
from bulkhead.config import launchers, secretlike
from bulkhead.errors import UsageError
from bulkhead.hosts.base import program_of
from bulkhead.hosts.secrets import filled_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from bulkhead.hosts.base import Entry

_REASONS = {
    "remote": "it is remote: bulkhead runs what is started on this machine",
    "docker": "it is a container already: write a profile with its image",
    "bulkhead": "it is behind bulkhead already",
    "unknown": "only npx and uvx say which package they start: write a profile for it",
}
# Fields with which a host adds what the entry itself does not say.
_ADDED = ("envFile", "env_keys", "env_vars")
_NAME = re.compile(r"[^a-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class Wrapped:
    """An entry that changes. profile: the text of NAME.toml; secrets: variable -> value, for keyring:NAME/VARIABLE."""

    entry: Entry
    name: str
    profile: str
    secrets: dict[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Left:
    """One that does not, and why."""

    entry: Entry
    why: str


def wrap(entry: Entry, name: str, *, newest: Callable[[str], str]) -> Wrapped | Left:
    """newest: the version of "npm:NAME" or "pypi:NAME" that an entry means which names none; it may raise."""
    if why := _REASONS.get(entry.kind) or _beyond(entry):
        return Left(entry, why)
    try:
        command = launchers.parse_command([program_of(entry.command), *entry.args])
    except UsageError as error:
        return Left(entry, f"{error.what}: {error.why}")
    shipped = _shipped(command.package)
    version = command.version or _version(shipped) or newest(command.package)
    mounts = {path: _target(path) for path in command.args if _is_path(path)}
    secrets = {key: value for key, value in entry.env.items() if secretlike.in_named(key, value)}
    egress = shipped.get("egress", [])
    server = {
        "package": f"{command.package}@{version}",
        "command": [command.command] if command.command else [],
        "args": [mounts.get(arg, arg) for arg in command.args],
        "env": {key: value for key, value in _env(shipped, entry).items() if key not in secrets},
    }
    tables = {"server": server, "limits": shipped.get("limits", {})}
    lists = {"mounts": list(_mounts(mounts)), "egress": egress}
    lists["secrets"] = [_secret(name, key, egress) for key in secrets]
    return Wrapped(entry, name, _toml(f"{entry.name}, as a host had it", tables, lists), secrets)


def _env(shipped: Mapping[str, Any], entry: Entry) -> dict[str, str]:
    own: dict[str, str] = shipped.get("server", {}).get("env", {})
    return own | entry.env


def name_for(entry: Entry) -> str:
    """What the entry's profile is called, if nothing else is."""
    return _NAME.sub("-", entry.name.lower()).strip("._-")[:50] or "server"


def _beyond(entry: Entry) -> str:
    """Why an entry of npx or uvx is left alone, "" for none: it means more than a profile can say."""
    added = [key for key in _ADDED if key in entry.fields]
    asked = [key for key, value in entry.env.items() if filled_in(value)]
    reasons = {
        "the file is the project's, and others have it too: write `bulkhead run -- npx ...` there yourself": (
            entry.scope == "project"
        ),
        "it names a working folder": entry.cwd,
        f"its {', '.join(added)} adds variables that stand elsewhere": added,
        f"the host itself fills in {', '.join(asked)}": asked,
        "the host fills in an argument itself": any(map(filled_in, entry.args)),
        "an argument looks like a secret: give it as a variable": [*secretlike.in_args(entry.args)],
        "an argument is a path from the host's own folder": any(map(_is_relative, entry.args)),
        "an argument is a path that is not there": any(_is_path(arg) and not _real(arg).exists() for arg in entry.args),
    }
    return next((why for why, holds in reasons.items() if holds), "")


def _is_relative(arg: str) -> bool:
    return arg in (".", "..") or arg.startswith(("./", "../"))


def _shipped(package: str) -> Mapping[str, Any]:
    """The shipped profile of the same package, or nothing."""
    for path in sorted((resources.folder("profiles") / "servers").glob("*.toml")):
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        if data["server"].get("package", "").rpartition("@")[0] == package:
            return data
    return {}


def _version(profile: Mapping[str, Any]) -> str:
    return str(profile.get("server", {}).get("package", "")).rpartition("@")[2]


def _is_path(arg: str) -> bool:
    return arg.startswith(("/", "~/")) or arg == "~"


def _real(path: str) -> Path:
    return Path(os.path.realpath(Path.home() / path[2:] if path.startswith("~") else path))


def _target(path: str) -> str:
    """The same path inside, where the sandbox has nothing of its own there: people call files by their paths."""
    try:
        return grammar.target(str(_real(path)))
    except ValueError:
        return f"/mnt/{_real(path).name}"


def _mounts(paths: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    for path, target in paths.items():
        yield {"source": str(_real(path)), "target": target, "write": False}


def _secret(name: str, variable: str, egress: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Injected where its hosts are known; else the server has it, as it has had before."""
    hosts = [rule["host"] for rule in egress if rule.get("tls") is not False and 443 in rule["ports"]]
    table = {"name": variable, "from": f"keyring:{name}/{variable}"}
    return table | ({"hosts": hosts} if hosts else {"use": "env"})


def _toml(description: str, tables: Mapping[str, Mapping[str, Any]], lists: Mapping[str, Sequence[Any]]) -> str:
    lines = [f"description = {_value(description)}"]
    for key, table in tables.items():
        rows = [f"{name} = {_value(value)}" for name, value in table.items() if value not in ({}, [])]
        lines += ["", f"[{key}]", *rows] if rows else []
    for key, items in lists.items():
        for item in items:
            lines += ["", f"[[{key}]]", *(f"{name} = {_value(value)}" for name, value in item.items())]
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(key)} = {_value(item)}" for key, item in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(key: str) -> str:
    return key if grammar.VARIABLE.match(key) else _value(key)
