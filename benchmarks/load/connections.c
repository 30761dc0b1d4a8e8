/*
 * The workloads about connections: how fast they come and go, and what one costs that does nothing.
 *
 *   storm    connect, CONNACK, DISCONNECT, closed by the broker; --connections at once, --count in all
 *   idle     --count connections that stay; the broker's memory for each
 *   filters  --connections clients with --count different filters between them; the memory for each
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "load.h"

#include <inttypes.h>
#include <string.h>

enum { FILTERS_A_PACKET = 100, FILTER_ROOM = 48, SETTLE_MS = 500 };

static struct link *links;
static uint64_t ready, opened, ended;
static uint64_t *begun;

static void open_one(struct link *link, uint64_t number)
{
    char client_id[32];
    snprintf(client_id, sizeof client_id, "load-%" PRIu64, number);
    begun[link->number] = now_ns();
    link_open(link, (uint32_t)number);
    send_connect(link, client_id);
}

static void wait_until(const uint64_t *counter, uint64_t wanted, const char *what)
{
    uint64_t before = *counter, limit = now_ns() + (uint64_t)(opt.patience * 1e9);
    while (*counter < wanted) {
        flush_all();
        loop_once(100);
        if (*counter != before) {
            before = *counter;
            limit = now_ns() + (uint64_t)(opt.patience * 1e9);
        } else if (now_ns() > limit) {
            die("%" PRIu64 " of %" PRIu64 " %s, and no more for %.0f s", *counter, wanted, what, opt.patience);
        }
    }
}

/* Long enough for a broker to end what it does a moment later. */
static void settle(void)
{
    uint64_t until = now_ns() + SETTLE_MS * 1000000u;
    while (now_ns() < until) {
        flush_all();
        loop_once(20);
    }
}

/* ---- storm ---- */

static void on_storm_packet(struct link *link, const struct packet *packet)
{
    check_accepted(packet);
    if (packet->kind != CONNACK)
        die("the broker sent packet type %d to a client that only connects", packet->kind);
    latency_take(now_ns() - begun[link->number]);
    send_disconnect(link);
}

static void on_storm_end(struct link *link)
{
    link_close(link);
    ended++;
    if (opened < opt.count)
        open_one(link, opened++);
}

static int run_storm(void)
{
    struct usage before = look_at(opt.pid);
    uint64_t start = now_ns();
    for (uint32_t i = 0; i < opt.connections && opened < opt.count; i++) {
        links[i] = (struct link){.number = i, .on_packet = on_storm_packet, .on_end = on_storm_end};
        open_one(&links[i], opened++);
    }
    wait_until(&ended, opt.count, "connections came and went");
    double seconds = (double)(now_ns() - start) / 1e9;
    struct usage after = look_at(opt.pid);
    settle();
    struct usage later = look_at(opt.pid);
    printf("{\"workload\": \"storm\", \"version\": %d, \"connections\": %" PRIu64 ", \"seconds\": %.3f, "
           "\"connections_per_second\": %.0f, \"latency_us\": {\"p50\": %.1f, \"p99\": %.1f, \"max\": %.1f}, "
           "\"cpu_us\": %.2f, \"resident_before\": %" PRIu64 ", \"resident\": %" PRIu64 "}\n",
           opt.version, ended, seconds, (double)ended / seconds, (double)latency_at(0.5) / 1e3,
           (double)latency_at(0.99) / 1e3, (double)latency_at(1) / 1e3,
           (double)(after.cpu - before.cpu) / 1e3 / (double)ended, before.resident, later.resident);
    return 0;
}

/* ---- idle and filters ---- */

static void on_ready(struct link *link, const struct packet *packet)
{
    (void)link;
    check_accepted(packet);
    if (packet->kind != CONNACK && packet->kind != SUBACK)
        die("the broker sent packet type %d to an idle client", packet->kind);
    ready++;
}

static void open_all(uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        links[i] = (struct link){.number = (uint32_t)i, .on_packet = on_ready};
        open_one(&links[i], i);
        if (i % 64 == 63)
            wait_until(&ready, i + 1, "connections");
    }
    wait_until(&ready, count, "connections");
    ready = 0;
}

static int run_idle(void)
{
    struct usage before = look_at(opt.pid);
    open_all(opt.count);
    settle();
    struct usage after = look_at(opt.pid);
    double bytes = (double)after.resident - (double)before.resident;
    printf("{\"workload\": \"idle\", \"version\": %d, \"connections\": %" PRIu64 ", \"resident_before\": %" PRIu64
           ", \"resident\": %" PRIu64 ", \"bytes_each\": %.0f}\n",
           opt.version, opt.count, before.resident, after.resident, bytes / (double)opt.count);
    return 0;
}

static void subscribe_some(struct link *link, uint64_t from, uint64_t to)
{
    static char texts[FILTERS_A_PACKET][FILTER_ROOM];
    const char *filters[FILTERS_A_PACKET];
    int count = 0;
    for (uint64_t i = from; i < to; i++, count++) {
        snprintf(texts[count], FILTER_ROOM, "load/%u/unit-%" PRIu64 "/value", link->number, i);
        filters[count] = texts[count];
    }
    send_subscribe(link, 1, filters, count);
}

static int run_filters(void)
{
    open_all(opt.connections);
    settle();
    struct usage before = look_at(opt.pid);
    uint64_t sent = 0, packets = 0;
    for (; sent < opt.count; packets++) {
        uint64_t to = sent + FILTERS_A_PACKET < opt.count ? sent + FILTERS_A_PACKET : opt.count;
        subscribe_some(&links[packets % opt.connections], sent, to);
        sent = to;
        if (packets % opt.connections == opt.connections - 1)
            wait_until(&ready, packets + 1, "subscriptions");
    }
    wait_until(&ready, packets, "subscriptions");
    settle();
    struct usage after = look_at(opt.pid);
    printf("{\"workload\": \"filters\", \"version\": %d, \"connections\": %u, \"filters\": %" PRIu64
           ", \"resident_before\": %" PRIu64 ", \"resident\": %" PRIu64 ", \"bytes_each\": %.0f, \"cpu_us\": %.2f}\n",
           opt.version, opt.connections, opt.count, before.resident, after.resident,
           ((double)after.resident - (double)before.resident) / (double)opt.count,
           (double)(after.cpu - before.cpu) / 1e3 / (double)opt.count);
    return 0;
}

int run_connections(void)
{
    uint64_t most = opt.workload == IDLE ? opt.count : opt.connections;
    links = allocate(most, sizeof *links);
    begun = allocate(most, sizeof *begun);
    if (opt.workload == STORM)
        return run_storm();
    return opt.workload == IDLE ? run_idle() : run_filters();
}
