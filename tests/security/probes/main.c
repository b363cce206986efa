/* Runs every probe, or those named, and prints a line of JSON for each:
   {"probe": "ptrace", "outcome": "refused", "errno": "EPERM", "signal": "", "detail": ""}
   outcome is "refused" or "ALLOWED". signal names what killed the probe ("SIGSYS" is the filter), errno is empty then.
   With --wait it does nothing, until it is killed.
   Build: gcc -static -O1 -Wall -Wextra -Werror -o probe *.c */
#define _GNU_SOURCE
#include "probe.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

extern const struct probe __start_probes[], __stop_probes[];

static struct {
    long result;
    int number;
    char detail[256];
} *shared;

void detail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(shared->detail, sizeof shared->detail, format, arguments);
    va_end(arguments);
}

static void text(const char *string)
{
    for (; *string; string++)
        if (*string == '"' || *string == '\\' || (unsigned char)*string < ' ' || (unsigned char)*string > '~')
            printf("\\u%04x", (unsigned char)*string);
        else
            putchar(*string);
}

static void report(const struct probe *probe, int status)
{
    int killed = WIFSIGNALED(status);
    int refused = killed || shared->result == -1;
    const char *error = refused && !killed && shared->number ? strerrorname_np(shared->number) : "";
    printf("{\"probe\": \"%s\", \"outcome\": \"%s\", \"errno\": \"%s\", \"signal\": \"%s%s\", \"detail\": \"", probe->name,
           refused ? "refused" : "ALLOWED", error ? error : "?", killed ? "SIG" : "",
           killed ? sigabbrev_np(WTERMSIG(status)) : "");
    text(shared->detail);
    puts("\"}");
    fflush(stdout);
}

static void run(const struct probe *probe)
{
    int status = 0;
    memset(shared, 0, sizeof *shared);
    pid_t child = fork();
    if (child == 0) {
        alarm(10);
        errno = 0;
        long result = probe->attempt();
        shared->number = errno;
        shared->result = result;
        _exit(0);
    }
    if (child < 0 || waitpid(child, &status, 0) != child) {
        perror(probe->name);
        _exit(2);
    }
    report(probe, status);
}

static int wanted(const char *name, int count, char **names)
{
    for (int at = 1; at < count; at++)
        if (strcmp(name, names[at]) == 0)
            return 1;
    return count == 1;
}

int main(int count, char **names)
{
    if (count == 2 && strcmp(names[1], "--wait") == 0)
        return pause();
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return 2;
    for (const struct probe *probe = __start_probes; probe < __stop_probes; probe++)
        if (wanted(probe->name, count, names))
            run(probe);
    return 0;
}
