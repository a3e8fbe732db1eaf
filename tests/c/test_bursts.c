/* test_bursts.c - requests that a burst of timers ends.
 *
 * Their answers leave together when the burst is over, while such bursts are
 * brief; and new requests start behind it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "check.h"
#include "rig.h"

#define PEERS 4
#define LONG_NS 1000000 /* what no brief burst takes */

struct alarm_clock {
    struct gl_timer timer;
    struct rig *rig;
};

static struct alarm_clock clocks[PEERS];
static struct rig_peer peers[PEERS];
static size_t seen;      /* bytes that peers had when the last one fired */
static unsigned fired;   /* of this burst */
static unsigned long_at; /* the one that takes its time; 0: none */
static unsigned started; /* requests, when the last one fired */
static bool take;        /* the last one goes on with a gathered request */

static size_t
bytes_of_peers(void)
{
    size_t n = 0;

    for (int i = 0; i < PEERS; i++) {
        peer_read(&peers[i]);
        n += peers[i].n;
    }
    return n;
}

static void
spin(uint64_t ns)
{
    uint64_t until_ns = gl_clock_ns() + ns;

    while (gl_clock_ns() < until_ns) {
    }
}

/* A request ends, as where a core was woken. */
static void
fire(struct gl_timer *timer)
{
    struct rig *rig = GL_CONTAINER_OF(timer, struct alarm_clock, timer)->rig;
    struct gl_request *req;

    fired++;
    started = rig->started;
    CHECK(rig_release(rig));
    if (take && (req = gl_engine_next_request(rig->engine)) != NULL) {
        rig_start(rig, req);
    }
    if (fired == long_at) {
        spin(LONG_NS);
    }
    gl_engine_settle(rig->engine);
    seen = bytes_of_peers();
}

static void
begin_test(struct rig *rig, const char *what)
{
    check_case("%s", what);
    rig_init(rig);
    rig->hold = rig->quiet = true;
    rig_open(rig);
    for (int i = 0; i < PEERS; i++) {
        CHECK(rig_connect(rig, &peers[i]));
        clocks[i] = (struct alarm_clock){.rig = rig};
        clocks[i].timer.fire = fire;
    }
    long_at = 0;
    take = false;
}

static void
end_test(struct rig *rig)
{
    for (int i = 0; i < PEERS; i++) {
        peer_close(&peers[i]);
    }
    RIG_UNTIL(rig, rig_is_empty(rig));
    rig_close(rig);
}

/* All ask, and wait until the first clock is due; the next turn fires all. */
static void
set_clocks(struct rig *rig)
{
    for (int i = 0; i < PEERS; i++) {
        peer_send(&peers[i], GET("/"), strlen(GET("/")));
    }
    rig_run(rig);
    for (int i = 0; i < PEERS; i++) {
        free(peers[i].got);
        peers[i].got = NULL;
        peers[i].n = 0;
        clocks[i].timer.due_ms = gl_clock_ms() + 3;
        CHECK(gl_engine_timer_start(rig->engine, &clocks[i].timer) == 0);
    }
    while (gl_clock_ms() <= clocks[PEERS - 1].timer.due_ms) {
    }
    fired = 0;
}

/* One answer a peer; how much of them had come when the last one fired. */
static size_t
burst(struct rig *rig)
{
    size_t all;

    set_clocks(rig);
    rig_run(rig);
    CHECK(fired == PEERS);
    all = bytes_of_peers();
    for (int i = 0; i < PEERS; i++) {
        CHECK(peers[i].n > 0 &&
              answer_size(peers[i].got, peers[i].n, false) == peers[i].n);
    }
    CHECK(seen <= all);
    return seen;
}

/* Bursts until one of them held its answers.  A busy machine makes some of
 * them long. */
static void
burst_until_held(struct rig *rig)
{
    uint64_t until_ms = gl_clock_ms() + WAIT_MS;

    while (burst(rig) > 0 && gl_clock_ms() < until_ms) {
    }
    CHECK(seen == 0);
}

static void
test_answers_leave_together(void)
{
    struct rig rig;

    begin_test(&rig, "together");
    CHECK(burst(&rig) > 0); /* nobody knows yet how long they take */
    burst_until_held(&rig);
    end_test(&rig);
}

static void
test_code_follows(void)
{
    struct rig rig;

    begin_test(&rig, "the application's code follows an answer");
    burst_until_held(&rig);
    rig.quiet = false;
    for (int i = 0; i < 5; i++) {
        CHECK(burst(&rig) > 0);
    }
    end_test(&rig);
}

static void
test_a_large_answer(void)
{
    struct rig rig;

    begin_test(&rig, "large answers");
    burst_until_held(&rig);
    rig.answer_bytes = 5000;
    for (int i = 0; i < 5; i++) {
        CHECK(burst(&rig) > 5000);
    }
    end_test(&rig);
}

static void
test_a_long_burst(void)
{
    struct rig rig;

    begin_test(&rig, "one takes its time");
    burst_until_held(&rig);
    long_at = PEERS;
    CHECK(burst(&rig) > 0); /* all leave when it settles */
    CHECK(answer_size(peers[0].got, peers[0].n, false) * PEERS == seen);
    long_at = 0;
    CHECK(burst(&rig) > 0); /* the last one was long */
    burst_until_held(&rig);
    end_test(&rig);
}

static void
test_without_memory(void)
{
    uint64_t until_ms = gl_clock_ms() + WAIT_MS;
    struct rig rig;

    begin_test(&rig, "no memory for a copy");
    do { /* again where a busy machine made the last burst a long one */
        check_fail_allocation(0);
        burst_until_held(&rig);
        set_clocks(&rig);
        check_fail_allocation(1);
        rig_run(&rig);
    } while (check_failure_is_due() && gl_clock_ms() < until_ms);
    CHECK(!check_failure_is_due());
    for (int i = 0; i < PEERS; i++) {
        CHECK(peer_got(&peers[i], "200"));
    }
    end_test(&rig);
}

/* The connection of a held answer ends by itself, or its peer is gone. */
static void
test_ends(void)
{
    struct rig rig;

    begin_test(&rig, "held answers of connections that end");
    burst_until_held(&rig);
    set_clocks(&rig);
    peer_close(&peers[1]);
    rig.close = true;
    rig_run(&rig);
    for (int i = 0; i < PEERS; i++) {
        CHECK(i == 1 || peer_got(&peers[i], "200"));
    }
    end_test(&rig);
}

static void
test_a_pipeline(void)
{
    struct rig rig;
    const char *two = GET("/") GET("/");

    begin_test(&rig, "the next request of the same peer is there");
    burst_until_held(&rig);
    set_clocks(&rig);
    rig.hold = false;
    peer_send(&peers[2], two, strlen(two));
    rig_run(&rig);
    CHECK(peer_got(&peers[2], "200 200 200"));
    CHECK(peer_got(&peers[3], "200"));
    end_test(&rig);
}

/* Requests that come in the turn of a burst start behind it, or go to those
 * who end in it. */
static void
test_new_requests(bool by_owner)
{
    struct rig rig;
    struct rig_peer others[2];
    unsigned before;

    begin_test(&rig, by_owner ? "who ends takes the next" : "new requests");
    set_clocks(&rig);
    rig.hold = false;
    for (int i = 0; i < 2; i++) {
        CHECK(rig_connect(&rig, &others[i]));
        peer_send(&others[i], GET("/"), strlen(GET("/")));
    }
    before = rig.started;
    take = by_owner;
    CHECK(gl_engine_turn(rig.engine, 0, &gl_budget_default) > 0);
    CHECK(fired == PEERS);
    CHECK(started == before + (by_owner ? 2 : 0));
    rig_run(&rig);
    for (int i = 0; i < 2; i++) {
        CHECK(peer_got(&others[i], "200"));
        peer_close(&others[i]);
    }
    end_test(&rig);
}

int
main(void)
{
    test_answers_leave_together();
    test_code_follows();
    test_a_large_answer();
    test_a_long_burst();
    test_without_memory();
    test_ends();
    test_a_pipeline();
    test_new_requests(false);
    test_new_requests(true);
    return check_end();
}
