"""Translates a Plan to what Docker's API creates a container from (API 1.41, Docker 20.10). PURE.

Every field that Docker would otherwise take from the image, from the daemon's settings or from its own defaults is
written out, so that a container is what its Plan says and nothing else. What an image itself may hold is judged here
too: Docker adds an image's variables, volumes and labels to the container's, and has no way to leave them out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bulkhead.engines.docker_pipes import through_pipes
from bulkhead.errors import UnenforceableError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bulkhead.engines.hardening import Bind, Plan, Tmpfs

HOSTNAME = "bulkhead"
CPU_PERIOD = 100_000

# The fields of an image's configuration that the container's own configuration replaces outright. All others must be
# empty; Env and Labels, which Docker merges, are judged entry by entry.
_REPLACED = frozenset({
    "Cmd", "Domainname", "Entrypoint", "Healthcheck", "Hostname", "Image", "StopSignal", "StopTimeout", "User",
    "WorkingDir",
})  # fmt: skip
_MERGED = frozenset({"Env", "Labels"})


def container_config(
    plan: Plan, labels: Mapping[str, str], files: Sequence[Bind] = (), *, piped: bool = False
) -> dict[str, Any]:
    """The body of ``POST /containers/create`` for plan; labels are the only ones the container gets.

    files are own_files.py's. Without: the daemon is elsewhere and cannot see them, so it writes an /etc/hosts itself.
    piped: pipes for stdin and stdout are among them.
    """
    own_names = bool(files)
    return {
        "Image": plan.image,
        "Entrypoint": [],
        "Cmd": list(through_pipes(plan.command) if piped else plan.command),
        "Env": [f"{name}={value}" for name, value in plan.env.items()],
        "WorkingDir": plan.working_dir,
        "User": f"{plan.uid}:{plan.gid}",
        "Labels": dict(labels),
        "NetworkDisabled": own_names and not plan.joins,
        "Hostname": "" if plan.joins else HOSTNAME,  # Docker takes the gate's, and refuses to be told
        "Domainname": "",
        "Healthcheck": {"Test": ["NONE"]},
        "StopSignal": "SIGTERM",
        "Tty": False,
        "OpenStdin": True,
        "StdinOnce": True,
        "AttachStdin": True,
        "AttachStdout": True,
        "AttachStderr": True,
        "HostConfig": _host_config(plan) | _network(plan, own_names) | _mounts(plan, files),
    }


def _host_config(plan: Plan) -> dict[str, Any]:
    return {
        "Runtime": plan.runtime,
        "Init": plan.network != "gate",
        "AutoRemove": False,  # the cause of an exit is read from the ended container, which we then remove
        "RestartPolicy": {"Name": "no"},
        "LogConfig": {"Type": "none", "Config": {}},
        "Privileged": False,
        "CapDrop": ["ALL"],
        "CapAdd": list(plan.capabilities),
        "SecurityOpt": ["no-new-privileges:true", f"seccomp={plan.seccomp}"],
        "ReadonlyRootfs": plan.read_only,
        "MaskedPaths": list(plan.masked_paths),
        "ReadonlyPaths": list(plan.readonly_paths),
        "IpcMode": "none",  # a private namespace without Docker's own /dev/shm, whose inodes have no cap
        "PidMode": "",
        "UTSMode": "",
        "UsernsMode": "",
        "CgroupnsMode": "private",
        "CgroupParent": "",
        "Devices": [],
        "DeviceCgroupRules": [],
        "DeviceRequests": [],
        "GroupAdd": [],
        "Sysctls": {},
        "Memory": plan.memory,
        "MemorySwap": plan.memory,  # the sum of memory and swap: equal is no swap
        "OomKillDisable": False,
        "PidsLimit": plan.pids,
        # Not NanoCpus: Docker refuses more processors than the machine has, a quota is simply never reached.
        "CpuPeriod": CPU_PERIOD,
        "CpuQuota": max(1000, round(plan.cpus * CPU_PERIOD)),
        "Ulimits": [_ulimit("nofile", plan.open_files), _ulimit("core", 0)],
        "Tmpfs": {tmpfs.target: _tmpfs_options(tmpfs, plan) for tmpfs in plan.tmpfs},
        "Binds": [],
        "VolumesFrom": [],
        "ExtraHosts": [],
        "Links": [],
        "PortBindings": {},
        "PublishAllPorts": False,
    }


def _network(plan: Plan, own_names: bool) -> dict[str, Any]:
    """A namespace with loopback alone is the OCI runtime's work. For a network that is none, Docker runs a hook of its
    own that takes 100 ms; with NetworkDisabled it does not. Then it writes no hosts, and leaves resolv.conf empty,
    which to a resolver means 127.0.0.1. Otherwise it copies the host's, search domains and all, if not told better.
    """
    if plan.joins:  # resolv.conf and hosts are then the gate's own files
        return {"NetworkMode": f"container:bulkhead-{plan.joins}"}
    names = {} if own_names else {"Dns": ["127.0.0.1"], "DnsSearch": ["."], "DnsOptions": []}
    return {"NetworkMode": "none", **names}


def _mounts(plan: Plan, files: Sequence[Bind]) -> dict[str, Any]:
    return {"Mounts": [_mount(bind) for bind in (*files, *plan.binds)]}


def _ulimit(name: str, value: int) -> dict[str, Any]:
    return {"Name": name, "Soft": value, "Hard": value}


def _tmpfs_options(tmpfs: Tmpfs, plan: Plan) -> str:
    execute = "exec" if tmpfs.exec else "noexec"
    limits = f"size={tmpfs.size},nr_inodes={tmpfs.inodes}"
    return f"rw,nosuid,nodev,{execute},{limits},mode={tmpfs.mode:o},uid={plan.uid},gid={plan.gid}"


def _mount(bind: Bind) -> dict[str, Any]:
    """Docker has no nosuid or nodev for a bind: no-new-privileges and the device cgroup do what these would do."""
    return {
        "Type": "bind",
        "Source": bind.source,
        "Target": bind.target,
        "ReadOnly": not bind.write,
        "BindOptions": {"Propagation": "private", "NonRecursive": True},
    }


def refuse_image(plan: Plan, config: Mapping[str, Any] | None) -> None:
    """Raises UnenforceableError when something of the image's configuration would take effect in the container."""
    config = config or {}
    own = {name for name in config if config[name] and name not in _REPLACED | _MERGED}
    own |= {f"Env {name}" for name in _variables(config) if name not in plan.env}
    own |= {f"Labels {name}" for name in config.get("Labels") or {} if not name.startswith("bulkhead.")}
    if own:
        raise UnenforceableError(
            "the image brings settings of its own into the sandbox",
            why=f"its configuration has {', '.join(sorted(own))}",
            hint="build it anew with bulkhead images build",
        )


def _variables(config: Mapping[str, Any]) -> list[str]:
    return [variable.partition("=")[0] for variable in config.get("Env") or ()]
