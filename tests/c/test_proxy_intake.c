/* test_proxy_intake.c - connections that begin with a PROXY header: who is
 * let in, slow and broken headers, and system calls that fail.
 *
 * link: wraps of the system calls, see meson.build
 *
 * SPDX-License-Identifier: MIT
 */
#include "check.h"
#include "engine/engine_private.h"
#include "rig.h"

#include <sys/epoll.h>

#define V1 "PROXY TCP4 192.0.2.1 10.0.0.7 4711 80\r\n"
#define V1_TRUSTED "PROXY TCP4 10.9.9.9 10.0.0.7 4711 80\r\n"
#define V2 "\r\n\r\n\0\r\nQUIT\n"
#define V2_CLIENT V2 "\x21\x11\0\x0c\xc0\0\x02\x02\x0a\0\0\x07\x12\x67\0\x50"
#define V2_LOCAL V2 "\x20\0\0\0"
#define SIZE(text) (sizeof(text) - 1)

/* --- calls that fail -------------------------------------------------- */

static struct {
    unsigned long recv_fails_in, epoll_fails_in; /* 0: none does */
    int error;                                   /* 0: a short count */
} fault;

ssize_t __real_recv(int fd, void *dst, size_t n, int flags);
ssize_t __wrap_recv(int fd, void *dst, size_t n, int flags);
int __real_epoll_ctl(int fd, int op, int of, struct epoll_event *event);
int __wrap_epoll_ctl(int fd, int op, int of, struct epoll_event *event);

ssize_t
__wrap_recv(int fd, void *dst, size_t n, int flags)
{
    /* The peers ask with MSG_DONTWAIT, the engine not. */
    if (!(flags & MSG_DONTWAIT) && fault.recv_fails_in > 0 &&
        --fault.recv_fails_in == 0) {
        if (fault.error == 0) {
            return __real_recv(fd, dst, n / 2, flags);
        }
        errno = fault.error;
        return -1;
    }
    return __real_recv(fd, dst, n, flags);
}

int
__wrap_epoll_ctl(int fd, int op, int of, struct epoll_event *event)
{
    if (op == EPOLL_CTL_ADD && fault.epoll_fails_in > 0 &&
        --fault.epoll_fails_in == 0) {
        errno = ENOMEM;
        return -1;
    }
    return __real_epoll_ctl(fd, op, of, event);
}

/* --- the rig ---------------------------------------------------------- */

static struct seen {
    char peer[GL_ADDR_TEXT_BYTES];
    unsigned port;
    bool trusted;
    unsigned starts;
} seen; /* of the last request */

/* There is one connection at a time. */
static void
note_request(struct rig *rig)
{
    struct gl_conn *conn =
        GL_CONTAINER_OF(rig->engine->connections.next, struct gl_conn, link);

    memcpy(seen.peer, conn->peer.text, sizeof(seen.peer));
    seen.port = conn->peer.port;
    seen.trusted = gl_request_peer_is_trusted(conn->request);
    seen.starts++;
}

/* An engine that trusts these alone; rig_connect's peer is 10.0.0.7. */
static void
open_rig(struct rig *rig, bool proxy_protocol, const char *trusted)
{
    struct gl_trust trust = {.fields = GL_TRUST_DEFAULT};

    seen = (struct seen){.starts = 0};
    rig_init(rig);
    rig->options.proxy_protocol = proxy_protocol;
    rig->on_start = note_request;
    rig_open(rig);
    if (trusted != NULL) {
        CHECK(gl_networks_add(&trust.proxies,
                              (struct gl_str){trusted, strlen(trusted)}) ==
              0);
    }
    gl_engine_set_trust(rig->engine, &trust);
    CHECK(trust.proxies.rows == NULL); /* it was moved */
}

/* --- headers ---------------------------------------------------------- */

static const struct {
    const char *name, *header;
    size_t n;
    const char *peer;
    unsigned port;
    bool trusted;
} headers[] = {
    {"v1", V1, SIZE(V1), "192.0.2.1", 4711, false},
    {"v1, trusted", V1_TRUSTED, SIZE(V1_TRUSTED), "10.9.9.9", 4711, true},
    {"v1, unknown", "PROXY UNKNOWN\r\n", 15, "10.0.0.7", 1234, false},
    {"v2", V2_CLIENT, SIZE(V2_CLIENT), "192.0.2.2", 4711, false},
    {"v2, local", V2_LOCAL, SIZE(V2_LOCAL), "10.0.0.7", 1234, true},
    {"v2, unspecified", V2 "\x21\0\0\0", 16, "10.0.0.7", 1234, false},
};

/* Sends the header and two requests in pieces of `step` bytes. */
static void
send_in_pieces(struct rig *rig, struct rig_peer *peer, size_t which,
               size_t step)
{
    char bytes[256];
    size_t n = headers[which].n;

    memcpy(bytes, headers[which].header, n);
    n += (size_t)snprintf(bytes + n, sizeof(bytes) - n, "%s",
                          GET("/1") GET("/2"));
    for (size_t at = 0; at < n; at += step) {
        peer_send(peer, bytes + at, n - at < step ? n - at : step);
        rig_run(rig);
    }
}

static void
test_headers(void)
{
    for (size_t i = 0; i < GL_ARRAY_LEN(headers); i++) {
        for (size_t step = 1; step <= 200; step += step < 60 ? 1 : 140) {
            struct rig rig;
            struct rig_peer peer;

            check_case("%s by %zu", headers[i].name, step);
            open_rig(&rig, true, "10.0.0.0/8");
            CHECK(rig_connect(&rig, &peer));
            send_in_pieces(&rig, &peer, i, step);
            CHECK(peer_got(&peer, "200 200"));
            CHECK(seen.starts == 2);
            CHECK(strcmp(seen.peer, headers[i].peer) == 0);
            CHECK(seen.port == headers[i].port);
            CHECK(seen.trusted == headers[i].trusted);
            peer_close(&peer);
            RIG_UNTIL(&rig, rig_is_empty(&rig));
            CHECK(rig.log_lines == 0);
            rig_close(&rig);
        }
    }
}

static void
test_without_headers(void)
{
    static const struct {
        const char *network; /* NULL: none */
        bool trusted;
    } lists[] = {
        {NULL, false}, {"10.0.0.0/24", true}, {"10.0.1.0/24", false}};

    for (size_t i = 0; i < GL_ARRAY_LEN(lists); i++) {
        struct rig rig;
        struct rig_peer peer;

        check_case("no headers, list %zu", i);
        open_rig(&rig, false, lists[i].network);
        CHECK(rig_connect(&rig, &peer));
        peer_say(&rig, &peer, GET("/"));
        CHECK(peer_got(&peer, "200"));
        CHECK(seen.trusted == lists[i].trusted);
        peer_say(&rig, &peer, V1); /* is a request like any other */
        CHECK(peer_got(&peer, "200 400"));
        peer_close(&peer);
        RIG_UNTIL(&rig, rig_is_empty(&rig));
        rig_close(&rig);
    }
}

/* --- who is not let in ------------------------------------------------ */

static bool
was_closed(struct rig_peer *peer)
{
    return peer_read(peer) == 0 && peer->n == 0 &&
           (peer->ended || peer->reset);
}

static void
test_strangers(void)
{
    struct rig rig;
    struct rig_peer peer;

    check_case("strangers");
    open_rig(&rig, true, "192.168.0.0/16");
    for (int i = 0; i < 10; i++) {
        CHECK(!rig_connect(&rig, &peer));
        CHECK(was_closed(&peer));
        peer_close(&peer);
    }
    CHECK(rig.log_lines == 1);
    CHECK(rig.engine->strangers.unsaid == 9);
    rig.engine->strangers.next_ms = 0;
    CHECK(!rig_connect(&rig, &peer));
    peer_close(&peer);
    CHECK(rig.log_lines == 2 && rig.engine->strangers.unsaid == 0);
    CHECK(rig_is_empty(&rig) && seen.starts == 0);
    rig_close(&rig);
}

static void
test_broken_headers(void)
{
    static const struct {
        const char *bytes;
        size_t n;
    } broken[] = {
        {GET("/"), SIZE(GET("/"))},
        {"\x16\x03\x01", 3},
        {"PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n" GET("/"), 60},
        {V2 "\x20\x00\xff\xff", 16},
    };

    for (size_t i = 0; i < GL_ARRAY_LEN(broken); i++) {
        struct rig rig;
        struct rig_peer peer;

        check_case("broken header %zu", i);
        open_rig(&rig, true, "10.0.0.0/8");
        for (int again = 0; again < 2; again++) {
            CHECK(rig_connect(&rig, &peer));
            peer_send(&peer, broken[i].bytes, broken[i].n);
            RIG_UNTIL(&rig, rig_is_empty(&rig));
            CHECK(was_closed(&peer));
            peer_close(&peer);
        }
        CHECK(rig.log_lines == 1 && seen.starts == 0);
        rig_close(&rig);
    }
}

/* A peer that ends its stream after `n` bytes of a header; resets. */
static void
test_ends(void)
{
    for (size_t n = 0; n < SIZE(V1); n++) {
        for (int kind = 0; kind < 3; kind++) {
            struct rig rig;
            struct rig_peer peer;

            check_case("the end after %zu bytes, kind %d", n, kind);
            open_rig(&rig, true, kind < 2 ? "10.0.0.0/8" : "127.0.0.1");
            CHECK(kind < 2 ? rig_connect(&rig, &peer)
                           : rig_connect_tcp(&rig, &peer));
            peer_send(&peer, V1, n);
            rig_run(&rig);
            if (kind == 0) {
                CHECK(shutdown(peer.fd, SHUT_WR) == 0);
            } else if (kind == 1) {
                peer_close(&peer);
            } else {
                peer_reset(&peer);
            }
            RIG_UNTIL(&rig, rig_is_empty(&rig));
            /* A health check that only connects is no error. */
            CHECK(rig.log_lines == (kind < 2 && n > 0));
            CHECK(seen.starts == 0);
            peer_close(&peer);
            rig_close(&rig);
        }
    }
}

static void
test_end_after_header(void)
{
    struct rig rig;
    struct rig_peer peer;

    check_case("header, request and end at once");
    open_rig(&rig, true, "10.0.0.0/8");
    CHECK(rig_connect(&rig, &peer));
    peer_send(&peer, V1 GET("/"), SIZE(V1 GET("/")));
    CHECK(shutdown(peer.fd, SHUT_WR) == 0);
    RIG_UNTIL(&rig, rig_is_empty(&rig));
    CHECK(peer_got(&peer, "200"));
    peer_close(&peer);
    check_case("a health check that sends a header");
    CHECK(rig_connect(&rig, &peer));
    peer_send(&peer, V2_LOCAL, SIZE(V2_LOCAL));
    peer_close(&peer);
    RIG_UNTIL(&rig, rig_is_empty(&rig));
    CHECK(rig.log_lines == 0);
    rig_close(&rig);
}

/* --- time ------------------------------------------------------------- */

static void
test_deadline(void)
{
    static const struct {
        const char *name, *bytes;
        unsigned lines;
    } rows[] = {
        {"nothing", "", 1},
        {"a part", "PROXY TCP4 1.2", 1},
        {"a header alone", V1, 0},
    };

    for (size_t i = 0; i < GL_ARRAY_LEN(rows); i++) {
        struct rig rig;
        struct rig_peer peer;

        check_case("in time: %s", rows[i].name);
        open_rig(&rig, true, "10.0.0.0/8");
        rig.engine->options.head_timeout_ms = 30;
        CHECK(rig_connect(&rig, &peer));
        peer_say(&rig, &peer, rows[i].bytes);
        RIG_UNTIL(&rig, rig_is_empty(&rig));
        CHECK(was_closed(&peer));
        CHECK(rig.log_lines == rows[i].lines);
        peer_close(&peer);
        rig_close(&rig);
    }
}

/* Each byte comes in time, the whole header does not. */
static void
test_drip(void)
{
    struct rig rig;
    struct rig_peer peer;
    size_t at = 0;

    check_case("a header, drop by drop");
    open_rig(&rig, true, "10.0.0.0/8");
    rig.engine->options.head_timeout_ms = 60;
    CHECK(rig_connect(&rig, &peer));
    RIG_WHILE(&rig,
              (void)(at < 30 ? send(peer.fd, V1 + at++, 1, MSG_NOSIGNAL) : 0),
              rig_is_empty(&rig));
    CHECK(was_closed(&peer));
    peer_close(&peer);
    rig_close(&rig);
}

static void
test_drain(void)
{
    struct rig rig;
    struct rig_peer peer;

    check_case("draining: a silent connection");
    open_rig(&rig, true, "10.0.0.0/8");
    CHECK(rig_connect(&rig, &peer));
    rig_run(&rig);
    gl_engine_drain(rig.engine);
    RIG_UNTIL(&rig, rig.drained == 1);
    CHECK(was_closed(&peer) && rig.log_lines == 0);
    peer_close(&peer);
    rig_close(&rig);

    check_case("draining: what has come already");
    open_rig(&rig, true, "10.0.0.0/8");
    CHECK(rig_connect(&rig, &peer));
    peer_send(&peer, V1 GET("/"), SIZE(V1 GET("/")));
    gl_engine_drain(rig.engine);
    RIG_UNTIL(&rig, rig.drained == 1);
    CHECK(peer_got(&peer, "200"));
    peer_close(&peer);
    rig_close(&rig);
}

/* --- failures --------------------------------------------------------- */

/* The nth recv fails: 1 and 2 look at the header (in two pieces), 3 takes
 * it, 4 reads the request. */
static void
test_recv_fails(void)
{
    static const int errors[] = {ECONNRESET, EINTR, EAGAIN, ENOBUFS, 0};

    for (unsigned long nth = 1; nth <= 4; nth++) {
        for (size_t i = 0; i < GL_ARRAY_LEN(errors); i++) {
            struct rig rig;
            struct rig_peer peer;

            check_case("recv %lu fails with %d", nth, errors[i]);
            open_rig(&rig, true, "10.0.0.0/8");
            rig.engine->options.head_timeout_ms = 50; /* ends what waits */
            CHECK(rig_connect(&rig, &peer));
            fault.recv_fails_in = nth;
            fault.error = errors[i];
            peer_say(&rig, &peer, "PROXY TCP4 192.0.2.1 ");
            (void)send(peer.fd, "1.2.3.4 5 6\r\n" GET("/"),
                       SIZE("1.2.3.4 5 6\r\n" GET("/")), MSG_NOSIGNAL);
            rig_run(&rig);
            CHECK(shutdown(peer.fd, SHUT_WR) == 0);
            RIG_UNTIL(&rig, rig_is_empty(&rig));
            (void)peer_read(&peer);
            CHECK(was_closed(&peer) || peer_got(&peer, "200") ||
                  peer_got(&peer, "408"));
            CHECK(seen.starts == 0 || strcmp(seen.peer, "192.0.2.1") == 0);
            CHECK(errors[i] != EINTR || seen.starts == 1);
            fault.recv_fails_in = 0;
            peer_close(&peer);
            rig_close(&rig);
        }
    }
}

static void
test_adopting_fails(void)
{
    struct rig rig;
    struct rig_peer peer;

    open_rig(&rig, true, "10.0.0.0/8");
    for (int kind = 0; kind < 2; kind++) {
        check_case("adopting fails, kind %d", kind);
        fault.epoll_fails_in = kind == 0;
        check_fail_allocation(kind == 1);
        CHECK(!rig_connect(&rig, &peer));
        CHECK(was_closed(&peer) && rig_is_empty(&rig));
        peer_close(&peer);
    }
    rig_close(&rig);
}

int
main(void)
{
    test_headers();
    test_without_headers();
    test_strangers();
    test_broken_headers();
    test_ends();
    test_end_after_header();
    test_deadline();
    test_drip();
    test_drain();
    test_recv_fails();
    test_adopting_fails();
    return check_end();
}
