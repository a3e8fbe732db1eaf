/* test_limits.c - connections beyond max_connections, and requests that wait
 * too long, or in too great a number, for a slot.
 *
 * SPDX-License-Identifier: MIT
 */
#include "check.h"
#include "rig.h"

#include <sys/resource.h>

#define SOON_MS 30

/* --- a listener and its peers ------------------------------------------- */

struct door {
    struct sockaddr_in addr;
    int fd;
};

static void
door_open(struct rig *rig, struct door *door,
          const struct gl_transport *transport)
{
    socklen_t n = sizeof(door->addr);

    door->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    door->addr = (struct sockaddr_in){.sin_family = AF_INET};
    door->addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(door->fd, (void *)&door->addr, n) < 0 ||
        listen(door->fd, 1000) < 0 ||
        getsockname(door->fd, (void *)&door->addr, &n) < 0) {
        abort();
    }
    CHECK(gl_engine_listen(rig->engine, door->fd, transport, rig->protocol,
                           NULL) == 0);
}

static void
peer_open(struct rig_peer *peer)
{
    *peer = (struct rig_peer){0};
    peer->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static void
peer_connect(struct rig_peer *peer, const struct door *door)
{
    CHECK(connect(peer->fd, (const void *)&door->addr, sizeof(door->addr)) ==
          0);
}

/* Connects; whether it is accepted is another matter. */
static void
door_knock(const struct door *door, struct rig_peer *peer)
{
    peer_open(peer);
    peer_connect(peer, door);
}

static void
knock_and_ask(const struct door *door, struct rig_peer *peer)
{
    door_knock(door, peer);
    peer_send(peer, GET("/"), strlen(GET("/")));
}

static void
end_test(struct rig *rig, struct door *door)
{
    RIG_UNTIL(rig, rig_is_empty(rig));
    rig_close(rig);
    if (door != NULL) {
        close(door->fd);
    }
}

static uint32_t
connections(const struct rig *rig)
{
    return gl_engine_stats(rig->engine).connections;
}

/* Turns that wait for so long find nothing to do. */
static bool
rests(struct rig *rig)
{
    uint64_t turns = gl_engine_stats(rig->engine).turns;

    rig_run(rig);
    CHECK(gl_engine_turn(rig->engine, SOON_MS, &gl_budget_default) == 0);
    return gl_engine_stats(rig->engine).turns < turns + 10;
}

/* --- connections -------------------------------------------------------- */

/* Those beyond the limit wait in the backlog, and come in one by one. */
static void
test_backlog(void)
{
    enum { PEERS = 10, MAX = 3 };
    struct rig_peer peers[PEERS];
    struct door door;
    struct rig rig;

    check_case("the backlog");
    rig_init(&rig);
    rig.options.max_connections = MAX;
    rig.close = true;
    rig.hold = true;
    rig_open(&rig);
    door_open(&rig, &door, rig.transport);
    for (int i = 0; i < PEERS; i++) {
        knock_and_ask(&door, &peers[i]);
    }
    RIG_UNTIL(&rig, rig.started == MAX);
    CHECK(rests(&rig));
    CHECK(rig.log_lines == 1); /* accepting pauses */
    for (unsigned i = 0; i < PEERS; i++) {
        CHECK(connections(&rig) <= MAX);
        CHECK(rig_release(&rig));
        RIG_UNTIL(&rig, peer_got(&peers[i], "200"));
        peer_close(&peers[i]);
        RIG_UNTIL(&rig,
                  rig.started == (i + 1 + MAX < PEERS ? i + 1 + MAX : PEERS));
    }
    CHECK(gl_engine_stats(rig.engine).accepted == PEERS);
    rig.hold = false;
    knock_and_ask(&door, &peers[0]);
    RIG_UNTIL(&rig, strcmp(peer_statuses(&peers[0], false), "200") == 0);
    RIG_UNTIL(&rig, rig.log_lines == 2); /* it goes on */
    peer_close(&peers[0]);
    CHECK(gl_engine_stats(rig.engine).rejected == 0);
    end_test(&rig, &door);
}

/* Two listeners share the limit, and neither starves. */
static void
test_two_listeners(void)
{
    enum { PEERS = 8 };
    struct rig_peer peers[PEERS];
    struct door doors[2];
    struct rig rig;

    check_case("two listeners");
    rig_init(&rig);
    rig.options.max_connections = 1;
    rig.close = true;
    rig_open(&rig);
    door_open(&rig, &doors[0], rig.transport);
    door_open(&rig, &doors[1], rig.transport);
    for (int i = 0; i < PEERS; i++) {
        knock_and_ask(&doors[i % 2], &peers[i]);
    }
    for (int i = 0; i < PEERS; i++) {
        RIG_UNTIL(&rig, strcmp(peer_statuses(&peers[i], false), "200") == 0);
        peer_close(&peers[i]);
    }
    close(doors[1].fd);
    end_test(&rig, &doors[0]);
}

/* Of the connections between two requests the one that was idle for longest
 * makes room; those that are used, or have not asked yet, do not. */
static void
test_idle_ones_make_room(void)
{
    struct rig_peer fresh, first, second, third, busy, other;
    struct door door;
    struct rig rig;

    check_case("idle ones make room");
    rig_init(&rig);
    rig.options.max_connections = 5;
    rig_open(&rig);
    door_open(&rig, &door, rig.transport);
    door_knock(&door, &fresh);
    knock_and_ask(&door, &first);
    RIG_UNTIL(&rig, peer_got(&first, "200"));
    knock_and_ask(&door, &second);
    RIG_UNTIL(&rig, rig.answered == 2);
    knock_and_ask(&door, &third);
    RIG_UNTIL(&rig, rig.answered == 3);
    peer_say(&rig, &first, GET("/")); /* now second is the oldest */
    RIG_UNTIL(&rig, rig.answered == 4);
    rig.hold = true;
    knock_and_ask(&door, &busy);
    RIG_UNTIL(&rig, rig.started == 5);
    CHECK(rests(&rig));
    CHECK(connections(&rig) == 5 && rig.log_lines == 0);

    knock_and_ask(&door, &other);
    RIG_UNTIL(&rig, rig.started == 6);
    (void)peer_read(&second);
    CHECK(second.ended);
    (void)(peer_read(&first) + peer_read(&third) + peer_read(&fresh));
    CHECK(!first.ended && !third.ended && !fresh.ended);
    CHECK(connections(&rig) == 5 && rig.log_lines == 0);
    while (rig_release(&rig)) {
    }
    peer_close(&fresh);
    peer_close(&first);
    peer_close(&second);
    peer_close(&third);
    peer_close(&busy);
    peer_close(&other);
    end_test(&rig, &door);
}

/* While somebody waits, connections end with their answers, which say so. */
static void
test_no_keeping_while_somebody_waits(void)
{
    struct rig_peer busy, other;
    struct door door;
    struct rig rig;

    check_case("no keeping while somebody waits");
    rig_init(&rig);
    rig.options.max_connections = 1;
    rig_open(&rig);
    door_open(&rig, &door, rig.transport);
    door_knock(&door, &busy);
    peer_send(&busy, "GET / HTTP/1.1\r\n", 16);
    RIG_UNTIL(&rig, connections(&rig) == 1);
    knock_and_ask(&door, &other);
    CHECK(rests(&rig));
    CHECK(rig.log_lines == 1 && connections(&rig) == 1);
    peer_send(&busy, "Host: a\r\n\r\n", 11);
    RIG_UNTIL(&rig, peer_read(&busy) == 0 && busy.ended);
    CHECK(peer_got(&busy, "200"));
    CHECK(find_text(busy.got, busy.n, "Connection: close") != NULL);
    peer_close(&busy);
    RIG_UNTIL(&rig, strcmp(peer_statuses(&other, false), "200") == 0);
    CHECK(find_text(other.got, other.n, "Connection: close") == NULL);
    peer_close(&other);
    end_test(&rig, &door);
}

/* A request that has come, and was not read yet, keeps its connection. */
static void
test_a_request_on_its_way(void)
{
    struct rig_peer idle, other;
    struct door door;
    struct rig rig;

    check_case("a request on its way");
    rig_init(&rig);
    rig.options.max_connections = 1;
    rig_open(&rig);
    door_open(&rig, &door, rig.transport);
    knock_and_ask(&door, &idle);
    RIG_UNTIL(&rig, peer_got(&idle, "200"));
    knock_and_ask(&door, &other); /* announced before the next line's */
    peer_send(&idle, GET("/"), strlen(GET("/")));
    RIG_UNTIL(&rig, strcmp(peer_statuses(&idle, false), "200 200") == 0);
    peer_close(&idle);
    RIG_UNTIL(&rig, strcmp(peer_statuses(&other, false), "200") == 0);
    peer_close(&other);
    end_test(&rig, &door);
}

static void
test_rejecting(void)
{
    enum { PEERS = 300 };
    static struct rig_peer peers[PEERS];
    struct rig_peer first;
    struct door door;
    struct rig rig;

    check_case("rejecting");
    rig_init(&rig);
    rig.options.max_connections = 1;
    rig.options.max_connections_reject = 1;
    rig.hold = true;
    rig_open(&rig);
    door_open(&rig, &door, rig.transport);
    knock_and_ask(&door, &first);
    RIG_UNTIL(&rig, rig.started == 1);
    for (int i = 0; i < PEERS; i++) {
        knock_and_ask(&door, &peers[i]);
    }
    for (int i = 0; i < PEERS; i++) {
        RIG_UNTIL(&rig, strcmp(peer_statuses(&peers[i], false), "503") == 0);
        CHECK(find_text(peers[i].got, peers[i].n, "Retry-After: ") != NULL);
        CHECK(connections(&rig) <= 1 + 128);
        peer_close(&peers[i]);
    }
    RIG_UNTIL(&rig, connections(&rig) == 1);
    CHECK(gl_engine_stats(rig.engine).rejected == PEERS);
    CHECK(rig.started == 1);
    peer_close(&first);
    while (rig_release(&rig)) {
    }
    rig.hold = false;
    RIG_UNTIL(&rig, connections(&rig) == 0);
    knock_and_ask(&door, &first);
    RIG_UNTIL(&rig, strcmp(peer_statuses(&first, false), "200") == 0);
    peer_close(&first);
    end_test(&rig, &door);
}

/* Without memory for its answer a connection just ends, and is no longer
 * counted among those that are being rejected. */
static void
test_rejecting_without_memory(void)
{
    struct rig_peer first, other;
    struct door door;
    struct rig rig;

    rig_init(&rig);
    rig.options.max_connections = 1;
    rig.options.max_connections_reject = 1;
    rig.hold = true;
    rig_open(&rig);
    door_open(&rig, &door, rig.transport);
    knock_and_ask(&door, &first);
    RIG_UNTIL(&rig, rig.started == 1);
    for (unsigned long nth = 1; nth <= 4; nth++) {
        check_case("rejecting without memory: %lu", nth);
        check_fail_allocation(nth);
        knock_and_ask(&door, &other);
        RIG_UNTIL(&rig,
                  peer_read(&other) == 0 && (other.ended || other.reset));
        check_fail_allocation(0);
        CHECK(other.n == 0 ||
              strcmp(peer_statuses(&other, false), "503") == 0);
        peer_close(&other);
        RIG_UNTIL(&rig, connections(&rig) == 1);
    }
    peer_close(&first);
    while (rig_release(&rig)) {
    }
    rig.hold = false;
    RIG_UNTIL(&rig, connections(&rig) == 0);
    knock_and_ask(&door, &other);
    RIG_UNTIL(&rig, strcmp(peer_statuses(&other, false), "200") == 0);
    peer_close(&other);
    end_test(&rig, &door);
}

/* Under another transport an answer would need a handshake: it closes. */
static void
test_rejecting_without_an_answer(void)
{
    struct gl_transport sealed = gl_transport_plain;
    struct rig_peer first, other;
    struct door door;
    struct rig rig;

    check_case("rejecting without an answer");
    rig_init(&rig);
    rig.options.max_connections = 1;
    rig.options.max_connections_reject = 1;
    rig.hold = true;
    rig_open(&rig);
    door_open(&rig, &door, &sealed);
    knock_and_ask(&door, &first);
    RIG_UNTIL(&rig, rig.started == 1);
    door_knock(&door, &other);
    RIG_UNTIL(&rig, peer_read(&other) == 0 && (other.ended || other.reset));
    CHECK(gl_engine_stats(rig.engine).rejected == 1);
    while (rig_release(&rig)) {
    }
    peer_close(&first);
    peer_close(&other);
    end_test(&rig, &door);
}

/* Out of descriptors: it pauses, says so once however long it lasts, does not
 * spin, and goes on. */
static void
test_out_of_descriptors(void)
{
    enum { PEERS = 6, MORE = 2 };
    struct rig_peer peers[PEERS];
    struct rlimit before, few;
    struct door door;
    uint64_t until;
    struct rig rig;

    check_case("out of descriptors");
    rig_init(&rig);
    rig.hold = true;
    rig_open(&rig);
    door_open(&rig, &door, rig.transport);
    for (int i = 0; i < PEERS; i++) {
        knock_and_ask(&door, &peers[i]);
    }
    CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0);
    few = before;
    few.rlim_cur = (rlim_t)peers[PEERS - 1].fd + 1 + MORE;
    CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
    until = gl_clock_ms() + 1200; /* two retries */
    RIG_UNTIL(&rig, gl_clock_ms() > until);
    CHECK(rig.started == MORE && connections(&rig) == MORE);
    CHECK(rig.log_lines == 1);
    CHECK(gl_engine_stats(rig.engine).turns < 200);
    CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
    rig.hold = false;
    while (rig_release(&rig)) {
    }
    for (int i = 0; i < PEERS; i++) {
        RIG_UNTIL(&rig, strcmp(peer_statuses(&peers[i], false), "200") == 0);
        peer_close(&peers[i]);
    }
    RIG_UNTIL(&rig, rig.log_lines == 2);
    end_test(&rig, &door);
}

/* Then idle connections make room, one for each new one. */
static void
test_idle_ones_give_their_descriptors(void)
{
    enum { PEERS = 6, MORE = 2 };
    struct rig_peer peers[PEERS];
    struct rlimit before, few;
    struct door door;
    struct rig rig;
    int open = 0;

    check_case("idle ones give their descriptors");
    rig_init(&rig);
    rig_open(&rig);
    door_open(&rig, &door, rig.transport);
    for (int i = 0; i < PEERS; i++) {
        peer_open(&peers[i]);
    }
    CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0);
    few = before;
    few.rlim_cur = (rlim_t)peers[PEERS - 1].fd + 1 + MORE;
    CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
    for (int i = 0; i < PEERS; i++) {
        peer_connect(&peers[i], &door);
        peer_send(&peers[i], GET("/"), strlen(GET("/")));
        RIG_UNTIL(&rig, strcmp(peer_statuses(&peers[i], false), "200") == 0);
    }
    for (int i = 0; i < PEERS; i++) {
        (void)peer_read(&peers[i]);
        open += !peers[i].ended;
        peer_close(&peers[i]);
    }
    CHECK(open == MORE);
    CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
    end_test(&rig, &door);
}

/* Draining leaves a paused listener paused. */
static void
test_draining_while_paused(void)
{
    struct rig_peer first, other;
    struct door door;
    struct rig rig;

    check_case("draining while paused");
    rig_init(&rig);
    rig.options.max_connections = 1;
    rig.hold = true;
    rig_open(&rig);
    door_open(&rig, &door, rig.transport);
    knock_and_ask(&door, &first);
    RIG_UNTIL(&rig, rig.started == 1);
    knock_and_ask(&door, &other);
    CHECK(rests(&rig));
    CHECK(rig.log_lines == 1);
    gl_engine_drain(rig.engine);
    CHECK(rig_release(&rig));
    RIG_UNTIL(&rig, connections(&rig) == 0);
    CHECK(rests(&rig));
    CHECK(rig.started == 1 && rig.drained == 1);
    peer_close(&first);
    peer_close(&other);
    end_test(&rig, &door);
}

/* --- the queue ---------------------------------------------------------- */

static void
test_queue_overflows(void)
{
    enum { PEERS = 6 };
    struct rig_peer peers[PEERS];
    struct rig rig;

    check_case("the queue overflows");
    rig_init(&rig);
    rig.options.cores = 1;
    rig.options.max_queued = 2;
    rig.hold = true;
    rig_open(&rig);
    for (int i = 0; i < PEERS; i++) {
        CHECK(rig_connect(&rig, &peers[i]));
        /* Also in two pieces, and with a body. */
        peer_say(&rig, &peers[i], "POST / HTTP/1.1\r\nHost: a\r\n");
        peer_say(&rig, &peers[i], "Content-Length: 3\r\n\r\nabc");
    }
    for (int i = 3; i < PEERS; i++) {
        CHECK(peer_got(&peers[i], "503"));
        CHECK(peers[i].ended);
    }
    CHECK(gl_engine_stats(rig.engine).overflowed == PEERS - 3);
    CHECK(gl_engine_stats(rig.engine).waiting == 2);
    CHECK(rig.log_lines == 1);
    while (rig_release(&rig)) {
        gl_engine_settle(rig.engine);
    }
    CHECK(rig.log_lines == 2);
    for (int i = 0; i < PEERS; i++) {
        CHECK(peer_got(&peers[i], i < 3 ? "200" : "503"));
        peer_close(&peers[i]);
    }
    end_test(&rig, NULL);
}

static void
test_queue_timeout(void)
{
    enum { PEERS = 5 };
    struct rig_peer peers[PEERS];
    struct rig rig;

    check_case("queue timeout");
    rig_init(&rig);
    rig.options.cores = 1;
    rig.options.queue_timeout_ms = SOON_MS;
    rig.hold = true;
    rig_open(&rig);
    for (int i = 0; i < PEERS; i++) {
        CHECK(rig_connect(&rig, &peers[i]));
        peer_say(&rig, &peers[i],
                 i == 2 ? "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" : GET("/"));
    }
    RIG_UNTIL(&rig, gl_engine_stats(rig.engine).waiting == 0);
    CHECK(gl_engine_stats(rig.engine).expired == PEERS - 1);
    CHECK(rig.log_lines == 2); /* it began, and is over */
    CHECK(strcmp(peer_statuses(&peers[2], true), "503") == 0);
    CHECK(memcmp(peers[2].got + peers[2].n - 4, "\r\n\r\n", 4) == 0);
    peer_close(&peers[2]);
    CHECK(rig_release(&rig));
    for (int i = 0; i < PEERS; i++) {
        if (i != 2) {
            CHECK(peer_got(&peers[i], i == 0 ? "200" : "503"));
            peer_close(&peers[i]);
        }
    }
    end_test(&rig, NULL);
}

/* The deadline of the queue does not hold for a request that got a slot. */
static void
test_queue_in_time(void)
{
    struct rig_peer first, second;
    uint64_t until;
    struct rig rig;

    check_case("queue in time");
    rig_init(&rig);
    rig.options.cores = 1;
    rig.options.queue_timeout_ms = SOON_MS;
    rig.hold = true;
    rig_open(&rig);
    CHECK(rig_connect(&rig, &first) && rig_connect(&rig, &second));
    peer_say(&rig, &first, GET("/"));
    peer_say(&rig, &second, GET("/"));
    CHECK(rig_release(&rig));
    gl_engine_settle(rig.engine);
    CHECK(rig.started == 2);
    until = gl_clock_ms() + 2 * SOON_MS;
    RIG_UNTIL(&rig, gl_clock_ms() > until);
    CHECK(rig_release(&rig));
    CHECK(peer_got(&second, "200"));
    CHECK(gl_engine_stats(rig.engine).expired == 0);
    peer_close(&first);
    peer_close(&second);
    end_test(&rig, NULL);
}

int
main(void)
{
    test_backlog();
    test_two_listeners();
    test_idle_ones_make_room();
    test_no_keeping_while_somebody_waits();
    test_a_request_on_its_way();
    test_rejecting();
    test_rejecting_without_memory();
    test_rejecting_without_an_answer();
    test_out_of_descriptors();
    test_idle_ones_give_their_descriptors();
    test_draining_while_paused();
    test_queue_overflows();
    test_queue_timeout();
    test_queue_in_time();
    return check_end();
}
