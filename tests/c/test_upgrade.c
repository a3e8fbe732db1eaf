/* test_upgrade.c - requests whose connection goes on in another protocol,
 * with a slot or without.
 *
 * SPDX-License-Identifier: MIT
 */
#include "check.h"
#include "rig.h"

#include <signal.h>

#define SOON_MS 40
#define SWITCHING "HTTP/1.1 101 X\r\n\r\n"

/* An owner that upgrades every request, and keeps the last one. */
struct owner {
    struct rig rig; /* its engine, options and peers */
    struct gl_request *req;
    struct gl_waiter reader, writer;
    int read_result, write_result; /* 1: not woken */
    unsigned started, departed;
    bool slotless;
};

static void
reader_woken(struct gl_waiter *waiter, int result)
{
    GL_CONTAINER_OF(waiter, struct owner, reader)->read_result = result;
}

static void
writer_woken(struct gl_waiter *waiter, int result)
{
    GL_CONTAINER_OF(waiter, struct owner, writer)->write_result = result;
}

static void
start(void *arg, struct gl_request *req)
{
    struct owner *o = arg;
    struct iovec iov = {SWITCHING, sizeof(SWITCHING) - 1};

    o->started++;
    o->req = req;
    CHECK(gl_request_send(req, &iov, 1, true) == (ssize_t)iov.iov_len);
    CHECK(gl_request_upgrade(req) == 0);
    if (o->slotless) {
        gl_request_release_slot(req);
    }
}

static void
departed(void *arg, struct gl_request *req)
{
    struct owner *o = arg;

    CHECK(gl_request_departed(req));
    o->departed++;
}

static const struct gl_engine_ops ops = {.start = start,
                                         .departed = departed};

static void
open_owner(struct owner *o)
{
    o->reader.wake = reader_woken;
    o->writer.wake = writer_woken;
    o->read_result = o->write_result = 1;
    CHECK(gl_engine_new(&ops, o, &o->rig.options, &o->rig.log, NULL,
                        &o->rig.engine) == 0);
}

static void
finish(struct owner *o)
{
    gl_request_forget(o->req, &o->reader);
    gl_request_forget(o->req, &o->writer);
    gl_request_finish(o->req, true); /* and closes nevertheless */
    gl_engine_settle(o->rig.engine);
    o->req = NULL;
}

static void
close_owner(struct owner *o, struct rig_peer *peer)
{
    peer_close(peer);
    RIG_UNTIL(&o->rig, rig_is_empty(&o->rig));
    rig_close(&o->rig);
}

static void
wait_to_read(struct owner *o)
{
    o->read_result = 1;
    CHECK(gl_request_wait_read(o->req, &o->reader) == 0);
}

/* Whether the next bytes of the stream are these. */
static bool
reads(struct owner *o, const char *text)
{
    char bytes[64];
    ssize_t n = gl_request_read(o->req, bytes, sizeof(bytes));

    return n == (ssize_t)strlen(text) && memcmp(bytes, text, (size_t)n) == 0;
}

/* --- reading ----------------------------------------------------------- */

static void
test_stream(void)
{
    struct owner o = {0};
    struct rig_peer peer;
    char byte;

    check_case("stream");
    rig_init(&o.rig);
    open_owner(&o);
    CHECK(rig_connect(&o.rig, &peer));
    peer_say(&o.rig, &peer, GET("/") "early");
    CHECK(o.started == 1);
    wait_to_read(&o); /* for what was announced long ago */
    RIG_UNTIL(&o.rig, o.read_result == 0);
    CHECK(gl_request_read(o.req, &byte, 1) == 1 && byte == 'e');
    CHECK(reads(&o, "arly"));
    CHECK(gl_request_read(o.req, &byte, 1) == -EAGAIN);
    wait_to_read(&o);
    CHECK(gl_request_wait_read(o.req, &o.reader) == -EBUSY);
    rig_run(&o.rig);
    CHECK(o.read_result == 1);
    peer_say(&o.rig, &peer, GET("/") "more");
    CHECK(o.read_result == 0 && o.started == 1);
    CHECK(gl_request_read(o.req, &byte, 1) == 1 && byte == 'G');
    wait_to_read(&o); /* the rest is there */
    rig_run(&o.rig);
    CHECK(o.read_result == 0);
    CHECK(reads(&o, GET("/") "more" + 1));
    CHECK(peer_read(&peer) == sizeof(SWITCHING) - 1);
    finish(&o);
    rig_run(&o.rig);
    (void)peer_read(&peer);
    CHECK(peer.ended);
    close_owner(&o, &peer);
}

static void
check_body_first(const char *head, const char *body)
{
    struct rig rig;
    struct rig_peer peer;
    struct rig_exchange *x;

    check_case("body first: %s", head);
    rig_init(&rig);
    rig.hold = rig.skip_body = true;
    rig_open(&rig);
    CHECK(rig_connect(&rig, &peer));
    peer_say(&rig, &peer, head);
    x = GL_CONTAINER_OF(rig.held.next, struct rig_exchange, link);
    if (CHECK(rig.started == 1)) {
        char bytes[16];

        CHECK(gl_request_upgrade(x->req) == -EBUSY);
        peer_say(&rig, &peer, body);
        while (gl_request_read(x->req, bytes, sizeof(bytes)) > 0) {
        }
        CHECK(gl_request_upgrade(x->req) == 0);
    }
    rig_close(&rig);
    peer_close(&peer);
}

/* --- slots ------------------------------------------------------------- */

static void
test_slot_goes_on(void)
{
    struct owner o = {.slotless = true};
    struct rig_peer peers[3];
    struct gl_request *first;

    check_case("slot");
    rig_init(&o.rig);
    o.rig.options.cores = 1;
    open_owner(&o);
    for (unsigned i = 0; i < 3; i++) {
        CHECK(rig_connect(&o.rig, &peers[i]));
        peer_say(&o.rig, &peers[i], GET("/"));
        CHECK(o.started == i + 1);
        CHECK(gl_engine_stats(o.rig.engine).running == 0);
        first = i == 0 ? o.req : first;
        if (i > 0) {
            finish(&o);
            CHECK(gl_engine_stats(o.rig.engine).running == 0);
            peer_close(&peers[i]);
        }
    }
    RIG_UNTIL(&o.rig, gl_engine_stats(o.rig.engine).connections == 1);
    o.req = first;
    finish(&o);
    close_owner(&o, &peers[0]);
}

/* Outside of a turn too, giving the slot back starts who waits for it. */
static void
test_slot_for_who_waits(void)
{
    struct owner o = {0};
    struct rig_peer peers[2];
    struct gl_request *first;

    check_case("slot for who waits");
    rig_init(&o.rig);
    o.rig.options.cores = 1;
    open_owner(&o);
    CHECK(rig_connect(&o.rig, &peers[0]) && rig_connect(&o.rig, &peers[1]));
    peer_say(&o.rig, &peers[0], GET("/"));
    first = o.req;
    peer_say(&o.rig, &peers[1], GET("/"));
    CHECK(o.started == 1);
    gl_request_release_slot(o.req);
    RIG_UNTIL(&o.rig, o.started == 2);
    CHECK(o.req != first);
    finish(&o);
    o.req = first;
    finish(&o);
    peer_close(&peers[1]);
    close_owner(&o, &peers[0]);
}

/* --- peers that leave -------------------------------------------------- */

static void
check_half_close(bool slotless, bool waits)
{
    struct owner o = {.slotless = slotless};
    struct rig_peer peer;
    char byte;
    uint64_t turns;

    check_case("half close, %d %d", slotless, waits);
    rig_init(&o.rig);
    open_owner(&o);
    CHECK(rig_connect(&o.rig, &peer));
    peer_say(&o.rig, &peer, GET("/"));
    if (waits) {
        wait_to_read(&o);
    }
    peer_say(&o.rig, &peer, "z");
    CHECK(o.read_result == (waits ? 0 : 1) && o.departed == 0);
    CHECK(shutdown(peer.fd, SHUT_WR) == 0);
    rig_run(&o.rig);
    CHECK(o.departed == 1);
    turns = gl_engine_stats(o.rig.engine).turns;
    rig_run(&o.rig);
    CHECK(gl_engine_stats(o.rig.engine).turns == turns + 1); /* no spin */
    CHECK(reads(&o, "z"));
    CHECK(gl_request_read(o.req, &byte, 1) == 0);
    CHECK(gl_request_read(o.req, &byte, 1) == 0);
    wait_to_read(&o);
    rig_run(&o.rig);
    CHECK(o.read_result == 0);
    finish(&o);
    rig_run(&o.rig);
    CHECK(rig_is_empty(&o.rig)); /* nothing to linger for */
    close_owner(&o, &peer);
}

static void
check_reset(bool slotless)
{
    struct owner o = {.slotless = slotless};
    struct rig_peer peer;
    struct iovec iov = {"x", 1};
    char byte;

    check_case("reset, %d", slotless);
    rig_init(&o.rig);
    open_owner(&o);
    CHECK(rig_connect_tcp(&o.rig, &peer));
    peer_say(&o.rig, &peer, GET("/"));
    RIG_UNTIL(&o.rig, o.started == 1);
    wait_to_read(&o);
    CHECK(gl_request_wait_write(o.req, &o.writer) == 0);
    RIG_UNTIL(&o.rig, o.write_result == 0);
    peer_reset(&peer);
    RIG_UNTIL(&o.rig, o.departed == 1);
    CHECK(o.read_result == -ECONNRESET);
    CHECK(gl_request_read(o.req, &byte, 1) == -ECONNRESET);
    CHECK(gl_request_send(o.req, &iov, 1, false) == -ECONNRESET);
    CHECK(gl_request_wait_read(o.req, &o.reader) == -ECONNRESET);
    finish(&o);
    CHECK(rig_is_empty(&o.rig));
    close_owner(&o, &peer);
}

/* --- deadlines --------------------------------------------------------- */

static void
test_reader_has_no_deadline(void)
{
    struct owner o = {0};
    struct rig_peer peer;
    uint64_t began;

    check_case("no deadline");
    rig_init(&o.rig);
    o.rig.options.body_timeout_ms = SOON_MS;
    o.rig.options.write_timeout_ms = SOON_MS;
    o.rig.options.head_timeout_ms = SOON_MS;
    o.rig.options.keepalive_timeout_ms = SOON_MS;
    open_owner(&o);
    CHECK(rig_connect(&o.rig, &peer));
    peer_say(&o.rig, &peer, GET("/"));
    wait_to_read(&o);
    CHECK(gl_request_wait_write(o.req, &o.writer) == 0);
    RIG_UNTIL(&o.rig, o.write_result == 0); /* leaves its deadline behind */
    began = gl_clock_ms();
    RIG_UNTIL(&o.rig, gl_clock_ms() > began + 3 * SOON_MS);
    CHECK(o.read_result == 1);
    peer_say(&o.rig, &peer, "z");
    CHECK(o.read_result == 0);
    finish(&o);
    close_owner(&o, &peer);
}

static void
fill(struct owner *o, bool last)
{
    static char bytes[60000];
    struct iovec iov = {bytes, sizeof(bytes)};

    while (gl_request_send(o->req, &iov, 1, last) > 0) {
    }
}

/* A peer that takes nothing: who waits to write is told, and who reads. */
static void
check_write_deadline(bool waits, bool rest)
{
    struct owner o = {.slotless = true};
    struct rig_peer peer;

    check_case("write deadline, %d %d", waits, rest);
    rig_init(&o.rig);
    o.rig.options.write_timeout_ms = SOON_MS;
    o.rig.send_buffer_bytes = 4096;
    open_owner(&o);
    CHECK(rig_connect(&o.rig, &peer));
    peer_say(&o.rig, &peer, GET("/"));
    wait_to_read(&o);
    fill(&o, rest);
    if (waits) {
        CHECK(gl_request_wait_write(o.req, &o.writer) == 0);
    }
    RIG_UNTIL(&o.rig, o.read_result == -ECONNRESET);
    CHECK(o.write_result == (waits ? -ETIMEDOUT : 1));
    finish(&o);
    CHECK(rig_is_empty(&o.rig));
    close_owner(&o, &peer);
}

/* What the engine sends by itself leaves, also when the end comes first. */
static void
check_rest_leaves(bool ends_first)
{
    struct owner o = {0};
    struct rig_peer peer;
    uint64_t sent;

    check_case("rest leaves, %d", ends_first);
    rig_init(&o.rig);
    o.rig.send_buffer_bytes = 4096;
    open_owner(&o);
    CHECK(rig_connect(&o.rig, &peer));
    peer_say(&o.rig, &peer, GET("/"));
    fill(&o, true);
    sent = o.req->sent_bytes;
    CHECK(gl_request_wait_write(o.req, &o.writer) == 0);
    if (ends_first) {
        finish(&o);
    }
    RIG_WHILE(&o.rig, (void)peer_read(&peer), peer.n == sent);
    if (!ends_first) {
        RIG_UNTIL(&o.rig, o.write_result == 0);
        finish(&o);
    }
    RIG_WHILE(&o.rig, (void)peer_read(&peer), peer.ended);
    CHECK(peer.n == sent);
    close_owner(&o, &peer);
}

/* --- the engine's end -------------------------------------------------- */

static void
test_drain(void)
{
    struct owner o = {.slotless = true};
    struct rig_peer peer;

    check_case("drain");
    rig_init(&o.rig);
    open_owner(&o);
    CHECK(rig_connect(&o.rig, &peer));
    peer_say(&o.rig, &peer, GET("/"));
    gl_engine_drain(o.rig.engine);
    gl_engine_close_unused(o.rig.engine);
    rig_run(&o.rig);
    CHECK(gl_engine_stats(o.rig.engine).connections == 1);
    peer_say(&o.rig, &peer, "z");
    CHECK(reads(&o, "z"));
    finish(&o);
    rig_run(&o.rig);
    CHECK(rig_is_empty(&o.rig)); /* draining, no one lingers */
    close_owner(&o, &peer);
}

int
main(void)
{
    (void)signal(SIGPIPE, SIG_IGN);
    test_stream();
    check_body_first("POST / HTTP/1.1\r\nHost: a\r\n"
                     "Content-Length: 2\r\n\r\n",
                     "xy");
    check_body_first("POST / HTTP/1.1\r\nHost: a\r\n"
                     "Transfer-Encoding: chunked\r\n\r\n",
                     "0\r\n\r\n");
    test_slot_goes_on();
    test_slot_for_who_waits();
    for (int i = 0; i < 4; i++) {
        check_half_close(i & 1, i & 2);
        check_write_deadline(i & 1, i & 2 || !(i & 1));
    }
    check_reset(false);
    check_reset(true);
    test_reader_has_no_deadline();
    check_rest_leaves(false);
    check_rest_leaves(true);
    test_drain();
    return check_end();
}
