"""Which folders and files of the host a sandbox may get: the source of a mount, expanded, looked at and judged.

Rules: a source is what it says, so a symlink anywhere in it is refused and its end is named; nothing of the system's or
of Bulkhead's, nothing that holds such a thing, and not the home folder; a folder or a file, never a socket or a device.
A sandbox never gets to write where a policy file lies. The engine mounts the path that was judged.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bulkhead.config.problems import Problem
from bulkhead.config.settings import config_dir, state_path
from bulkhead.grammar import inside

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bulkhead.spec import Mount

# The engines' own folders hold every container's files, and /run (/var/run is a link to it) holds their sockets.
SYSTEM = (
    "/boot", "/dev", "/etc", "/proc", "/run", "/sys", "/var/lib/containerd", "/var/lib/containers", "/var/lib/docker",
    "/var/run",
)  # fmt: skip
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class Unsafe(ValueError):
    """A source that is refused: the reason, and what to do."""

    def __init__(self, why: str, hint: str = "name a folder made for this server") -> None:
        super().__init__(why)
        self.hint = hint


def check_mounts(
    mounts: Sequence[Mount], *, profile: Path | None, project: Path
) -> tuple[tuple[Mount, ...], list[Problem]]:
    """The mounts with their real sources, and what is wrong with the others.

    profile is the file that names them, None for flags alone; project the folder whose `.bulkhead/` is searched.
    """
    checked: list[Mount] = []
    problems: list[Problem] = []
    for index, mount in enumerate(mounts):
        try:
            source = _source(mount.source)
            _check_policy_files(source, mount, profile=profile, project=project)
            checked.append(replace(mount, source=source))
        except Unsafe as error:
            problems.append(Problem(("mounts", index, "source"), str(error), error.hint, "is refused"))
    return tuple(checked), problems


def expand(source: str) -> str:
    """~ and ${VAR} of the host. Raises Unsafe: an unset variable, a relative path, '..', what cannot be printed."""
    if source == "~" or source.startswith("~/"):
        source = os.path.realpath(Path.home()) + source[1:]
    path = _VARIABLE.sub(_value, source)
    if "$" in path or path.startswith("~"):
        raise Unsafe("only ~ and ${VAR} are expanded", "write ${VAR}, or the whole path")
    if not path.startswith("/"):
        raise Unsafe("it is not absolute", "begin it with /, ~/ or ${VAR}")
    if not path.isprintable() or ":" in path:
        raise Unsafe("it holds a ':' or a character that cannot be printed", "rename the folder")
    if ".." in path.split("/"):
        raise Unsafe("it holds '..'", "write the path without '..'")
    return os.path.normpath(path).replace("//", "/")


def _value(match: re.Match[str]) -> str:
    value = os.environ.get(match[1], "")
    if not value:
        raise Unsafe(f"the variable {match[1]} is not set here", "set it for the host that starts bulkhead")
    return value


def _source(text: str) -> str:
    path = expand(text)
    try:
        real = os.path.realpath(path, strict=True)
        mode = Path(real).stat().st_mode
    except OSError as error:
        raise Unsafe(f"{path}: {(error.strerror or 'cannot be read').lower()}", "make it first") from None
    _check_place(real)
    if real != path:
        raise Unsafe(f"{path} goes through a symlink to {real}", f"if that is what you mean, write {real}")
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        raise Unsafe(
            "it is neither a folder nor a regular file", "a socket, device or pipe is never given to a sandbox"
        )
    return real


def _check_place(real: str) -> None:
    home = os.path.realpath(Path.home())
    if inside(home, real):
        raise Unsafe(f"{real} is, or holds, the home folder {home}")
    for system in SYSTEM:
        if _meets(real, system):
            raise Unsafe(f"{real} is, holds or belongs to {system} of the system")
    for ours in (config_dir(), state_path()):
        if _meets(real, os.path.realpath(ours)):
            raise Unsafe(f"{real} is, holds or belongs to {ours}, where bulkhead keeps what is allowed")


def _meets(one: str, other: str) -> bool:
    return inside(one, other) or inside(other, one)


def _check_policy_files(real: str, mount: Mount, *, profile: Path | None, project: Path) -> None:
    """What comes with a project gives nothing away but the project; and no policy file is writable from inside."""
    owner = project_of(profile)
    if owner and not inside(real, os.path.realpath(owner)):
        raise Unsafe(
            f"a profile that comes with a project mounts nothing from outside {owner}",
            "move it to ~/.config/bulkhead/servers/, or give the mount with --mount",
        )
    for policy in _policy_files(real, profile, project):
        if mount.write and inside(os.path.realpath(policy), real):
            raise Unsafe(
                f"the sandbox could write to {policy}, which says what sandboxes may do",
                "mount it without write, or a folder beside it",
            )


def _policy_files(real: str, profile: Path | None, project: Path) -> Iterator[Path]:
    yield from (path for folder in (project, Path(real)) if os.path.lexists(path := folder / ".bulkhead"))
    if profile:
        yield profile


def project_of(profile: Path | None) -> Path | None:
    """The project that a profile came with: the folder over its `.bulkhead/`."""
    return profile.parent.parent if profile and profile.parent.name == ".bulkhead" else None
