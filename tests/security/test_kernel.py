"""What a server in a sandbox tries, and the reason for which the kernel refuses it.

The probes are C (tests/security/probes), each in a process of its own. Here stands what each must meet with: the errno
or the signal. EPERM and ENOSYS of a call are the filter's; without it most of them say something else or succeed.
"""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

import anyio
import pytest

from bulkhead.engines.registry import open_engine
from tests.security import probing

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.engine

EPERM = """
    ptrace process_vm_readv process_vm_writev kcmp keyctl add_key request_key bpf perf_event_open io_setup syslog
    init_module finit_module delete_module kexec_load reboot swapon swapoff acct quotactl settimeofday clock_settime
    adjtimex sethostname sync syncfs fanotify_init shmget semget msgget mq_open vmsplice setuid setresgid setgroups
    personality_no_randomize personality_read_implies_exec prctl_set_mm prctl_sched_core prctl_syscall_dispatch
    unshare_user unshare_mount unshare_time setns clone_user clone_user_net clone_user_high_bit
    mount mount_remount umount pivot_root chroot open_by_handle_at
    mknod_device mknod_whiteout mknod_block
    chmod_setuid fchmod_setgid open_setuid open_tmpfile_setuid creat_setgid
    socket_packet socket_alg socket_vsock socket_bluetooth socket_tipc socket_can socket_key socket_xdp socket_rds
    socket_smc socket_inet_raw socket_inet_icmp socket_inet_sctp socket_inet_mptcp socket_inet_udplite
    socket_inet6_raw socket_netlink_diag socket_netlink_xfrm socket_netlink_audit socket_netlink_netfilter
    socket_netlink_uevent socket_netlink_generic socketpair_tipc
    tiocsti tiocsti_high_bit tiocsti_sign_extended tioclinux tiocsetd
"""
ENOSYS = """
    pidfd_getfd process_madvise userfaultfd io_uring_setup io_uring_enter io_uring_register memfd_secret cachestat
    statmount clone3 fsopen open_tree move_mount mount_setattr name_to_handle_at openat2
"""
FOREIGN = "x32_getpid x32_ptrace x32_ioctl int80_getpid int80_ptrace int80_socket_alg"
X86_ONLY = "modify_ldt iopl ioperm"

# What is not there at all, or is there and empty: no errno, and one that says so.
ABSENT = """
    capabilities_effective capabilities_permitted capabilities_inheritable capabilities_bounding capabilities_ambient
    new_privileges no_seccomp uid_root group_root core_dump
    read_kcore read_kallsyms read_kmsg read_keys read_key_users read_timer_list read_sched_debug read_modules
    read_config read_interrupts read_slabinfo read_vmallocinfo read_kpageflags
    list_acpi list_scsi list_firmware list_kernel list_module list_powercap list_dmi
    write_uevent_helper write_modprobe write_binfmt_misc write_sysrq_trigger write_shadow
    host_processes environment_of_init host_root_home docker_socket containerd_socket
    setuid_files mounts_with_suid_or_dev devices interfaces abstract_sockets
"""
READ_ONLY = "write_core_pattern write_ip_forward write_cgroup write_root write_etc write_usr lower_oom_score"
NO_EXEC = "exec_in_tmp exec_in_shm"
NO_NETWORK = "connect_internet connect_dns connect_metadata connect_bridge connect_ipv6"
CONTROLS = """
    control_thread control_fork control_getifaddrs control_unix_pair control_tcp control_udp6 control_fifo control_file
    control_chmod control_memfd control_name control_terminal
"""

EXPECTED: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(EPERM.split(), ("EPERM",)),
    **dict.fromkeys(ENOSYS.split(), ("ENOSYS",)),
    **dict.fromkeys(ABSENT.split(), ("", "ENOENT", "EACCES", "EROFS")),
    **dict.fromkeys(READ_ONLY.split(), ("EROFS", "EACCES")),
    **dict.fromkeys(NO_EXEC.split(), ("EACCES",)),
    **dict.fromkeys(NO_NETWORK.split(), ("ENETUNREACH", "EADDRNOTAVAIL")),
}
if platform.machine() == "x86_64":
    EXPECTED |= dict.fromkeys(FOREIGN.split(), ("SIGSYS",)) | dict.fromkeys(X86_ONLY.split(), ("EPERM",))


@pytest.fixture(scope="session")
def found(tmp_path_factory: pytest.TempPathFactory) -> probing.Findings:
    """The findings of one sandbox in which every probe ran."""
    folder = tmp_path_factory.mktemp("probes")
    probing.compiled(folder)
    return anyio.run(_probed, folder, tmp_path_factory.mktemp("state"))


async def _probed(folder: Path, state: Path) -> probing.Findings:
    engine = open_engine(state=state)
    try:
        image = await probing.empty_image(engine)
        found = await probing.findings(await engine.start(probing.plan(folder, image, "/probes/probe")))
        await engine.images.remove(image)
    finally:
        await engine.close()
    return found


@pytest.mark.parametrize("probe", EXPECTED)
def test_refused_for_the_right_reason(found: probing.Findings, probe: str) -> None:
    finding = found[probe]
    assert finding["outcome"] == "refused", finding
    assert finding["errno"] + finding["signal"] in EXPECTED[probe], finding


@pytest.mark.parametrize("probe", CONTROLS.split())
def test_what_servers_need_works(found: probing.Findings, probe: str) -> None:
    assert found[probe]["outcome"] == "ALLOWED", found[probe]


def test_no_probe_is_without_an_expectation(found: probing.Findings) -> None:
    assert found.keys() == EXPECTED.keys() | set(CONTROLS.split())
