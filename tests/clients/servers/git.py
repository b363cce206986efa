"""A git repository, and git's own HTTP server program for it."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from tests.clients.servers.content import content

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SIZE = 4 * 2**20
WORDS = "words of the only commit"
_SETTINGS = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}


def git(folder: Path, *arguments: str) -> str:
    """What git printed, with no settings but its own."""
    who = {f"GIT_{role}_{what}": "tester" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    env = os.environ | _SETTINGS | who
    done = subprocess.run(["git", *arguments], cwd=folder, env=env, check=True, capture_output=True, text=True)
    return done.stdout


def repository(path: Path) -> str:
    """A bare repository with one commit; a client may take parts of it, and push. The commit's id."""
    work = path.with_suffix(".work")
    work.mkdir(parents=True)
    git(work, "init", "--quiet", "--initial-branch=main")
    (work / "content").write_bytes(content(SIZE))
    (work / "words").write_text(WORDS)
    git(work, "add", ".")
    git(work, "commit", "--quiet", "--message=begin")
    git(work, "clone", "--quiet", "--bare", str(work), str(path))
    for setting in ("http.receivepack", "uploadpack.allowFilter", "uploadpack.allowAnySHA1InWant"):
        git(path, "config", setting, "true")
    return git(work, "rev-parse", "HEAD").strip()


def backend(root: Path, method: str, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes, bytes]:
    """Status, head and body of git-http-backend's answer for a path below root."""
    path, _, query = path.partition("?")
    env = os.environ | _SETTINGS | {
        "GIT_PROJECT_ROOT": str(root), "GIT_HTTP_EXPORT_ALL": "1", "REQUEST_METHOD": method, "PATH_INFO": path,
        "QUERY_STRING": query, "CONTENT_TYPE": headers.get("Content-Type", ""), "CONTENT_LENGTH": str(len(body)),
        "HTTP_CONTENT_ENCODING": headers.get("Content-Encoding", ""),
        "GIT_PROTOCOL": headers.get("Git-Protocol", ""),
    }  # fmt: skip
    done = subprocess.run(["git", "http-backend"], env=env, input=body, check=True, capture_output=True)
    head, _, answer = done.stdout.partition(b"\r\n\r\n")
    status = head.removeprefix(b"Status: ").split(b" ", 1)[0] if head.startswith(b"Status: ") else b"200"
    return int(status), head, answer
