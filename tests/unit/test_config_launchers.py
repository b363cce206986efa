"""npx and uvx command lines: what they mean, and that nothing gets through that they do not mean."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead import grammar
from bulkhead.config import Flags, spec_from_command, unmounted_paths
from bulkhead.config.launchers import Command, name_of, parse_command
from bulkhead.errors import BulkheadError, ProfileError, UsageError

pytestmark = pytest.mark.usefixtures("home", "project")

MEANT = {
    "npx -y pkg": Command("npm", "pkg", "", "", ()),
    "npx --yes @s/server-x /work -y": Command("npm", "@s/server-x", "", "", ("/work", "-y")),
    "npx pkg@1.2.3 --flag": Command("npm", "pkg", "1.2.3", "", ("--flag",)),
    "npx pkg@1.2.3-beta.1": Command("npm", "pkg", "1.2.3-beta.1", "", ()),
    "npx @s/p@latest": Command("npm", "@s/p", "", "", ()),
    "npx -p pkg@1.0.0 cmd a": Command("npm", "pkg", "1.0.0", "cmd", ("a",)),
    "npx --package=pkg -- cmd -p": Command("npm", "pkg", "", "cmd", ("-p",)),
    "npx -y -- pkg -- a": Command("npm", "pkg", "", "", ("--", "a")),
    "uvx mcp-server-time": Command("pypi", "mcp-server-time", "", "", ()),
    "uvx mcp-server-time==2026.1.1 --x y": Command("pypi", "mcp-server-time", "2026.1.1", "", ("--x", "y")),
    "uvx pkg@1.0rc1": Command("pypi", "pkg", "1.0rc1", "", ()),
    "uvx pkg@latest": Command("pypi", "pkg", "", "", ()),
    "uvx --from pkg==1.0 cmd": Command("pypi", "pkg", "1.0", "cmd", ()),
}

NOT_MEANT = {
    "": "cannot be put into a sandbox",
    "docker run x": "'docker' cannot be put into a sandbox",
    "node server.js": "'node' cannot",
    "python -m x": "'python' cannot",
    "bash -c x": "'bash' cannot",
    "/usr/bin/npx -y x": "'/usr/bin/npx' cannot",
    "npx": "no package is named",
    "npx -y": "no package is named",
    "npx -p": "no package stands after -p",
    "npx --package= cmd": "no package stands after --package",
    "npx -p a -p b cmd": "'-p' is not understood",
    "npx -c echo": "'-c' is not understood",
    "npx --registry=http://x.example p": "'--registry' is not understood",
    "npx --yes=1 p": "'--yes' is not understood",
    "npx --node-options=--inspect p": "'--node-options' is not understood",
    "npx ./folder": "'./folder' is not a package",
    "npx ../x": "is not a package",
    "npx file:x": "is not a package",
    "npx github:a/b": "is not a package",
    "npx a/b": "is not a package",
    "npx https://x.example/a.tgz": "is not a package",
    "npx p@npm:other@1.0.0": "is not one version",
    "npx p@^1.0.0": "is not one version",
    "npx p@1": "is not one version",
    "npx p@next": "is not one version",
    "npx p@1.0.0;x": "is not one version",
    "npx -p p ../cmd": "is not a command of the package",
    "npx -p p -- --x": "is not a command of the package",
    "npx -y -- -p": "is not a package",
    "uvx p[extra]": "is not a package",
    "uvx p>=1.0": "is not a package",
    "uvx p==1.*": "is not one version",
    "uvx git+https://x.example/a": "is not a package",
    "uvx --with evil p": "'--with' is not understood",
    "uvx --index-url http://x.example p": "'--index-url' is not understood",
    "uvx --python 3.8 p": "'--python' is not understood",
}


@pytest.mark.parametrize("line", MEANT)
def test_meant(line: str) -> None:
    assert parse_command(line.split()) == MEANT[line]


@pytest.mark.parametrize("line", NOT_MEANT)
def test_not_meant(line: str) -> None:
    with pytest.raises(UsageError, match=re.escape(NOT_MEANT[line])) as caught:
        parse_command(line.split())
    assert caught.value.exit_code == 2


def never(package: str) -> str:
    """A resolver that must not be asked."""
    raise AssertionError(package)


def test_a_spec_with_the_newest_version_pinned() -> None:
    spec = spec_from_command(["npx", "-y", "@s/Server-X".lower(), "/work"], resolve=lambda _: "1.2.3")
    assert (spec.name, spec.server.package) == ("server-x", "npm:@s/server-x@1.2.3")
    assert (spec.server.command, spec.server.args) == ((), ("/work",))


def test_a_version_that_is_given_is_not_looked_up() -> None:
    spec = spec_from_command(["uvx", "--from", "Pkg==1.0", "cmd"], resolve=never)
    assert (spec.name, spec.server.package, spec.server.command) == ("pkg", "pypi:Pkg@1.0", ("cmd",))


def test_what_a_resolver_answers_is_judged_too() -> None:
    with pytest.raises(ProfileError, match=r"the command after --: server\.package"):
        spec_from_command(["npx", "p"], resolve=lambda _: "1.0.0 --registry=x")


def test_a_secret_among_the_arguments_is_refused() -> None:
    with pytest.raises(ProfileError, match=r"the command after --: server\.args\[1\] is refused"):
        spec_from_command(["npx", "p@1.0.0", "--token", "hunter2"], resolve=never)


def test_a_path_among_the_arguments_mounts_nothing() -> None:
    spec = spec_from_command(["npx", "p@1.0.0", "/opt", "/nowhere", "/work", "x"], resolve=never)
    assert spec.mounts == ()
    assert unmounted_paths(spec) == ["/opt"]
    shown = spec_from_command(["npx", "p@1.0.0", "/opt"], resolve=never, flags=Flags(["/srv:/opt/data"]))
    assert unmounted_paths(shown) == ["/opt"]


@given(st.sampled_from(["npx", "uvx"]), st.lists(st.text(alphabet="-p=@./:y\0\n aé1", max_size=12), max_size=4))
def test_no_package_is_a_flag_a_path_or_a_url(launcher: str, words: list[str]) -> None:
    try:
        command = parse_command([launcher, *words])
    except BulkheadError as error:
        assert error.exit_code == 2  # noqa: PT017  # a refusal is as right as a plain package
        return
    assert grammar.PACKAGE.match(f"{command.package}@{command.version or '1'}")
    assert not command.command.startswith("-")
    assert re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,62}", name_of(command.package))
