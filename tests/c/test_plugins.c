/* test_plugins.c - a second transport and a second protocol, plugged into
 * connections from outside.
 *
 * The transport moves one byte at a time and is often not ready.  The
 * protocol's requests are lines: a path and a line feed.
 *
 * SPDX-License-Identifier: MIT
 */
#include "check.h"
#include "engine/engine_private.h"
#include "rig.h"

/* --- the transport ---------------------------------------------------- */

struct drip {
    unsigned receives, writes;
};

static unsigned drips_open; /* that were not closed yet */

static struct drip *
drip_of(struct gl_conn *conn)
{
    if (conn->transport_state == NULL) {
        conn->transport_state = __real_calloc(1, sizeof(struct drip));
        drips_open++;
    }
    return conn->transport_state;
}

/* Not now; the change of the watch announces what is ready. */
static ssize_t
not_now(struct gl_conn *conn, uint32_t events)
{
    CHECK(gl_poller_change(&conn->engine->poller, &conn->watch,
                           conn->watch.events | events) == 0);
    return -EAGAIN;
}

static ssize_t
drip_recv(struct gl_conn *conn, void *dst, size_t n, bool *ret_drained)
{
    ssize_t got;

    CHECK(n > 0);
    *ret_drained = true;
    if (++drip_of(conn)->receives % 3 == 0) {
        return not_now(conn, 0);
    }
    got = gl_sock_recv(conn->watch.fd, dst, 1);
    *ret_drained = got < 0;
    return got;
}

static ssize_t
drip_writev(struct gl_conn *conn, const struct iovec *iov, int count)
{
    int i = 0;

    if (++drip_of(conn)->writes % 3 == 0) {
        return not_now(conn, EPOLLOUT);
    }
    while (i + 1 < count && iov[i].iov_len == 0) {
        i++;
    }
    return gl_sock_writev(
        conn->watch.fd, &(struct iovec){iov[i].iov_base, iov[i].iov_len > 0},
        1);
}

static int
drip_shutdown_write(struct gl_conn *conn)
{
    return gl_sock_shutdown_write(conn->watch.fd);
}

static void
drip_close(struct gl_conn *conn)
{
    drips_open -= conn->transport_state != NULL;
    free(conn->transport_state);
    conn->transport_state = NULL;
}

static const struct gl_transport drip = {
    .name = "drip",
    .scheme = "https",
    .recv = drip_recv,
    .writev = drip_writev,
    .shutdown_write = drip_shutdown_write,
    .close = drip_close,
};

#define EXPECT                                            \
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n" \
    "Expect: 100-continue\r\n\r\n"
#define POST "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12345"
#define CHUNKED                                                        \
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" \
    "5\r\n12345\r\n0\r\nA: b\r\n\r\n"

static const struct {
    const char *wire;
    const char *statuses;
    bool ends;
} rows[] = {
    {GET("/"), "200", false},
    {GET("/") GET("/") GET("/"), "200 200 200", false},
    {POST GET("/"), "200 200", false},
    {CHUNKED POST CHUNKED, "200 200 200", false},
    {EXPECT "abc" GET("/"), "200 200", false},
    {EXPECT, "100", false},
    {"GET\r\n\r\n", "400", true},
    {GET("/") "GET\r\n\r\n", "200 400", true},
    {"GET / HTTP/1.0\r\n\r\n", "200", true},
};

static void
open_with(struct rig *rig, const struct gl_transport *transport,
          const struct gl_protocol *protocol)
{
    rig_init(rig);
    rig->transport = transport;
    rig->protocol = protocol;
}

static void
end_test(struct rig *rig, struct rig_peer *peer)
{
    peer_close(peer);
    RIG_UNTIL(rig, rig_is_empty(rig));
    rig_close(rig);
    CHECK(drips_open == 0);
}

static void
test_transport(bool half_close)
{
    for (size_t i = 0; i < GL_ARRAY_LEN(rows); i++) {
        struct rig rig;
        struct rig_peer peer;
        /* A body that never comes is a failure, not an answer. */
        bool whole = strcmp(rows[i].statuses, "100") != 0;

        check_case("drip: %.60s, half-close %d", rows[i].wire, half_close);
        open_with(&rig, &drip, &gl_protocol_http1);
        rig_open(&rig);
        CHECK(rig_connect(&rig, &peer));
        peer_say(&rig, &peer, rows[i].wire);
        if (half_close) {
            CHECK(shutdown(peer.fd, SHUT_WR) == 0);
        }
        RIG_UNTIL(&rig,
                  strcmp(peer_statuses(&peer, false), rows[i].statuses) == 0);
        rig_run(&rig);
        (void)peer_read(&peer);
        CHECK(peer.ended == (rows[i].ends || half_close));
        CHECK(rig.failed == (half_close && !whole));
        end_test(&rig, &peer);
    }
}

static void
test_transport_with_much_to_say(void)
{
    enum { BYTES = 20000 };
    struct rig rig;
    struct rig_peer peer;

    check_case("drip: long answer");
    open_with(&rig, &drip, &gl_protocol_http1);
    rig.answer_bytes = BYTES;
    rig_open(&rig);
    CHECK(rig_connect(&rig, &peer));
    peer_say(&rig, &peer, GET("/") GET("/"));
    RIG_UNTIL(&rig, strcmp(peer_statuses(&peer, false), "200 200") == 0);
    CHECK(memcmp(peer.got, "HTTP/1.1 200 OK\r\n", 17) == 0);
    for (size_t i = 0; i < BYTES; i++) {
        if (!CHECK(peer.got[peer.n - BYTES + i] == rig_pattern(i))) {
            break;
        }
    }
    end_test(&rig, &peer);
}

static void
test_transport_without_sendfile(void)
{
    struct rig rig;
    struct rig_peer peer;
    struct rig_exchange *x;
    off_t offset = 0;

    check_case("drip: sendfile");
    open_with(&rig, &drip, &gl_protocol_http1);
    rig.hold = true;
    rig_open(&rig);
    CHECK(rig_connect(&rig, &peer));
    peer_say(&rig, &peer, GET("/"));
    x = GL_CONTAINER_OF(rig.held.next, struct rig_exchange, link);
    CHECK(!gl_request_has_sendfile(x->req));
    CHECK(gl_request_sendfile(x->req, 0, &offset, 1) == -ENOSYS);
    CHECK(rig_release(&rig));
    end_test(&rig, &peer);
}

/* --- the protocol ----------------------------------------------------- */

#define LINE_MAX_BYTES 20

static void
line_begin(struct gl_head *head)
{
    memset(head, 0, offsetof(struct gl_head, fields));
}

static enum gl_intake
line_intake(struct gl_conn *conn, struct gl_head *head, struct gl_str bytes,
            int *ret_status)
{
    const char *end = memchr(bytes.p, '\n', bytes.n);

    (void)conn;
    if (end == NULL && bytes.n <= LINE_MAX_BYTES) {
        return GL_INTAKE_MORE;
    }
    if (end == NULL || *bytes.p != '/') {
        *ret_status = 414;
        return GL_INTAKE_REFUSE;
    }
    head->path = (struct gl_span){0, (uint32_t)(end - bytes.p)};
    head->size = head->path.n + 1;
    head->keep_alive = true;
    return GL_INTAKE_REQUEST;
}

static enum gl_chunk_event
line_body(struct gl_request *req, struct gl_str *in, struct gl_str *data)
{
    (void)req;
    (void)in;
    (void)data;
    return GL_CHUNK_END;
}

static size_t
line_refusal(char *dst, int status, const char *date, int head_only)
{
    (void)date;
    (void)head_only;
    return (size_t)snprintf(dst, 64, "HTTP/1.1 %d\r\n\r\n", status);
}

static const struct gl_protocol line = {
    .name = "line",
    .keeps_alive = true,
    .begin = line_begin,
    .intake = line_intake,
    .body = line_body,
    .invitation = {"", 0},
    .refusal = line_refusal,
};

static void
check_lines(const struct gl_transport *transport, const char *wire,
            size_t step, const char *statuses, const char *order)
{
    struct rig rig;
    struct rig_peer peer;
    size_t n = strlen(wire);

    check_case("lines: %s by %s, step %zu", wire, transport->name, step);
    open_with(&rig, transport, &line);
    rig_open(&rig);
    CHECK(rig_connect(&rig, &peer));
    for (size_t at = 0; at < n; at += step) {
        size_t len = n - at < step ? n - at : step;

        (void)!send(peer.fd, wire + at, len, MSG_NOSIGNAL);
        rig_run(&rig);
    }
    RIG_UNTIL(&rig, strcmp(peer_statuses(&peer, false), statuses) == 0);
    CHECK(strlen(order) == rig.order_n &&
          memcmp(rig.order, order, rig.order_n) == 0);
    end_test(&rig, &peer);
}

static void
test_protocol(const struct gl_transport *transport)
{
    for (size_t step = 1; step < 30; step++) {
        check_lines(transport, "/a\n", step, "200", "a");
        check_lines(transport, "/a\n/b\n/cd\n/e", step, "200 200 200", "abd");
        check_lines(transport, "/a\n/b\nc\n", step, "200 200 414", "ab");
        check_lines(transport, "/a\n/23456789012345678901", step, "200 414",
                    "a");
    }
}

/* A protocol may hold one request a connection. */
static void
test_protocol_without_keep_alive(void)
{
    struct gl_protocol once = line;
    struct rig rig;
    struct rig_peer peer;

    check_case("lines: no keep-alive");
    once.keeps_alive = false;
    open_with(&rig, &gl_transport_plain, &once);
    rig_open(&rig);
    CHECK(rig_connect(&rig, &peer));
    peer_say(&rig, &peer, "/a\n/b\n");
    CHECK(peer_got(&peer, "200"));
    CHECK(peer.ended && rig.started == 1);
    end_test(&rig, &peer);
}

int
main(void)
{
    test_transport(false);
    test_transport(true);
    test_transport_with_much_to_say();
    test_transport_without_sendfile();
    test_protocol(&gl_transport_plain);
    test_protocol(&drip);
    test_protocol_without_keep_alive();
    return check_end();
}
