/*
 * What the files of the load generator share.
 *
 * One thread around one epoll set. main.c reads the options; messages.c and connections.c each run a family of
 * workloads; link.c moves bytes, packets.c gives them meaning, ledger.c knows what came and when, process.c looks
 * at the broker from outside.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef LOAD_H
#define LOAD_H

#define _GNU_SOURCE
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

/* ---- options: main.c ---- */

enum workload { FANIN, FANOUT, TOPICS, PAIRS, STORM, IDLE, FILTERS };

struct options {
    enum workload workload;
    const char *name;       /* of the workload, as it was given */
    int port;
    int version;            /* 4 = MQTT 3.1.1, 5 = MQTT 5 */
    int qos;
    uint32_t size;          /* payload bytes */
    uint32_t publishers, subscribers, topics, connections;
    uint64_t count;         /* messages, connections or filters in all */
    uint32_t credit;        /* messages of one publisher that may be on their way, closed loop */
    uint32_t window;        /* QoS 1 and 2: messages of one publisher without an answer */
    double rate;            /* messages a second, open loop; 0 = closed loop */
    double seconds;         /* stop publishing after this long */
    double patience;        /* give up after this long without progress */
    pid_t pid;              /* the broker; 0 = do not look at it */
};
extern struct options opt;

_Noreturn void die(const char *format, ...);
void *allocate(size_t count, size_t size);

/* ---- time and the broker's process: process.c ---- */

struct usage {
    uint64_t cpu;           /* ns, user and system, of all its threads */
    uint64_t user, system;  /* ns, in steps of a clock tick */
    uint64_t resident, peak;/* bytes; the peak since reset_peak() where we may, else since its start */
};

uint64_t now_ns(void);
struct usage look_at(pid_t pid);
void reset_peak(pid_t pid);

/* ---- packets: packets.c ---- */

enum { CONNACK = 2, PUBLISH = 3, PUBACK = 4, PUBREC = 5, PUBREL = 6, PUBCOMP = 7, SUBACK = 9 };

struct packet {
    int kind, flags;
    const unsigned char *body;
    uint32_t length;
};

struct publish {
    const unsigned char *topic, *payload;
    uint32_t topic_length, payload_length;
    int qos, packet_id;
};

struct link;
size_t next_packet(const unsigned char *data, size_t length, struct packet *packet);
void read_publish(const struct packet *packet, struct publish *publish);
int packet_id_of(const struct packet *packet);
void check_accepted(const struct packet *packet);

void send_connect(struct link *link, const char *client_id);
void send_subscribe(struct link *link, int packet_id, const char *const *filters, int count);
void send_publish(struct link *link, const char *topic, uint32_t topic_length, int packet_id,
                  const unsigned char *payload, uint32_t length);
void send_ack(struct link *link, int kind, int packet_id);
void send_disconnect(struct link *link);

/* ---- sockets: link.c ---- */

struct link {
    int fd;
    uint32_t number;        /* among those of its kind */
    void *owner;
    void (*on_packet)(struct link *, const struct packet *);
    void (*on_end)(struct link *);      /* NULL: an end is an error */
    unsigned char *rest, *out;          /* an unfinished packet; what waits to be written */
    size_t rest_length, rest_room, out_at, out_length, out_room;
    bool dirty, blocked;
};

void loop_open(void);
void loop_once(int milliseconds);
void loop_wake_at(uint64_t when);       /* loop_once returns then at the latest; 0 = no such time */
void link_open(struct link *link, uint32_t spread);
void link_close(struct link *link);
unsigned char *link_reserve(struct link *link, size_t length);
void link_written(struct link *link, size_t length);
void flush_all(void);

/* ---- what came: ledger.c ---- */

struct ledger {             /* what one subscriber has of one publisher */
    unsigned char *seen;    /* a bit for each number */
    uint64_t room, next, got;
};

struct verdict {
    uint64_t lost, duplicated, disordered, wrong;
};

void ledger_open(struct ledger *ledger, uint64_t room);
void ledger_take(struct ledger *ledger, uint64_t number, struct verdict *verdict);
void latency_take(uint64_t ns);
uint64_t latency_at(double share);      /* ns below which this share of all lies */

/* ---- workloads: each prints one JSON object and returns the exit status ---- */

int run_messages(void);     /* messages.c: fanin fanout topics pairs */
int run_connections(void);  /* connections.c: storm idle filters */

#endif
