"""The registry's `server.json` (schema 2025-12-11), and what the registry's API has around it.

Of its packages the first is taken that can run here: npm, PyPI or an image, on stdio. What a person has to fill in is
told; a default is taken as it stands. An argument is no place for a secret, and none is put there.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bulkhead.config import launchers
from bulkhead.errors import UsageError
from bulkhead.imports.base import REMOTE, Draft, profile_name, volume
from bulkhead.imports.document import Item

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bulkhead.hosts.node import Node
    from bulkhead.imports.base import Choices
    from bulkhead.imports.document import Table

_SCHEMA = "server.schema.json"
_LAUNCHERS = {"npm": "npx", "pypi": "uvx"}
_VARIABLE = re.compile(r"\{([^{}]+)\}")
_PASSED_OVER = ("$schema", "name", "title", "version", "websiteUrl", "repository", "icons", "_meta", "status")
_OF_A_PACKAGE = ("registryType", "runtimeHint", "transport", "fileSha256")
_OF_AN_INPUT = ("description", "isRequired", "format", "placeholder", "choices", "valueHint", "isRepeated", "isSecret")
_REGISTRIES = {
    "mcpb": "download the bundle, compare its SHA-256 with fileSha256, and import the file",
    "nuget": "bulkhead installs from npm and PyPI alone",
    "cargo": "bulkhead installs from npm and PyPI alone",
}
# What a flag of `docker run` would take away, or add.
_FLAGS = {
    "--privileged": "no sandbox is ever privileged",
    "--network": "a sandbox has no network but through the gate, by [[egress]]",
    "--net": "a sandbox has no network but through the gate, by [[egress]]",
    "--cap-add": "no sandbox has a capability",
    "--security-opt": "a sandbox is hardened by bulkhead alone",
    "--device": "no sandbox has a device of this machine",
    "--pid": "no sandbox shares a namespace",
    "--ipc": "no sandbox shares a namespace",
}
_VOLUMES = ("-v", "--volume")
_SILENT = ("-i", "--interactive", "--rm", "--init", "-t", "--pull", "run")


def claims(root: Node) -> bool:
    """Whether it is such a document."""
    server = root.at(("server",)) or root
    schema = server.at(("$schema",))
    lists = [server.at((key,)) for key in ("packages", "remotes")]
    named = schema is not None and _SCHEMA in str(schema.value)
    return named or any(node is not None and node.items is not None for node in lists)


def read(table: Table, choices: Choices) -> Draft:
    """The profile of the first package that can run here. Raises UsageError."""
    if table.node("server") is not None:
        table = table.table("server")
    draft = Draft(profile_name(choices, table.text("name").rpartition("/")[2]), table.text("description"))
    packages = table.tables("packages")
    refused = [(package, _why_not(package)) for package in packages]
    chosen = next((package for package, why in refused if not why), None)
    for package, why in refused:
        if package is not chosen:
            draft.told.append(package.told("left out", "identifier", why or "another package was taken"))
    if table.has("remotes"):
        draft.told.append(table.told("left out", "remotes", REMOTE))
    if chosen is None:
        raise _none(table, refused)
    table.pass_over(_PASSED_OVER)
    _package(draft, chosen, choices)
    draft.told += table.unknown()
    return draft


def _none(table: Table, refused: list[tuple[Table, str]]) -> UsageError:
    why = "; ".join(f"line {package.line()}: {why}" for package, why in refused) or REMOTE
    return table.wrong("packages", why)


def _why_not(package: Table) -> str:
    """Why a package cannot run here, "" for none."""
    registry, transport = package.text("registryType"), package.table("transport").text("type")
    if registry not in (*_LAUNCHERS, "oci"):
        return _REGISTRIES.get(registry, "only npm, pypi and oci are known")
    if transport not in ("", "stdio"):
        return "it speaks HTTP, and bulkhead speaks MCP on stdio to what it runs"
    return ""


def _package(draft: Draft, package: Table, choices: Choices) -> None:
    registry = package.text("registryType")
    arguments = list(_arguments(draft, package))
    name, version = package.item("identifier"), package.text("version")
    if registry == "oci":
        draft.add_image(name, arguments, choices)
        package.pass_over(("version",))
        _docker_arguments(draft, package)
    else:
        named = f"{name.text}@{version}" if version else name.text
        draft.add_package(registry, Item(named, package.path("version"), package.line("version")), arguments, choices)
        _launcher_arguments(draft, package, _LAUNCHERS[registry])
    if package.has("registryBaseUrl"):
        why = "it comes from the registry that this machine uses"
        draft.told.append(package.told("changed", "registryBaseUrl", why))
    for variable in package.tables("environmentVariables"):
        _environment(draft, variable)
    package.pass_over(_OF_A_PACKAGE)
    draft.told += package.unknown()


def _arguments(draft: Draft, package: Table) -> Iterator[str]:
    for argument in package.tables("packageArguments"):
        name, value = argument.text("name"), _filled(argument)
        item = _item(argument)
        argument.pass_over((*_OF_AN_INPUT, "type"))
        secret = argument.text("isSecret") == "true"
        if secret or (value is None and (argument.text("isRequired") == "true" or not name)):
            why = "an argument is no place for a secret" if secret else "it needs a value: write it into [server] args"
            draft.tell("left out" if secret else "to do", item, why)
        elif name or value:
            yield from (text for text in (name, value) if text)
        draft.told += argument.unknown()


def _environment(draft: Draft, variable: Table) -> None:
    name, value, item = variable.text("name"), _filled(variable), _item(variable)
    variable.pass_over(_OF_AN_INPUT)
    if variable.text("isSecret") == "true":
        if value:
            draft.values[name] = value
        draft.add_secret(name, item)
    elif value is not None:
        draft.add_variable(name, Item(value, item.at, item.line))
    elif variable.text("isRequired") == "true":
        draft.tell("to do", item, f"it needs a value: write {name[:64]} into [server] env")
    else:
        draft.tell("left out", item, "it has no value, and needs none")
    draft.told += variable.unknown()


def _item(table: Table) -> Item:
    """An input as a whole: its name, where it has one."""
    name = table.text("name") or table.text("valueHint")
    return Item(name, f"{table.at}{f' ({name})' * name.isprintable() * bool(name)}", table.line())


def _filled(table: Table) -> str | None:
    """The value, or the default, with its variables in their places; None where one is missing."""
    variables = table.table("variables")
    text = table.text("value") or table.text("default")
    found = {name: _plain(variables.table(name)) for name in variables.keys}
    if not text or any(found.get(name, "") is None for name in _VARIABLE.findall(text)):
        return None
    return _VARIABLE.sub(lambda match: found.get(match[1]) or match[0], text)


def _plain(table: Table) -> str | None:
    return table.text("value") or table.text("default") or None


def _launcher_arguments(draft: Draft, package: Table, launcher: str) -> None:
    """Those of npx or uvx say nothing to us, or are told."""
    for argument in package.tables("runtimeArguments"):
        words = [text for text in (argument.text("name"), argument.text("value")) if text]
        argument.pass_over((*_OF_AN_INPUT, "type", "default", "variables"))
        try:
            launchers.parse_command([launcher, *words, "package"])
        except UsageError as error:
            draft.tell("left out", _item(argument), error.why)
        draft.told += argument.unknown()


def _docker_arguments(draft: Draft, package: Table) -> None:
    """Folders are mounted, if this machine gives them away; all else of `docker run` is told."""
    for argument in package.tables("runtimeArguments"):
        name, value = argument.text("name"), _filled(argument)
        argument.pass_over((*_OF_AN_INPUT, "type"))
        flag, _, joined = (name or value or "").partition("=")
        item = Item(joined or (value or "" if name else ""), f"{argument.at} ({flag})", argument.line())
        if flag in _VOLUMES and item.text:
            volume(draft, item)
        elif flag not in _SILENT:
            why = "bulkhead does not run docker's command line: write what it does into the profile"
            draft.tell("left out", item, _FLAGS.get(flag, why))
        draft.told += argument.unknown()
