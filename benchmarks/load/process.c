/*
 * The clock, and the broker seen from outside: its CPU time and its memory.
 *
 * The CPU time is that of the whole process on the kernel's nanosecond clock; the split into user and system comes
 * from /proc/PID/stat (proc(5)), whose sum is the same time in ticks.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "load.h"

#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t line_of_status(pid_t pid, const char *key)
{
    char path[64], line[256];
    unsigned long long kib = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "r");
    if (!file)
        die("no process %d", (int)pid);
    while (fgets(line, sizeof line, file))
        if (!strncmp(line, key, strlen(key)))
            sscanf(line + strlen(key), ": %llu", &kib);
    fclose(file);
    return (uint64_t)kib * 1024;
}

struct usage look_at(pid_t pid)
{
    struct usage usage = {0};
    if (!pid)
        return usage;

    clockid_t clock;
    struct timespec t;
    if (clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &t))
        die("no CPU clock of process %d", (int)pid);
    usage.cpu = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;

    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "r");
    if (!file || !fgets(text, sizeof text, file))
        die("no process %d", (int)pid);
    fclose(file);
    /* The name in field 2 may hold anything; fields 14 and 15 are counted from its closing bracket. */
    unsigned long user = 0, system = 0;
    sscanf(strrchr(text, ')') + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system);
    uint64_t tick = 1000000000u / (uint64_t)sysconf(_SC_CLK_TCK);
    usage.user = user * tick;
    usage.system = system * tick;

    usage.resident = line_of_status(pid, "VmRSS");
    usage.peak = line_of_status(pid, "VmHWM");
    return usage;
}

void reset_peak(pid_t pid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/clear_refs", (int)pid);
    int fd = pid ? open(path, O_WRONLY) : -1;
    if (fd < 0)
        return;
    if (write(fd, "5", 1) < 0) {
        /* Not ours to reset: the peak is then that of its whole life. */
    }
    close(fd);
}
