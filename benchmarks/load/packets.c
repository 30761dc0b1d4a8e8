/*
 * The few MQTT packets a load needs, in 3.1.1 and 5: written into a link, and read from bytes.
 *
 * Properties of MQTT 5 are written empty and stepped over when read. What a broker may not send ends the run.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "load.h"

#include <string.h>

/* ---- writing ---- */

static unsigned char *put_two(unsigned char *to, unsigned value)
{
    to[0] = (unsigned char)(value >> 8);
    to[1] = (unsigned char)value;
    return to + 2;
}

static unsigned char *put_bytes(unsigned char *to, const void *from, size_t length)
{
    memcpy(to, from, length);
    return to + length;
}

static unsigned char *put_text(unsigned char *to, const char *text)
{
    size_t length = strlen(text);
    return put_bytes(put_two(to, (unsigned)length), text, length);
}

static unsigned char *put_head(unsigned char *to, int first, size_t length)
{
    *to++ = (unsigned char)first;
    do {
        *to++ = (unsigned char)((length & 0x7F) | (length > 0x7F ? 0x80 : 0));
        length >>= 7;
    } while (length);
    return to;
}

enum { HEAD = 5 };          /* the longest fixed header */

void send_connect(struct link *link, const char *client_id)
{
    size_t length = 10 + 2 + strlen(client_id) + (opt.version == 5);
    unsigned char *start = link_reserve(link, HEAD + length), *to = put_head(start, 0x10, length);
    to = put_text(to, "MQTT");
    *to++ = (unsigned char)opt.version;
    *to++ = 0x02;           /* a clean session */
    to = put_two(to, 0);    /* no keep-alive: idle connections stay idle */
    if (opt.version == 5)
        *to++ = 0;
    to = put_text(to, client_id);
    link_written(link, (size_t)(to - start));
}

void send_subscribe(struct link *link, int packet_id, const char *const *filters, int count)
{
    size_t length = 2 + (opt.version == 5);
    for (int i = 0; i < count; i++)
        length += 3 + strlen(filters[i]);
    unsigned char *start = link_reserve(link, HEAD + length), *to = put_head(start, 0x82, length);
    to = put_two(to, (unsigned)packet_id);
    if (opt.version == 5)
        *to++ = 0;
    for (int i = 0; i < count; i++) {
        to = put_text(to, filters[i]);
        *to++ = (unsigned char)opt.qos;
    }
    link_written(link, (size_t)(to - start));
}

void send_publish(struct link *link, const char *topic, uint32_t topic_length, int packet_id,
                  const unsigned char *payload, uint32_t payload_length)
{
    size_t length = 2 + topic_length + (opt.qos ? 2 : 0) + (opt.version == 5) + payload_length;
    unsigned char *start = link_reserve(link, HEAD + length), *to = put_head(start, 0x30 | opt.qos << 1, length);
    to = put_bytes(put_two(to, topic_length), topic, topic_length);
    if (opt.qos)
        to = put_two(to, (unsigned)packet_id);
    if (opt.version == 5)
        *to++ = 0;
    to = put_bytes(to, payload, payload_length);
    link_written(link, (size_t)(to - start));
}

void send_ack(struct link *link, int kind, int packet_id)
{
    unsigned char *to = link_reserve(link, 4);
    to[0] = (unsigned char)(kind << 4 | (kind == PUBREL ? 2 : 0));
    to[1] = 2;
    put_two(to + 2, (unsigned)packet_id);
    link_written(link, 4);
}

void send_disconnect(struct link *link)
{
    unsigned char *to = link_reserve(link, 2);
    to[0] = 0xE0;
    to[1] = 0;
    link_written(link, 2);
}

/* ---- reading ---- */

/* The packet at the start of data and how many bytes it takes; 0 when it is not all there. */
size_t next_packet(const unsigned char *data, size_t length, struct packet *packet)
{
    uint32_t body = 0;
    for (size_t at = 1; at <= 4 && at < length; at++) {
        body |= (uint32_t)(data[at] & 0x7F) << 7 * (at - 1);
        if (data[at] < 0x80) {
            if (length - at - 1 < body)
                return 0;
            packet->kind = data[0] >> 4;
            packet->flags = data[0] & 0x0F;
            packet->body = data + at + 1;
            packet->length = body;
            return at + 1 + body;
        }
    }
    if (length > 5)
        die("the broker sent a remaining length of more than four bytes");
    return 0;
}

static unsigned two_at(const unsigned char *at)
{
    return (unsigned)at[0] << 8 | at[1];
}

void read_publish(const struct packet *packet, struct publish *publish)
{
    const unsigned char *at = packet->body, *end = at + packet->length;
    if (packet->length < 2)
        die("the broker sent a PUBLISH of %u bytes", packet->length);
    publish->qos = packet->flags >> 1 & 3;
    publish->topic_length = two_at(at);
    publish->topic = at + 2;
    at += 2 + publish->topic_length;
    publish->packet_id = 0;
    if (publish->qos && at + 2 <= end) {
        publish->packet_id = (int)two_at(at);
        at += 2;
    }
    if (opt.version == 5 && at < end) {
        uint32_t properties = 0, shift = 0;
        while (at < end && shift < 28) {
            properties |= (uint32_t)(*at & 0x7F) << shift;
            shift += 7;
            if (*at++ < 0x80)
                break;
        }
        at += properties;
    }
    if (at > end || publish->qos == 3 || (publish->qos && !publish->packet_id))
        die("the broker sent a malformed PUBLISH");
    publish->payload = at;
    publish->payload_length = (uint32_t)(end - at);
}

int packet_id_of(const struct packet *packet)
{
    if (packet->length < 2)
        die("the broker sent a packet of type %d without an identifier", packet->kind);
    /* MQTT 5 may add a reason; from 0x80 on it is a refusal (section 2.4). */
    if (packet->kind != SUBACK && packet->length > 2 && packet->body[2] >= 0x80)
        die("the broker answered with packet type %d, reason 0x%02X", packet->kind, packet->body[2]);
    return (int)two_at(packet->body);
}

/* CONNACK or SUBACK: end the run when it is a refusal. */
void check_accepted(const struct packet *packet)
{
    if (packet->kind == CONNACK && (packet->length < 2 || packet->body[1]))
        die("the broker refused a connection with code %u", packet->length < 2 ? 0 : packet->body[1]);
    if (packet->kind != SUBACK)
        return;
    uint32_t at = 2;
    if (opt.version == 5 && at < packet->length)
        at += 1 + packet->body[at];
    for (; at < packet->length; at++)
        if (packet->body[at] != opt.qos)
            die("the broker granted 0x%02X, not QoS %d", packet->body[at], opt.qos);
}
