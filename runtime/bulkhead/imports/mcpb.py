"""MCPB bundles (`.mcpb`, `.dxt`): a zip with manifest.json and the server's files, all that it needs among them.

The files are unpacked into a folder that is named by the bundle's digest, and mounted to be read. The program is node,
python or a file of the bundle's own; another launcher would fetch more at its start, and is refused.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bulkhead.errors import UnreadableError, UsageError
from bulkhead.hosts import jsonc
from bulkhead.imports.base import Draft, profile_name
from bulkhead.imports.bundle import Bundle
from bulkhead.imports.document import Item, Table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bulkhead.imports.base import Choices

TARGET = "/srv/bundle"
_MANIFEST = "manifest.json"
_LARGEST = 2**20
_PROGRAMS = {"node": "node", "python": "python3", "python3": "python3"}
_IMAGES = {"node": "bulkhead/node", "python": "bulkhead/python", "binary": "bulkhead/base"}
_OURS = {"${__dirname}": TARGET, "${/}": "/", "${pathSeparator}": "/"}
_FILLED_IN = re.compile(r"\$\{[^{}]*\}")
_OPTION = re.compile(r"\$\{user_config\.([^{}]+)\}")
_PASSED_OVER = (
    "$schema", "manifest_version", "dxt_version", "name", "display_name", "version", "long_description", "author",
    "repository", "homepage", "documentation", "support", "icon", "icons", "screenshots", "prompts",
    "prompts_generated", "keywords", "license", "privacy_policies", "compatibility", "_meta", "localization",
)  # fmt: skip


def read(source: str, data: bytes, choices: Choices) -> tuple[Draft, Bundle]:
    """The profile of a bundle, all but the folder of its files: see mount(). Raises UsageError, DeniedError."""
    bundle = Bundle(source, data)
    table = _manifest(source, bundle)
    draft = Draft(profile_name(choices, table.text("name")), table.text("description"))
    server = table.table("server")
    config = _for_this_system(server.table("mcp_config"))
    _Filling(draft, table.table("user_config")).all(config, _program(bundle, server, config))
    draft.server["image"] = _IMAGES[server.text("type")]
    if table.text("tools_generated") != "true":
        draft.add_tools(tool.item("name") for tool in table.tables("tools"))
    platforms = table.table("compatibility").texts("platforms")
    if platforms and "linux" not in [item.text for item in platforms]:
        draft.tell("changed", platforms[0], "it is not said to run on Linux, and here it has to")
    table.pass_over((*_PASSED_OVER, "tools"))
    draft.told += [*server.unknown(), *table.unknown()]
    return draft, bundle


def mount(draft: Draft, bundle: Bundle, folder: Path) -> Path:
    """Adds the folder below folder where the bundle has to be unpacked, and returns it: another bundle has another."""
    place = folder / f"{draft.name}-{bundle.digest[:16]}"
    draft.mounts.append({"source": str(place), "target": TARGET, "write": False})
    return place


def _manifest(source: str, bundle: Bundle) -> Table:
    if _MANIFEST not in bundle:
        raise UsageError(f"{source} is no bundle", why=f"no {_MANIFEST} is in the zip", hint="see docs/import.md")
    raw = bundle.read(_MANIFEST, _LARGEST)
    where = f"{source}:{_MANIFEST}"
    try:
        if len(raw) > _LARGEST:
            raise UnreadableError("1: this cannot be read", why=f"it is larger than {_LARGEST >> 20} MiB")
        text = raw.decode("utf-8")
        return Table(where, text, jsonc.parse(text))
    except UnicodeDecodeError:
        raise UsageError(f"{where} cannot be read", why="it is no UTF-8") from None
    except UnreadableError as error:
        raise UsageError(f"{where}:{error.what}", why=error.why) from None


def _for_this_system(config: Table) -> Table:
    """What platform_overrides say for Linux wins, key by key."""
    linux = config.table("platform_overrides").table("linux")
    changed = config.with_changes(linux)
    changed.pass_over(("platform_overrides",))
    return changed


def _program(bundle: Bundle, server: Table, config: Table) -> list[str]:
    """The program alone, as the sandbox has it. Raises UsageError."""
    kind, command = server.text("type"), config.text("command")
    entry = server.text("entry_point").removeprefix("./")
    if kind not in _IMAGES:
        raise server.wrong("type", "only node, python and binary have all that they need in the bundle")
    if entry not in bundle:
        raise server.wrong("entry_point", "this file is not in the bundle")
    if kind != "binary":
        if _PROGRAMS.get(command or kind) != _PROGRAMS[kind]:
            raise config.wrong("command", f"the program of a {kind} bundle is {kind}; another would fetch more")
        return [_PROGRAMS[kind]]
    name = command.replace("${__dirname}/", "").removeprefix("./")
    if name not in bundle or bundle.read(name, 4)[:4] != b"\x7fELF":
        raise config.wrong("command", "it is no program of the bundle's for Linux")
    return [f"{TARGET}/{name}"]


class _Filling:
    """Puts in what the host would: options that have a default. What a person has to say is told."""

    def __init__(self, draft: Draft, options: Table) -> None:
        self._draft = draft
        self._options = {name: options.table(name) for name in options.keys}

    def all(self, config: Table, program: list[str]) -> None:
        """The command, its arguments and its variables."""
        self._draft.server["command"] = program
        self._draft.server["args"] = [text for item in config.texts("args") for text in self._argument(item)]
        for name, item in config.named("env").items():
            self._variable(name, item)
        self._draft.told += config.unknown()

    def _argument(self, item: Item) -> Iterator[str]:
        text, missing = self._filled(item)
        if missing:
            self._draft.tell("left out", item, f"{missing}: write it into [server] args, and a folder into [[mounts]]")
        else:
            yield text

    def _variable(self, name: str, item: Item) -> None:
        names = _OPTION.findall(item.text)
        if any(self._of(option, "sensitive") == "true" for option in names):
            self._draft.add_secret(name, item)
            if _OPTION.fullmatch(item.text) is None:
                self._draft.tell("to do", item, "the secret is the whole value, with what stands around the option")
            return
        text, missing = self._filled(item)
        if missing:
            self._draft.tell("left out", item, f"{missing}: write it into [server] env")
        else:
            self._draft.add_variable(name, Item(text, item.at, item.line))

    def _filled(self, item: Item) -> tuple[str, str]:
        """The text with all in its place; and what is missing, "" for nothing."""
        text = item.text
        for word, value in _OURS.items():
            text = text.replace(word, value)
        for option in _OPTION.findall(text):
            default = self._of(option, "default")
            if not default or self._of(option, "sensitive") == "true" or _FILLED_IN.search(default):
                return "", "its user_config is yours to say"
            text = text.replace(f"${{user_config.{option}}}", default)
        return text, "the host fills in a folder of yours" if _FILLED_IN.search(text) else ""

    def _of(self, option: str, key: str) -> str:
        table = self._options.get(option)
        if table is None:
            return ""
        found = table.node(key)
        return "" if found is None or found.items is not None else table.text(key)
