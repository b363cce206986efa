"""Names of packages, of their images and of their locks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bulkhead.errors import UsageError
from bulkhead.supply.images import copy_name
from bulkhead.supply.names import Package, image_name, lock_path, parse

MEMORY = Package("npm", "@modelcontextprotocol/server-memory", "2026.8.31")
# What Docker takes: https://github.com/distribution/reference states the grammar.
REFERENCE = re.compile(
    r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*:[\w][\w.-]{0,127}\Z", re.ASCII
)


@pytest.mark.parametrize(
    ("text", "package"),
    [
        ("npm:@modelcontextprotocol/server-memory@2026.8.31", MEMORY),
        ("npm:semver@7.0.0-beta.1+build", Package("npm", "semver", "7.0.0-beta.1+build")),
        ("pypi:Mcp_Server.Time@1!2.0", Package("pypi", "mcp-server-time", "1!2.0")),
    ],
)
def test_parse(text: str, package: Package) -> None:
    assert parse(text) == package


@pytest.mark.parametrize(
    "text", ["npm:semver", "pypi:../x@1", "npm:a b@1", "gem:x@1", "npm:x@1 --flag", "npm:-g@1", ""]
)
def test_parse_refuses(text: str) -> None:
    with pytest.raises(UsageError, match="no package"):
        parse(text)


@pytest.mark.parametrize(
    "package",
    [
        MEMORY,
        Package("npm", "a.-_b", "1.0.0+x"),
        Package("pypi", "x" * 200, "1!2.0+local"),
        Package("npm", "z", "9" * 300),
    ],
)
def test_image_names_are_what_an_engine_takes(package: Package) -> None:
    assert REFERENCE.match(image_name(package, "d" * 64, "lock"))


def test_an_image_is_named_by_its_package_recipe_and_lock() -> None:
    name = image_name(MEMORY, "d" * 64, "lock")
    assert name.startswith("bulkhead/npm/modelcontextprotocol-server-memory:2026.8.31-")
    assert name == image_name(MEMORY, "d" * 64, "lock")
    others = [
        image_name(MEMORY, "e" * 64, "lock"),
        image_name(MEMORY, "d" * 64, "other"),
        image_name(Package("npm", "@modelcontextprotocol/server.memory", "2026.8.31"), "d" * 64, "lock"),
    ]
    assert len({name, *others}) == 4


def test_locks_of_two_packages_are_two_files() -> None:
    paths = {lock_path(Path("/state"), package) for package in (MEMORY, Package("npm", "server-memory", "2026.8.31"))}
    assert len(paths) == 2
    assert {path.parent for path in paths} == {Path("/state/locks/npm")}


def test_a_copy_is_named_by_the_whole_digest() -> None:
    digest = "0123456789abcdef" * 4
    assert copy_name(f"localhost:5000/a/b_c@sha256:{digest}") == f"bulkhead/copy/localhost-5000-a-b-c:{digest}"
