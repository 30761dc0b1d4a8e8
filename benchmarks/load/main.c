/*
 * load: a load for an MQTT broker on this machine that checks what comes back.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "load.h"

#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static const char HELP[] =
    "usage: load WORKLOAD --port N [options]\n"
    "\n"
    "messages   fanin    publishers -> 1 subscriber            (50)\n"
    "           fanout   1 publisher -> subscribers            (100)\n"
    "           topics   publisher n -> subscriber n, many topics and filters (50, 20 topics each)\n"
    "           pairs    publisher n -> subscriber n           (50)\n"
    "clients    storm    connect, CONNACK, DISCONNECT          (5000, 50 at once)\n"
    "           idle     connections that do nothing           (1000)\n"
    "           filters  subscriptions that match nothing      (10000 of 10 clients)\n"
    "\n"
    "  --port N         of the broker, on 127.0.0.1\n"
    "  --pid PID        of the broker: report its CPU time and memory\n"
    "  --version 4|5    MQTT 3.1.1 or 5 (4)\n"
    "  --qos 0|1|2      (0)\n"
    "  --size BYTES     of a payload, at least 24 (64)\n"
    "  --clients N      publishers, subscribers, pairs, or connections at once\n"
    "  --topics N       topics of one publisher, at most 256\n"
    "  --count N        messages, connections or filters in all\n"
    "  --seconds S      stop publishing after this long, even before --count (10)\n"
    "  --rate N         messages a second in all, open loop (as fast as they come back)\n"
    "  --credit N       closed loop: messages of one publisher on their way; 1 = one at a time (20)\n"
    "  --window N       QoS 1 and 2: messages of one publisher without an answer (20)\n"
    "  --patience S     give up after this long without progress (5)\n"
    "\n"
    "Prints one JSON object. Exit: 0 all came once, in order and whole; 1 not; 2 could not be measured.\n";

struct options opt = {
    .version = 4, .size = 64, .credit = 20, .window = 20, .seconds = 10, .patience = 5, .topics = 1,
};

_Noreturn void die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(2);
}

void *allocate(size_t count, size_t size)
{
    void *memory = calloc(count ? count : 1, size);
    if (!memory)
        die("out of memory");
    return memory;
}

static double number(const char *text, double least, double most)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !(value >= least && value <= most))
        die("%s is no number from %g to %g", text, least, most);
    return value;
}

static uint32_t clients;

static void read_options(int count, char **arguments)
{
    static const struct option known[] = {
        {"port", 1, 0, 'p'},    {"pid", 1, 0, 'P'},   {"version", 1, 0, 'v'}, {"qos", 1, 0, 'q'},
        {"size", 1, 0, 's'},    {"clients", 1, 0, 'c'}, {"topics", 1, 0, 't'}, {"count", 1, 0, 'n'},
        {"seconds", 1, 0, 'S'}, {"rate", 1, 0, 'r'},  {"credit", 1, 0, 'C'},  {"window", 1, 0, 'w'},
        {"patience", 1, 0, 'x'}, {"help", 0, 0, 'h'}, {0, 0, 0, 0},
    };
    for (int which; (which = getopt_long(count, arguments, "h", known, NULL)) != -1;) {
        switch (which) {
        case 'p': opt.port = (int)number(optarg, 1, 65535); break;
        case 'P': opt.pid = (pid_t)number(optarg, 1, 1 << 30); break;
        case 'v': opt.version = (int)number(optarg, 4, 5); break;
        case 'q': opt.qos = (int)number(optarg, 0, 2); break;
        case 's': opt.size = (uint32_t)number(optarg, 24, 128 << 10); break;
        case 'c': clients = (uint32_t)number(optarg, 1, 20000); break;
        case 't': opt.topics = (uint32_t)number(optarg, 1, 256); break;
        case 'n': opt.count = (uint64_t)number(optarg, 1, 1e8); break;
        case 'S': opt.seconds = number(optarg, 0.01, 600); break;
        case 'r': opt.rate = number(optarg, 1, 1e6); break;
        case 'C': opt.credit = (uint32_t)number(optarg, 1, 1e6); break;
        case 'w': opt.window = (uint32_t)number(optarg, 1, 65535); break;
        case 'x': opt.patience = number(optarg, 0.1, 60); break;
        case 'h': fputs(HELP, stdout); exit(0);
        default: exit(2);
        }
    }
    if (optind != count - 1 || !opt.port)
        die("one workload and --port are needed; see --help");
    opt.name = arguments[optind];
}

static void choose_workload(void)
{
    static const struct {
        const char *name;
        uint32_t clients;
        uint64_t count;
    } workloads[] = {
        [FANIN] = {"fanin", 50, 200000},  [FANOUT] = {"fanout", 100, 20000},   [TOPICS] = {"topics", 50, 200000},
        [PAIRS] = {"pairs", 50, 200000},  [STORM] = {"storm", 50, 5000},       [IDLE] = {"idle", 1, 1000},
        [FILTERS] = {"filters", 10, 10000},
    };
    size_t which = 0;
    while (which < sizeof workloads / sizeof *workloads && strcmp(workloads[which].name, opt.name))
        which++;
    if (which == sizeof workloads / sizeof *workloads)
        die("there is no workload %s; see --help", opt.name);
    opt.workload = (enum workload)which;
    uint32_t many = clients ? clients : workloads[which].clients;
    opt.publishers = opt.workload == FANOUT ? 1 : many;
    opt.subscribers = opt.workload == FANIN ? 1 : many;
    opt.connections = many;
    if (!opt.count)
        opt.count = workloads[which].count;
    if (opt.workload == TOPICS && opt.topics == 1)
        opt.topics = 20;
    else if (opt.workload != TOPICS)
        opt.topics = 1;
}

int main(int count, char **arguments)
{
    read_options(count, arguments);
    choose_workload();
    signal(SIGPIPE, SIG_IGN);
    struct rlimit files;
    if (!getrlimit(RLIMIT_NOFILE, &files)) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    loop_open();
    return opt.workload <= PAIRS ? run_messages() : run_connections();
}
