"""The only place where the hardening of a container is decided: a ServerSpec in, one neutral Plan out.

Every container is started from a Plan, helpers and builds included, and an engine translates all of it. So a line that
is missing here is missing everywhere, and one that stands here is on every container.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bulkhead.spec import ServerSpec

HOME = "/home/bulkhead"
WORK = "/work"
PATH = "/opt/server/bin:/usr/local/bin:/usr/bin:/bin"

# A sandbox's own uid where no mount asks for another: systemd leaves 0x70000000 and up to nobody (its UIDS-GIDS
# document), and a uid a sandbox keeps the kernel's per-user accounts (inotify, pending signals) apart.
FIRST_UID = 0x7000_0000
UIDS = 0x0100_0000

# What the kernel tells every process of the whole machine, or lets it change. runc masks a file with /dev/null and a
# folder with an empty tmpfs; a path that does not exist is no error.
MASKED_PATHS = (
    "/proc/acpi", "/proc/asound", "/proc/config.gz", "/proc/interrupts", "/proc/kallsyms", "/proc/kcore", "/proc/keys",
    "/proc/key-users", "/proc/kmsg", "/proc/kpagecgroup", "/proc/kpagecount", "/proc/kpageflags", "/proc/latency_stats",
    "/proc/modules", "/proc/sched_debug", "/proc/scsi", "/proc/slabinfo", "/proc/sysrq-trigger", "/proc/timer_list",
    "/proc/timer_stats", "/proc/vmallocinfo", "/sys/dev/block", "/sys/devices/virtual/dmi",
    "/sys/devices/virtual/powercap", "/sys/firmware", "/sys/fs/bpf", "/sys/fs/selinux", "/sys/hypervisor",
    "/sys/kernel", "/sys/module", "/sys/power",
)  # fmt: skip
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys")


@dataclass(frozen=True, slots=True)
class Tmpfs:
    """A writable file system in memory: size in bytes, inodes a count. Always nosuid and nodev."""

    target: str
    size: int
    inodes: int
    exec: bool = False
    mode: int = 0o1777


@dataclass(frozen=True, slots=True)
class Bind:
    """A folder or file of the host, nosuid and nodev, not recursive, private."""

    source: str
    target: str
    write: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """All of one container. An engine enforces every field or raises UnenforceableError.

    image is a digest. env is the whole environment: nothing of the image's. seccomp is the profile's JSON, as Docker
    and OCI tools read it. cpus is in processors, memory and sizes in bytes, and there is no swap. network is ``none``,
    or ``build`` for the container that installs a package. Not fields, because no container of ours may do without:
    no-new-privileges; private IPC, PID, UTS and cgroup namespaces; an init that reaps; core size 0; no log kept by the
    engine; no label, volume, health check, stop signal, entry point, user or variable of the image.
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
    network: Literal["none", "build"] = "none"
    capabilities: tuple[str, ...] = ()
    read_only: bool = True
    runtime: str = ""
    masked_paths: tuple[str, ...] = MASKED_PATHS
    readonly_paths: tuple[str, ...] = READONLY_PATHS


def tmpfs_inodes(size: int) -> int:
    """One inode for 16 KiB, as ext4 gives, and enough for a small one: empty files take kernel memory of nobody's."""
    return max(256, size // 2**14)
