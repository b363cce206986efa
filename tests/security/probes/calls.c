/* System calls. Where the kernel alone would also say EPERM to a process without capabilities, the arguments are such
   that it says something else first, as far as there are any; then the errno tells that it was the filter. */
#define _GNU_SOURCE
#include "probe.h"

#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/io_uring.h>
#include <linux/keyctl.h>
#include <linux/perf_event.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/ioctl.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define HIGH (1UL << 32)

/* glibc 2.36 has no number for some. */
#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif
#ifndef SYS_statmount
#define SYS_statmount 457
#endif

static pid_t sleeper(void)
{
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        alarm(10);
        pause();
        _exit(0);
    }
    return child;
}

static long ended(pid_t child, long result)
{
    int number = errno;
    kill(child, SIGKILL);
    waitpid(child, NULL, __WALL);
    errno = number;
    return result;
}

/* Other processes */

PROBE(ptrace)
{
    pid_t child = sleeper();
    return ended(child, ptrace(PTRACE_ATTACH, child, NULL, NULL));
}

static char secret[8] = "secret";

static long across(long call)
{
    char buffer[8];
    struct iovec here = {buffer, sizeof buffer}, there = {secret, sizeof secret};
    pid_t child = sleeper();
    return ended(child, syscall(call, child, &here, 1UL, &there, 1UL, 0UL));
}

PROBE(process_vm_readv) { return across(SYS_process_vm_readv); }
PROBE(process_vm_writev) { return across(SYS_process_vm_writev); }
PROBE(kcmp) { return syscall(SYS_kcmp, getpid(), getpid(), 0, 0, 0); }

PROBE(pidfd_getfd)
{
    pid_t child = sleeper();
    return ended(child, syscall(SYS_pidfd_getfd, syscall(SYS_pidfd_open, child, 0), 1, 0));
}

PROBE(process_madvise)
{
    struct iovec area = {secret, sizeof secret};
    return syscall(SYS_process_madvise, syscall(SYS_pidfd_open, getpid(), 0), &area, 1, 20, 0);
}

/* Keyrings */

PROBE(keyctl) { return syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_PROCESS_KEYRING, 1); }
PROBE(add_key) { return syscall(SYS_add_key, "user", "bulkhead", "x", 1, KEY_SPEC_PROCESS_KEYRING); }
PROBE(request_key) { return syscall(SYS_request_key, "keyring", "bulkhead", NULL, 0); }

/* The kernel */

PROBE(bpf)
{
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    return syscall(SYS_bpf, 9999, &attributes, sizeof attributes);
}

PROBE(perf_event_open)
{
    struct perf_event_attr event = {.type = PERF_TYPE_SOFTWARE, .size = sizeof event, .exclude_kernel = 1, .exclude_hv = 1};
    return syscall(SYS_perf_event_open, &event, 0, -1, -1, 0);
}

PROBE(userfaultfd) { return syscall(SYS_userfaultfd, O_CLOEXEC | 1); }

PROBE(io_uring_setup)
{
    struct io_uring_params parameters;
    memset(&parameters, 0, sizeof parameters);
    return syscall(SYS_io_uring_setup, 2, &parameters);
}

PROBE(io_uring_enter) { return syscall(SYS_io_uring_enter, -1, 0, 0, 0, NULL, 0); }
PROBE(io_uring_register) { return syscall(SYS_io_uring_register, -1, 0, NULL, 0); }

PROBE(io_setup)
{
    unsigned long context = 0;
    return syscall(SYS_io_setup, 1, &context);
}

PROBE(memfd_secret) { return syscall(SYS_memfd_secret, 0); }
PROBE(cachestat) { return syscall(SYS_cachestat, 0, NULL, NULL, 0); }
PROBE(statmount) { return syscall(SYS_statmount, NULL, NULL, 0, 0); }
PROBE(syslog) { return syscall(SYS_syslog, 10, NULL, 0); }
PROBE(init_module) { return syscall(SYS_init_module, NULL, 0, ""); }
PROBE(finit_module) { return syscall(SYS_finit_module, -1, "", 0); }
PROBE(delete_module) { return syscall(SYS_delete_module, "", O_NONBLOCK); }
PROBE(kexec_load) { return syscall(SYS_kexec_load, 0, 0, NULL, 0xFFFF0000); }
PROBE(reboot) { return syscall(SYS_reboot, 0, 0, 0, NULL); }
PROBE(swapon) { return syscall(SYS_swapon, "", 0); }
PROBE(swapoff) { return syscall(SYS_swapoff, ""); }
PROBE(acct) { return syscall(SYS_acct, ""); }
PROBE(quotactl) { return syscall(SYS_quotactl, 0x80000100, NULL, 0, NULL); }
PROBE(settimeofday) { return syscall(SYS_settimeofday, NULL, NULL); }
PROBE(clock_settime) { return syscall(SYS_clock_settime, 99, NULL); }
PROBE(adjtimex) { return syscall(SYS_adjtimex, NULL); }
PROBE(sethostname) { return syscall(SYS_sethostname, "bulkhead", -1L); }
PROBE(sync) { return syscall(SYS_sync); }
PROBE(syncfs) { return syscall(SYS_syncfs, 0); }

PROBE(fanotify_init) { return syscall(SYS_fanotify_init, FAN_CLASS_NOTIF | 0x200, O_RDONLY); }
PROBE(shmget) { return syscall(SYS_shmget, 0, 4096, 0600); }
PROBE(semget) { return syscall(SYS_semget, 0, 1, 0600); }
PROBE(msgget) { return syscall(SYS_msgget, 0, 0600); }
PROBE(mq_open) { return syscall(SYS_mq_open, "bulkhead", O_CREAT | O_RDWR, 0600, NULL); }

PROBE(vmsplice)
{
    int ends[2];
    struct iovec area = {secret, sizeof secret};
    return pipe(ends) ? 0 : syscall(SYS_vmsplice, ends[1], &area, 1, 0);
}

PROBE(setuid) { return syscall(SYS_setuid, getuid()); }
PROBE(setresgid) { return syscall(SYS_setresgid, -1, -1, -1); }
PROBE(setgroups) { return syscall(SYS_setgroups, -1, NULL); }
PROBE(personality_no_randomize) { return syscall(SYS_personality, ADDR_NO_RANDOMIZE); }
PROBE(personality_read_implies_exec) { return syscall(SYS_personality, READ_IMPLIES_EXEC); }
PROBE(prctl_set_mm) { return syscall(SYS_prctl, PR_SET_MM, 0, 0, 0, 0); }
PROBE(prctl_sched_core) { return syscall(SYS_prctl, 62, 0, 0, 0, 0); }
PROBE(prctl_syscall_dispatch) { return syscall(SYS_prctl, 59, 0, 0, 0, 0); }

/* Namespaces and mounts */

PROBE(unshare_user) { return syscall(SYS_unshare, CLONE_NEWUSER); }
PROBE(unshare_mount) { return syscall(SYS_unshare, CLONE_NEWNS); }
PROBE(unshare_time) { return syscall(SYS_unshare, 0x80); }
PROBE(setns) { return syscall(SYS_setns, open("/proc/self/ns/user", O_RDONLY), CLONE_NEWUSER); }

static long cloned(unsigned long flags)
{
    long child = syscall(SYS_clone, flags | SIGCHLD, NULL, NULL, NULL, NULL);
    if (child == 0)
        _exit(0);
    return child;
}

PROBE(clone_user) { return cloned(CLONE_NEWUSER); }
PROBE(clone_user_net) { return cloned(CLONE_NEWUSER | CLONE_NEWNET); }
PROBE(clone_user_high_bit) { return cloned(HIGH | CLONE_NEWUSER); }

PROBE(clone3)
{
    struct clone_args arguments = {.flags = CLONE_NEWUSER, .exit_signal = SIGCHLD};
    long child = syscall(SYS_clone3, &arguments, sizeof arguments);
    if (child == 0)
        _exit(0);
    return child;
}

PROBE(mount) { return syscall(SYS_mount, "none", "/tmp", "tmpfs", 0, NULL); }
PROBE(mount_remount) { return syscall(SYS_mount, "none", "/", NULL, 32 | 4096, NULL); }
PROBE(umount) { return syscall(SYS_umount2, "/", 0x100); }
PROBE(pivot_root) { return syscall(SYS_pivot_root, "", ""); }
PROBE(chroot) { return syscall(SYS_chroot, "/proc"); }
PROBE(fsopen) { return syscall(SYS_fsopen, "tmpfs", 0); }
PROBE(open_tree) { return syscall(SYS_open_tree, AT_FDCWD, "/", 0); }
PROBE(move_mount) { return syscall(SYS_move_mount, -1, "", -1, "", 0); }
PROBE(mount_setattr) { return syscall(SYS_mount_setattr, -1, "", 0, NULL, 0); }

PROBE(name_to_handle_at)
{
    struct {
        struct file_handle handle;
        unsigned char bytes[128];
    } file = {.handle.handle_bytes = 128};
    int mount;
    return syscall(SYS_name_to_handle_at, AT_FDCWD, "/etc", &file, &mount, 0);
}

PROBE(open_by_handle_at)
{
    struct {
        struct file_handle handle;
        unsigned char bytes[128];
    } file = {.handle.handle_bytes = 0};
    return syscall(SYS_open_by_handle_at, AT_FDCWD, &file, O_RDONLY);
}

PROBE(openat2) { return syscall(SYS_openat2, AT_FDCWD, "/", (uint64_t[3]){O_RDONLY, 0, 0}, 24); }

/* Files that would reach further than their owner */

PROBE(mknod_device) { return mknod("/tmp/probe-device", S_IFCHR | 0600, makedev(1, 3)); }
PROBE(mknod_whiteout) { return mknod("/tmp/probe-whiteout", S_IFCHR | 0600, makedev(0, 0)); }
PROBE(mknod_block) { return mknod("/tmp/probe-block", S_IFBLK | 0600, makedev(8, 0)); }

static int plain(const char *path)
{
    return open(path, O_CREAT | O_RDWR, 0600);
}

PROBE(chmod_setuid) { return plain("/tmp/probe-chmod") < 0 ? 0 : chmod("/tmp/probe-chmod", 04755); }
PROBE(fchmod_setgid) { return fchmod(plain("/tmp/probe-fchmod"), 02755); }
PROBE(open_setuid) { return open("/tmp/probe-open", O_CREAT | O_WRONLY, 04755); }
PROBE(open_tmpfile_setuid) { return open("/tmp", O_TMPFILE | O_WRONLY, 04755); }
PROBE(creat_setgid) { return creat("/tmp/probe-creat", 02755); }

/* Sockets */

static long made(int family, int type, int protocol)
{
    return socket(family, type | SOCK_CLOEXEC, protocol);
}

PROBE(socket_packet) { return made(AF_PACKET, SOCK_RAW, 0); }
PROBE(socket_alg) { return made(AF_ALG, SOCK_SEQPACKET, 0); }
PROBE(socket_vsock) { return made(AF_VSOCK, SOCK_STREAM, 0); }
PROBE(socket_bluetooth) { return made(AF_BLUETOOTH, SOCK_RAW, 1); }
PROBE(socket_tipc) { return made(AF_TIPC, SOCK_SEQPACKET, 0); }
PROBE(socket_can) { return made(AF_CAN, SOCK_RAW, 1); }
PROBE(socket_key) { return made(AF_KEY, SOCK_RAW, 2); }
PROBE(socket_xdp) { return made(AF_XDP, SOCK_RAW, 0); }
PROBE(socket_rds) { return made(AF_RDS, SOCK_SEQPACKET, 0); }
PROBE(socket_smc) { return made(AF_SMC, SOCK_STREAM, 0); }
PROBE(socket_inet_raw) { return made(AF_INET, SOCK_RAW, 1); }
PROBE(socket_inet_icmp) { return made(AF_INET, SOCK_DGRAM, 1); }
PROBE(socket_inet_sctp) { return made(AF_INET, SOCK_STREAM, 132); }
PROBE(socket_inet_mptcp) { return made(AF_INET, SOCK_STREAM, 262); }
PROBE(socket_inet_udplite) { return made(AF_INET, SOCK_DGRAM, 136); }
PROBE(socket_inet6_raw) { return made(AF_INET6, SOCK_RAW, 58); }
PROBE(socket_netlink_diag) { return made(AF_NETLINK, SOCK_RAW, 4); }
PROBE(socket_netlink_xfrm) { return made(AF_NETLINK, SOCK_RAW, 6); }
PROBE(socket_netlink_audit) { return made(AF_NETLINK, SOCK_RAW, 9); }
PROBE(socket_netlink_netfilter) { return made(AF_NETLINK, SOCK_RAW, 12); }
PROBE(socket_netlink_uevent) { return made(AF_NETLINK, SOCK_RAW, 15); }
PROBE(socket_netlink_generic) { return made(AF_NETLINK, SOCK_RAW, 16); }
PROBE(socketpair_tipc) { return socketpair(AF_TIPC, SOCK_SEQPACKET, 0, (int[2]){0, 0}); }

/* Terminals */

static int terminal(void)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    if (master < 0 || grantpt(master) || unlockpt(master) || setsid() < 0)
        return -1;
    int end = open(ptsname(master), O_RDWR);
    return ioctl(end, TIOCSCTTY, 0) < 0 && errno != EPERM ? -1 : end;
}

static long commanded(unsigned long command)
{
    char input = 'x';
    int end = terminal();
    return end < 0 ? 0 : syscall(SYS_ioctl, end, command, &input);
}

PROBE(tiocsti) { return commanded(TIOCSTI); }
PROBE(tiocsti_high_bit) { return commanded(HIGH | TIOCSTI); }
PROBE(tiocsti_sign_extended) { return commanded(0xFFFFFFFF00000000UL | TIOCSTI); }
PROBE(tioclinux) { return commanded(TIOCLINUX); }

PROBE(tiocsetd)
{
    int line = 0, end = terminal();
    return end < 0 ? 0 : ioctl(end, TIOCSETD, &line);
}

/* Other ABIs of the same kernel */

#ifdef __x86_64__
#define X32 0x40000000L

PROBE(x32_getpid) { return syscall(X32 + SYS_getpid); }
PROBE(x32_ptrace) { return syscall(X32 + 521, PTRACE_ATTACH, 1, NULL, NULL); }
PROBE(x32_ioctl) { return syscall(X32 + 514, 0, TIOCSTI, "x"); }

static long int80(long number, long first, long second, long third)
{
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(first), "c"(second), "d"(third) : "memory", "r8", "r9", "r10", "r11");
    if (result < 0 && result > -4096) {
        errno = (int)-result;
        return -1;
    }
    return result;
}

PROBE(int80_getpid) { return int80(20, 0, 0, 0); }
PROBE(int80_ptrace) { return int80(26, PTRACE_TRACEME, 0, 0); }
PROBE(int80_socket_alg) { return int80(359, AF_ALG, SOCK_SEQPACKET, 0); }

PROBE(modify_ldt)
{
    char table[16];
    return syscall(SYS_modify_ldt, 0, table, sizeof table);
}

PROBE(iopl) { return syscall(SYS_iopl, 9); }
PROBE(ioperm) { return syscall(SYS_ioperm, 0x10000, 1, 1); }
#endif
