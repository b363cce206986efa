"""ToolHive: a run configuration, as `thv export` writes it, and a permission profile.

A permission profile names no server, so its launcher is given by the person. ToolHive mounts with write unless told
otherwise, and so do volumes here; `read` and `write` of permissions say it themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bulkhead.config import launchers
from bulkhead.errors import UsageError
from bulkhead.imports.base import REMOTE, Draft, profile_name, volume
from bulkhead.imports.document import Item

if TYPE_CHECKING:
    from bulkhead.hosts.node import Node
    from bulkhead.imports.base import Choices
    from bulkhead.imports.document import Table

_MARKS = {"schema_version", "cmd_args", "env_vars", "permission_profile", "permission_profile_name_or_path",
          "tools_filter", "remote_url"}  # fmt: skip
_PERMISSIONS = {"name", "read", "write", "network", "privileged"}
_SCHEMES = {"uvx": "pypi", "npx": "npm"}
# Of ToolHive's own proxy, names and labels.
_PASSED_OVER = (
    "schema_version", "mcpserver_generation", "registry_api_url", "registry_url", "registry_server_name", "name",
    "container_name", "base_name", "transport", "host", "port", "target_port", "target_host", "debug",
    "container_labels", "isolate_network", "trust_proxy_headers", "stateless", "session_ttl", "proxy_mode", "group",
    "endpoint_prefix", "env_file_dir", "thv_ca_bundle",
)  # fmt: skip
_OF_ITS_PROXY = "it is of ToolHive's own proxy, which is not there"
_LEFT_OUT = {
    "publish": "nothing reaches a sandbox from outside but MCP",
    "allow_docker_gateway": "a sandbox reaches no service of this machine; [[egress]] with private = true names one",
    "ignore_config": "files that it hides are NOT hidden: mount folders that hold none",
    "tools_override": "tools keep their names and descriptions, which are pinned",
    "middleware_configs": _OF_ITS_PROXY,
    "oidc_config": _OF_ITS_PROXY,
    "remote_auth_config": _OF_ITS_PROXY,
    "token_exchange_config": _OF_ITS_PROXY,
    "upstream_swap_config": _OF_ITS_PROXY,
    "embedded_auth_server_config": _OF_ITS_PROXY,
    "header_forward": _OF_ITS_PROXY,
    "aws_sts_config": "bulkhead makes no AWS token: give it a secret",
    "authz_config": "write its policies into [guards] rules, which are Cedar too",
    "authz_config_path": "write its policies into [guards] rules, which are Cedar too",
    "audit_config": "bulkhead keeps a record of its own: `bulkhead audit`",
    "audit_config_path": "bulkhead keeps a record of its own: `bulkhead audit`",
    "telemetry_config": "see [exporters] of config.toml",
    "rate_limit_config": "see calls_per_minute and concurrent_calls of [limits]",
    "rate_limit_namespace": "see calls_per_minute and concurrent_calls of [limits]",
    "k8s_pod_template_patch": "a sandbox is hardened by bulkhead alone",
    "runtime_config": "packages are installed in bulkhead's own images",
    "scaling_config": "each session has one sandbox",
    "validating_webhooks": "see [screen]",
    "mutating_webhooks": "nothing changes a message on its way but the guards",
    "jwks_auth_token_file": _OF_ITS_PROXY,
}
_BUILT_IN = {
    "none": "",
    "network": "it lets the server reach everything; no rule is for all hosts: add [[egress]] for each",
}


def claims(root: Node) -> bool:
    """Whether it is a run configuration."""
    members = root.members or {}
    return bool(_MARKS & members.keys()) and bool({"image", "remote_url", "schema_version"} & members.keys())


def claims_permissions(root: Node) -> bool:
    """Whether it is a permission profile."""
    members = set(root.members or {})
    return bool(members & {"read", "write", "network"}) and members <= _PERMISSIONS


def read(table: Table, choices: Choices) -> Draft:
    """The profile of a run configuration. Raises UsageError."""
    if table.has("remote_url"):
        raise table.wrong("remote_url", REMOTE)
    if table.text("transport") not in ("", "stdio"):
        raise table.wrong("transport", "the server speaks HTTP, and bulkhead speaks MCP on stdio to what it runs")
    image = table.item("image")
    draft = Draft(profile_name(choices, table.text("name") or _last(image.text)), "as ToolHive ran it")
    _server(draft, table, image, choices)
    if table.node("permission_profile") is not None:
        _permissions(draft, table.table("permission_profile"))
        table.pass_over(("permission_profile_name_or_path",))
    else:
        _built_in(draft, table)
    _secrets(draft, table)
    for item in table.texts("volumes"):
        volume(draft, item)
    draft.add_tools(table.texts("tools_filter"))
    draft.told += [table.told("left out", key, why) for key, why in _LEFT_OUT.items() if table.has(key)]
    table.pass_over(_PASSED_OVER)
    draft.told += table.unknown()
    return draft


def read_permissions(table: Table, choices: Choices) -> Draft:
    """The profile of a permission profile, and of the server that choices.command launches. Raises UsageError."""
    if not choices.command:
        raise UsageError(
            f"{table.source}: which server is it for?",
            why="a permission profile names none",
            hint="give it at the end: bulkhead import FILE -- npx -y PACKAGE@VERSION",
        )
    command = launchers.parse_command(choices.command)
    name = profile_name(choices, launchers.name_of(command.package))
    draft = Draft(name, "with permissions of ToolHive's")
    version = command.version or choices.pin(command.package)
    own = {"command": [command.command]} if command.command else {}
    draft.server |= {"package": f"{command.package}@{version}", **own, "args": list(command.args)}
    _permissions(draft, table)
    return draft


def _server(draft: Draft, table: Table, image: Item, choices: Choices) -> None:
    arguments = [item.text for item in table.texts("cmd_args")]
    scheme, colon, package = image.text.partition("://")
    if not colon:
        draft.add_image(image, arguments, choices)
    elif scheme in _SCHEMES:
        draft.add_package(_SCHEMES[scheme], Item(package, image.at, image.line), arguments, choices)
    else:
        why = "it is built from Go's sources; bulkhead installs from npm and PyPI alone"
        raise table.wrong("image", why if scheme == "go" else "only npx:// and uvx:// are packages")


def _secrets(draft: Draft, table: Table) -> None:
    hosts = draft.tls_hosts()
    for item in table.texts("secrets"):
        _, _, target = item.text.partition(",target=")
        draft.add_secret(target, item, hosts=hosts) if target else draft.tell("left out", item, "it has no target")
    named = {secret["name"] for secret in draft.secrets}
    for name, item in table.named("env_vars").items():
        if name in named:
            draft.tell("left out", item, "a secret of this name is there already")
        else:
            draft.add_variable(name, item, hosts=hosts)


def _built_in(draft: Draft, table: Table) -> None:
    """A permission profile that is named only: ToolHive has two of its own."""
    item = table.item("permission_profile_name_or_path")
    why = _BUILT_IN.get(item.text, "it stands in another file: import that one")
    if item.text and why:
        draft.tell("left out", item, why)


def _permissions(draft: Draft, table: Table) -> None:
    table.pass_over(("name",))
    if table.has("privileged"):
        draft.told.append(table.told("left out", "privileged", "no sandbox of bulkhead's is ever privileged"))
    for key in ("write", "read"):  # a folder that is in both can be written to
        for item in table.texts(key):
            source, _, target = item.text.partition(":")
            draft.add_mount(source, target or source, item, write=key == "write")
    network = table.table("network")
    if network.has("mode"):
        draft.tell("left out", network.item("mode"), "a sandbox has no network but through the gate, by [[egress]]")
    if network.has("inbound"):
        draft.told.append(network.told("left out", "inbound", "nothing reaches a sandbox from outside but MCP"))
    _outbound(draft, network.table("outbound"))
    draft.told += [*network.unknown(), *table.unknown()]


def _outbound(draft: Draft, outbound: Table) -> None:
    hosts, ports = outbound.texts("allow_host"), outbound.texts("allow_port")
    if outbound.has("insecure_allow_all"):
        why = "no rule is for all hosts: add [[egress]] for each; `bulkhead ps` shows what was refused"
        draft.told.append(outbound.told("left out", "insecure_allow_all", why))
    for item in outbound.texts("allow_transport"):
        if item.text.lower() != "tcp":
            draft.tell("left out", item, "only TCP leaves a sandbox")
    if ports and not hosts:
        draft.tell("left out", ports[0], "a port of all hosts: no rule is for all hosts")
    numbers = [int(port.text) for port in ports if port.text.isascii() and port.text.isdigit()]
    for item in hosts:
        if not ports:
            draft.tell("changed", item, "no port is named: it may be reached at 443 alone")
        host = item.text.lower()
        for name in (host[1:], f"*{host}") if host.startswith(".") else (host,):
            draft.add_rule(name, numbers or [443], item)
    draft.told += outbound.unknown()


def _last(image: str) -> str:
    """The last part of an image's or a package's name."""
    return image.partition("://")[2].rpartition("/")[2].partition("@")[0] or image.partition("@")[0].rpartition("/")[2]
