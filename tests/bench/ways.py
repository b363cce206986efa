"""The three ways to run the same server that are compared: a direct process, `docker run -i`, and Bulkhead.

`docker run` gets the Plan that Bulkhead runs, image and hardening, as far as its flags go: it masks Docker's own paths.
A server that has a network has Docker's bridge there, which leads everywhere.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import anyio

from bulkhead.config import find_profile, load_profile, load_settings, state_dir
from bulkhead.engines.hardening import plan_for
from bulkhead.engines.registry import open_engine
from bulkhead.launch import prepare
from bulkhead.resources import seccomp_profile

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bulkhead.engines.hardening import Plan, Tmpfs
    from bulkhead.spec import ServerSpec

WAYS = ("direct", "docker run -i", "bulkhead")
HERE = Path(__file__).resolve().parent
BIN = Path(sys.executable).parent

# The echo server as it is, and with the least network that there is.
ECHO, NETWORKED = "echo", "echo-networked"

_PROFILE = """[server]
image = "bulkhead/python"
command = ["python3", "/srv/{program}"]

[limits]
calls_per_minute = 1000000
cpus = {cpus}

[[mounts]]
source = {folder}
target = "/srv"
"""
_EGRESS = """
[[egress]]
host = "{host}"
ports = {ports}
private = true
"""


@dataclass(frozen=True, slots=True)
class Server:
    """One server and its command in each of WAYS."""

    name: str
    commands: tuple[list[str], list[str], list[str]]


def servers(folder: Path) -> list[Server]:
    """The bench's own and two official ones; folder takes the files that they need, installed once."""
    profiles = [
        profile(folder, ECHO, "server.py"),
        *(find_profile(name, HERE) for name in ("everything", "time")),
        profile(folder, NETWORKED, "server.py", reaches={own_name(): (443,)}),
    ]
    return [server(path, folder) for path in profiles]


def profile(
    folder: Path,
    name: str,
    program: str,
    *,
    reaches: Mapping[str, Sequence[int]] = MappingProxyType({}),
    cpus: float = 1,
) -> Path:
    """The profile of a program that is beside this file; reaches: hosts, and their ports."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.toml"
    text = _PROFILE.format(program=program, cpus=cpus, folder=json.dumps(str(HERE)))
    text += "".join(_EGRESS.format(host=host, ports=list(ports)) for host, ports in reaches.items())
    path.write_text(text, encoding="utf-8")
    return path


def own_name() -> str:
    """This machine's."""
    return socket.gethostname().lower()


def server(path: Path, folder: Path) -> Server:
    """The server of a profile; folder takes the files that it needs."""
    spec = load_profile(path)
    plan = anyio.run(_plan, spec)
    filter_file = folder / f"{spec.name}.seccomp.json"
    filter_file.write_text(plan.seccomp, encoding="utf-8")
    network = "bridge" if spec.egress else "none"
    bulkhead = [str(BIN / "bulkhead"), "run", "--profile", str(path)]
    return Server(spec.name, (_direct(spec, plan, folder), _docker(plan, filter_file, network), bulkhead))


async def _plan(spec: ServerSpec) -> Plan:
    engine = open_engine(load_settings().engine, state=state_dir())
    try:
        profile = seccomp_profile(spec.sandbox.seccomp)
        launch = await prepare(spec, engine, seccomp_profile=profile, state=state_dir(), say=print)
        return plan_for(
            spec,
            sandbox_id="bench",
            image_digest=launch.image.digest,
            image_command=launch.image.command,
            seccomp=launch.seccomp,
            owners=launch.owners,
        )
    finally:
        await engine.close()


def _direct(spec: ServerSpec, plan: Plan, folder: Path) -> list[str]:
    kind, _, package = spec.server.package.partition(":")
    if not package:
        return [sys.executable, str(HERE / Path(plan.command[-1]).name)]
    binaries = _INSTALL[kind](folder / spec.name, package)
    return [str(binaries / Path(plan.command[0]).name), *plan.command[1:]]


def _npm(folder: Path, package: str) -> Path:
    binaries = folder / "node_modules" / ".bin"
    if not binaries.is_dir():
        subprocess.run(["npm", "install", "--silent", "--prefix", str(folder), package], check=True)
    return binaries


def _pypi(folder: Path, package: str) -> Path:
    binaries = folder / "bin"
    if not binaries.is_dir():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([binaries / "pip", "install", "-qq", package.replace("@", "==")], check=True)
    return binaries


_INSTALL = {"npm": _npm, "pypi": _pypi}


def _docker(plan: Plan, filter_file: Path, network: str) -> list[str]:
    return ["docker", "run", f"--network={network}", *_flags(plan, filter_file), plan.image, *plan.command[1:]]


def _flags(plan: Plan, filter_file: Path) -> Iterator[str]:
    yield from ("-i", "--rm", "--init", "--log-driver=none", "--read-only", "--no-healthcheck")
    yield from ("--cap-drop=ALL", "--security-opt=no-new-privileges", f"--security-opt=seccomp={filter_file}")
    yield from ("--ipc=none", "--cgroupns=private", f"--user={plan.uid}:{plan.gid}", f"--workdir={plan.working_dir}")
    yield from (f"--memory={plan.memory}", f"--memory-swap={plan.memory}", f"--cpus={plan.cpus}")
    yield from (f"--pids-limit={plan.pids}", f"--ulimit=nofile={plan.open_files}", "--ulimit=core=0")
    yield from (f"--tmpfs={_tmpfs(tmpfs, plan)}" for tmpfs in plan.tmpfs)
    for bind in plan.binds:
        mode = "" if bind.write else ",readonly"
        yield f"--mount=type=bind,source={bind.source},target={bind.target}{mode}"
    yield from (f"--env={name}={value}" for name, value in plan.env.items())
    yield f"--entrypoint={plan.command[0]}"


def _tmpfs(tmpfs: Tmpfs, plan: Plan) -> str:
    execute = "exec" if tmpfs.exec else "noexec"
    size = f"size={tmpfs.size},nr_inodes={tmpfs.inodes},mode={tmpfs.mode:o},uid={plan.uid},gid={plan.gid}"
    return f"{tmpfs.target}:rw,nosuid,nodev,{execute},{size}"
