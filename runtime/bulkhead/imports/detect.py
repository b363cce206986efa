"""Which format a document has: what it holds says so, and not how its file is called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bulkhead.errors import UnreadableError, UsageError
from bulkhead.hosts import jsonc, yaml_text
from bulkhead.imports import bundle, docker_catalog, mcpb, server_json, toolhive
from bulkhead.imports.document import Table

if TYPE_CHECKING:
    from collections.abc import Callable

    from bulkhead.hosts.node import Node
    from bulkhead.imports.base import Choices, Draft
    from bulkhead.imports.bundle import Bundle

LARGEST = 256 * 2**20  # of a bundle
_LARGEST_TEXT = 4 * 2**20


@dataclass(frozen=True, slots=True)
class Format:
    """One format of texts. mark: what it is known by, for people."""

    name: str
    mark: str
    claims: Callable[[Node], bool]
    read: Callable[[Table, Choices], Draft]


@dataclass(frozen=True, slots=True)
class Found:
    """What a document became. bundle: whose files have to be unpacked, None for a text."""

    format: str
    draft: Draft
    bundle: Bundle | None = None


FORMATS = (
    Format(
        "Docker MCP catalog",
        "`registry`, or `image` with allowHosts, disableNetwork, type: server or tables in secrets or env",
        docker_catalog.claims,
        docker_catalog.read,
    ),
    Format(
        "ToolHive run configuration",
        "`image` or `schema_version` with cmd_args, env_vars, permission_profile or tools_filter",
        toolhive.claims,
        toolhive.read,
    ),
    Format(
        "ToolHive permission profile",
        "`read`, `write` or `network`, and nothing else",
        toolhive.claims_permissions,
        toolhive.read_permissions,
    ),
    Format("registry server.json", "`packages` or `remotes`, or its $schema", server_json.claims, server_json.read),
)


def read(source: str, data: bytes, choices: Choices) -> Found:
    """The draft of a document's bytes. source: what it is called in errors.

    Raises UsageError for what is not understood, DeniedError for a bundle that is not safe.
    """
    if data.startswith(bundle.MAGIC):
        draft, files = mcpb.read(source, data, choices)
        return Found("MCPB bundle", draft, files)
    text = _text(source, data)
    root = _parsed(source, text)
    found = [form for form in FORMATS if form.claims(root)]
    if len(found) != 1:
        raise _unknown(source, root, found)
    return Found(found[0].name, found[0].read(Table(source, text, root), choices))


def _text(source: str, data: bytes) -> str:
    if len(data) > _LARGEST_TEXT:
        raise UsageError(f"{source} is not read", why=f"it is no bundle, and larger than {_LARGEST_TEXT >> 20} MiB")
    try:
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        why = f"it is no bundle and no UTF-8: byte {error.start}"
        raise UsageError(f"{source} is not read", why=why, hint=_looked_for()) from None


def _parsed(source: str, text: str) -> Node:
    parse = jsonc.parse if text.lstrip().startswith(("{", "[")) else yaml_text.parse
    try:
        return parse(text)
    except UnreadableError as error:
        raise UsageError(f"{source}:{error.what}", why=error.why, hint=error.hint) from None


def _unknown(source: str, root: Node, found: list[Format]) -> UsageError:
    if found:
        names = " and ".join(f"a {form.name}" for form in found)
        return UsageError(f"{source} can be read in two ways", why=f"it is {names}", hint="leave out what is not meant")
    if root.at(("server", "entry_point")) is not None:
        why = "it is the manifest of a bundle, without the bundle's files"
        return UsageError(f"{source} is not enough", why=why, hint="import the .mcpb file itself")
    return UsageError(
        f"{source} has no format that is known", why="nothing that marks one is in it", hint=_looked_for()
    )


def _looked_for() -> str:
    formats = "; ".join(f"{form.name}: {form.mark}" for form in FORMATS)
    return f"looked for: {formats}; MCPB bundle: a zip with manifest.json"
