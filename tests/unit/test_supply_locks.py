"""What clients resolve becomes a lock only with a hash for every file; and which command is a package's own."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bulkhead.errors import StartError
from bulkhead.supply import locks
from bulkhead.supply.names import Package

NPM = Package("npm", "@scope/server-x", "1.0.0")
PYPI = Package("pypi", "server-x", "1.0.0")
SHA512 = "sha512-" + "A" * 86 + "=="
SHA256 = "ab" * 32


def npm_output(**entry: Any) -> bytes:
    packages = {"": {"dependencies": {NPM.name: NPM.version}}, "node_modules/x": {"version": "1.0.0"} | entry}
    return json.dumps({"lockfileVersion": 3, "packages": packages}).encode()


def pypi_output(**changes: Any) -> bytes:
    item = {
        "metadata": {"name": "server-x", "version": "1.0.0"},
        "download_info": {"url": "https://mirror.invalid/x.whl", "archive_info": {"hashes": {"sha256": SHA256}}},
        "is_direct": False,
    }
    return json.dumps({"install": [item | changes]}).encode()


def test_an_npm_lock_keeps_the_hashes() -> None:
    lock = json.loads(locks.npm_lock(NPM, npm_output(integrity=SHA512)))
    assert lock["packages"]["node_modules/x"] == {"version": "1.0.0", "integrity": SHA512}


def test_what_is_bundled_is_part_of_its_parents_file() -> None:
    assert "inBundle" in locks.npm_lock(NPM, npm_output(inBundle=True))


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({}, "node_modules/x has no sha512"),
        ({"integrity": "sha1-AAAA"}, "node_modules/x has no sha512"),
        ({"integrity": SHA512, "resolved": "https://elsewhere.invalid/x.tgz"}, "node_modules/x comes from outside"),
        ({"resolved": "git+ssh://git@elsewhere.invalid/x.git"}, "node_modules/x comes from outside"),
        ({"link": True, "resolved": "../x"}, "node_modules/x comes from outside"),
    ],
)
def test_an_npm_lock_is_refused(entry: dict[str, Any], why: str) -> None:
    with pytest.raises(StartError) as caught:
        locks.npm_lock(NPM, npm_output(**entry))
    assert why in caught.value.why
    assert caught.value.reason == "build"


def test_a_pypi_lock_has_names_versions_and_hashes_alone() -> None:
    assert locks.pypi_lock(PYPI, pypi_output()) == f"server-x==1.0.0 --hash=sha256:{SHA256}\n"
    old = {"archive_info": {"hash": f"sha256={SHA256}"}}
    assert locks.pypi_lock(PYPI, pypi_output(download_info=old)) == f"server-x==1.0.0 --hash=sha256:{SHA256}\n"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"is_direct": True}, "comes from outside the index"),
        ({"download_info": {"vcs_info": {"vcs": "git"}}}, "has no sha256"),
        ({"download_info": {"archive_info": {"hash": "md5=00"}}}, "has no sha256"),
        ({"metadata": {"name": "x\n--index-url", "version": "1"}}, "comes from outside the index"),
    ],
)
def test_a_pypi_lock_is_refused(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(StartError) as caught:
        locks.pypi_lock(PYPI, pypi_output(**changes))
    assert why in caught.value.why


def test_no_json_is_an_error_of_the_build() -> None:
    with pytest.raises(StartError, match="no JSON"):
        locks.npm_lock(NPM, b"npm notice")


@pytest.mark.parametrize(
    ("names", "command"),
    [
        (["anything"], ("/opt/server/bin/anything",)),
        (["other", "server-x"], ("/opt/server/bin/server-x",)),
        (["other", "another"], ()),
        ([], ()),
        (["../../bin/sh"], ()),
        (["-c"], ()),
        ([1, "server-x"], ("/opt/server/bin/server-x",)),
    ],
)
def test_the_packages_own_command(names: list[Any], command: tuple[str, ...]) -> None:
    assert locks.command_of(NPM, json.dumps(names).encode()) == command


def test_a_mismatch_is_told_from_other_failures() -> None:
    assert locks.is_mismatch("npm error code EINTEGRITY")
    assert locks.is_mismatch("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.")
    assert not locks.is_mismatch("npm error code E404")
