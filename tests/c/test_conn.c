/* test_conn.c - connections: requests at every cut, pipelines, the queue for
 * slots, refusals, bodies, and how a connection ends.
 *
 * SPDX-License-Identifier: MIT
 */
#include "check.h"
#include "engine/engine_private.h"
#include "rig.h"

#include <fcntl.h>

#define POST(length) \
    "POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: " length "\r\n\r\n"
#define CHUNKED \
    "POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"

/* --- requests at every cut -------------------------------------------- */

static const struct {
    const char *name;
    const char *wire;
    const char *statuses;
    unsigned started;
    bool ends; /* the server closes */
} exchanges[] = {
    {"one", GET("/"), "200", 1, false},
    {"after an empty line", "\r\n" GET("/"), "200", 1, false},
    {"two", GET("/1") GET("/2"), "200 200", 2, false},
    {"close", "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "200",
     1, true},
    {"1.0", "GET / HTTP/1.0\r\n\r\n", "200", 1, true},
    {"1.0 kept", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "200", 1,
     false},
    {"body", POST("5") "12345", "200", 1, false},
    {"body, pipelined", POST("5") "12345" GET("/"), "200 200", 2, false},
    {"chunked", CHUNKED "5\r\n12345\r\n0\r\n\r\n", "200", 1, false},
    {"chunked, trailers, pipelined",
     CHUNKED "5\r\n12345\r\n0\r\nA: b\r\n\r\n" POST("2") "ab" GET("/"),
     "200 200 200", 3, false},
    {"nothing after close",
     "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" GET("/"), "200",
     1, true},
    {"bad", "GET\r\n\r\n", "400", 0, true},
    {"bad second", GET("/") "G@T / HTTP/1.1\r\n\r\n", "200 400", 1, true},
    {"no host", "GET / HTTP/1.1\r\n\r\n", "400", 0, true},
    {"501", "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
     "501", 0, true},
    {"505", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", "505", 0, true},
    {"413", POST("2001"), "413", 0, true},
};

static void
say_in_steps(struct rig *rig, struct rig_peer *peer, const char *wire,
             size_t step)
{
    size_t n = strlen(wire), len;

    for (size_t at = 0; at < n; at += len) {
        len = n - at < step ? n - at : step;
        /* After a refusal the server may have ended already. */
        (void)!send(peer->fd, wire + at, len, MSG_NOSIGNAL);
        rig_run(rig);
    }
}

static void
check_exchange(size_t row, size_t step)
{
    struct rig rig;
    struct rig_peer peer;

    check_case("%s: step %zu", exchanges[row].name, step);
    rig_init(&rig);
    rig.options.body_max_bytes = 2000;
    rig_open(&rig);
    CHECK(rig_connect(&rig, &peer));
    say_in_steps(&rig, &peer, exchanges[row].wire, step);
    CHECK(peer_got(&peer, exchanges[row].statuses));
    CHECK(rig.started == exchanges[row].started);
    CHECK(peer.ended == exchanges[row].ends);
    CHECK(gl_engine_stats(rig.engine).running == 0);
    peer_close(&peer);
    rig_run(&rig);
    CHECK(rig_is_empty(&rig));
    CHECK(rig.failed == 0);
    rig_close(&rig);
}

static void
test_exchanges(void)
{
    for (size_t i = 0; i < GL_ARRAY_LEN(exchanges); i++) {
        size_t n = strlen(exchanges[i].wire);

        for (size_t step = 1; step <= n; step++) {
            check_exchange(i, step);
        }
    }
}

/* --- limits ----------------------------------------------------------- */

static void
check_limit(const char *line, size_t fields, size_t field_bytes,
            const char *status)
{
    static char wire[8192];
    struct rig rig;
    struct rig_peer peer;
    int n = snprintf(wire, sizeof(wire), "%s\r\nHost: a\r\n", line);

    for (size_t i = 0; i < fields; i++) {
        n += snprintf(wire + n, sizeof(wire) - (size_t)n, "A: %0*d\r\n",
                      (int)field_bytes, 0);
    }
    (void)snprintf(wire + n, sizeof(wire) - (size_t)n, "\r\n");
    for (size_t step = 1; step < 1000; step += 997) {
        check_case("%.20s, %zu fields, step %zu", line, fields, step);
        rig_init(&rig);
        rig.options.head_max_bytes = 1024;
        rig.options.line_max_bytes = 64;
        rig.options.fields_max = 10;
        rig_open(&rig);
        CHECK(rig_connect(&rig, &peer));
        say_in_steps(&rig, &peer, wire, step == 1 ? 1 : sizeof(wire));
        CHECK(peer_got(&peer, status));
        CHECK(gl_engine_stats(rig.engine).refused == 1);
        peer_close(&peer);
        rig_run(&rig);
        CHECK(rig_is_empty(&rig));
        rig_close(&rig);
    }
}

static void
test_limits(void)
{
    check_limit("GET /1234567890123456789012345678901234567890123456789012345"
                " HTTP/1.1",
                0, 0, "414");
    check_limit("GET / HTTP/1.1", 10, 1, "431");
    check_limit("GET / HTTP/1.1", 3, 400, "431");
}

/* --- the queue for slots ---------------------------------------------- */

static void
test_queue_is_first_in_first_out(void)
{
    enum { PEERS = 20 };
    struct rig rig;
    struct rig_peer peers[PEERS];
    char expected[PEERS + 1] = "";

    check_case("queue");
    rig_init(&rig);
    rig.options.cores = 1;
    rig.hold = true;
    rig_open(&rig);
    for (int i = 0; i < PEERS; i++) {
        char wire[64];

        expected[i] = (char)('a' + i);
        (void)snprintf(wire, sizeof(wire), GET("/%c"), 'a' + i);
        CHECK(rig_connect(&rig, &peers[i]));
        peer_say(&rig, &peers[i], wire);
    }
    CHECK(rig.started == 1);
    CHECK(gl_engine_stats(rig.engine).running == 1);
    CHECK(gl_engine_stats(rig.engine).waiting == PEERS - 1);
    CHECK(gl_engine_stats(rig.engine).queued == PEERS - 1);
    while (rig_release(&rig)) {
        rig_run(&rig);
        gl_engine_settle(rig.engine);
    }
    CHECK(memcmp(rig.order, expected, sizeof(expected)) == 0);
    for (int i = 0; i < PEERS; i++) {
        CHECK(peer_got(&peers[i], "200"));
        peer_close(&peers[i]);
    }
    rig_run(&rig);
    CHECK(rig_is_empty(&rig));
    rig_close(&rig);
}

/* More wait than one settling starts: nobody may be left behind. */
static void
test_long_queue_is_served_to_its_end(void)
{
    enum { PEERS = 700 };
    static struct rig_peer peers[PEERS];
    struct rig rig;
    unsigned answered = 0;

    check_case("long queue");
    rig_init(&rig);
    rig.options.cores = 1;
    rig.hold = true;
    rig_open(&rig);
    for (int i = 0; i < PEERS; i++) {
        CHECK(rig_connect(&rig, &peers[i]));
        peer_send(&peers[i], GET("/"), strlen(GET("/")));
    }
    rig_run(&rig);
    CHECK(gl_engine_stats(rig.engine).waiting == PEERS - 1);
    rig.hold = false;
    CHECK(rig_release(&rig));
    gl_engine_settle(rig.engine); /* as from outside of a turn */
    RIG_UNTIL(&rig, gl_engine_stats(rig.engine).waiting == 0);
    for (int i = 0; i < PEERS; i++) {
        answered += peer_got(&peers[i], "200");
        peer_close(&peers[i]);
    }
    CHECK(answered == PEERS);
    rig_run(&rig);
    CHECK(rig_is_empty(&rig));
    rig_close(&rig);
}

static void
test_queued_peer_leaves(void)
{
    struct rig rig;
    struct rig_peer first, gone, half;

    check_case("a queued peer leaves");
    rig_init(&rig);
    rig.options.cores = 1;
    rig.hold = true;
    rig_open(&rig);
    CHECK(rig_connect(&rig, &first));
    CHECK(rig_connect_tcp(&rig, &gone));
    CHECK(rig_connect(&rig, &half));
    peer_say(&rig, &first, GET("/"));
    peer_say(&rig, &gone, GET("/"));
    peer_say(&rig, &half, GET("/"));
    CHECK(gl_engine_stats(rig.engine).waiting == 2);
    peer_reset(&gone);
    RIG_UNTIL(&rig, gl_engine_stats(rig.engine).waiting == 1);
    CHECK(shutdown(half.fd, SHUT_WR) == 0);
    rig_run(&rig);
    CHECK(gl_engine_stats(rig.engine).waiting == 1);
    while (rig_release(&rig)) {
        gl_engine_settle(rig.engine);
        rig_run(&rig);
    }
    CHECK(peer_got(&first, "200"));
    CHECK(peer_got(&half, "200"));
    CHECK(half.ended);
    peer_close(&first);
    peer_close(&half);
    rig_run(&rig);
    CHECK(rig_is_empty(&rig));
    rig_close(&rig);
}

/* The most that connections hold of what was not used yet. */
static size_t
input_held(const struct rig *rig)
{
    const struct gl_list *all = &rig->engine->connections;
    size_t most = 0;

    for (struct gl_list *l = all->next; l != all; l = l->next) {
        const struct gl_conn *conn = GL_CONTAINER_OF(l, struct gl_conn, link);

        most = conn->in.cap > most ? conn->in.cap : most;
    }
    return most;
}

/* A client that pipelines without end is read only as it is answered. */
static void
test_pipeline_is_bounded(void)
{
    enum { REQUESTS = 20000 };
    struct rig rig;
    struct rig_peer peer;
    const char *one = GET("/");
    size_t n = strlen(one), sent = 0, total = n * REQUESTS, received = 0,
           held = 0;
    static char wire[1 << 16];

    check_case("long pipeline");
    while (sent + n <= sizeof(wire)) {
        memcpy(wire + sent, one, n);
        sent += n;
    }
    total -= total % sent;
    rig_init(&rig);
    rig_open(&rig);
    CHECK(rig_connect(&rig, &peer));
    for (size_t at = 0, turns = 0;
         /* the peer reads now and then */ at < total && turns < 100000;
         turns++) {
        size_t from = at % sent;
        ssize_t took = send(peer.fd, wire + from, sent - from, MSG_NOSIGNAL);

        at += took > 0 ? (size_t)took : 0;
        (void)gl_engine_turn(rig.engine, 0, &gl_budget_default);
        received += peer_read(&peer);
        peer_forget(&peer);
        held = input_held(&rig) > held ? input_held(&rig) : held;
    }
    CHECK(held > 0 && held <= 4 * GL_SCRATCH_BYTES);
    for (int i = 0; i < 1000 && rig.answered < total / n; i++) {
        rig_run(&rig);
        received += peer_read(&peer);
        peer_forget(&peer);
    }
    CHECK(rig.answered == total / n);
    CHECK(received == rig.answered * (strlen("HTTP/1.1 200 OK\r\n"
                                             "Content-Length: 5\r\n\r\n") +
                                      5));
    peer_close(&peer);
    rig_run(&rig);
    CHECK(rig_is_empty(&rig));
    rig_close(&rig);
}

/* While its request runs a connection is not read, nor while it is queued. */
static void
test_flood_stays_in_the_kernel(void)
{
    static const char noise[1 << 16];
    struct rig rig;
    struct rig_peer running, queued;

    check_case("flood");
    rig_init(&rig);
    rig.options.cores = 1;
    rig.hold = true;
    rig_open(&rig);
    CHECK(rig_connect(&rig, &running));
    CHECK(rig_connect(&rig, &queued));
    peer_say(&rig, &running, GET("/"));
    peer_say(&rig, &queued, GET("/"));
    for (int i = 0; i < 100; i++) {
        (void)!send(running.fd, noise, sizeof(noise), MSG_NOSIGNAL);
        (void)!send(queued.fd, noise, sizeof(noise), MSG_NOSIGNAL);
        rig_run(&rig);
    }
    CHECK(input_held(&rig) == 0);
    peer_close(&running);
    peer_close(&queued);
    while (rig_release(&rig)) {
        gl_engine_settle(rig.engine);
        rig_run(&rig);
    }
    RIG_UNTIL(&rig, rig_is_empty(&rig));
    rig_close(&rig);
}

/* --- keep-alive ------------------------------------------------------- */

static void
test_keep_alive_can_be_off(void)
{
    struct rig rig;
    struct rig_peer peer;

    check_case("keep-alive off");
    rig_init(&rig);
    rig.options.keepalive_timeout_ms = 0;
    rig_open(&rig);
    CHECK(rig_connect(&rig, &peer));
    peer_say(&rig, &peer, GET("/"));
    CHECK(peer_got(&peer, "200"));
    CHECK(peer.ended);
    CHECK(memmem(peer.got, peer.n, "Connection: close", 17) != NULL);
    peer_close(&peer);
    rig_close(&rig);
}

static void
test_head_has_no_body(void)
{
    struct rig rig;
    struct rig_peer peer;

    check_case("HEAD");
    rig_init(&rig);
    rig_open(&rig);
    CHECK(rig_connect(&rig, &peer));
    peer_say(&rig, &peer, "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    peer_say(&rig, &peer, "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    CHECK(strcmp(peer_statuses(&peer, true), "200 200") == 0);
    peer_close(&peer);
    rig_close(&rig);
}

/* --- bodies ----------------------------------------------------------- */

static void
test_continue(void)
{
    static const char head[] =
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n"
        "Expect: 100-continue\r\n\r\n";
    struct rig rig;
    struct rig_peer peer;

    rig_init(&rig);
    rig_open(&rig);
    check_case("100, invited");
    CHECK(rig_connect(&rig, &peer));
    peer_say(&rig, &peer, head);
    CHECK(peer_got(&peer, "100"));
    peer_say(&rig, &peer, "abc");
    CHECK(peer_got(&peer, "100 200"));
    check_case("100, not waited for");
    peer_forget(&peer);
    peer_send(&peer, head, strlen(head));
    peer_say(&rig, &peer, "abc");
    CHECK(peer_got(&peer, "200"));
    check_case("100, the body has come and is empty");
    peer_forget(&peer);
    peer_say(&rig, &peer,
             "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
             "Expect: 100-continue\r\n\r\n0\r\n\r\n");
    CHECK(peer_got(&peer, "200"));
    CHECK(!peer.ended);
    check_case("100, the body is not wanted");
    peer_forget(&peer);
    rig.skip_body = true;
    peer_say(&rig, &peer, head);
    CHECK(peer_got(&peer, "200"));
    CHECK(peer.ended);
    CHECK(memmem(peer.got, peer.n, "Connection: close", 17) != NULL);
    peer_close(&peer);
    rig_run(&rig);
    CHECK(rig_is_empty(&rig));
    rig_close(&rig);
}

/* A body that the owner leaves unread is thrown away, if it is small. */
static void
check_discard(const char *head, size_t body, bool part, bool kept)
{
    struct rig rig;
    struct rig_peer peer;
    char *bytes = __real_calloc(1, body + 1);
    size_t at = 0;

    check_case("discard %zu bytes, part %d", body, part);
    rig_init(&rig);
    rig.skip_body = !part;
    rig.part_body = part;
    rig_open(&rig);
    CHECK(rig_connect(&rig, &peer));
    peer_say(&rig, &peer, head);
    for (int i = 0; at < body && i < 10000; i++) {
        ssize_t n = send(peer.fd, bytes + at, body - at, MSG_NOSIGNAL);

        at += n > 0 ? (size_t)n : 0;
        rig_run(&rig);
    }
    (void)!send(peer.fd, GET("/"), strlen(GET("/")), MSG_NOSIGNAL);
    rig.skip_body = false;
    rig_run(&rig);
    CHECK(peer_got(&peer, kept ? "200 200" : "200"));
    CHECK(peer.ended == !kept);
    peer_close(&peer);
    rig_run(&rig);
    CHECK(rig_is_empty(&rig));
    rig_close(&rig);
    free(bytes);
}

static void
test_discard(void)
{
    check_discard(POST("5"), 5, false, true);
    check_discard(POST("5"), 5, true, true);
    check_discard(POST("100000"), 100000, false, true);
    check_discard(POST("100000"), 100000, true, true);
    check_discard(POST("600000"), 600000, false, false);
    check_discard(POST("600000"), 600000, true, false);
    check_discard(CHUNKED "2\r\nab\r\n0\r\n\r\n", 0, false, true);
    check_discard(CHUNKED "2\r\nab\r\n0\r\n\r\n", 0, true, true);
    check_discard(CHUNKED "2\r\nab\r\nx", 0, false, false);
}

static void
check_body_error(const char *wire, int error)
{
    for (size_t step = 1; step < 1000; step += 998) {
        struct rig rig;
        struct rig_peer peer;

        check_case("%.80s: step %zu", wire, step);
        rig_init(&rig);
        rig.options.body_max_bytes = 10;
        rig_open(&rig);
        CHECK(rig_connect(&rig, &peer));
        say_in_steps(&rig, &peer, wire, step);
        CHECK(shutdown(peer.fd, SHUT_WR) == 0);
        rig_run(&rig);
        CHECK(rig.failed == 1 && rig.last_error == error);
        CHECK(peer_got(&peer, ""));
        CHECK(peer.ended);
        peer_close(&peer);
        rig_run(&rig);
        CHECK(rig_is_empty(&rig));
        rig_close(&rig);
    }
}

static void
test_bodies_that_fail(void)
{
    check_body_error(CHUNKED "2\r\nabc", -EBADMSG);
    check_body_error(CHUNKED "b\r\n12345678901\r\n0\r\n\r\n", -EMSGSIZE);
    check_body_error(CHUNKED "2\r\na", -ECONNRESET);
    check_body_error(CHUNKED, -ECONNRESET);
    check_body_error(POST("5"), -ECONNRESET);
    check_body_error(POST("5") "1234", -ECONNRESET);
}

/* --- how a connection ends -------------------------------------------- */

static const char long_wire[] =
    GET("/1") POST("5") "12345" CHUNKED "3\r\nabc\r\n0\r\n\r\n" GET("/4");

/* What has come whole is answered, also after the peer ended its side. */
static void
test_half_close_at_every_byte(void)
{
    for (size_t cut = 0; cut < sizeof(long_wire); cut++) {
        struct rig rig;
        struct rig_peer peer;

        check_case("half-close at %zu", cut);
        rig_init(&rig);
        rig_open(&rig);
        CHECK(rig_connect(&rig, &peer));
        peer_send(&peer, long_wire, cut);
        if (cut % 2 == 1) {
            rig_run(&rig);
        }
        CHECK(shutdown(peer.fd, SHUT_WR) == 0);
        rig_run(&rig);
        (void)peer_statuses(&peer, false);
        CHECK(strchr(peer_statuses(&peer, false), '?') == NULL);
        CHECK(peer.ended);
        CHECK(cut + 1 < sizeof(long_wire) || rig.answered == 4);
        peer_close(&peer);
        rig_run(&rig);
        CHECK(rig_is_empty(&rig));
        rig_close(&rig);
    }
}

static void
test_reset_at_every_byte(void)
{
    struct rig rig;

    rig_init(&rig);
    rig_open(&rig);
    for (size_t cut = 0; cut < sizeof(long_wire); cut++) {
        struct rig_peer peer;

        check_case("reset at %zu", cut);
        CHECK(rig_connect_tcp(&rig, &peer));
        peer_send(&peer, long_wire, cut);
        if (cut % 2 == 1) {
            rig_run(&rig);
        }
        peer_reset(&peer);
        RIG_UNTIL(&rig, rig_is_empty(&rig));
    }
    rig_close(&rig);
}

/* The owner of a running request is told once that its peer left. */
static void
check_departure(bool reset)
{
    struct rig rig;
    struct rig_peer peer;

    check_case("departure, reset %d", reset);
    rig_init(&rig);
    rig.hold = true;
    rig_open(&rig);
    CHECK(rig_connect_tcp(&rig, &peer));
    peer_send(&peer, GET("/"), strlen(GET("/")));
    RIG_UNTIL(&rig, rig.started == 1);
    CHECK(rig.departed == 0);
    if (reset) {
        peer_reset(&peer);
    } else {
        CHECK(shutdown(peer.fd, SHUT_WR) == 0);
    }
    RIG_UNTIL(&rig, rig.departed == 1);
    rig_run(&rig);
    CHECK(rig.departed == 1);
    CHECK(rig_release(&rig));
    gl_engine_settle(rig.engine);
    if (!reset) {
        RIG_UNTIL(&rig, peer_read(&peer) == 0 && peer.ended);
        CHECK(peer_got(&peer, "200"));
    }
    CHECK(rig.answered == !reset);
    RIG_UNTIL(&rig, rig_is_empty(&rig));
    peer_close(&peer);
    rig_close(&rig);
}

/* After a refusal the peer's further bytes are taken, so that the answer is
 * not destroyed by a reset. */
static void
test_lingering(void)
{
    static char noise[50000];
    struct rig rig;
    struct rig_peer peer;

    check_case("lingering");
    rig_init(&rig);
    rig_open(&rig);
    CHECK(rig_connect_tcp(&rig, &peer));
    peer_send(&peer, "GET\r\n\r\n", 7);
    RIG_UNTIL(&rig, gl_engine_stats(rig.engine).refused == 1);
    for (int i = 0; i < 10; i++) {
        peer_send(&peer, noise, sizeof(noise));
        rig_run(&rig);
    }
    RIG_UNTIL(&rig, peer_read(&peer) == 0 && peer.ended);
    CHECK(peer_got(&peer, "400"));
    CHECK(!peer.reset);
    CHECK(gl_engine_stats(rig.engine).connections == 1);
    CHECK(shutdown(peer.fd, SHUT_WR) == 0);
    RIG_UNTIL(&rig, rig_is_empty(&rig));
    peer_close(&peer);
    rig_close(&rig);
}

/* But not without end. */
static void
test_lingering_is_bounded(void)
{
    static char noise[1 << 16];
    struct rig rig;
    struct rig_peer peer;
    size_t sent = 0;

    check_case("lingering, bounded");
    rig_init(&rig);
    rig_open(&rig);
    CHECK(rig_connect(&rig, &peer));
    peer_say(&rig, &peer, "GET\r\n\r\n");
    while (!rig_is_empty(&rig) && sent < (80 << 20)) {
        ssize_t n = send(peer.fd, noise, sizeof(noise), MSG_NOSIGNAL);

        sent += n > 0 ? (size_t)n : 0;
        (void)gl_engine_turn(rig.engine, 0, &gl_budget_default);
    }
    CHECK(rig_is_empty(&rig));
    CHECK(sent >= 64 << 20);
    peer_close(&peer);
    rig_close(&rig);
}

int
main(void)
{
    int before = dup(0), after;

    test_exchanges();
    test_limits();
    test_queue_is_first_in_first_out();
    test_long_queue_is_served_to_its_end();
    test_queued_peer_leaves();
    test_pipeline_is_bounded();
    test_flood_stays_in_the_kernel();
    test_keep_alive_can_be_off();
    test_head_has_no_body();
    test_continue();
    test_discard();
    test_bodies_that_fail();
    test_half_close_at_every_byte();
    test_reset_at_every_byte();
    check_departure(false);
    check_departure(true);
    test_lingering();
    test_lingering_is_bounded();
    after = dup(0);
    check_case("descriptors");
    CHECK(after == before + 1);
    return check_end();
}
