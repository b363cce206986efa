"""Docker's catalog of MCP servers: a whole catalog (`registry`), or one entry of it.

Docker gives an entry without `allowHosts` the whole network; a profile has what is named, and else none. Volumes,
arguments and variables that Docker fills in from a person's settings, {{...}}, are told: they are that person's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bulkhead import grammar
from bulkhead.errors import UsageError
from bulkhead.imports.base import REMOTE, Draft, host_and_port, profile_name, volume

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bulkhead.hosts.node import Node
    from bulkhead.imports.base import Choices
    from bulkhead.imports.document import Item, Table

_MARKS = {"allowHosts", "disableNetwork", "longLived"}
# For people, and for Docker's own listings.
_PASSED_OVER = (
    "name", "type", "title", "icon", "readme", "readmeUrl", "toolsUrl", "source", "upstream", "metadata", "dateAdded",
    "prompts", "resources", "ref", "policy", "prefix",
)  # fmt: skip
_LEFT_OUT = {
    "config": "its settings are asked by Docker: write what you need into [server] env, args or [[mounts]]",
    "oauth": "bulkhead makes no OAuth token: put one into the keyring, as a secret",
    "extraHosts": "names are resolved outside of the sandbox, and not by a table of the entry",
    "privileged": "no sandbox is ever privileged",
    "network": "a sandbox has no network but through the gate, by [[egress]]",
    "network_mode": "a sandbox has no network but through the gate, by [[egress]]",
    "longLived": "a session has a sandbox of its own, for as long as it lasts",
}
_FILLED_IN = "Docker fills it in from your settings: write it into the profile"


def claims(root: Node) -> bool:
    """Whether it is such a document."""
    members = root.members or {}
    registry = root.at(("registry",))
    if registry is not None and registry.members is not None:
        return True
    secrets, env = root.at(("secrets",)), root.at(("env",))
    lists = [node.items for node in (secrets, env) if node is not None and node.items]
    tables = any(items[0].members is not None for items in lists)
    kind = root.at(("type",))
    return "image" in members and (
        tables or bool(_MARKS & members.keys()) or (kind is not None and kind.value in ("server", "poci"))
    )


def read(table: Table, choices: Choices) -> Draft:
    """The profile of the entry, or of the one that choices.name names. Raises UsageError."""
    if not table.has("registry"):
        return _entry(table, table.text("name"), choices)
    registry = table.table("registry")
    names = registry.keys
    if choices.name not in names and len(names) != 1:
        why = f"it has {len(names)}: {', '.join(names[:12])}{' ...' * (len(names) > 12)}"
        raise UsageError(f"{table.source}: which entry of the catalog?", why=why, hint="name one with --name")
    name = choices.name if choices.name in names else names[0]
    draft = _entry(registry.table(name), name, choices)
    table.pass_over(("version", "name", "displayName", "policy"))
    draft.told += table.unknown()
    return draft


def _entry(entry: Table, name: str, choices: Choices) -> Draft:
    if entry.has("remote") or entry.has("sseEndpoint"):
        raise entry.wrong("remote" if entry.has("remote") else "sseEndpoint", REMOTE)
    if entry.text("type") == "poci":
        raise entry.wrong("type", "each of its tools is a container of its own, and none of them speaks MCP")
    draft = Draft(profile_name(choices, name), entry.text("description"))
    arguments = [item.text for item in _settled(draft, entry.texts("command"))]
    draft.add_image(entry.item("image"), arguments, choices)
    _network(draft, entry)
    _environment(draft, entry)
    for item in _settled(draft, entry.texts("volumes")):
        volume(draft, item)
    _user(draft, entry)
    draft.add_tools(tool.item("name") for tool in entry.tables("tools"))
    draft.told += [entry.told("left out", key, why) for key, why in _LEFT_OUT.items() if entry.has(key)]
    entry.pass_over(_PASSED_OVER)
    draft.told += entry.unknown()
    return draft


def _network(draft: Draft, entry: Table) -> None:
    hosts = entry.texts("allowHosts")
    if entry.has("disableNetwork"):
        for item in hosts:
            draft.tell("left out", item, "disableNetwork says that it has no network")
        return
    if not hosts:
        why = "without allowHosts Docker lets it reach everything, and a profile nothing: add [[egress]] for its hosts"
        draft.told.append(entry.told("changed", "allowHosts", why))
    for item in hosts:
        try:
            host, port = host_and_port(item.text)
        except ValueError as error:
            draft.tell("left out", item, str(error))
        else:
            draft.add_rule(host, [port], item)


def _environment(draft: Draft, entry: Table) -> None:
    """Secrets first: a variable of the same name is Docker's way to fill it in."""
    for secret in entry.tables("secrets"):
        secret.pass_over(("name", "example", "description", "required"))
        draft.add_secret(secret.text("env"), secret.item("env"), hosts=draft.tls_hosts())
        draft.told += secret.unknown()
    named = {secret["name"] for secret in draft.secrets}
    for variable in entry.tables("env"):
        variable.pass_over(("example", "description"))
        name, item = variable.text("name"), variable.item("value")
        draft.told += variable.unknown()
        if "{{" in item.text:
            draft.tell("left out", item, f"{_FILLED_IN}, as {name[:64]} of [server] env" * (name not in named))
        elif name in named:
            draft.tell("left out", item, "a secret of this name is there already")
        else:
            draft.add_variable(name, item, hosts=draft.tls_hosts())


def _user(draft: Draft, entry: Table) -> None:
    item = entry.item("user")
    if "{{" in item.text:
        draft.tell("left out", item, _FILLED_IN)
        return
    try:
        user = grammar.user(item.text)
    except ValueError as error:
        draft.tell("left out", item, str(error))
    else:
        draft.sandbox |= {"user": user} if user else {}


def _settled(draft: Draft, items: Sequence[Item]) -> list[Item]:
    """Those that Docker does not fill in."""
    for item in items:
        if "{{" in item.text:
            draft.tell("left out", item, _FILLED_IN)
    return [item for item in items if "{{" not in item.text]
