"""Locks: every file of an installation with its hash, and no address of a registry. PURE.

Rules: what a client resolved becomes a lock only if all of it comes from the registry with a hash that can be checked
again. A lock is the text that npm and pip check themselves: package-lock.json, and requirements with hashes.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from bulkhead.errors import StartError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bulkhead.supply.names import Package

_COMMAND = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z", re.ASCII)
_REQUIREMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[0-9A-Za-z.+!_-]+\Z", re.ASCII)
_MISMATCHES = ("EINTEGRITY", "DO NOT MATCH THE HASHES")  # as npm and pip say it
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")


def package_json(package: Package) -> bytes:
    """The package.json of an installation that holds only this package."""
    return json.dumps({"private": True, "dependencies": {package.name: package.version}}).encode()


def npm_lock(package: Package, output: bytes) -> str:
    """The lock in a package-lock.json. Raises StartError for what is not of the registry, or has no hash."""
    lock = _json(package, output)
    for path, entry in lock.get("packages", {}).items():
        if not path or entry.get("inBundle"):  # the root is ours; what is bundled is part of its parent's file
            continue
        if "resolved" in entry or entry.get("link"):
            raise _refused(package, f"{path} comes from outside the registry")
        if not str(entry.get("integrity", "")).startswith("sha512-"):
            raise _refused(package, f"{path} has no sha512 in the registry")
    return json.dumps(lock, indent=1) + "\n"


def pypi_lock(package: Package, output: bytes) -> str:
    """The lock in pip's installation report. Raises StartError for what is not of an index, or has no hash."""
    items = sorted((_requirement(package, item) for item in _json(package, output).get("install", [])), key=str.lower)
    return "".join(f"{item}\n" for item in items)


def command_of(package: Package, output: bytes) -> tuple[str, ...]:
    """The package's own command: its only one, or the one that is called as it is. () where that is not clear."""
    names = _json(package, output)
    commands = [name for name in names if isinstance(name, str) and _COMMAND.match(name)]
    chosen = commands if len(commands) == 1 else [name for name in commands if name == package.short]
    return tuple(f"/opt/server/bin/{name}" for name in chosen)


def files(package: Package, lock: str) -> dict[str, bytes]:
    """What the installing client reads, by name."""
    if package.registry == "npm":
        return {"package.json": package_json(package), "package-lock.json": lock.encode()}
    return {"requirements.txt": lock.encode()}


def is_mismatch(output: str) -> bool:
    """Whether npm or pip refused a file because it is not the locked one."""
    return any(text in output for text in _MISMATCHES)


def _requirement(package: Package, item: Mapping[str, Any]) -> str:
    metadata, archive = item["metadata"], item["download_info"].get("archive_info", {})
    name = f"{metadata['name']}=={metadata['version']}"
    digest = archive.get("hashes", {}).get("sha256") or archive.get("hash", "").removeprefix("sha256=")
    if item.get("is_direct") or not _REQUIREMENT.match(name):
        raise _refused(package, f"{name} comes from outside the index")
    if not _SHA256.match(digest):
        raise _refused(package, f"{name} has no sha256 in the index")
    return f"{name} --hash=sha256:{digest}"


def _json(package: Package, output: bytes) -> Any:
    try:
        return json.loads(output)
    except ValueError as error:
        raise StartError(f"{package}: the client printed no JSON", why=str(error), reason="build") from error


def _refused(package: Package, why: str) -> StartError:
    hint = "its author would have to change that; an image of your own can hold anything"
    return StartError(f"{package} cannot be locked", why=why, hint=hint, reason="build")
