"""Policy files: read from a disk that others may have written to, and parsed as TOML.

Rules, each because the file says what a sandbox may do: a regular file; of this user, of root or of whoever owns this
program; nobody else may write to it or to its folder; at most 1 MiB of UTF-8. The file that is checked is the one that
is read: both go through one descriptor.
"""

from __future__ import annotations

import os
import re
import stat
import tomllib
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bulkhead.errors import ProfileError

if TYPE_CHECKING:
    from bulkhead.config.locate import At

_LARGEST = 2**20
_AT_LINE = re.compile(r"(.*) \(at (?:line (\d+), column \d+|end of document)\)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Document:
    """A file's tables, and where they stand."""

    path: Path
    text: str
    data: dict[str, Any]

    def where(self, at: At) -> str:
        """FILE:LINE of a key."""
        from bulkhead.config.locate import line_of, locate

        return f"{self.path}:{line_of(locate(self.text), at)}"


def read_document(path: Path) -> Document:
    """The parsed file. Raises ProfileError: not there, not safe, not TOML."""
    text = read_policy(path)
    try:
        return Document(path, text, tomllib.loads(text))
    except RecursionError:
        raise ProfileError(f"{path}:1: this is no profile", why="its values are nested too deeply") from None
    except ValueError as error:
        raise _syntax_error(path, text, error) from None


def read_policy(path: Path) -> str:
    """The text of a file that says what a sandbox may do. Raises ProfileError."""
    try:
        _check_folder(path)
        # Not blocking: a FIFO would hold the start for ever.
        with closing(os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb")) as file:
            _check_file(path, os.fstat(file.fileno()))
            data = file.read(_LARGEST + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ProfileError(f"{path} cannot be read", why=str(reason), hint="see `bulkhead profile ls`") from None
    if len(data) > _LARGEST:
        raise ProfileError(f"{path} is too large", why="a policy file has at most 1 MiB")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ProfileError(f"{path}:{line}: this is not UTF-8", why=error.reason, hint="save it as UTF-8") from None


def _syntax_error(path: Path, text: str, error: ValueError) -> ProfileError:
    found = _AT_LINE.fullmatch(str(error))
    message, line = (found[1], found[2]) if found else (str(error), "1")
    line = line or str(text.count("\n") + 1)
    return ProfileError(f"{path}:{line}: this is not TOML", why=message, hint="docs/profiles.md shows a whole profile")


def _check_folder(path: Path) -> None:
    folder = path.parent.stat()
    if _others_write(folder) and not folder.st_mode & stat.S_ISVTX:
        raise _unsafe(path, f"its folder {path.parent} can be written by others", f"chmod go-w {path.parent}")


def _check_file(path: Path, info: os.stat_result) -> None:
    if not stat.S_ISREG(info.st_mode):
        raise _unsafe(path, "it is not a regular file", "name a .toml file")
    if info.st_uid not in (os.geteuid(), 0, Path(__file__).stat().st_uid):
        raise _unsafe(path, f"it belongs to another user, uid {info.st_uid}", f"copy it, or chown it to {os.geteuid()}")
    if _others_write(info):
        raise _unsafe(path, "others can write to it", f"chmod go-w {path}")


def _others_write(info: os.stat_result) -> bool:
    if info.st_mode & stat.S_IWOTH:
        return True
    return bool(info.st_mode & stat.S_IWGRP) and not _private_group(info.st_uid, info.st_gid)


def _private_group(uid: int, gid: int) -> bool:
    """Whether the group is the owner's alone: where the umask is 002, a user's files are writable by that one."""
    import grp  # only for files with mode g+w
    import pwd

    try:
        user, group = pwd.getpwuid(uid), grp.getgrgid(gid)
    except KeyError:
        return False
    return user.pw_gid == gid and group.gr_name == user.pw_name and set(group.gr_mem) <= {user.pw_name}


def _unsafe(path: Path, why: str, hint: str) -> ProfileError:
    return ProfileError(f"{path} is not used", why=f"{why}, and it says what a sandbox may do", hint=hint)
