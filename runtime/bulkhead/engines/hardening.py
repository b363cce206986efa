"""The only place where the hardening of a container is decided: a ServerSpec in, one neutral Plan out.

Every container is started from a Plan, helpers and builds included, and an engine translates all of it. So a line that
is missing here is missing everywhere, and one that stands here is on every container.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Literal, Protocol

from bulkhead.errors import ProfileError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bulkhead.spec import ServerSpec

    class Handed(Protocol):
        """credentials.leases.Handed: what a sandbox gets of its secrets, by name."""

        @property
        def placeholders(self) -> Mapping[str, str]: ...

        @property
        def variables(self) -> Mapping[str, bytes]: ...

        @property
        def files(self) -> Mapping[str, bytes]: ...


HOME = "/home/bulkhead"
WORK = "/work"
PATH = "/opt/server/bin:/usr/local/bin:/usr/bin:/bin"

# A sandbox's own uid where no mount asks for another: systemd leaves 0x70000000 and up to nobody (its UIDS-GIDS
# document), and a uid a sandbox keeps the kernel's per-user accounts (inotify, pending signals) apart.
FIRST_UID = 0x7000_0000
UIDS = 0x0100_0000

# What the kernel tells every process of the whole machine, or lets it change: a pressure trigger is a kernel thread's
# work, and an open() in /dev/mqueue makes a queue though mq_open is refused. runc masks a file with /dev/null and a
# folder with an empty tmpfs; a path that does not exist is no error.
MASKED_PATHS = (
    "/dev/mqueue", "/proc/acpi", "/proc/asound", "/proc/cmdline", "/proc/config.gz", "/proc/interrupts",
    "/proc/kallsyms", "/proc/kcore", "/proc/key-users", "/proc/keys", "/proc/kmsg", "/proc/kpagecgroup",
    "/proc/kpagecount", "/proc/kpageflags", "/proc/latency_stats", "/proc/modules", "/proc/pressure",
    "/proc/sched_debug", "/proc/scsi", "/proc/slabinfo", "/proc/sysrq-trigger", "/proc/timer_list", "/proc/timer_stats",
    "/proc/vmallocinfo", "/sys/dev/block", "/sys/devices/virtual/dmi", "/sys/devices/virtual/powercap", "/sys/firmware",
    "/sys/fs/bpf", "/sys/fs/selinux", "/sys/hypervisor", "/sys/kernel", "/sys/module", "/sys/power",
)  # fmt: skip
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys")


# The whole environment, before what the profile adds. The last four keep runtimes from writing where they cannot, and
# from asking their registries for news, which costs seconds where there is no network.
ENVIRONMENT = {
    "HOME": HOME, "PATH": PATH, "LANG": "C.UTF-8", "TMPDIR": "/tmp", "XDG_CACHE_HOME": f"{HOME}/.cache",  # noqa: S108
    "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1", "NO_UPDATE_NOTIFIER": "1",
    "npm_config_update_notifier": "false",
}  # fmt: skip
_SHM = 64 * 2**20

# Where secrets are that a server reads as files, and all that they may take.
SECRETS = "/run/secrets"
_SECRETS = 2**20

# Where Debian's programs, Go and OpenSSL look for certificates; the others have to be told.
TRUSTED = "/etc/ssl/certs/ca-certificates.crt"
TRUSTING = dict.fromkeys(
    ("SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "PIP_CERT"),
    TRUSTED,
)

# Where the runner's socket is in a gate, and the only capabilities that any container has but one that builds: for the
# route that makes every address local, and to become another user than root right after.
GATE_SOCKET = "/run/gate"
GATE_CAPABILITIES = ("NET_ADMIN", "SETGID", "SETUID")
_GATE_CALLS = ("setgroups", "setresgid", "setresuid")


@dataclass(frozen=True, slots=True)
class Tmpfs:
    """A writable file system in memory, the sandbox's user its owner: size in bytes. Always nosuid and nodev."""

    target: str
    size: int
    inodes: int
    exec: bool = False
    mode: int = 0o1777


@dataclass(frozen=True, slots=True)
class Bind:
    """A folder or file of the host, not recursive, private. Its mount is not nosuid or nodev, for which Docker has no
    word: no-new-privileges and the device cgroup do what these would do.
    """

    source: str
    target: str
    write: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """All of one container. An engine enforces every field or raises UnenforceableError.

    image is a digest. env is the whole environment: nothing of the image's. seccomp is the profile's JSON, as
    Docker and OCI tools read it. cpus is in processors, memory and sizes in bytes, and there is no swap. network is
    ``none`` (only loopback, and a resolver there), or ``gate`` for the same in a gate. joins is the id of the gate
    whose network namespace and resolver it shares, "" for a namespace of its own. read_only False is for what
    becomes an image. trusted are the certificates that stand in the place of the image's, as PEM, b"" for none.
    variables and files are secrets, by name: part of the environment, and files of SECRETS; an engine keeps no
    record of them, and they are there before the server is. Not fields, because no container of ours may do
    without: no-new-privileges; private IPC, PID, UTS and cgroup namespaces; an init that reaps, but in a gate,
    where it would keep the capabilities that the gate puts down; core size 0; no log kept by the engine; no label,
    volume, health check, stop signal, entry point, user or variable of the image.
    """

    id: str
    server: str
    image: str
    command: tuple[str, ...]
    env: Mapping[str, str]
    working_dir: str
    uid: int
    gid: int
    seccomp: str
    cpus: float
    memory: int
    pids: int
    open_files: int
    tmpfs: tuple[Tmpfs, ...]
    binds: tuple[Bind, ...] = ()
    network: Literal["none", "gate"] = "none"
    joins: str = ""
    trusted: bytes = field(default=b"", repr=False)
    variables: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    capabilities: tuple[str, ...] = ()
    read_only: bool = True
    runtime: str = ""
    masked_paths: tuple[str, ...] = MASKED_PATHS
    readonly_paths: tuple[str, ...] = READONLY_PATHS


def tmpfs_inodes(size: int) -> int:
    """One inode for 16 KiB, as ext4 gives, and enough for a small one: empty files take kernel memory of nobody's."""
    return max(256, size // 2**14)


def plan_for(
    spec: ServerSpec,
    *,
    sandbox_id: str,
    image_digest: str,
    image_command: tuple[str, ...],
    seccomp: str,
    owners: Mapping[str, tuple[int, int]],
    gate: str = "",
    handed: Handed | None = None,
    trusted: bytes = b"",
) -> Plan:
    """The Plan of a server's sandbox.

    image_command is the package's own entry point, seccomp the filter as JSON, owners the uid and gid of each mount's
    source, gate the id of the gate that it joins, handed what it gets of its secrets, trusted the certificates that
    stand in the place of its image's. Raises ProfileError.
    """
    binds = tuple(sorted((Bind(m.source, m.target, m.write) for m in spec.mounts), key=lambda bind: bind.target))
    uid, gid = _user(spec, sandbox_id, owners)
    placeholders = handed.placeholders if handed else {}
    has_files = any(secret.is_file for secret in spec.secrets)
    return Plan(
        id=sandbox_id,
        server=spec.name,
        image=image_digest,
        command=(*_command(spec, image_command), *spec.server.args),
        env={**ENVIRONMENT, **(TRUSTING if trusted else {}), **spec.server.env, **placeholders},
        working_dir=spec.server.working_dir,
        uid=uid,
        gid=gid,
        seccomp=seccomp,
        cpus=spec.limits.cpus,
        memory=spec.limits.memory,
        pids=spec.limits.pids,
        open_files=spec.limits.open_files,
        tmpfs=(*_tmpfs(spec, binds), *((Tmpfs(SECRETS, _SECRETS, 64, mode=0o700),) if has_files else ())),
        binds=binds,
        joins=gate,
        trusted=trusted,
        variables=handed.variables if handed else {},
        files=handed.files if handed else {},
        runtime=spec.sandbox.runtime,
    )


def gate_plan(
    *, gate_id: str, server: str, image_digest: str, seccomp: str, command: tuple[str, ...], socket: str = ""
) -> Plan:
    """The Plan of the gate that a server's sandbox joins.

    socket is the runner's, to stand at GATE_SOCKET; "" for none. Docker gives capabilities to root alone, so the gate
    begins as root and leaves it itself; seccomp, the servers' own filter, allows here in addition what that takes.
    """
    document = json.loads(seccomp)
    document["syscalls"] = [*document.get("syscalls", ()), {"names": list(_GATE_CALLS), "action": "SCMP_ACT_ALLOW"}]
    return Plan(
        id=gate_id,
        server=server,
        image=image_digest,
        command=command,
        env={"PATH": PATH},
        working_dir="/",
        uid=0,
        gid=0,
        seccomp=json.dumps(document, separators=(",", ":")),
        cpus=1.0,
        memory=64 * 2**20,
        pids=16,
        open_files=1024,
        tmpfs=(),
        binds=(Bind(socket, GATE_SOCKET, write=False),) if socket else (),
        network="gate",
        capabilities=GATE_CAPABILITIES,
    )


def own_user(sandbox_id: str) -> tuple[int, int]:
    """A uid and gid that no account of the machine has, and no other sandbox."""
    own = FIRST_UID + int.from_bytes(sha256(sandbox_id.encode()).digest()[:8]) % UIDS
    return own, own


def _command(spec: ServerSpec, image_command: tuple[str, ...]) -> tuple[str, ...]:
    command = spec.server.command or image_command
    if not command:
        raise ProfileError(
            f"{spec.name}: there is nothing to start",
            why="the package has no entry point of its own",
            hint="set [server] command",
        )
    return command


def _user(spec: ServerSpec, sandbox_id: str, owners: Mapping[str, tuple[int, int]]) -> tuple[int, int]:
    """(uid, gid): the profile's, else that of a mount's owner, writable ones first, else one of its own. Never 0."""
    if spec.sandbox.user:
        user, _, group = spec.sandbox.user.partition(":")
        return int(user), int(group or user)
    _refuse_roots_folders(spec, owners)
    for mount in sorted(spec.mounts, key=lambda mount: not mount.write):
        uid, gid = owners[mount.source]
        if uid:
            return uid, gid or uid
    return own_user(sandbox_id)


def _refuse_roots_folders(spec: ServerSpec, owners: Mapping[str, tuple[int, int]]) -> None:
    for mount in spec.mounts:
        if mount.write and owners[mount.source][0] == 0:
            raise ProfileError(
                f"{spec.name}: {mount.source} could not be written to",
                why="it belongs to root, and a sandbox never runs as root",
                hint="chown it to the user that the server is to run as, or set [sandbox] user",
            )


def _tmpfs(spec: ServerSpec, binds: tuple[Bind, ...]) -> tuple[Tmpfs, ...]:
    """All that is writable but mounts. A mount at one of these folders stands in its place."""
    sizes = dict.fromkeys(("/tmp", HOME, WORK), spec.limits.tmp)  # noqa: S108
    sizes["/dev/shm"] = min(spec.limits.tmp, _SHM)  # noqa: S108
    taken = {bind.target for bind in binds}
    return tuple(
        Tmpfs(
            target,
            size,
            tmpfs_inodes(size),
            exec=spec.sandbox.exec_tmp,
            mode=0o700 if target in (HOME, WORK) else 0o1777,
        )
        for target, size in sizes.items()
        if target not in taken
    )
