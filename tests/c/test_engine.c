/* test_engine.c - turns, their budget and the member; timers, listeners,
 * draining, and what wakes the loop that holds the engine.
 *
 * SPDX-License-Identifier: MIT
 */
#include "check.h"
#include "rig.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/wait.h>

#define SOON_MS 30

static void
end_test(struct rig *rig, struct rig_peer *peer)
{
    peer_close(peer);
    RIG_UNTIL(rig, rig_is_empty(rig));
    rig_close(rig);
}

/* The loop that holds the engine would run it now. */
static bool
wakes_its_loop(struct rig *rig, int timeout_ms)
{
    struct pollfd p = {.fd = gl_engine_fd(rig->engine), .events = POLLIN};

    return poll(&p, 1, timeout_ms) == 1;
}

/* --- turns ------------------------------------------------------------ */

static int inner_turn;

static void
turn_again(struct rig *rig)
{
    inner_turn = gl_engine_turn(rig->engine, -1, &gl_budget_default);
    gl_engine_settle(rig->engine);
}

static void
test_turn_in_a_turn_does_nothing(void)
{
    struct rig rig;
    struct rig_peer peer;
    uint64_t turns;

    check_case("turn in a turn");
    rig_init(&rig);
    rig.on_start = turn_again;
    rig_open(&rig);
    CHECK(rig_connect(&rig, &peer));
    turns = gl_engine_stats(rig.engine).turns;
    inner_turn = -1;
    peer_send(&peer, GET("/"), strlen(GET("/")));
    CHECK(gl_engine_turn(rig.engine, 1000, &gl_budget_default) > 0);
    CHECK(inner_turn == 0);
    CHECK(gl_engine_stats(rig.engine).turns == turns + 1);
    CHECK(peer_got(&peer, "200"));
    end_test(&rig, &peer);
}

static void
test_turn_waits_and_returns(void)
{
    struct rig rig;
    uint64_t began = gl_clock_ms();

    check_case("turn waits");
    rig_init(&rig);
    rig_open(&rig);
    CHECK(gl_engine_turn(rig.engine, 0, &gl_budget_default) == 0);
    CHECK(rig.waits_begun == 0); /* it could not block */
    CHECK(gl_engine_turn(rig.engine, SOON_MS, &gl_budget_default) == 0);
    CHECK(gl_clock_ms() - began >= SOON_MS - 1);
    CHECK(rig.waits_begun == 1 && rig.waits_ended == 1);
    CHECK(!wakes_its_loop(&rig, 0));
    rig_close(&rig);
}

/* A long pipeline is served over several turns, and the loop is woken for
 * each of them though nothing comes from outside. */
static void
test_budget(void)
{
    enum { REQUESTS = 2000, ONE_BYTES = sizeof(GET("/")) - 1 };
    static char wire[REQUESTS * ONE_BYTES];
    const struct gl_budget one = {.events = 1, .ns = 1000000000};
    struct rig rig;
    struct rig_peer peer;
    unsigned turns = 0;

    check_case("budget");
    rig_init(&rig);
    rig_open(&rig);
    CHECK(rig_connect(&rig, &peer));
    for (size_t i = 0; i < REQUESTS; i++) {
        memcpy(wire + i * ONE_BYTES, GET("/"), ONE_BYTES);
    }
    peer_send(&peer, wire, sizeof(wire));
    while (rig.answered < REQUESTS && turns < REQUESTS) {
        if (!CHECK(wakes_its_loop(&rig, 1000))) {
            break;
        }
        CHECK(gl_engine_turn(rig.engine, -1, &one) > 0);
        (void)peer_read(&peer);
        turns++;
    }
    CHECK(rig.answered == REQUESTS);
    CHECK(turns >= 4 && turns < 200);
    rig_run(&rig);
    CHECK(!wakes_its_loop(&rig, 0));
    end_test(&rig, &peer);
}

/* Requests that end outside of a turn may leave more than one settling
 * does: the loop is woken for the rest. */
static void
test_settle_outside_wakes_the_loop(void)
{
    enum { PEERS = 300 };
    static struct rig_peer peers[PEERS];
    struct rig rig;

    check_case("settle outside");
    rig_init(&rig);
    rig.hold = true;
    rig_open(&rig);
    for (int i = 0; i < PEERS; i++) {
        CHECK(rig_connect(&rig, &peers[i]));
        peer_send(&peers[i], GET("/1") GET("/2"), 2 * strlen(GET("/1")));
    }
    rig_run(&rig);
    CHECK(rig.started == PEERS);
    CHECK(!wakes_its_loop(&rig, 0));
    rig.hold = false;
    while (rig_release(&rig)) {
    }
    gl_engine_settle(rig.engine);
    CHECK(rig.started < 2 * PEERS);
    CHECK(wakes_its_loop(&rig, 1000));
    rig_run(&rig);
    CHECK(rig.answered == 2 * PEERS);
    for (int i = 1; i < PEERS; i++) {
        peer_close(&peers[i]);
    }
    end_test(&rig, &peers[0]);
}

static void
test_member(void)
{
    const uint64_t one = 1;
    struct rig rig;
    struct rig_peer peer;
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    check_case("member");
    rig_init(&rig);
    rig_open(&rig);
    CHECK(gl_engine_set_member(rig.engine, fd) == 0);
    CHECK(gl_engine_turn(rig.engine, 0, &gl_budget_default) == 0);
    CHECK(!gl_engine_member_ready(rig.engine));
    CHECK(write(fd, &one, sizeof(one)) == sizeof(one));
    CHECK(gl_engine_turn(rig.engine, 1000, &gl_budget_default) == 1);
    CHECK(gl_engine_member_ready(rig.engine));
    CHECK(gl_engine_turn(rig.engine, 1000, &gl_budget_default) == 1);
    CHECK(gl_engine_member_ready(rig.engine));
    CHECK(eventfd_read(fd, &(eventfd_t){0}) == 0);
    CHECK(rig_connect(&rig, &peer));
    peer_say(&rig, &peer, GET("/"));
    CHECK(!gl_engine_member_ready(rig.engine));
    CHECK(peer_got(&peer, "200"));
    end_test(&rig, &peer);
    close(fd);
}

static void
test_child_does_not_serve(void)
{
    struct rig rig;
    struct rig_peer peer;
    int status;
    pid_t child;

    check_case("fork");
    rig_init(&rig);
    rig_open(&rig);
    CHECK(rig_connect(&rig, &peer));
    peer_send(&peer, GET("/"), strlen(GET("/")));
    child = fork();
    if (child == 0) {
        _exit(gl_engine_turn(rig.engine, 0, &gl_budget_default) == -ECHILD
                  ? 42
                  : 1);
    }
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 42);
    rig_run(&rig);
    CHECK(peer_got(&peer, "200"));
    end_test(&rig, &peer);
}

/* --- timers ----------------------------------------------------------- */

static unsigned fired[3];
static struct gl_timer timers[3];

static void
note_timer(struct gl_timer *self)
{
    fired[self - timers]++;
}

static void
test_timers(void)
{
    struct rig rig;
    uint64_t now = gl_clock_ms();

    check_case("timers");
    rig_init(&rig);
    rig_open(&rig);
    for (uint64_t i = 0; i < 3; i++) {
        timers[i] = (struct gl_timer){.due_ms = now + (3 - i) * SOON_MS,
                                      .fire = note_timer};
        CHECK(gl_engine_timer_start(rig.engine, &timers[i]) == 0);
    }
    gl_engine_timer_stop(rig.engine, &timers[1]);
    RIG_UNTIL(&rig, fired[2] == 1);
    CHECK(gl_clock_ms() - now >= SOON_MS);
    CHECK(fired[0] == 0);
    RIG_UNTIL(&rig, fired[0] == 1);
    CHECK(gl_clock_ms() - now >= 3 * SOON_MS);
    CHECK(fired[1] == 0 && fired[2] == 1);
    timers[0].due_ms = 0; /* long past */
    CHECK(gl_engine_timer_start(rig.engine, &timers[0]) == 0);
    CHECK(wakes_its_loop(&rig, 1000));
    RIG_UNTIL(&rig, fired[0] == 2);
    rig_close(&rig);
}

/* --- listeners -------------------------------------------------------- */

static int
listen_somewhere(struct sockaddr_in *ret_addr)
{
    socklen_t n = sizeof(*ret_addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    *ret_addr = (struct sockaddr_in){.sin_family = AF_INET};
    ret_addr->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(fd, (void *)ret_addr, n) < 0 || listen(fd, 100) < 0 ||
        getsockname(fd, (void *)ret_addr, &n) < 0) {
        abort();
    }
    return fd;
}

static void
dial(const struct sockaddr_in *addr, struct rig_peer *peer)
{
    *peer = (struct rig_peer){0};
    peer->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(connect(peer->fd, (const void *)addr, sizeof(*addr)) == 0);
}

static void
test_listener(void)
{
    enum { PEERS = 80 }; /* more than one event accepts */
    static struct rig_peer peers[PEERS];
    struct sockaddr_in addr;
    struct rig rig;
    struct rig_exchange *x;
    int fd = listen_somewhere(&addr), user = 0;

    check_case("listener");
    rig_init(&rig);
    rig.hold = true;
    rig_open(&rig);
    CHECK(gl_engine_listen(rig.engine, fd, rig.transport, rig.protocol,
                           &user) == 0);
    for (int i = 0; i < PEERS; i++) {
        dial(&addr, &peers[i]);
        peer_send(&peers[i], GET("/"), strlen(GET("/")));
    }
    RIG_UNTIL(&rig, rig.started == PEERS);
    CHECK(gl_engine_stats(rig.engine).accepted == PEERS);
    x = GL_CONTAINER_OF(rig.held.next, struct rig_exchange, link);
    CHECK(gl_request_listener_user(x->req) == &user);
    CHECK(strcmp(gl_request_peer(x->req)->text, "127.0.0.1") == 0);
    CHECK(gl_request_peer(x->req)->port != 0);
    while (rig_release(&rig)) {
    }
    for (int i = 0; i < PEERS; i++) {
        RIG_UNTIL(&rig, strcmp(peer_statuses(&peers[i], false), "200") == 0);
        if (i > 0) {
            peer_close(&peers[i]);
        }
    }
    end_test(&rig, &peers[0]);
    close(fd);
}

/* --- the end ---------------------------------------------------------- */

static void
test_drain(void)
{
    struct sockaddr_in addr;
    struct rig rig;
    struct rig_peer idle, partial, running, queued, come, late;
    int fd = listen_somewhere(&addr);

    check_case("drain");
    rig_init(&rig);
    rig.options.cores = 1;
    rig.hold = true;
    rig_open(&rig);
    CHECK(gl_engine_listen(rig.engine, fd, rig.transport, rig.protocol,
                           NULL) == 0);
    CHECK(rig_connect(&rig, &idle));
    CHECK(rig_connect(&rig, &partial));
    CHECK(rig_connect(&rig, &running));
    CHECK(rig_connect(&rig, &queued));
    CHECK(rig_connect(&rig, &come));
    peer_say(&rig, &running, GET("/r"));
    peer_say(&rig, &queued, GET("/q") GET("/never"));
    peer_say(&rig, &partial, "GET /p HTTP/1.1\r\n");
    peer_send(&come, GET("/c"), strlen(GET("/c"))); /* not seen yet */
    CHECK(!gl_engine_draining(rig.engine));
    gl_engine_drain(rig.engine);
    CHECK(gl_engine_draining(rig.engine));
    gl_engine_drain(rig.engine); /* harmless */
    (void)peer_read(&idle);
    CHECK(idle.ended);
    dial(&addr, &late);
    rig_run(&rig);
    peer_say(&rig, &partial, "Host: a\r\n\r\n");
    CHECK(rig.drained == 0);
    for (int i = 0; i < 4; i++) {
        CHECK(rig_release(&rig));
        gl_engine_settle(rig.engine);
        rig_run(&rig);
    }
    CHECK(peer_got(&partial, "200") && partial.ended);
    CHECK(peer_got(&running, "200") && running.ended);
    CHECK(peer_got(&queued, "200") && queued.ended);
    CHECK(peer_got(&come, "200") && come.ended);
    CHECK(memcmp(rig.order, "rqcp", 5) == 0);
    peer_close(&partial);
    peer_close(&running);
    peer_close(&queued);
    peer_close(&come);
    RIG_UNTIL(&rig, rig.drained > 0);
    gl_engine_settle(rig.engine);
    gl_engine_drain(rig.engine);
    CHECK(rig.drained == 1);
    CHECK(gl_engine_stats(rig.engine).accepted == 5);
    peer_close(&late);
    end_test(&rig, &idle);
    close(fd);
}

static void
test_close_unused(void)
{
    struct rig rig;
    struct rig_peer idle, partial, running;

    check_case("close unused");
    rig_init(&rig);
    rig.hold = true;
    rig_open(&rig);
    CHECK(rig_connect(&rig, &idle));
    CHECK(rig_connect(&rig, &partial));
    CHECK(rig_connect(&rig, &running));
    peer_say(&rig, &partial, "GET");
    peer_say(&rig, &running, GET("/"));
    gl_engine_close_unused(rig.engine);
    (void)peer_read(&idle);
    (void)peer_read(&partial);
    CHECK(idle.ended && partial.ended);
    CHECK(gl_engine_stats(rig.engine).connections == 1);
    CHECK(rig_release(&rig));
    CHECK(peer_got(&running, "200"));
    peer_close(&idle);
    peer_close(&partial);
    end_test(&rig, &running);
}

/* --- the access log and small views ----------------------------------- */

static void
test_refusals_reach_the_access_log(void)
{
    struct rig rig;
    struct rig_peer peer;
    char text[4096];
    int fds[2];
    ssize_t n;

    check_case("access log");
    CHECK(pipe2(fds, O_NONBLOCK | O_CLOEXEC) == 0);
    rig_init(&rig);
    rig.access_log = gl_access_log_new(fds[1], GL_ACCESS_COMBINED);
    rig_open(&rig);
    CHECK(gl_engine_access_log(rig.engine) == rig.access_log);
    CHECK(rig_connect(&rig, &peer));
    peer_say(&rig, &peer, "G@T\r\n");
    CHECK(peer_got(&peer, "400"));
    CHECK(gl_access_log_pending(rig.access_log) > 0);
    RIG_UNTIL(&rig, gl_access_log_pending(rig.access_log) == 0);
    n = read(fds[0], text, sizeof(text) - 1);
    CHECK(n > 0 && strncmp(text, "10.0.0.7 - - [", 14) == 0);
    text[n > 0 ? n : 0] = '\0';
    CHECK(strstr(text, "\"G@T - -\" 400 ") != NULL);
    end_test(&rig, &peer);
    gl_access_log_free(rig.access_log);
    close(fds[0]);
    close(fds[1]);
}

static void
test_views(void)
{
    struct rig rig;
    const char *date;

    check_case("views");
    rig_init(&rig);
    rig.options.cores = 77;
    rig_open(&rig);
    CHECK(gl_engine_options(rig.engine)->cores == 77);
    CHECK(gl_engine_log(rig.engine)->sink_arg == &rig);
    CHECK(gl_engine_access_log(rig.engine) == NULL);
    date = gl_engine_date(rig.engine);
    CHECK(strlen(date) == GL_DATE_BYTES);
    CHECK(strcmp(date + GL_DATE_BYTES - 4, " GMT") == 0);
    rig_close(&rig);
    gl_engine_free(NULL);
}

int
main(void)
{
    test_turn_in_a_turn_does_nothing();
    test_turn_waits_and_returns();
    test_budget();
    test_settle_outside_wakes_the_loop();
    test_member();
    test_child_does_not_serve();
    test_timers();
    test_listener();
    test_drain();
    test_close_unused();
    test_refusals_reach_the_access_log();
    test_views();
    return check_end();
}
