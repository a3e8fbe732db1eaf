/* floor.c - the least an HTTP server can cost: a bare epoll loop.
 *
 * The benchmark's lower bound.  It answers every request with the same
 * bytes and parses nothing but the blank line that ends a head, so a
 * request must not have a body.  Keep-alive and pipelining work, and a
 * peer that does not read its answers is not read either.
 *
 *     floor PORT        (0: any free port, which is printed)
 *
 * Serves on 127.0.0.1 until a signal ends it.  Stands alone on purpose:
 * nothing of the server that it is compared with is linked.
 *
 * SPDX-License-Identifier: MIT
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define EVENTS_MAX 256
#define ACCEPTS_MAX 64 /* per wake-up; epoll tells of the rest again */
#define SCRATCH_BYTES 16384
#define ANSWER_BYTES 256 /* room for one answer; the real length is less */
#define BATCH 32         /* answers to pipelined requests in one send */
#define BACKLOG 4096

struct conn {
    size_t owed_bytes; /* answers not sent yet */
    uint8_t matched;   /* bytes of "\r\n\r\n" that ended the last read */
    bool waits_write;  /* registered for EPOLLOUT instead of EPOLLIN */
};

struct floor {
    int epoll_fd;
    int listen_fd;
    time_t second;       /* the time that the answers carry as their Date */
    size_t answer_bytes; /* length of one answer: the same every second */
    size_t conn_count;
    struct conn *conns; /* owned; indexed by descriptor */
    char scratch[SCRATCH_BYTES];
    char answers[BATCH * ANSWER_BYTES];
};

/* Writes the batch of answers anew when the second has changed. */
static void
refresh_answers(struct floor *f)
{
    char one[ANSWER_BYTES], date[64];
    time_t now = time(NULL);
    struct tm parts;
    int n;

    if (now == f->second) {
        return;
    }
    f->second = now;
    gmtime_r(&now, &parts);
    strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", &parts);
    n = snprintf(one, sizeof(one),
                 "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
                 "Content-Length: 11\r\nDate: %s\r\nServer: floor\r\n\r\n"
                 "Hello World",
                 date);
    f->answer_bytes = (size_t)n;
    for (size_t i = 0; i < BATCH; i++) {
        memcpy(f->answers + i * f->answer_bytes, one, f->answer_bytes);
    }
}

static int
watch(struct floor *f, int op, int fd, uint32_t events)
{
    struct epoll_event ev = {.events = events, .data.fd = fd};

    return epoll_ctl(f->epoll_fd, op, fd, &ev) < 0 ? -errno : 0;
}

static void
close_conn(struct floor *f, int fd)
{
    f->conns[fd] = (struct conn){0};
    close(fd); /* leaves the epoll set with it */
}

/* Returns how many heads end in the `n` bytes of scratch. */
static size_t
count_heads(struct conn *c, const char *bytes, size_t n)
{
    size_t heads = 0;

    for (size_t i = 0; i < n; i++) {
        if (bytes[i] != "\r\n\r\n"[c->matched]) {
            c->matched = bytes[i] == '\r';
        } else if (++c->matched == 4) {
            c->matched = 0;
            heads++;
        }
    }
    return heads;
}

/* Sends what is owed.  Returns 0, -EAGAIN for a full socket, or the error of
 * a lost connection.  An answer cut by a full socket goes on with the next
 * second's bytes, which differ in the digits of Date alone. */
static int
send_owed(struct floor *f, int fd)
{
    struct conn *c = &f->conns[fd];

    while (c->owed_bytes > 0) {
        size_t unsent = c->owed_bytes % f->answer_bytes;
        size_t start = unsent > 0 ? f->answer_bytes - unsent : 0;
        size_t room = BATCH * f->answer_bytes - start;
        size_t want = c->owed_bytes < room ? c->owed_bytes : room;
        ssize_t n = send(fd, f->answers + start, want, MSG_NOSIGNAL);

        if (n < 0) {
            return -errno;
        }
        c->owed_bytes -= (size_t)n;
    }
    return 0;
}

/* Sends, and registers for the event that can happen next. */
static int
answer(struct floor *f, int fd)
{
    struct conn *c = &f->conns[fd];
    int error = send_owed(f, fd);
    bool full = error == -EAGAIN;

    if (error < 0 && !full) {
        return error;
    }
    if (full == c->waits_write) {
        return 0;
    }
    c->waits_write = full;
    return watch(f, EPOLL_CTL_MOD, fd, full ? EPOLLOUT : EPOLLIN);
}

static int
serve_conn(struct floor *f, int fd)
{
    struct conn *c = &f->conns[fd];
    ssize_t n;

    if (c->waits_write) {
        return answer(f, fd);
    }
    n = recv(fd, f->scratch, sizeof(f->scratch), 0);
    if (n <= 0) {
        return n < 0 ? -errno : -ECONNRESET;
    }
    c->owed_bytes += count_heads(c, f->scratch, (size_t)n) * f->answer_bytes;
    return answer(f, fd);
}

static void
accept_some(struct floor *f)
{
    int one = 1;

    for (int i = 0; i < ACCEPTS_MAX; i++) {
        int fd =
            accept4(f->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0) {
            return; /* none left; whatever else happened, epoll says again */
        }
        if ((size_t)fd >= f->conn_count ||
            watch(f, EPOLL_CTL_ADD, fd, EPOLLIN) < 0) {
            close(fd);
            continue;
        }
        /* Failure is harmless: an answer is one send, Nagle or not. */
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    }
}

static void
dispatch(struct floor *f, int fd)
{
    int error;

    if (fd == f->listen_fd) {
        accept_some(f);
        return;
    }
    error = serve_conn(f, fd);
    if (error < 0 && error != -EAGAIN) {
        close_conn(f, fd);
    }
}

/* Serves until the epoll set fails; returns that error. */
static int
serve(struct floor *f)
{
    struct epoll_event events[EVENTS_MAX];

    for (;;) {
        int n = epoll_wait(f->epoll_fd, events, EVENTS_MAX, -1);

        if (n < 0 && errno != EINTR) {
            return -errno;
        }
        refresh_answers(f);
        for (int i = 0; i < n; i++) {
            dispatch(f, events[i].data.fd);
        }
    }
}

/* Listens on `port` and prints the port.  Returns a descriptor or -errno. */
static int
listen_on(uint16_t port)
{
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_port = htons(port)};
    socklen_t length = sizeof(addr);
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0) {
        return -errno;
    }
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
        bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
        listen(fd, BACKLOG) < 0 ||
        getsockname(fd, (struct sockaddr *)&addr, &length) < 0) {
        int error = -errno;

        close(fd);
        return error;
    }
    printf("listening on %d\n", (int)ntohs(addr.sin_port));
    fflush(stdout);
    return fd;
}

static void
floor_free(struct floor *f)
{
    if (f == NULL) {
        return;
    }
    close(f->epoll_fd);
    free(f->conns);
    free(f);
}

/* Returns a server with room for every descriptor the process may open, or
 * NULL with errno set. */
static struct floor *
floor_new(void)
{
    struct rlimit limit;
    struct floor *f = calloc(1, sizeof(*f));

    if (f == NULL || getrlimit(RLIMIT_NOFILE, &limit) < 0) {
        free(f);
        return NULL;
    }
    f->conn_count = (size_t)limit.rlim_cur;
    f->conns = calloc(f->conn_count, sizeof(*f->conns));
    f->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (f->conns == NULL || f->epoll_fd < 0) {
        floor_free(f);
        return NULL;
    }
    return f;
}

int
main(int argc, char **argv)
{
    long port = argc == 2 ? strtol(argv[1], NULL, 10) : -1;
    struct floor *f = floor_new();
    int error;

    if (f == NULL || port < 0 || port > UINT16_MAX) {
        fprintf(stderr, "usage: floor PORT\n");
        floor_free(f);
        return 2;
    }
    error = f->listen_fd = listen_on((uint16_t)port);
    if (error >= 0) {
        error = watch(f, EPOLL_CTL_ADD, f->listen_fd, EPOLLIN);
    }
    if (error >= 0) {
        error = serve(f);
    }
    fprintf(stderr, "floor: %s\n", strerror(-error));
    floor_free(f);
    return 1;
}
