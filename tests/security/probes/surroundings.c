/* What a process in the sandbox finds around itself: identity, files, /proc and /sys, devices, mounts, network.
   found() makes a finding of what should not be there; clean() says that nothing was. */
#define _GNU_SOURCE
#include "probe.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static long clean(void)
{
    errno = 0;
    return -1;
}

static long found(const char *what)
{
    detail("%s", what);
    return 0;
}

/* A line of /proc/self/status, such as "CapEff:\t0000000000000000". */
static long status_is(const char *key, const char *expected)
{
    char line[512];
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, key, strlen(key)) == 0) {
            line[strcspn(line, "\n")] = 0;
            return strcmp(line + strlen(key), expected) == 0 ? clean() : found(line);
        }
    return found("no such line in /proc/self/status");
}

#define NONE "0000000000000000"

PROBE(capabilities_effective) { return status_is("CapEff:\t", NONE); }
PROBE(capabilities_permitted) { return status_is("CapPrm:\t", NONE); }
PROBE(capabilities_inheritable) { return status_is("CapInh:\t", NONE); }
PROBE(capabilities_bounding) { return status_is("CapBnd:\t", NONE); }
PROBE(capabilities_ambient) { return status_is("CapAmb:\t", NONE); }
PROBE(new_privileges) { return status_is("NoNewPrivs:\t", "1"); }
PROBE(no_seccomp) { return status_is("Seccomp:\t", "2"); }
PROBE(uid_root) { return getuid() && geteuid() && getgid() && getegid() ? clean() : found("uid or gid 0"); }

PROBE(group_root)
{
    gid_t groups[256];
    int count = getgroups(256, groups);
    for (int at = 0; at < count; at++)
        if (groups[at] == 0)
            return found("gid 0 among the groups");
    return count < 0 ? found("getgroups failed") : clean();
}

PROBE(core_dump)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_CORE, &limit) || limit.rlim_max ? found("RLIMIT_CORE is not 0") : clean();
}

/* Writing to the kernel */

static long writable(const char *path) { return open(path, O_WRONLY | O_CLOEXEC); }

PROBE(write_core_pattern) { return writable("/proc/sys/kernel/core_pattern"); }
PROBE(write_modprobe) { return writable("/proc/sys/kernel/modprobe"); }
PROBE(write_binfmt_misc) { return writable("/proc/sys/fs/binfmt_misc/register"); }
PROBE(write_ip_forward) { return writable("/proc/sys/net/ipv4/ip_forward"); }
PROBE(write_sysrq_trigger) { return writable("/proc/sysrq-trigger"); }
PROBE(write_uevent_helper) { return writable("/sys/kernel/uevent_helper"); }
PROBE(write_cgroup) { return mkdir("/sys/fs/cgroup/probe", 0700) && mkdir("/sys/fs/cgroup/memory/probe", 0700) ? -1 : 0; }

PROBE(lower_oom_score)
{
    int file = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    return file < 0 ? -1 : write(file, "-1000", 5);
}

/* Reading of the kernel and the machine: a masked file is empty, a masked folder has no entry. */

static long readable(const char *path)
{
    char bytes[64];
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0)
        return -1;
    long count = read(file, bytes, sizeof bytes);
    return count > 0 ? found(path) : count < 0 ? -1 : clean();
}

static long listed(const char *path)
{
    DIR *folder = opendir(path);
    for (struct dirent *entry; folder && (entry = readdir(folder));)
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
            return found(entry->d_name);
    return folder ? clean() : -1;
}

PROBE(read_kcore) { return readable("/proc/kcore"); }
PROBE(read_kallsyms) { return readable("/proc/kallsyms"); }
PROBE(read_kmsg) { return readable("/proc/kmsg"); }
PROBE(read_keys) { return readable("/proc/keys"); }
PROBE(read_key_users) { return readable("/proc/key-users"); }
PROBE(read_timer_list) { return readable("/proc/timer_list"); }
PROBE(read_sched_debug) { return readable("/proc/sched_debug"); }
PROBE(read_modules) { return readable("/proc/modules"); }
PROBE(read_config) { return readable("/proc/config.gz"); }
PROBE(read_interrupts) { return readable("/proc/interrupts"); }
PROBE(read_slabinfo) { return readable("/proc/slabinfo"); }
PROBE(read_vmallocinfo) { return readable("/proc/vmallocinfo"); }
PROBE(read_kpageflags) { return readable("/proc/kpageflags"); }
PROBE(list_acpi) { return listed("/proc/acpi"); }
PROBE(list_scsi) { return listed("/proc/scsi"); }
PROBE(list_firmware) { return listed("/sys/firmware"); }
PROBE(list_kernel) { return listed("/sys/kernel"); }
PROBE(list_module) { return listed("/sys/module"); }
PROBE(list_powercap) { return listed("/sys/devices/virtual/powercap"); }
PROBE(list_dmi) { return listed("/sys/devices/virtual/dmi"); }

/* Other processes: pid 1 is the sandbox's own init, and knows no variable that we do not know. */

PROBE(host_processes)
{
    char name[32] = "";
    int file = open("/proc/2/comm", O_RDONLY | O_CLOEXEC);
    if (file >= 0 && read(file, name, sizeof name - 1) > 0 && strncmp(name, "kthreadd", 8) == 0)
        return found("kthreadd");
    return clean();
}

static int ours(const char *variable)
{
    extern char **environ;
    for (char **own = environ; *own; own++)
        if (strcmp(*own, variable) == 0)
            return 1;
    return 0;
}

PROBE(environment_of_init)
{
    static char block[65536];
    int file = open("/proc/1/environ", O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return -1;
    long size = read(file, block, sizeof block - 1);
    for (char *at = block; at < block + size; at += strlen(at) + 1)
        if (*at && !ours(at))
            return found(at);
    return size < 0 ? -1 : clean();
}

/* Files */

PROBE(write_root) { return open("/probe-root", O_CREAT | O_WRONLY | O_CLOEXEC, 0600); }
PROBE(write_etc) { return open("/etc/probe-etc", O_CREAT | O_WRONLY | O_CLOEXEC, 0600); }
PROBE(write_usr) { return open("/usr/probe-usr", O_CREAT | O_WRONLY | O_CLOEXEC, 0600); }
PROBE(write_shadow) { return writable("/etc/shadow"); }

static long executed_in(const char *folder)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/probe-exec", folder);
    int script = open(path, O_CREAT | O_WRONLY | O_CLOEXEC | O_TRUNC, 0700);
    if (script < 0 || write(script, "\177ELF", 4) != 4 || close(script))
        return -1;
    execl(path, path, (char *)NULL);
    return errno == ENOEXEC ? found(path) : -1; /* the kernel looked into it */
}

PROBE(exec_in_tmp) { return executed_in("/tmp"); }
PROBE(exec_in_shm) { return executed_in("/dev/shm"); }

static int set_bits(const char *path, const struct stat *status, int type, struct FTW *at)
{
    (void)at;
    if (type == FTW_F && status->st_mode & (S_ISUID | S_ISGID))
        return (int)found(path) + 1;
    return 0;
}

PROBE(setuid_files)
{
    static const char *const roots[] = {"/bin", "/sbin", "/usr", "/opt", "/lib", "/home", "/var", "/etc"};
    for (unsigned at = 0; at < sizeof roots / sizeof *roots; at++)
        if (nftw(roots[at], set_bits, 64, FTW_PHYS) > 0)
            return 0;
    return clean();
}

PROBE(docker_socket) { return access("/var/run/docker.sock", F_OK) && access("/run/docker.sock", F_OK) ? -1 : 0; }
PROBE(containerd_socket) { return access("/run/containerd", F_OK); }
PROBE(host_root_home) { return listed("/root"); }

/* Every folder of ours to write to is on a mount that is nosuid and nodev. */
PROBE(mounts_with_suid_or_dev)
{
    char line[4096], point[PATH_MAX], options[512];
    struct stat status;
    FILE *file = fopen("/proc/self/mountinfo", "r");
    while (file && fgets(line, sizeof line, file)) {
        if (sscanf(line, "%*s %*s %*s %*s %4095s %511s", point, options) != 2)
            return found(line);
        if (stat(point, &status) || !S_ISDIR(status.st_mode) || access(point, W_OK))
            continue;
        if (!strstr(options, "nosuid") || !strstr(options, "nodev"))
            return found(line);
    }
    return file ? clean() : 0;
}

/* Devices: what a runtime makes in /dev, and no other. */
PROBE(devices)
{
    static const char expected[] = " . .. console core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero ";
    DIR *folder = opendir("/dev");
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        char word[300];
        snprintf(word, sizeof word, " %s ", entry->d_name);
        if (!strstr(expected, word))
            return found(entry->d_name);
    }
    return folder ? clean() : 0;
}

/* Network: no interface but loopback, no route, no name server. */

PROBE(interfaces)
{
    struct if_nameindex *interfaces = if_nameindex();
    for (struct if_nameindex *at = interfaces; at && at->if_index; at++)
        if (strcmp(at->if_name, "lo"))
            return found(at->if_name);
    return interfaces ? clean() : 0;
}

static long connected(const char *address, int type, int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    inet_pton(AF_INET, address, &to.sin_addr);
    return connect(socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), (struct sockaddr *)&to, sizeof to);
}

PROBE(connect_internet) { return connected("198.51.100.1", SOCK_STREAM, 443); }
PROBE(connect_dns) { return connected("198.51.100.1", SOCK_DGRAM, 53); }
PROBE(connect_metadata) { return connected("169.254.169.254", SOCK_STREAM, 80); }
PROBE(connect_bridge) { return connected("172.17.0.1", SOCK_STREAM, 2375); }

PROBE(connect_ipv6)
{
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = htons(443)};
    inet_pton(AF_INET6, "2001:db8::1", &to.sin6_addr);
    return connect(socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0), (struct sockaddr *)&to, sizeof to);
}

/* An abstract unix socket belongs to a network namespace: the host's are not here. */
PROBE(abstract_sockets)
{
    char line[512], *name;
    FILE *file = fopen("/proc/net/unix", "r");
    while (file && fgets(line, sizeof line, file))
        if ((name = strchr(line, '@')))
            return found(name);
    return file ? clean() : -1;
}
