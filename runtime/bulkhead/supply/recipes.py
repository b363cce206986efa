"""The recipes in images/: one folder an image. Everything in the folder, and in its parents', is part of the recipe.

A recipe's digest names what an image was made from: as long as it stays, the image is not built again.
"""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from bulkhead.errors import UsageError
from bulkhead.resources import folder

if TYPE_CHECKING:
    from pathlib import Path

# Raised whenever code of supply/ changes what comes out of the same recipe.
BUILDER = 6
PREFIX = "bulkhead/"


@dataclass(frozen=True, slots=True)
class Recipe:
    """One image of ours. root is a registry image by digest, of Debian's release,
    for an image without parent; unpacked says that this is all of the image, and that else the packages are taken
    without a Debian around them. fetch is the image of ours in which fetch.sh downloads files of the package fetches.

    folders are those of the recipe and of all that it needs, the farthest first; digest is 64 hexadecimal digits.
    """

    name: str
    description: str
    packages: tuple[str, ...]
    parent: str
    root: str
    release: str
    unpacked: bool
    fetch: str
    fetches: str
    folders: tuple[Path, ...]
    digest: str

    @property
    def short(self) -> str:
        """The name of its folder."""
        return self.name.removeprefix(PREFIX)


@cache
def recipe(name: str) -> Recipe:
    """The recipe of "bulkhead/NAME". Raises UsageError where there is none."""
    home = folder("images") / name.removeprefix(PREFIX)
    if not name.startswith(PREFIX) or name not in names():
        raise UsageError(f"no image {name!r}", why=f"there are {', '.join(names())}")
    text = tomllib.loads((home / "recipe.toml").read_text(encoding="utf-8"))
    needed = [recipe(text[key]) for key in ("parent", "fetch") if key in text]
    folders = tuple(dict.fromkeys([path for other in needed for path in other.folders] + [home]))
    return Recipe(
        name=name,
        description=text["description"],
        packages=tuple(text["packages"]),
        parent=text.get("parent", ""),
        root=text.get("root", ""),
        release=text.get("release", ""),
        unpacked=text.get("unpacked", False),
        fetch=text.get("fetch", ""),
        fetches=text.get("fetches", ""),
        folders=folders,
        digest=digest_of(folders),
    )


@cache
def names() -> tuple[str, ...]:
    """All images that have a recipe: "bulkhead/base" and so on."""
    return tuple(sorted(f"{PREFIX}{path.parent.name}" for path in folder("images").glob("*/recipe.toml")))


def files_of(home: Path) -> list[Path]:
    """The files that make a recipe; what an image is for is no part of it."""
    return sorted(path for path in home.iterdir() if path.is_file() and path.name != "README.md")


def digest_of(folders: tuple[Path, ...]) -> str:
    """sha256 over the builder's version, and the name and content of every file."""
    total = hashlib.sha256(f"{BUILDER}\n".encode())
    for home in folders:
        for path in files_of(home):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            total.update(f"{home.name}/{path.name} {content}\n".encode())
    return total.hexdigest()
