"""Hosts: where each keeps its servers, and what one entry of such a file says.

Rules: a file is read whole, at most 64 MiB of UTF-8, and as it is: byte order mark and line ends stay. A file that is
not understood is refused with its line, never read in part. All of a host's places are looked at, whatever this system
is: a home can be another system's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Literal

from bulkhead.errors import UnreadableError, UsageError
from bulkhead.hosts import jsonc, toml_text, yaml_text
from bulkhead.hosts.node import Node, line_of, matching

if TYPE_CHECKING:
    from collections.abc import Iterator

Kind = Literal["stdio", "remote", "docker", "bulkhead", "unknown"]
_LARGEST = 64 * 2**20
_PARSERS = {".json": jsonc.parse, ".toml": toml_text.parse, ".yaml": yaml_text.parse}
REMOTE = ("url", "serverUrl", "httpUrl", "uri")
_ENGINES = ("docker", "podman", "nerdctl")
# Applications of the desktop: one folder a system.
_APPLICATIONS = (".config", "Library/Application Support", "AppData/Roaming")


@dataclass(frozen=True, slots=True)
class Host:
    """One application. home: files below the home, application: below the system's folder of applications' settings,
    project: below a project. keys: patterns of the tables whose members are servers. words: what the host calls the
    program, its arguments and its variables.
    """

    name: str
    home: tuple[str, ...] = ()
    application: tuple[str, ...] = ()
    project: tuple[str, ...] = ()
    keys: tuple[tuple[str, ...], ...] = (("mcpServers",),)
    words: tuple[str, str, str] = ("command", "args", "env")


_CLINE = "globalStorage/saoudrizwan.claude-dev/settings/cline_mcp_settings.json"
HOSTS = (
    Host("claude-desktop", application=("Claude/claude_desktop_config.json",)),
    Host(
        "claude-code",
        home=(".claude.json",),
        project=(".mcp.json",),
        keys=(("mcpServers",), ("projects", "*", "mcpServers")),
    ),
    Host("cursor", home=(".cursor/mcp.json",), project=(".cursor/mcp.json",)),
    Host(
        "vscode",
        application=("Code/User/mcp.json", "Code - Insiders/User/mcp.json"),
        project=(".vscode/mcp.json",),
        keys=(("servers",),),
    ),
    Host("codex", home=(".codex/config.toml",), project=(".codex/config.toml",), keys=(("mcp_servers",),)),
    Host("gemini", home=(".gemini/settings.json",), project=(".gemini/settings.json",)),
    Host("windsurf", home=(".codeium/windsurf/mcp_config.json",)),
    Host("zed", home=(".config/zed/settings.json",), project=(".zed/settings.json",), keys=(("context_servers",),)),
    Host("goose", home=(".config/goose/config.yaml",), keys=(("extensions",),), words=("cmd", "args", "envs")),
    Host("lmstudio", home=(".lmstudio/mcp.json",)),
    Host("cline", application=(f"Code/User/{_CLINE}", f"Code - Insiders/User/{_CLINE}")),
)


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A file that is there. scope: whether it is the person's, or comes with a project."""

    host: Host
    path: Path
    scope: Literal["user", "project"]


@dataclass(frozen=True, slots=True)
class Document:
    """A file as it was read: data are its bytes, root the values with their places."""

    file: ConfigFile
    data: bytes = field(repr=False)
    text: str = field(repr=False)
    root: Node = field(repr=False)


@dataclass(frozen=True, slots=True)
class Entry:
    """One server of a host. pointer: its keys from the top; program: the keys of the table that has the command.

    args and env are as they were written, so env can hold a secret. line is counted from 1. fields: the keys of the
    entry that say something.
    """

    host: str
    path: Path
    scope: str
    name: str
    kind: Kind
    pointer: tuple[str, ...]
    program: tuple[str, ...]
    line: int
    command: str = ""
    args: tuple[str, ...] = field(default=(), repr=False)
    env: dict[str, str] = field(default_factory=dict, repr=False)
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    url: str = field(default="", repr=False)
    cwd: str = ""
    fields: frozenset[str] = frozenset()


def named_host(name: str) -> Host:
    """Raises UsageError."""
    for host in HOSTS:
        if host.name == name:
            return host
    raise UsageError(f"no host {name[:80]!r} is known", hint=f"one of {', '.join(host.name for host in HOSTS)}")


def find(home: Path, project: Path) -> list[ConfigFile]:
    """The files of all hosts that are there, in the order of HOSTS; the person's before the project's."""
    found: dict[Path, ConfigFile] = {}
    for host in HOSTS:
        own = [*host.home, *(f"{folder}/{rest}" for rest in host.application for folder in _APPLICATIONS)]
        candidates = [ConfigFile(host, home / rest, "user") for rest in own]
        candidates += [ConfigFile(host, project / rest, "project") for rest in host.project]
        for file in candidates:
            if file.path.is_file():
                found.setdefault(file.path, file)  # the home can be the project, too
    return list(found.values())


def read(file: ConfigFile) -> Document:
    """Raises UnreadableError, with FILE:LINE."""
    try:
        with file.path.open("rb") as opened:
            data = opened.read(_LARGEST + 1)
        if len(data) > _LARGEST:
            raise UnreadableError(f"{file.path} is not read", why=f"it is larger than {_LARGEST >> 20} MiB")
        return parsed(file, data)
    except OSError as error:
        raise UnreadableError(f"{file.path} cannot be read", why=str(error.strerror)) from None


def parsed(file: ConfigFile, data: bytes) -> Document:
    """The document of a file's content. Raises UnreadableError."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UnreadableError(f"{file.path} is not read", why="it is no UTF-8", hint=f"byte {error.start}") from None
    try:
        empty = not text.strip("\ufeff \t\r\n")  # as hosts make it
        root = Node(0, 0, members={}) if empty else _PARSERS[file.path.suffix](text)
        return Document(file, data, text, root)
    except UnreadableError as error:
        raise UnreadableError(f"{file.path}:{error.what}", why=error.why, hint=error.hint) from None


def entries(document: Document) -> Iterator[Entry]:
    """All servers of a document. Raises UnreadableError for one that is no table."""
    for keys in document.file.host.keys:
        for pointer in matching(document.root, (*keys, "*")):
            yield _entry(document, pointer)


def _entry(document: Document, pointer: tuple[str, ...]) -> Entry:
    file, node = document.file, document.root.at(pointer)
    line = line_of(document.text, _position(document, pointer))
    if node is None or node.members is None:
        raise UnreadableError(f"{file.path}:{line}: {pointer[-1]!r} is no server", why="a table of values is expected")
    command, args, env = file.host.words
    nested = node.at((command,))
    program = (*pointer, command) if nested is not None and nested.members is not None else pointer
    table: dict[str, Any] = node.plain()
    own = table[command] if program != pointer else table
    name = own.get("path" if program != pointer else command)
    return Entry(
        host=file.host.name,
        path=file.path,
        scope=file.scope,
        name=pointer[-1],
        kind=_kind(name, table),
        pointer=pointer,
        program=program,
        line=line,
        command=name if isinstance(name, str) else "",
        args=tuple(map(_text, own[args])) if isinstance(own.get(args), list) else (),
        env=_texts(own.get(env)),
        headers=_texts(table.get("headers")) | _texts(table.get("http_headers")),
        url=next((table[key] for key in REMOTE if isinstance(table.get(key), str)), ""),
        cwd=_text(table.get("cwd") or ""),
        fields=frozenset(key for key, value in table.items() if value not in (None, "", [], {})),
    )


def _position(document: Document, pointer: tuple[str, ...]) -> int:
    """Where the key of a value stands."""
    parent = document.root.at(pointer[:-1])
    return parent.members[pointer[-1]].start if parent and parent.members else 0


def _kind(command: object, table: dict[str, Any]) -> Kind:
    if not isinstance(command, str):
        return "remote" if any(key in table for key in REMOTE) else "unknown"
    program = program_of(command)
    if program in _ENGINES:
        return "docker"
    return {"bulkhead": "bulkhead", "npx": "stdio", "uvx": "stdio"}.get(program, "unknown")  # type: ignore[return-value]


def program_of(command: str) -> str:
    """The name of a program, without its folder, and without what other systems put behind it."""
    return PurePath(command.replace("\\", "/")).name.lower().removesuffix(".exe").removesuffix(".cmd")


def _texts(value: Any) -> dict[str, str]:
    return {key: _text(item) for key, item in value.items()} if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


def line_of_key(document: Document, pointer: tuple[str, ...]) -> int:
    """The line of the key at a pointer, counted from 1."""
    return line_of(document.text, _position(document, pointer))
