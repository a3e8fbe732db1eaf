/* rig.h - an engine with an owner that tests steer, and peers that talk to
 * it over socket pairs.
 *
 * Included once by a program, after check.h.  The owner reads a request's
 * body, then answers "200" with `answer_bytes` bytes of a known pattern;
 * the fields of struct rig change what it does.  Nothing here sleeps: what
 * must happen is waited for, and at most WAIT_MS.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_TESTS_RIG_H
#define GL_TESTS_RIG_H

#include "base/clock.h"
#include "base/gl.h"
#include "engine/engine.h"
#include "engine/request.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#define WAIT_MS 10000
#define TURNS_MAX 5000 /* without waiting: more is a spin */
#define STATUSES_BYTES 4096
#define GET(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"

struct rig {
    struct gl_engine *engine; /* owned, from rig_open on */
    struct gl_options options;
    struct gl_log log;
    struct gl_access_log *access_log;     /* borrowed; may be NULL */
    const struct gl_transport *transport; /* plain, unless changed */
    const struct gl_protocol *protocol;   /* http1, unless changed */
    void (*on_start)(struct rig *rig); /* before each request; may be NULL */
    /* Answers without a slot, if it returns true; may be NULL. */
    bool (*on_answer)(struct rig *rig, struct gl_request *req);
    bool hold;      /* answers wait for rig_release */
    bool skip_body; /* leaves the body unread */
    bool part_body; /* reads one byte of it */
    bool close;     /* ends the connection after the answer */
    bool quiet;     /* says that no code follows the answer */
    size_t answer_bytes;
    int send_buffer_bytes;  /* of the server's sockets; 0: the default */
    struct gl_list held;    /* exchanges that wait for rig_release */
    struct gl_list waiting; /* for a body, or to send */
    unsigned started, departed, drained, answered, failed;
    unsigned log_lines, waits_begun, waits_ended;
    int last_error;      /* of the last that failed */
    uint64_t body_bytes; /* read by the owner */
    size_t order_n;
    char order[4096]; /* the last byte of each path, as they started */
};

struct rig_exchange {
    struct gl_waiter waiter;
    struct gl_list link;
    struct rig *rig;
    struct gl_request *req;
    char *answer; /* owned; NULL before the body is read */
    size_t n, at;
};

struct rig_peer {
    int fd;    /* -1: closed */
    char *got; /* owned */
    size_t n;
    bool ended; /* the server ended its side */
    bool reset;
};

/* --- the owner -------------------------------------------------------- */

/* The byte at `at` of every answer's body. */
static inline char
rig_pattern(size_t at)
{
    return (char)('a' + at % 23);
}

static inline void
rig_write_answer(struct rig_exchange *x)
{
    size_t body = x->req->head_only ? 0 : x->rig->answer_bytes;
    char head[128];
    int n = snprintf(head, sizeof(head),
                     "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n%s\r\n",
                     x->rig->answer_bytes,
                     gl_request_keeps(x->req) ? "" : "Connection: close\r\n");

    x->n = (size_t)n + body;
    x->answer = __real_malloc(x->n);
    if (x->answer == NULL) {
        abort();
    }
    memcpy(x->answer, head, (size_t)n);
    for (size_t i = 0; i < body; i++) {
        x->answer[(size_t)n + i] = rig_pattern(i);
    }
}

static inline void
rig_end(struct rig_exchange *x, int error)
{
    struct rig *rig = x->rig;
    struct gl_request *req = x->req;

    gl_list_remove(&x->link);
    free(x->answer);
    free(x);
    rig->answered += error == 0;
    if (error < 0) {
        rig->failed++;
        rig->last_error = error;
    }
    gl_request_finish(req, error == 0 && !rig->close);
}

/* Returns 0 when the body is read, or -errno. */
static inline ssize_t
rig_read_body(struct rig_exchange *x)
{
    char bytes[1000];
    size_t want = x->rig->part_body ? 1 : sizeof(bytes);
    ssize_t n = 1;

    while (!x->rig->skip_body && n > 0) {
        n = gl_request_read(x->req, bytes, want);
        x->rig->body_bytes += n > 0 ? (uint64_t)n : 0;
        if (n > 0 && x->rig->part_body) {
            return 0;
        }
    }
    return n > 0 ? 0 : n;
}

/* Sends on.  Returns 0 when all is sent, or -errno. */
static inline ssize_t
rig_send(struct rig_exchange *x)
{
    while (x->at < x->n) {
        struct iovec iov[2] = {
            {x->answer + x->at, (x->n - x->at) / 2},
            {x->answer + x->at + (x->n - x->at) / 2, (x->n - x->at + 1) / 2},
        };
        ssize_t n = gl_request_send(x->req, iov, 2, true);

        if (n < 0) {
            return n;
        }
        x->at += (size_t)n;
    }
    return 0;
}

/* Goes on as far as it can; ends the exchange when nothing is left. */
static inline void
rig_advance(struct rig_exchange *x)
{
    bool reading = x->answer == NULL;
    ssize_t n = reading ? rig_read_body(x) : 0;

    gl_list_remove(&x->link);
    if (reading && n == 0) {
        rig_write_answer(x);
        reading = false;
        if (x->rig->hold) {
            gl_list_push(&x->rig->held, &x->link);
            return;
        }
    }
    if (!reading) {
        n = rig_send(x);
    }
    if (n == -EAGAIN) {
        n = reading ? gl_request_wait_read(x->req, &x->waiter)
                    : gl_request_wait_write(x->req, &x->waiter);
        if (n == 0) {
            gl_list_push(&x->rig->waiting, &x->link);
            return;
        }
    }
    rig_end(x, (int)n);
}

static inline void
rig_wake(struct gl_waiter *waiter, int result)
{
    struct rig_exchange *x =
        GL_CONTAINER_OF(waiter, struct rig_exchange, waiter);

    if (result < 0) {
        rig_end(x, result);
    } else {
        rig_advance(x);
    }
}

static inline bool
rig_answer(void *owner, struct gl_request *req)
{
    struct rig *rig = owner;

    return rig->on_answer != NULL && rig->on_answer(rig, req);
}

static inline void
rig_start(void *owner, struct gl_request *req)
{
    struct rig *rig = owner;
    struct gl_str path = gl_span_str(req->bytes, req->head->path);
    struct rig_exchange *x = __real_calloc(1, sizeof(*x));

    if (x == NULL) {
        abort();
    }
    rig->started++;
    if (rig->on_start != NULL) {
        rig->on_start(rig);
    }
    if (path.n > 0 && rig->order_n < sizeof(rig->order) - 1) {
        rig->order[rig->order_n++] = path.p[path.n - 1];
    }
    x->waiter.wake = rig_wake;
    x->rig = rig;
    x->req = req;
    req->quiet_end = rig->quiet;
    rig_advance(x);
}

static inline void
rig_departed(void *owner, struct gl_request *req)
{
    ((struct rig *)owner)->departed++;
    (void)gl_request_departed(req); /* may be asked here */
}

static inline void
rig_drained(void *owner)
{
    ((struct rig *)owner)->drained++;
}

static inline void
rig_before_wait(void *owner)
{
    ((struct rig *)owner)->waits_begun++;
}

static inline void
rig_after_wait(void *owner)
{
    ((struct rig *)owner)->waits_ended++;
}

/* Lets the first held exchange answer; false: there was none. */
static inline bool
rig_release(struct rig *rig)
{
    struct gl_list *link = gl_list_pop(&rig->held);

    if (link != NULL) {
        rig_advance(GL_CONTAINER_OF(link, struct rig_exchange, link));
    }
    return link != NULL;
}

/* --- the engine ------------------------------------------------------- */

static inline void
rig_log(void *rig, enum gl_log_level level, const char *line, size_t n)
{
    (void)level;
    (void)line;
    (void)n;
    ((struct rig *)rig)->log_lines++;
}

/* Makes the rig's fields ready; change what is to be otherwise, then call
 * rig_open. */
static inline void
rig_init(struct rig *rig)
{
    *rig = (struct rig){.transport = &gl_transport_plain,
                        .protocol = &gl_protocol_http1,
                        .answer_bytes = 5};
    gl_options_init(&rig->options);
    rig->log = (struct gl_log){GL_LOG_INFO, rig_log, rig};
    gl_list_init(&rig->held);
    gl_list_init(&rig->waiting);
}

static const struct gl_engine_ops rig_ops = {
    .answer = rig_answer,
    .start = rig_start,
    .departed = rig_departed,
    .before_wait = rig_before_wait,
    .after_wait = rig_after_wait,
    .drained = rig_drained,
};

static inline void
rig_open(struct rig *rig)
{
    if (gl_engine_new(&rig_ops, rig, &rig->options, &rig->log,
                      rig->access_log, &rig->engine) < 0) {
        abort();
    }
}

/* Runs all that is ready, without waiting. */
static inline void
rig_run(struct rig *rig)
{
    int turns = 0, n;

    do {
        n = gl_engine_turn(rig->engine, 0, &gl_budget_default);
        turns++;
    } while ((n > 0 || n == -EINTR) && turns < TURNS_MAX);
    CHECK(turns < TURNS_MAX);
}

/* A turn that waits; false when the time for waiting has passed. */
static inline bool
rig_wait(struct rig *rig, uint64_t until_ms)
{
    (void)gl_engine_turn(rig->engine, 20, &gl_budget_default);
    return gl_clock_ms() < until_ms;
}

/* Turns until the condition holds, or too long; `action` before each. */
#define RIG_WHILE(rig, action, condition)                    \
    do {                                                     \
        uint64_t until_ms_ = gl_clock_ms() + WAIT_MS;        \
        while (!(condition) && rig_wait((rig), until_ms_)) { \
            action;                                          \
        }                                                    \
        CHECK(condition);                                    \
    } while (0)
#define RIG_UNTIL(rig, condition) RIG_WHILE(rig, (void)0, condition)

/* No connection, request or exchange is left. */
static inline bool
rig_is_empty(const struct rig *rig)
{
    struct gl_engine_stats stats = gl_engine_stats(rig->engine);

    return stats.connections == 0 && stats.running == 0 &&
           stats.waiting == 0 && gl_list_empty(&rig->held) &&
           gl_list_empty(&rig->waiting);
}

/* Ends what still runs, and frees the engine. */
static inline void
rig_close(struct rig *rig)
{
    struct gl_list *link;

    while ((link = gl_list_pop(&rig->held)) != NULL ||
           (link = gl_list_pop(&rig->waiting)) != NULL) {
        struct rig_exchange *x =
            GL_CONTAINER_OF(link, struct rig_exchange, link);

        gl_request_forget(x->req, &x->waiter);
        rig_end(x, -ECANCELED);
    }
    CHECK(gl_engine_stats(rig->engine).running == 0);
    gl_engine_free(rig->engine);
    rig->engine = NULL;
}

/* --- peers ------------------------------------------------------------ */

/* Connects a peer through a socket pair; false when it was not adopted. */
static inline bool
rig_connect(struct rig *rig, struct rig_peer *peer)
{
    static const struct gl_peer name = {.text = "10.0.0.7", .port = 1234};
    int fds[2], error;

    *peer = (struct rig_peer){.fd = -1};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
                   fds) < 0) {
        abort();
    }
    if (rig->send_buffer_bytes > 0) {
        (void)setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF,
                         &rig->send_buffer_bytes, sizeof(int));
    }
    error = gl_engine_adopt(rig->engine, fds[0], &name, rig->transport,
                            rig->protocol, NULL);
    peer->fd = fds[1];
    return error == 0;
}

/* Makes a TCP pair: *ret_client is the caller's, the result is accepted. */
static inline int
rig_tcp_pair(int *ret_client)
{
    struct sockaddr_in addr = {.sin_family = AF_INET};
    socklen_t n = sizeof(addr);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fd;

    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(listener, (void *)&addr, sizeof(addr)) < 0 ||
        listen(listener, 1) < 0 ||
        getsockname(listener, (void *)&addr, &n) < 0 ||
        connect(client, (void *)&addr, sizeof(addr)) < 0) {
        abort();
    }
    fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    close(listener);
    *ret_client = client;
    return fd;
}

/* Connects a peer through TCP. */
static inline bool
rig_connect_tcp(struct rig *rig, struct rig_peer *peer)
{
    static const struct gl_peer name = {.text = "127.0.0.1", .port = 1};
    int fd;

    *peer = (struct rig_peer){0};
    fd = rig_tcp_pair(&peer->fd);
    return gl_engine_adopt(rig->engine, fd, &name, rig->transport,
                           rig->protocol, NULL) == 0;
}

static inline void
peer_send(struct rig_peer *peer, const char *bytes, size_t n)
{
    CHECK(send(peer->fd, bytes, n, MSG_NOSIGNAL) == (ssize_t)n);
}

/* Sends a text and lets the engine run. */
static inline void
peer_say(struct rig *rig, struct rig_peer *peer, const char *text)
{
    peer_send(peer, text, strlen(text));
    rig_run(rig);
}

/* Takes what has come; returns the bytes. */
static inline size_t
peer_read(struct rig_peer *peer)
{
    static char bytes[65536];
    size_t before = peer->n;

    while (!peer->ended && !peer->reset) {
        ssize_t n = recv(peer->fd, bytes, sizeof(bytes), MSG_DONTWAIT);

        if (n < 0) {
            peer->reset = errno != EAGAIN;
            break;
        }
        peer->ended = n == 0;
        peer->got = __real_realloc(peer->got, peer->n + (size_t)n + 1);
        memcpy(peer->got + peer->n, bytes, (size_t)n);
        peer->n += (size_t)n;
        peer->got[peer->n] = '\0';
    }
    return peer->n - before;
}

static inline void
peer_close(struct rig_peer *peer)
{
    if (peer->fd >= 0) {
        close(peer->fd);
    }
    free(peer->got);
    *peer = (struct rig_peer){.fd = -1};
}

/* Closes with a reset (of a TCP connection). */
static inline void
peer_reset(struct rig_peer *peer)
{
    const struct linger hard = {.l_onoff = 1};

    (void)setsockopt(peer->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
    peer_close(peer);
}

/* memmem(), with which -Wnonnull sees ghosts under the sanitizers. */
static inline const char *
find_text(const char *at, size_t n, const char *text)
{
    size_t size = strlen(text);

    for (size_t i = 0; i + size <= n; i++) {
        if (memcmp(at + i, text, size) == 0) {
            return at + i;
        }
    }
    return NULL;
}

/* The length of the answer at `at`, or 0 if it is not whole or not right. */
static inline size_t
answer_size(const char *at, size_t n, bool head_only)
{
    const char *end = find_text(at, n, "\r\n\r\n");
    const char *length;
    size_t size;

    if (end == NULL || strncmp(at, "HTTP/1.1 ", 9) != 0) {
        return 0;
    }
    size = (size_t)(end - at) + 4;
    length = find_text(at, size, "\r\nContent-Length: ");
    if (length != NULL && !head_only) {
        size += strtoul(length + 18, NULL, 10);
    }
    return size <= n ? size : 0;
}

/* The statuses of all that a peer got, as "200 200 400"; "?" ends it where
 * an answer is cut or is not one.  Borrowed until the next call. */
static inline const char *
peer_statuses(struct rig_peer *peer, bool head_only)
{
    static char text[STATUSES_BYTES];
    size_t out = 0, at = 0, n = 1;

    (void)peer_read(peer);
    text[0] = '\0';
    while (at < peer->n && n > 0 && out < sizeof(text) - 8) {
        n = answer_size(peer->got + at, peer->n - at, head_only);
        out += (size_t)snprintf(text + out, sizeof(text) - out, "%s%.3s",
                                out > 0 ? " " : "",
                                n > 0 ? peer->got + at + 9 : "?");
        at += n;
    }
    return text;
}

/* Whether the peer got these statuses.  Says what it got, if not. */
static inline bool
peer_got(struct rig_peer *peer, const char *statuses)
{
    const char *got = peer_statuses(peer, false);
    bool same = strcmp(got, statuses) == 0;

    if (!same) {
        fprintf(stderr, "  expected \"%s\", got \"%s\"\n", statuses, got);
    }
    return same;
}

/* Forgets what has come. */
static inline void
peer_forget(struct rig_peer *peer)
{
    free(peer->got);
    peer->got = NULL;
    peer->n = 0;
}

#endif
