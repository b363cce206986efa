"""What a server can read, write and find in its file system, without any mount of its profile's."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from bulkhead.engines.docker_pipes import FOLDER
from bulkhead.engines.hardening import HOME
from bulkhead.spec import Sandbox
from tests.security import inside

if TYPE_CHECKING:
    from tests.security.guest import Guest, Inn

pytestmark = pytest.mark.engine

TMPFS = ("/dev/shm", HOME, "/tmp", "/work")  # noqa: S108

# What a runtime mounts by itself. /usr/sbin or /sbin, as the image has it.
MOUNTS = {
    "/", "/proc", "/dev", "/dev/pts", "/dev/mqueue", "/sys", "/sys/fs/cgroup", "/etc/resolv.conf", "/etc/hostname",
    "/etc/hosts", "/etc/passwd", "/sbin/docker-init", "/usr/sbin/docker-init",
}  # fmt: skip
DEVICES = {
    "/dev/null": [1, 3], "/dev/zero": [1, 5], "/dev/full": [1, 7], "/dev/random": [1, 8], "/dev/urandom": [1, 9],
    "/dev/tty": [5, 0], "/dev/pts/ptmx": [5, 2],
}  # fmt: skip

# Not the list of hardening.py: what must be masked stays so, whatever becomes of that one.
MASKED = """
    /dev/mqueue /proc/acpi /proc/asound /proc/cmdline /proc/config.gz /proc/interrupts /proc/kallsyms /proc/kcore
    /proc/keys /proc/key-users /proc/kmsg /proc/kpagecgroup /proc/kpagecount /proc/kpageflags /proc/latency_stats
    /proc/modules /proc/pressure /proc/sched_debug /proc/scsi /proc/slabinfo /proc/sysrq-trigger /proc/timer_list
    /proc/timer_stats /proc/vmallocinfo /sys/dev/block /sys/devices/virtual/dmi /sys/devices/virtual/powercap
    /sys/firmware /sys/fs/bpf /sys/fs/selinux /sys/hypervisor /sys/kernel /sys/module /sys/power
"""
SETTINGS = """
    /proc/sys/kernel/core_pattern /proc/sys/kernel/hostname /proc/sys/vm/drop_caches
    /proc/sys/vm/overcommit_memory /proc/sys/net/ipv4/ip_forward /proc/sys/fs/file-max
"""


def test_no_folder_of_the_image_takes_a_file(guest: Guest) -> None:
    said = guest.ask(inside.refused_folders)
    assert len(said) > 500
    assert {folder: word for folder, word in said.items() if word != "EROFS"} == {}


def test_nothing_but_tmpfs_and_stdout_can_be_written(guest: Guest) -> None:
    """By the rights of every file and folder in sight, those of /proc and /sys among them."""
    assert guest.ask(inside.writable_places) == sorted((*TMPFS, f"{FOLDER}/out"))


@pytest.mark.parametrize("target", TMPFS)
def test_tmpfs_is_nosuid_nodev_noexec(guest: Guest, target: str) -> None:
    mount = next(mount for mount in guest.ask(inside.mount_points) if mount["target"] == target)
    assert mount["kind"] == "tmpfs"
    assert {"nosuid", "nodev", "noexec", "size=65536k", "nr_inodes=4096"} <= set(mount["options"])


def test_nothing_is_mounted_that_no_line_names(guest: Guest) -> None:
    """Below /proc, /sys and the cgroups lie the masks and the kernel's own; none of it is a disk's."""
    mounts = guest.ask(inside.mount_points)
    assert {mount["target"] for mount in mounts if not mount["target"].startswith(("/proc/", "/sys/"))} <= {
        *MOUNTS, *TMPFS, FOLDER,
    }  # fmt: skip
    below = {mount["kind"] for mount in mounts if mount["target"].startswith(("/proc/", "/sys/"))}
    assert below <= {"proc", "tmpfs", "cgroup", "cgroup2"}


@pytest.mark.parametrize("path", MASKED.split())
def test_masked(guest: Guest, path: str) -> None:
    """Not there on this kernel, or an empty folder, or a file without a byte."""
    if path.rpartition("/")[2] not in guest.ask(inside.names_in, path.rpartition("/")[0]):
        return
    answers = [guest.answer(inside.names_in, path), guest.answer(inside.text_of, path)]
    assert answers in ([{"value": []}, {"errno": "EISDIR"}], [{"errno": "ENOTDIR"}, {"value": ""}])


@pytest.mark.parametrize("path", SETTINGS.split())
def test_the_kernels_settings_are_read_only(guest: Guest, path: str) -> None:
    """The mount is, and the user has no right to them either: that is what the kernel looks at first."""
    assert guest.ask(inside.is_read_only, path)
    assert guest.refused(inside.opened, path, os.O_WRONLY) == "EACCES"


def test_the_least_devices(guest: Guest) -> None:
    assert guest.ask(inside.devices) == DEVICES


def test_no_setuid_file_no_socket_no_device(guest: Guest) -> None:
    """Two named pipes are its stdin, which it can only read, and its stdout."""
    assert guest.ask(inside.peculiar_files) == [f"{FOLDER}/in", f"{FOLDER}/out"]


@pytest.mark.parametrize("path", ["/var/run/docker.sock", "/run/docker.sock", "/run/containerd/containerd.sock"])
def test_no_socket_of_an_engine(guest: Guest, path: str) -> None:
    assert guest.refused(inside.opened, path, os.O_RDWR) == "ENOENT"


def test_a_setuid_bit_cannot_be_set(guest: Guest) -> None:
    guest.ask(inside.written, "/tmp/setuid", "x")  # noqa: S108
    assert guest.refused(inside.with_mode, "/tmp/setuid", 0o4755) == "EPERM"  # noqa: S108
    assert guest.ask(inside.with_mode, "/tmp/setuid", 0o755) == 0o755  # noqa: S108


def test_a_mount_cannot_be_made_writable(guest: Guest) -> None:
    assert guest.refused(inside.remounted, "/") == "EPERM"


def test_programs_in_tmp_only_where_the_profile_says(guest: Guest, inn: Inn) -> None:
    assert "noexec" in _options(guest, "/tmp")  # noqa: S108
    with inn.guest(sandbox=Sandbox(exec_tmp=True)) as other:
        assert {"nosuid", "nodev"} <= _options(other, "/tmp")  # noqa: S108
        assert "noexec" not in _options(other, "/tmp")  # noqa: S108


def _options(guest: Guest, target: str) -> set[str]:
    return {word for mount in guest.ask(inside.mount_points) if mount["target"] == target for word in mount["options"]}
