"""The launchers of hosts' configurations, `npx` and `uvx`, read as they would read themselves. PURE.

Rules: they are never run; what they would do is written as a profile. Only what means one package of the registry in
one exact version, or in the newest, is understood; anything else is refused with the reason, never guessed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from bulkhead.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

_PROFILE_HINT = "write a profile: docs/profiles.md shows one for a package, an image and a script"


@dataclass(frozen=True, slots=True)
class Launcher:
    """How one launcher reads its command line: flags that say nothing to us, and the one that names the package."""

    registry: str
    silent: frozenset[str]
    package: frozenset[str]
    requirement: re.Pattern[str]
    version: re.Pattern[str]


@dataclass(frozen=True, slots=True)
class Command:
    """What a launcher's command line means. version is "" for the newest; command "" for the package's own entry."""

    registry: str
    name: str
    version: str
    command: str
    args: tuple[str, ...]

    @property
    def package(self) -> str:
        """ "npm:NAME" or "pypi:NAME", without a version."""
        return f"{self.registry}:{self.name}"


_LAUNCHERS = {
    "npx": Launcher(
        "npm",
        silent=frozenset({"-y", "--yes", "-q", "--quiet"}),
        package=frozenset({"-p", "--package"}),
        requirement=re.compile(r"((?:@[a-z0-9][a-z0-9._-]*/)?[a-z0-9][a-z0-9._-]*)(?:@(.+))?", re.ASCII),
        version=re.compile(r"\d+\.\d+\.\d+(?:[-+][0-9A-Za-z.+-]+)?", re.ASCII),
    ),
    "uvx": Launcher(
        "pypi",
        silent=frozenset({"-q", "--quiet", "--isolated"}),
        package=frozenset({"--from"}),
        requirement=re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:(?:==|@)(.+))?", re.ASCII),
        version=re.compile(r"\d+(?:\.\d+)*(?:(?:a|b|rc|\.post|\.dev)\d+)*", re.ASCII),
    ),
}


def parse_command(argv: Sequence[str]) -> Command:
    """What `run -- ARGV` means. Raises UsageError."""
    launcher = _launcher(argv)
    named, rest = _options(launcher, argv[0], argv[1:])
    if not rest and not named:
        raise UsageError(f"{argv[0]}: no package is named", hint="such as: bulkhead run -- npx -y PACKAGE")
    requirement, args = (named, rest[1:]) if named else (rest[0], rest[1:])
    name, version = _requirement(launcher, requirement)
    command = _executable(rest[0]) if named and rest else ""
    return Command(launcher.registry, name, version, command, tuple(args))


def _launcher(argv: Sequence[str]) -> Launcher:
    name = argv[0] if argv else ""
    if name in _LAUNCHERS:
        return _LAUNCHERS[name]
    known = " and ".join(_LAUNCHERS)
    why = f"only {known} say which package they start; anything else would run on this machine"
    raise UsageError(f"{name[:80]!r} cannot be put into a sandbox", why=why, hint=_PROFILE_HINT)


def _options(launcher: Launcher, name: str, words: Sequence[str]) -> tuple[str, Sequence[str]]:
    """The package that a flag names, "" if none does, and the words from the first that is no flag."""
    named, index = "", 0
    while index < len(words) and words[index].startswith("-"):
        flag, equals, value = words[index].partition("=")
        index += 1
        if flag == "--" and not equals:
            break
        if flag in launcher.package and not named:
            named = value if equals else words[index] if index < len(words) else ""
            index += not equals
        elif flag not in launcher.silent or equals:
            why = "what it changes would be lost without a word" if flag not in launcher.package else "it stands twice"
            raise UsageError(f"{name}: the flag {flag[:80]!r} is not understood", why=why, hint=_PROFILE_HINT)
        if flag in launcher.package and not named:
            raise UsageError(f"{name}: no package stands after {flag}")
    return named, words[index:]


def _requirement(launcher: Launcher, text: str) -> tuple[str, str]:
    """(name, version); the version is "" for the newest."""
    match = launcher.requirement.fullmatch(text)
    if match is None:
        why = "it is not the name of a package of the registry, as folders, URLs, extras and ranges are not"
        raise UsageError(f"{text[:80]!r} is not a package", why=why, hint=_PROFILE_HINT)
    name, version = match[1], match[2] or ""
    if version in ("", "latest"):
        return name, ""
    if not launcher.version.fullmatch(version):
        why = "a range or a tag means another version tomorrow"
        raise UsageError(f"{text[:80]!r} is not one version", why=why, hint=f"write {name}, or an exact version")
    return name, version


def _executable(word: str) -> str:
    if word.startswith("-") or "/" in word or not word.isprintable():
        raise UsageError(f"{word[:80]!r} is not a command of the package", why="it must be a plain name")
    return word


def name_of(package: str) -> str:
    """A name for the server from "npm:@scope/server-x" or "pypi:X": what a spec's name may be."""
    name = PurePosixPath(package.partition(":")[2]).name.lower()
    return re.sub(r"[^a-z0-9._-]", "-", name).lstrip("._-")[:63]
