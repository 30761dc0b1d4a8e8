/*
 * The workloads that send messages, and the check that every one of them arrives once and in order.
 *
 *   fanin   all publishers -> one subscriber with a wildcard
 *   fanout  one publisher -> all subscribers
 *   topics  publisher n goes round its topics -> subscriber n, with one filter for each: plain, with + and with #
 *   pairs   publisher n -> subscriber n
 *
 * Closed loop: a publisher sends while fewer than --credit of its messages are on their way; latency is then mostly
 * the length of the queue. Open loop (--rate): messages are due at fixed times, whatever the broker does, and latency
 * counts from the moment a message was due, so that a broker that stands still cannot hide it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "load.h"

#include <inttypes.h>
#include <string.h>

/* What is in front of a payload; the rest is FILLER. */
struct stamp {
    uint32_t publisher, mark;
    uint64_t number, due;
};

enum { FILLER = 0x5A, BURST = 64 << 10, TOPIC_ROOM = 48, SETTLE_MS = 60 };

struct publisher {
    struct link link;
    uint64_t due, published, arrived;
    char (*topics)[TOPIC_ROOM];
    uint16_t *free_ids;
    unsigned char *waiting;     /* by packet id: which answer comes next, 0 for none */
    uint32_t free_count;
};

struct subscriber {
    struct link link;
    struct ledger *ledgers;     /* by publisher where it hears all, else one */
};

static struct publisher *publishers;
static struct subscriber *subscribers;
static struct verdict verdict;
static unsigned char *payload;
static uint32_t ready, fan;
static uint64_t quota, start, last, arrivals, answers, unanswered, next_due;

static bool hears_all(void)
{
    return opt.workload == FANIN || opt.workload == FANOUT;
}

static uint32_t mark_of(uint32_t publisher, uint64_t number)
{
    return (publisher + 1) * 2654435761u ^ (uint32_t)number;
}

/* ---- publishing ---- */

static uint64_t due_time(const struct publisher *publisher, uint64_t number)
{
    uint64_t turn = number * opt.publishers + publisher->link.number;
    return start + (uint64_t)((double)turn / opt.rate * 1e9);
}

static void publish(struct publisher *publisher, uint64_t now)
{
    uint64_t number = publisher->published++;
    const char *topic = publisher->topics[number % opt.topics];
    struct stamp stamp = {publisher->link.number, mark_of(publisher->link.number, number), number,
                          opt.rate > 0 ? due_time(publisher, number) : now};
    int packet_id = 0;
    if (opt.qos) {
        packet_id = publisher->free_ids[--publisher->free_count];
        publisher->waiting[packet_id] = opt.qos == 1 ? PUBACK : PUBREC;
        unanswered++;
    }
    memcpy(payload, &stamp, sizeof stamp);
    send_publish(&publisher->link, topic, (uint32_t)strlen(topic), packet_id, payload, opt.size);
}

static void pump(struct publisher *publisher)
{
    uint64_t now = now_ns();
    while (publisher->published < publisher->due && publisher->link.out_length < BURST) {
        if (opt.qos && !publisher->free_count)
            return;
        if (!(opt.rate > 0) && publisher->published * fan - publisher->arrived >= (uint64_t)opt.credit * fan)
            return;
        publish(publisher, now);
    }
}

/* Open loop: give each publisher what has become due, and set the timer for the next. */
static void advance(uint64_t now)
{
    uint64_t all = quota * opt.publishers;
    uint64_t until = (uint64_t)((double)(now - start) / 1e9 * opt.rate) + 1;
    for (; next_due < all && next_due < until; next_due++)
        publishers[next_due % opt.publishers].due++;
    loop_wake_at(next_due < all ? start + (uint64_t)((double)next_due / opt.rate * 1e9) + 1000 : 0);
}

static void take_answer(struct publisher *publisher, const struct packet *packet)
{
    int packet_id = packet_id_of(packet);
    if (publisher->waiting[packet_id] != packet->kind)
        die("the broker answered %d with packet type %d, not %d", packet_id, packet->kind,
            publisher->waiting[packet_id]);
    if (packet->kind == PUBREC) {
        publisher->waiting[packet_id] = PUBCOMP;
        send_ack(&publisher->link, PUBREL, packet_id);
        return;
    }
    publisher->waiting[packet_id] = 0;
    publisher->free_ids[publisher->free_count++] = (uint16_t)packet_id;
    unanswered--;
    answers++;
    last = now_ns();
}

static void on_publisher_packet(struct link *link, const struct packet *packet)
{
    check_accepted(packet);
    if (packet->kind == CONNACK)
        ready++;
    else if (packet->kind == PUBACK || packet->kind == PUBREC || packet->kind == PUBCOMP)
        take_answer(link->owner, packet);
    else
        die("the broker sent packet type %d to a publisher", packet->kind);
}

/* ---- receiving ---- */

static void take_message(struct subscriber *subscriber, const struct packet *packet)
{
    struct publish message;
    struct stamp stamp;
    read_publish(packet, &message);
    if (message.qos == 1)
        send_ack(&subscriber->link, PUBACK, message.packet_id);
    else if (message.qos == 2)
        send_ack(&subscriber->link, PUBREC, message.packet_id);

    if (message.payload_length != opt.size || message.qos != opt.qos) {
        verdict.wrong++;
        return;
    }
    memcpy(&stamp, message.payload, sizeof stamp);
    if (stamp.publisher >= opt.publishers || stamp.mark != mark_of(stamp.publisher, stamp.number) ||
        (opt.size > sizeof stamp && message.payload[opt.size - 1] != FILLER) ||
        (!hears_all() && stamp.publisher != subscriber->link.number)) {
        verdict.wrong++;
        return;
    }
    struct publisher *from = &publishers[stamp.publisher];
    const char *topic = from->topics[stamp.number % opt.topics];
    if (message.topic_length != strlen(topic) || memcmp(message.topic, topic, message.topic_length)) {
        verdict.wrong++;
        return;
    }
    last = now_ns();
    latency_take(last - stamp.due);
    ledger_take(&subscriber->ledgers[hears_all() ? stamp.publisher : 0], stamp.number, &verdict);
    from->arrived++;
    arrivals++;
}

static void on_subscriber_packet(struct link *link, const struct packet *packet)
{
    struct subscriber *subscriber = link->owner;
    check_accepted(packet);
    if (packet->kind == PUBLISH)
        take_message(subscriber, packet);
    else if (packet->kind == PUBREL)
        send_ack(link, PUBCOMP, packet_id_of(packet));
    else if (packet->kind == SUBACK)
        ready++;
    else if (packet->kind != CONNACK)
        die("the broker sent packet type %d to a subscriber", packet->kind);
}

/* ---- setting up ---- */

static void name_topic(char *topic, uint32_t publisher, uint32_t number)
{
    if (opt.workload == TOPICS)
        snprintf(topic, TOPIC_ROOM, "load/%u/%u/value", publisher, number);
    else
        snprintf(topic, TOPIC_ROOM, "load/%u", publisher);
}

static void subscribe(struct subscriber *subscriber)
{
    static char texts[256][TOPIC_ROOM];
    const char *filters[256];
    uint32_t number = subscriber->link.number, count = opt.workload == TOPICS ? opt.topics : 1;
    for (uint32_t i = 0; i < count; i++) {
        filters[i] = texts[i];
        if (opt.workload == FANIN)
            snprintf(texts[i], TOPIC_ROOM, "load/+");
        else if (opt.workload == TOPICS && i % 3 == 1)
            snprintf(texts[i], TOPIC_ROOM, "load/%u/%u/+", number, i);
        else if (opt.workload == TOPICS && i % 3 == 2)
            snprintf(texts[i], TOPIC_ROOM, "+/%u/%u/#", number, i);
        else
            name_topic(texts[i], opt.workload == FANOUT ? 0 : number, i);
    }
    send_subscribe(&subscriber->link, 1, filters, (int)count);
}

static void wait_until_ready(uint32_t wanted, const char *what)
{
    uint64_t limit = now_ns() + (uint64_t)(opt.patience * 1e9);
    while (ready < wanted) {
        flush_all();
        loop_once(100);
        if (now_ns() > limit)
            die("%u of %u %s after %.0f s", ready, wanted, what, opt.patience);
    }
    ready = 0;
}

static void open_publisher(uint32_t number)
{
    struct publisher *publisher = &publishers[number];
    char client_id[32];
    publisher->link = (struct link){.number = number, .owner = publisher, .on_packet = on_publisher_packet};
    publisher->topics = allocate(opt.topics, TOPIC_ROOM);
    for (uint32_t i = 0; i < opt.topics; i++)
        name_topic(publisher->topics[i], number, i);
    publisher->free_ids = allocate(opt.window, sizeof *publisher->free_ids);
    publisher->waiting = allocate(65536, 1);
    for (uint32_t id = opt.window; id; id--)
        publisher->free_ids[publisher->free_count++] = (uint16_t)id;
    snprintf(client_id, sizeof client_id, "load-p%u", number);
    link_open(&publisher->link, number);
    send_connect(&publisher->link, client_id);
}

static void open_subscriber(uint32_t number)
{
    struct subscriber *subscriber = &subscribers[number];
    char client_id[32];
    uint32_t heard = hears_all() ? opt.publishers : 1;
    subscriber->link = (struct link){.number = number, .owner = subscriber, .on_packet = on_subscriber_packet};
    subscriber->ledgers = allocate(heard, sizeof *subscriber->ledgers);
    for (uint32_t i = 0; i < heard; i++)
        ledger_open(&subscriber->ledgers[i], quota);
    snprintf(client_id, sizeof client_id, "load-s%u", number);
    link_open(&subscriber->link, number);
    send_connect(&subscriber->link, client_id);
    subscribe(subscriber);      /* allowed before CONNACK (MQTT 5 section 3.1.4) */
}

static void open_all(void)
{
    publishers = allocate(opt.publishers, sizeof *publishers);
    subscribers = allocate(opt.subscribers, sizeof *subscribers);
    payload = allocate(opt.size, 1);
    memset(payload, FILLER, opt.size);
    for (uint32_t i = 0; i < opt.subscribers; i++)
        open_subscriber(i);
    wait_until_ready(opt.subscribers, "subscribers");
    for (uint32_t i = 0; i < opt.publishers; i++)
        open_publisher(i);
    wait_until_ready(opt.publishers, "publishers");
}

/* ---- running ---- */

static uint64_t published(void)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < opt.publishers; i++)
        sum += publishers[i].published;
    return sum;
}

static bool finished(void)
{
    for (uint32_t i = 0; i < opt.publishers; i++)
        if (publishers[i].published < publishers[i].due)
            return false;
    return (opt.rate <= 0 || next_due >= quota * opt.publishers) && !unanswered && arrivals >= published() * fan;
}

static void stop_publishing(void)
{
    for (uint32_t i = 0; i < opt.publishers; i++)
        publishers[i].due = publishers[i].published;
    next_due = quota * opt.publishers;
    loop_wake_at(0);
}

static void drive(void)
{
    uint64_t now = start, progress = 0, progress_at = start, stop = start + (uint64_t)(opt.seconds * 1e9);
    bool stopped = false;
    while (!finished()) {
        now = now_ns();
        if (opt.rate > 0 && !stopped)
            advance(now);
        for (uint32_t i = 0; i < opt.publishers; i++)
            pump(&publishers[i]);
        flush_all();
        loop_once(100);
        now = now_ns();
        if (opt.seconds > 0 && now > stop && !stopped) {
            stopped = true;
            stop_publishing();
        }
        if (progress != arrivals + answers) {
            progress = arrivals + answers;
            progress_at = now;
        } else if (now - progress_at > (uint64_t)(opt.patience * 1e9)) {
            return;     /* what is missing is counted as lost */
        }
    }
}

static void settle(void)
{
    uint64_t until = now_ns() + SETTLE_MS * 1000000u;
    do {
        flush_all();
        loop_once(5);
    } while (now_ns() < until);
}

static void count_lost(void)
{
    for (uint32_t i = 0; i < opt.subscribers; i++)
        for (uint32_t j = 0; j < (hears_all() ? opt.publishers : 1); j++)
            verdict.lost += publishers[hears_all() ? j : i].published - subscribers[i].ledgers[j].got;
}

int run_messages(void)
{
    quota = opt.count / opt.publishers;
    fan = hears_all() ? opt.subscribers : 1;
    open_all();
    reset_peak(opt.pid);
    struct usage before = look_at(opt.pid);
    start = last = now_ns();
    if (!(opt.rate > 0))
        for (uint32_t i = 0; i < opt.publishers; i++)
            publishers[i].due = quota;
    drive();
    struct usage after = look_at(opt.pid);
    double seconds = (double)(last - start) / 1e9, all = (double)(arrivals ? arrivals : 1);
    settle();
    count_lost();

    printf("{\"workload\": \"%s\", \"version\": %d, \"qos\": %d, \"size\": %u, \"rate\": %g, ", opt.name, opt.version,
           opt.qos, opt.size, opt.rate);
    printf("\"published\": %" PRIu64 ", \"delivered\": %" PRIu64 ", \"lost\": %" PRIu64 ", \"duplicated\": %" PRIu64
           ", \"disordered\": %" PRIu64 ", \"wrong\": %" PRIu64 ", \"unanswered\": %" PRIu64 ", ",
           published(), arrivals, verdict.lost, verdict.duplicated, verdict.disordered, verdict.wrong, unanswered);
    printf("\"seconds\": %.3f, \"delivered_per_second\": %.0f, ", seconds, (double)arrivals / (seconds ? seconds : 1));
    printf("\"latency_us\": {\"p50\": %.1f, \"p90\": %.1f, \"p99\": %.1f, \"p999\": %.1f, \"max\": %.1f}, ",
           (double)latency_at(0.5) / 1e3, (double)latency_at(0.9) / 1e3, (double)latency_at(0.99) / 1e3,
           (double)latency_at(0.999) / 1e3, (double)latency_at(1) / 1e3);
    printf("\"cpu_us\": %.4f, \"user_us\": %.4f, \"system_us\": %.4f, \"resident\": %" PRIu64 ", \"peak\": %" PRIu64
           "}\n",
           (double)(after.cpu - before.cpu) / 1e3 / all, (double)(after.user - before.user) / 1e3 / all,
           (double)(after.system - before.system) / 1e3 / all, after.resident, after.peak);
    return verdict.lost || verdict.duplicated || verdict.disordered || verdict.wrong || unanswered;
}
