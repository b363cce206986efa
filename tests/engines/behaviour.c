/* A server for the tests of the engines, static and small: it behaves as its first argument says.
   The first six are those of bulkhead/engines/contract.py. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static char block[65536];

static void put(int fd, const char *data, size_t size) {
    while (size > 0) {
        ssize_t written = write(fd, data, size);
        if (written < 0) exit(9);
        data += written;
        size -= written;
    }
}

static void put_many(int fd, long size) {
    for (; size > 0; size -= sizeof block) put(fd, block, size < (long)sizeof block ? size : (long)sizeof block);
}

static void say(const char *text) { put(1, text, strlen(text)); }

static int echo(void) {
    ssize_t size;
    while ((size = read(0, block, sizeof block)) > 0) put(1, block, size);
    return 0;
}

static void hog(void) {
    for (;;) {
        char *more = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (more == MAP_FAILED) exit(8);
        memset(more, 1, 1 << 20);
    }
}

/* The kernel kills a child, and the server goes on. */
static int hog_in_child(void) {
    if (fork() == 0) hog();
    wait(NULL);
    say("child gone\n");
    return echo();
}

static int fork_many(void) {
    char text[32];
    int count = 0;
    for (pid_t child; (child = fork()) >= 0; count++)
        if (child == 0) pause();
    snprintf(text, sizeof text, "%d %s\n", count, errno == EAGAIN ? "EAGAIN" : "?");
    say(text);
    return echo();
}

static int fill(const char *path) {
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    while (write(fd, block, sizeof block) > 0) {}
    say(errno == ENOSPC ? "full\n" : "failed\n");
    return echo();
}

static int show(const char *path) {
    int fd = open(path, O_RDONLY);
    ssize_t size;
    if (fd < 0) return errno;
    while ((size = read(fd, block, sizeof block)) > 0) put(1, block, size);
    return 0;
}

static int create(const char *path) {
    return open(path, O_CREAT | O_WRONLY, 0644) < 0 ? errno : 0;
}

int main(int count, char **words) {
    const char *what = count > 1 ? words[1] : "", *how = count > 2 ? words[2] : "0";
    if (!strcmp(what, "echo")) return echo();
    if (!strcmp(what, "exit")) return atoi(how);
    if (!strcmp(what, "stdout")) return put_many(1, atol(how)), 0;
    if (!strcmp(what, "stderr")) return put_many(2, atol(how)), say("done\n"), 0;
    if (!strcmp(what, "hog")) hog();
    if (!strcmp(what, "hog-in-child")) return hog_in_child();
    if (!strcmp(what, "forks")) return fork_many();
    if (!strcmp(what, "fill")) return fill(how);
    if (!strcmp(what, "show")) return show(how);
    if (!strcmp(what, "create")) return create(how);
    if (!strcmp(what, "abort")) abort();
    if (!strcmp(what, "spin")) for (;;) {}
    if (!strcmp(what, "closed")) {
        close(1), close(2);
        for (;;) pause();
    }
    if (!strcmp(what, "stubborn")) {
        for (int number = 1; number < NSIG; number++) signal(number, SIG_IGN);
        say("ready\n");
        for (;;) pause();
    }
    return 7;
}
