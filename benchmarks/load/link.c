/*
 * Sockets around one epoll set: what came is cut into packets, what was queued leaves in one write for each pass.
 *
 * A pass reads at most 256 KiB of each socket and is level triggered, so that no link starves another. This costs
 * far less CPU for a message than any broker, which is what a load must do on the same machine.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { READ_ROOM = 256 << 10, EVENTS = 512 };

static int epoll_fd, timer_fd;
static unsigned char read_buffer[2 * READ_ROOM];
static struct link **dirty;
static size_t dirty_count, dirty_room;

void loop_open(void)
{
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll_fd < 0 || timer_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, timer_fd, &event))
        die("no epoll set: %s", strerror(errno));
}

void loop_wake_at(uint64_t when)
{
    struct itimerspec timer = {.it_value = {(time_t)(when / 1000000000u), (long)(when % 1000000000u)}};
    timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &timer, NULL);
}

/* ---- opening and closing ---- */

/* Connections come from many loopback addresses: one alone has too few ports for thousands a second. */
void link_open(struct link *link, uint32_t spread)
{
    int on = 1;
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7F000001u + spread % 200)};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)opt.port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    link->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (link->fd < 0)
        die("no socket: %s", strerror(errno));
    setsockopt(link->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(link->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (bind(link->fd, (struct sockaddr *)&from, sizeof from))
        die("cannot bind: %s", strerror(errno));
    if (connect(link->fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS)
        die("cannot connect to port %d: %s", opt.port, strerror(errno));
    link->blocked = true;   /* until it is writable, which is when it is connected */
    link->dirty = false;
    link->out_at = link->out_length = link->rest_length = 0;
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.ptr = link};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, link->fd, &event))
        die("cannot watch a socket: %s", strerror(errno));
}

void link_close(struct link *link)
{
    if (link->fd >= 0)
        close(link->fd);
    link->fd = -1;
    free(link->rest);
    free(link->out);
    link->rest = link->out = NULL;
    link->rest_room = link->out_room = link->out_length = link->out_at = 0;
}

/* ---- out ---- */

unsigned char *link_reserve(struct link *link, size_t length)
{
    size_t needed = link->out_length + length;
    if (needed > link->out_room) {
        link->out_room = needed * 2;
        link->out = realloc(link->out, link->out_room);
        if (!link->out)
            die("out of memory");
    }
    return link->out + link->out_length;
}

void link_written(struct link *link, size_t length)
{
    link->out_length += length;
    if (link->dirty)
        return;
    link->dirty = true;
    if (dirty_count == dirty_room) {
        dirty_room = dirty_room ? 2 * dirty_room : 64;
        dirty = realloc(dirty, dirty_room * sizeof *dirty);
        if (!dirty)
            die("out of memory");
    }
    dirty[dirty_count++] = link;
}

static void watch_writing(struct link *link, bool on)
{
    struct epoll_event event = {.events = EPOLLIN | (on ? EPOLLOUT : 0), .data.ptr = link};
    link->blocked = on;
    epoll_ctl(epoll_fd, EPOLL_CTL_MOD, link->fd, &event);
}

static void flush(struct link *link)
{
    while (link->fd >= 0 && link->out_at < link->out_length) {
        ssize_t sent = send(link->fd, link->out + link->out_at, link->out_length - link->out_at, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) {
            if (!link->blocked)
                watch_writing(link, true);
            return;
        }
        if (sent < 0 && link->on_end)
            return;         /* its end will be read */
        if (sent < 0)
            die("cannot write: %s", strerror(errno));
        link->out_at += (size_t)sent;
    }
    link->out_at = link->out_length = 0;
}

void flush_all(void)
{
    for (size_t i = 0; i < dirty_count; i++) {
        dirty[i]->dirty = false;
        if (!dirty[i]->blocked)
            flush(dirty[i]);
    }
    dirty_count = 0;
}

/* ---- in ---- */

static void keep_rest(struct link *link, const unsigned char *data, size_t length)
{
    if (length > link->rest_room) {
        link->rest_room = length * 2;
        link->rest = realloc(link->rest, link->rest_room);
        if (!link->rest)
            die("out of memory");
    }
    if (length)
        memcpy(link->rest, data, length);
    link->rest_length = length;
}

static void receive(struct link *link)
{
    size_t have = link->rest_length;
    if (have > READ_ROOM)
        die("the broker sent a packet of more than %d bytes", READ_ROOM);
    ssize_t came = recv(link->fd, read_buffer + have, READ_ROOM, 0);
    if (came < 0 && errno == EAGAIN)
        return;
    if (came <= 0) {
        if (!link->on_end)
            die("the broker closed a connection: %s", came ? strerror(errno) : "end of stream");
        link->on_end(link);
        return;
    }
    if (have)
        memcpy(read_buffer, link->rest, have);
    size_t at = 0, length = have + (size_t)came, taken;
    struct packet packet;
    while (link->fd >= 0 && (taken = next_packet(read_buffer + at, length - at, &packet))) {
        link->on_packet(link, &packet);
        at += taken;
    }
    if (link->fd >= 0)
        keep_rest(link, read_buffer + at, length - at);
}

void loop_once(int milliseconds)
{
    struct epoll_event events[EVENTS];
    int count = epoll_wait(epoll_fd, events, EVENTS, milliseconds);
    for (int i = 0; i < count; i++) {
        struct link *link = events[i].data.ptr;
        if (!link) {
            uint64_t times;
            if (read(timer_fd, &times, sizeof times) < 0 && errno != EAGAIN)
                die("cannot read the timer: %s", strerror(errno));
            continue;
        }
        if (link->fd >= 0 && events[i].events & EPOLLOUT) {
            watch_writing(link, false);
            flush(link);
        }
        if (link->fd >= 0 && events[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP))
            receive(link);
    }
}
