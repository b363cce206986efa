/* What must work: a sandbox in which nothing works would pass every other probe. */
#define _GNU_SOURCE
#include "probe.h"

#include <fcntl.h>
#include <ifaddrs.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void *nothing(void *argument)
{
    return argument;
}

PROBE(control_thread)
{
    pthread_t thread;
    errno = pthread_create(&thread, NULL, nothing, NULL);
    return errno ? -1 : pthread_join(thread, NULL);
}

PROBE(control_fork)
{
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    return waitpid(child, NULL, 0);
}

PROBE(control_getifaddrs)
{
    struct ifaddrs *found;
    return getifaddrs(&found);
}

PROBE(control_unix_pair) { return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, (int[2]){0, 0}); }
PROBE(control_tcp) { return socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0); }
PROBE(control_udp6) { return socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 17); }
PROBE(control_fifo) { return mkfifo("/tmp/probe-fifo", 0600); }
PROBE(control_file) { return open("/tmp/probe-file", O_CREAT | O_RDWR, 0755); }
PROBE(control_chmod) { return open("/tmp/probe-mode", O_CREAT | O_RDWR, 0600) < 0 ? -1 : chmod("/tmp/probe-mode", 01755); }
PROBE(control_memfd) { return memfd_create("probe", MFD_CLOEXEC); }
PROBE(control_name) { return prctl(PR_SET_NAME, "probe"); }

PROBE(control_terminal)
{
    struct winsize size;
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    return master < 0 || unlockpt(master) ? -1 : ioctl(master, TIOCGWINSZ, &size);
}
