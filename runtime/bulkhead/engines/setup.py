"""Makes sure that there is an engine: one that answers, else, where that is allowed, Debian's docker.io.

Run twice, the second run does nothing. On a machine without systemd nobody starts the daemon after the installation,
so it is started here, on its own, with its log in the state folder.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import anyio.to_thread

from bulkhead.engines.registry import find_endpoint, open_engine
from bulkhead.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bulkhead.engines.base import EngineInfo

    Say = Callable[[str], None]

ANSWER = 90.0  # seconds for a new daemon to answer: the first start makes its storage and its bridge
SYSTEMD = Path("/run/systemd/system")
POLICY = Path("/usr/sbin/policy-rc.d")
PID_FILE = Path("/var/run/docker.pid")
CGROUPS = Path("/sys/fs/cgroup")
_HINT = "install docker.io, or Docker's own packages, and start its service"


async def ensure_engine(install: bool, say: Say, *, state: Path, setting: str = "auto") -> EngineInfo:
    """The engine that answers; with install, and as root on Debian or Ubuntu, one is installed and started first.

    say is given one line a step. Raises EngineError, which says what to install, when there is none.
    """
    try:
        find_endpoint(setting)
    except EngineError:
        if not install or setting not in ("auto", "docker") or os.environ.get("DOCKER_HOST"):
            raise
        await anyio.to_thread.run_sync(_install_and_start, say, state)
    engine = open_engine(setting, state=state)
    try:
        return await engine.probe()
    finally:
        await engine.close()


def _install_and_start(say: Say, state: Path) -> None:
    if os.geteuid() != 0:
        raise EngineError("no container engine answers", why="only root can install one", hint=_HINT)
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    log = state / "dockerd.log"
    if shutil.which("dockerd") is None:
        _install(say, log)
    if SYSTEMD.is_dir():
        say("starting docker.service")
        _run(["systemctl", "start", "docker.service"], log)
        _answered(log, None)
    else:
        _start(say, log)


def _install(say: Say, log: Path) -> None:
    if shutil.which("apt-get") is None:
        raise EngineError("no container engine answers", why="this is no Debian or Ubuntu", hint=_HINT)
    packages = ["docker.io", "ca-certificates"]
    if not any(CGROUPS.iterdir()):
        packages.append("cgroupfs-mount")
    say("reading Debian's package lists")
    _run(["apt-get", "update", "--quiet"], log)
    say(f"installing {' '.join(packages)}")
    with _no_service_starts():
        _run(["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *packages], log)


def _start(say: Say, log: Path) -> None:
    if not any(CGROUPS.iterdir()):
        _run(["cgroupfs-mount"], log)
    _remove_stale_pid_file()
    say(f"starting dockerd, its log is {log}")
    with log.open("ab") as output:
        daemon = subprocess.Popen(  # it outlives this process: nothing waits for it
            ["dockerd"],  # noqa: S607 - as root, with root's PATH
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    _answered(log, daemon)


def _answered(log: Path, daemon: subprocess.Popen[bytes] | None) -> None:
    """Returns once a daemon answers; raises when it ended, or after ANSWER seconds."""
    deadline = time.monotonic() + ANSWER
    while time.monotonic() < deadline and (daemon is None or daemon.poll() is None):
        with suppress(EngineError):
            find_endpoint()
            return
        time.sleep(0.2)
    raise EngineError("dockerd did not start", why=_last_line(log), hint=f"see {log}")


def _run(command: Sequence[str], log: Path) -> None:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    with log.open("ab") as output:
        done = subprocess.run(  # noqa: S603 - the commands above
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False, env=environment
        )
    if done.returncode:
        why = f"exit code {done.returncode}: {_last_line(log)}"
        raise EngineError(f"{' '.join(command)} failed", why=why, hint=f"see {log}")


@contextmanager
def _no_service_starts() -> Iterator[None]:
    """Without systemd a package's own attempt to start its service fails, and the installation with it."""
    if SYSTEMD.is_dir() or POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink()


def _remove_stale_pid_file() -> None:
    """dockerd does not start while its old pid is anybody's, which after a crash or a reboot it may well be."""
    with suppress(FileNotFoundError):
        pid = PID_FILE.read_text().strip()
        comm = Path(f"/proc/{pid}/comm")
        if not comm.exists() or comm.read_text().strip() != "dockerd":
            PID_FILE.unlink()


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it wrote nothing")
