"""What a package is called: in a profile, as an image, and as files of the state folder. PURE.

A package's image is named by its content: a hash of the package, the recipe under it and the lock.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bulkhead.errors import UsageError
from bulkhead.grammar import PACKAGE

if TYPE_CHECKING:
    from pathlib import Path

RECIPES = {"npm": "bulkhead/node", "pypi": "bulkhead/python"}
_NOT_IN_NAMES = re.compile(r"[^a-z0-9]+")
_NOT_IN_TAGS = re.compile(r"[^A-Za-z0-9_.-]")
_PYPI_SEPARATORS = re.compile(r"[-_.]+")


@dataclass(frozen=True, slots=True)
class Package:
    """One version of a package of a registry, "npm" or "pypi"."""

    registry: str
    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.registry}:{self.name}@{self.version}"

    @property
    def recipe(self) -> str:
        """The image in which it is installed."""
        return RECIPES[self.registry]

    @property
    def short(self) -> str:
        """The name without a scope: what its command is called if it has only one of many to be called by."""
        return self.name.rpartition("/")[2]


def parse(text: str) -> Package:
    """The package of "npm:NAME@VERSION" or "pypi:NAME@VERSION". Raises UsageError."""
    if not PACKAGE.match(text):
        raise UsageError(f"{text!r} is no package", hint='write "npm:NAME@VERSION" or "pypi:NAME@VERSION"')
    registry, _, rest = text.partition(":")
    name, _, version = rest.rpartition("@")
    return Package(registry, _PYPI_SEPARATORS.sub("-", name).lower() if registry == "pypi" else name, version)


def image_name(package: Package, recipe_digest: str, lock: str) -> str:
    """ "bulkhead/npm/NAME:VERSION-HASH", where the hash has 12 hexadecimal digits."""
    content = hashlib.sha256(f"{package}\n{recipe_digest}\n{lock}".encode()).hexdigest()[:12]
    return f"{repository(package)}:{_NOT_IN_TAGS.sub('_', package.version)[:100]}-{content}"


def repository(package: Package) -> str:
    """The image's name without its tag: what all versions of a package have in common."""
    return f"bulkhead/{package.registry}/{slug(package.name)}"


def slug(name: str) -> str:
    """The name with nothing in it but what an image's name may hold anywhere."""
    return _NOT_IN_NAMES.sub("-", name.lower()).strip("-")


def lock_path(state: Path, package: Package) -> Path:
    """Where the lock is kept. Wheels are made for one kind of processor, so a lock is, too."""
    name = f"{package.name.replace('/', '+')}@{package.version}.{os.uname().machine}.lock"
    return state / "locks" / package.registry / name
