/* One probe tries one forbidden thing. It returns -1 with errno when it was refused, and anything else when it was not.
   Each runs in a process of its own, so one that the kernel kills ends alone. */
#ifndef PROBE_H
#define PROBE_H

#include <errno.h>

struct probe {
    const char *name;
    long (*attempt)(void);
};

/* Registers a probe: the linker gathers the section, so no list can miss one. */
#define PROBE(label)                                                                                        \
    static long attempt_##label(void);                                                                      \
    static const struct probe probe_##label __attribute__((section("probes"), used, aligned(sizeof(void *)))) = { \
        #label, attempt_##label};                                                                           \
    static long attempt_##label(void)

/* What a probe found, in words, for whoever reads the line. */
void detail(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
