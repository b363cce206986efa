"""Each format's document becomes a profile, and what cannot be carried over is told with its line and the reason."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

import keyring
import pytest

from bulkhead.cli import main
from bulkhead.config import find_profile, load_profile
from tests.imports.conftest import Import, told, written

if TYPE_CHECKING:
    from pathlib import Path

DIGEST = f"sha256:{'a' * 64}"
TOKEN = "ghp_" + "a" * 36
CATALOG = f"""
name: example
registry:
  github:
    description: Issues and files
    type: server
    image: example/github@{DIGEST}
    tools:
      - name: create_issue
      - name: get_*
    secrets:
      - name: github.token
        env: GITHUB_TOKEN
    env:
      - name: LOG
        value: info
      - name: ORG
        value: "{{{{github.org}}}}"
    command: [stdio, "{{{{github.flags|into}}}}"]
    volumes:
      - /var/run/docker.sock:/var/run/docker.sock
      - cache:/data
      - HOME/notes:/notes:ro
    allowHosts: ["api.github.com:443", "db:5432/tcp", "*:443", "169.254.169.254:80", "time.example.com:123/udp"]
    privileged: true
    network: host
    colour: red
    user: "0"
  other:
    image: example/other@{DIGEST}
    disableNetwork: true
    allowHosts: ["api.github.com:443"]
"""
RUN: dict[str, Any] = {
    "schema_version": "v0.1.0",
    "name": "GitHub server",
    "image": "uvx://example-github@1.2.3",
    "transport": "stdio",
    "cmd_args": ["--verbose"],
    "env_vars": {"LOG": "info", "OLD_TOKEN": TOKEN},
    "secrets": ["github,target=GITHUB_TOKEN", "odd"],
    "volumes": ["HOME/notes:/notes"],
    "tools_filter": ["get_issue"],
    "permission_profile": {
        "privileged": True,
        "read": ["/etc"],
        "network": {
            "mode": "host",
            "outbound": {
                "insecure_allow_all": True,
                "allow_host": [".example.com", "api.github.com"],
                "allow_port": [443],
                "allow_transport": ["tcp", "udp"],
            },
        },
    },
    "ignore_config": {"loadGlobal": True},
    "colour": "red",
}
SERVER: dict[str, Any] = {
    "$schema": "https://static.example.com/schemas/2025-12-11/server.schema.json",
    "name": "com.example/weather",
    "description": "The weather",
    "version": "1.0.2",
    "packages": [
        {"registryType": "nuget", "identifier": "Weather", "version": "1.0.2", "transport": {"type": "stdio"}},
        {
            "registryType": "npm",
            "identifier": "@example/weather",
            "version": "1.0.2",
            "transport": {"type": "stdio"},
            "runtimeArguments": [{"type": "positional", "value": "-y"}, {"type": "named", "name": "--inspect"}],
            "packageArguments": [
                {"type": "named", "name": "--units", "value": "{units}", "variables": {"units": {"default": "si"}}},
                {"type": "positional", "valueHint": "place", "isRequired": True},
                {"type": "named", "name": "--key", "isSecret": True},
            ],
            "environmentVariables": [
                {"name": "API_KEY", "isSecret": True, "isRequired": True},
                {"name": "REGION", "value": "eu"},
                {"name": "CITY", "isRequired": True},
                {"name": "PROXY"},
            ],
        },
        {"registryType": "pypi", "identifier": "weather", "version": "1", "transport": {"type": "stdio"}},
    ],
    "remotes": [{"type": "sse", "url": "https://weather.example.com"}],
}


def with_home(document: Any, home: Path) -> Any:
    """HOME in its volumes is the test's own."""
    if isinstance(document, str):
        return document.replace("HOME/", f"{home}/")
    return document | {"volumes": [text.replace("HOME/", f"{home}/") for text in document.get("volumes", [])]}


def test_docker_catalog(imported: Import, home: Path) -> None:
    found = imported(with_home(CATALOG, home), "--name", "github", "--", "/server", "--fast", yes=True)
    assert tomllib.loads(found["profile"]) == {
        "description": "Issues and files",
        "server": {
            "image": f"example/github@{DIGEST}",
            "command": ["/server", "--fast"],
            "args": ["stdio"],
            "env": {"LOG": "info"},
        },
        "tools": {"allow": ["create_issue"]},
        "mounts": [{"source": str(home / "notes"), "target": "/notes", "write": False}],
        "egress": [
            {"host": "api.github.com", "ports": [443]},
            {"host": "db", "ports": [5432], "private": True},
        ],
        "secrets": [
            {"name": "GITHUB_TOKEN", "from": "keyring:github/GITHUB_TOKEN", "hosts": ["api.github.com"]},
        ],
    }  # fmt: skip
    why = {at.removeprefix("registry.github."): text for at, text in told(found, "left out").items()}
    assert "belongs to /run of the system" in why.pop("volumes[0]")
    assert {key: text.partition(":")[0] for key, text in why.items()} == {
        "tools[1].name": "a tool's name with *, ? or [ would be a pattern here",
        "env[1].value": "Docker fills it in from your settings",
        "command[1]": "Docker fills it in from your settings",
        "volumes[1]": "it is no whole path of this machine, as volumes of a container engine are not",
        "allowHosts[2]": 'host must be a name in lower case such as "api.github.com" or "*.example.org", or a CIDR; '
        "no scheme, port, path, user, final dot or bare '*'",
        "allowHosts[3]": "the address is metadata",
        "allowHosts[4]": "only TCP leaves a sandbox",
        "privileged": "no sandbox is ever privileged",
        "network": "a sandbox has no network but through the gate, by [[egress]]",
        "colour": "this key is not known",
        "user": "user must be a number, or UID",
    }
    line = CATALOG[: CATALOG.index("colour")].count("\n") + 1
    assert {row["at"]: row["line"] for row in found["told"]}["registry.github.colour"] == line
    assert list(told(found, "to do").values()) == ["bulkhead secrets set github --user GITHUB_TOKEN"]
    assert load_profile(find_profile("github", home)).secrets[0].hosts == ("api.github.com",)


def test_an_entry_without_a_network(imported: Import) -> None:
    found = imported(CATALOG, "--name", "other", "--", "/server")
    assert "egress" not in tomllib.loads(found["profile"])
    assert told(found, "left out") == {
        "registry.other.allowHosts[0]": "disableNetwork says that it has no network",
    }


def test_toolhive(imported: Import, home: Path) -> None:
    found = imported(with_home(RUN, home), yes=True)
    assert tomllib.loads(found["profile"]) == {
        "description": "as ToolHive ran it",
        "server": {"package": "pypi:example-github@1.2.3", "args": ["--verbose"], "env": {"LOG": "info"}},
        "tools": {"allow": ["get_issue"]},
        "mounts": [{"source": str(home / "notes"), "target": "/notes", "write": True}],
        "egress": [{"host": host, "ports": [443]} for host in ("example.com", "*.example.com", "api.github.com")],
        "secrets": [
            {
                "name": name,
                "from": f"keyring:github-server/{name}",
                "hosts": ["example.com", "*.example.com", "api.github.com"],
            }
            for name in ("GITHUB_TOKEN", "OLD_TOKEN")
        ],
    }  # fmt: skip
    assert keyring.get_password("github-server", "OLD_TOKEN") == TOKEN
    why = told(found, "left out")
    assert why.keys() == {
        "permission_profile.privileged", "permission_profile.read[0]", "permission_profile.network.mode",
        "permission_profile.network.outbound.insecure_allow_all", "secrets[1]", "ignore_config", "colour",
        "permission_profile.network.outbound.allow_transport[1]",
    }  # fmt: skip
    assert why["permission_profile.privileged"] == "no sandbox of bulkhead's is ever privileged"
    assert "no rule is for all hosts" in why["permission_profile.network.outbound.insecure_allow_all"]
    assert "target lies over /etc" in why["permission_profile.read[0]"]


def test_a_permission_profile_needs_its_server(imported: Import, home: Path, tmp_path: Path) -> None:
    document = {"read": [f"{home}/notes:/notes"], "network": {"outbound": {"allow_port": [443]}}}
    assert main(["import", str(written(tmp_path, document))]) == 2
    found = imported(document, "--name", "notes", "--", "npx", "-y", "@example/notes@2.0.0", "--fast")
    assert tomllib.loads(found["profile"])["server"] == {"package": "npm:@example/notes@2.0.0", "args": ["--fast"]}
    assert [mount["write"] for mount in tomllib.loads(found["profile"])["mounts"]] == [False]
    assert told(found, "left out") == {
        "network.outbound.allow_port[0]": "a port of all hosts: no rule is for all hosts"
    }


def test_server_json(imported: Import) -> None:
    found = imported(SERVER, yes=True)
    assert (found["name"], found["format"]) == ("weather", "registry server.json")
    assert tomllib.loads(found["profile"]) == {
        "description": "The weather",
        "server": {"package": "npm:@example/weather@1.0.2", "args": ["--units", "si"], "env": {"REGION": "eu"}},
        "secrets": [{"name": "API_KEY", "from": "keyring:weather/API_KEY", "use": "env"}],
    }
    assert told(found, "left out") == {
        "packages[0].identifier": "bulkhead installs from npm and PyPI alone",
        "packages[2].identifier": "another package was taken",
        "remotes": "it is remote: bulkhead runs what is started on this machine",
        "packages[1].packageArguments[2] (--key)": "an argument is no place for a secret",
        "packages[1].runtimeArguments[1] (--inspect)": "what it changes would be lost without a word",
        "packages[1].environmentVariables[3] (PROXY)": "it has no value, and needs none",
    }
    assert told(found, "to do") == {
        "packages[1].packageArguments[1] (place)": "it needs a value: write it into [server] args",
        "packages[1].environmentVariables[0] (API_KEY)": "bulkhead secrets set weather --user API_KEY",
        "packages[1].environmentVariables[2] (CITY)": "it needs a value: write CITY into [server] env",
    }


def test_an_image_of_server_json(imported: Import, home: Path) -> None:
    package = {
        "registryType": "oci",
        "identifier": "registry.example.com/weather:1.0",
        "transport": {"type": "stdio"},
        "runtimeArguments": [
            {"type": "named", "name": "--privileged"},
            {"type": "named", "name": "--network", "value": "host"},
            {"type": "named", "name": "-v", "value": f"{home}/notes:/notes:ro"},
            {"type": "positional", "value": f"--volume={home}:/all"},
        ],
    }
    document = {"server": {"name": "com.example/weather", "packages": [package]}, "_meta": {}}
    found = imported(document, "--pin", DIGEST, "--", "weather")
    profile = tomllib.loads(found["profile"])
    assert profile["server"]["image"] == f"registry.example.com/weather:1.0@{DIGEST}"
    assert [mount["target"] for mount in profile["mounts"]] == ["/notes"]
    why = {at.partition("(")[2]: text for at, text in told(found, "left out").items()}
    assert why["--privileged)"] == "no sandbox is ever privileged"
    assert why["--network)"] == "a sandbox has no network but through the gate, by [[egress]]"
    assert "is, or holds, the home folder" in why["--volume)"]


@pytest.mark.parametrize(
    "case",
    [
        ({"image": "x:1", "type": "server"}, ("--", "x"), "x:1 is not pinned"),
        ({"image": f"x@{DIGEST}", "type": "server"}, (), "what an image says of itself is never used"),
        ({"image": f"x@{DIGEST}", "type": "server"}, ("--", "x", TOKEN), "it looks like"),
        ({"type": "poci", "image": "x"}, (), "none of them speaks MCP"),
        ({"type": "server", "image": "x", "remote": {"url": "https://example.com"}}, (), "it is remote"),
        (CATALOG, (), "it has 2: github, other"),
        (RUN | {"image": "go://example.com/cmd"}, (), "it is built from Go's sources"),
        (RUN | {"image": "npx://example@^1"}, (), "npm:example is not pinned"),
        (RUN | {"image": "npx://example@latest"}, (), "npm:example is not pinned"),
        (RUN | {"image": "npx://example@latest"}, ("--pin", ">=1"), "server.package"),
        (RUN | {"transport": "sse"}, (), "the server speaks HTTP"),
        (RUN | {"remote_url": "https://example.com"}, (), "it is remote"),
        (SERVER | {"packages": SERVER["packages"][:1]}, (), "bulkhead installs from npm and PyPI alone"),
        ({"remotes": []}, (), "it is remote"),
        ({"hello": 1}, (), "nothing that marks one is in it"),
        ("- 1\n- 2\n", (), "nothing that marks one is in it"),
        ({"manifest_version": "0.2", "server": {"entry_point": "x.js"}}, (), "it is the manifest of a bundle"),
        (RUN | {"disableNetwork": True}, (), "a Docker MCP catalog and a ToolHive run configuration"),
        ("image: &a x\ntype: *a\n", (), "an alias"),
        ('{"image": "x", "image": "y"}', (), "this key is there already"),
        (RUN | {"volumes": [{}]}, (), "a text is expected"),
        (RUN | {"env_vars": []}, (), "a table is expected"),
        (b"\xff\xfe", (), "it is no bundle and no UTF-8"),
    ],
)
def test_refused(
    case: tuple[Any, tuple[str, ...], str], tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document, args, reason = case
    assert main(["import", str(written(tmp_path, document)), "--yes", *args]) == 2
    said = capsys.readouterr()
    assert reason in said.err
    assert TOKEN not in said.err + said.out
    assert not (home / ".config").exists()


def test_what_was_looked_for_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", str(written(tmp_path, {"hello": 1}))]) == 2
    said = capsys.readouterr().err
    for name in (
        "Docker MCP catalog",
        "ToolHive run configuration",
        "server.json",
        "MCPB bundle",
        "permission profile",
    ):
        assert name in said


def test_values_of_yaml_are_as_they_were_written(imported: Import) -> None:
    document = f"""
image: example/x@{DIGEST}
type: server
env:
  - {{name: A, value: yes}}
  - {{name: B, value: 0644}}
  - {{name: C, value: 1.10}}
  - {{name: D, value: "text"}}
user: 1000
"""
    profile = tomllib.loads(imported(document, "--", "x")["profile"])
    assert profile["server"]["env"] == {"A": "yes", "B": "0644", "C": "1.10", "D": "text"}
    assert profile["sandbox"] == {"user": "1000"}


def test_what_is_unknown_around_a_catalog_is_told(imported: Import) -> None:
    document = {"registry": {"x": {"image": f"x@{DIGEST}", "disableNetwork": True}}, "version": 3, "signature": "?"}
    assert told(imported(document, "--", "x"), "left out") == {"signature": "this key is not known"}


def test_a_secret_that_was_left_out_is_not_stored(imported: Import) -> None:
    variable = {"name": "../ODD/NAME", "isSecret": True, "value": TOKEN}
    package = SERVER["packages"][1] | {"environmentVariables": [variable]}
    found = imported(SERVER | {"packages": [package]}, yes=True)
    assert "secrets" not in tomllib.loads(found["profile"])
    assert keyring.get_password("weather", "../ODD/NAME") is None
