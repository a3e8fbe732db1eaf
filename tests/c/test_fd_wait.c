/* test_fd_wait.c - one-shot waits for descriptors that are not the engine's.
 *
 * SPDX-License-Identifier: MIT
 */
#include "check.h"
#include "engine/fd_wait.h"
#include "rig.h"

#include <fcntl.h>
#include <stdint.h>

struct wait {
    struct gl_fd_wait fd_wait;
    struct gl_engine *engine;
    unsigned woken;
    struct wait *stops;  /* ended by the wake of this one; may be NULL */
    struct wait *starts; /* started again for starts_fd; may be NULL */
    int starts_fd;
};

static void
woken(struct gl_waiter *waiter, int result)
{
    struct wait *w = GL_CONTAINER_OF(waiter, struct wait, fd_wait.waiter);

    CHECK(result == 0);
    w->woken++;
    if (w->stops != NULL) {
        gl_fd_wait_stop(w->engine, &w->stops->fd_wait);
        /* Its memory goes: an event of the same batch must not find it. */
        memset(w->stops, 0xEE, sizeof(*w->stops));
    }
    if (w->starts != NULL) {
        CHECK(gl_fd_wait_start(w->engine, &w->starts->fd_wait, w->starts_fd,
                               false) == 0);
    }
}

static int
start(struct rig *rig, struct wait *w, int fd, bool for_write)
{
    w->fd_wait.waiter.wake = woken;
    w->engine = rig->engine;
    return gl_fd_wait_start(rig->engine, &w->fd_wait, fd, for_write);
}

static void
make_pair(int fds[2])
{
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) < 0) {
        abort();
    }
}

/* The lowest free descriptor: nothing was left open if it is as before. */
static int
first_free(void)
{
    int fd = dup(STDERR_FILENO);

    close(fd);
    return fd;
}

static void
test_read_and_write(struct rig *rig)
{
    struct wait r = {0}, w = {0}, again = {0};
    int fds[2], before;

    check_case("read and write");
    make_pair(fds);
    before = first_free();
    CHECK(start(rig, &r, fds[0], false) == 0);
    CHECK(start(rig, &w, fds[0], true) == 0); /* of the same descriptor */
    rig_run(rig);
    CHECK(r.woken == 0 && w.woken == 1);
    CHECK(send(fds[1], "xy", 2, 0) == 2);
    rig_run(rig);
    rig_run(rig);
    CHECK(r.woken == 1 && w.woken == 1); /* once */
    CHECK(start(rig, &again, fds[0], false) == 0);
    rig_run(rig);
    CHECK(again.woken == 1); /* level-triggered */
    CHECK(start(rig, &again, fds[0], false) == 0);
    gl_fd_wait_stop(rig->engine, &again.fd_wait);
    gl_fd_wait_stop(rig->engine, &again.fd_wait);
    rig_run(rig);
    CHECK(again.woken == 1);
    CHECK(first_free() == before);
    close(fds[0]);
    close(fds[1]);
}

static void
test_many_on_one(struct rig *rig)
{
    enum { MANY = 50 };
    struct wait waits[MANY] = {0};
    int fds[2], before;

    check_case("many on one");
    make_pair(fds);
    before = first_free();
    for (int i = 0; i < MANY; i++) {
        CHECK(start(rig, &waits[i], fds[0], false) == 0);
    }
    CHECK(shutdown(fds[1], SHUT_WR) == 0); /* the end is an event, too */
    rig_run(rig);
    for (int i = 0; i < MANY; i++) {
        CHECK(waits[i].woken == 1);
    }
    CHECK(first_free() == before);
    close(fds[0]);
    close(fds[1]);
}

static void
test_of_a_connection(struct rig *rig)
{
    struct wait w = {0}, later = {0};
    struct rig_peer peer;
    struct rig_exchange *x;

    check_case("of a connection");
    rig->hold = true;
    CHECK(rig_connect(rig, &peer));
    peer_say(rig, &peer, GET("/"));
    x = GL_CONTAINER_OF(rig->held.next, struct rig_exchange, link);
    CHECK(start(rig, &w, gl_request_fd(x->req), false) == 0);
    rig_run(rig);
    CHECK(w.woken == 0);
    peer_say(rig, &peer, GET("/"));
    CHECK(w.woken == 1);
    rig->hold = false;
    CHECK(rig_release(rig));
    rig_run(rig);
    CHECK(peer_got(&peer, "200 200")); /* the connection's watch is whole */
    CHECK(start(rig, &later, peer.fd, true) == 0);
    peer_close(&peer);
    rig_run(rig);
    CHECK(later.woken == 1);
    RIG_UNTIL(rig, rig_is_empty(rig));
}

/* The original is closed, and its number given to somebody else. */
static void
test_closed_meanwhile(struct rig *rig)
{
    struct wait w = {0}, other = {0};
    int fds[2], newer[2], before = first_free();
    uint64_t turns;

    check_case("closed meanwhile");
    make_pair(fds);
    CHECK(start(rig, &w, fds[0], false) == 0);
    close(fds[0]);
    make_pair(newer);
    CHECK(newer[0] == fds[0]);
    CHECK(start(rig, &other, newer[0], false) == 0);
    rig_run(rig);
    turns = gl_engine_stats(rig->engine).turns;
    rig_run(rig);
    CHECK(gl_engine_stats(rig->engine).turns == turns + 1); /* no spin */
    CHECK(send(newer[1], "x", 1, 0) == 1);
    rig_run(rig);
    CHECK(w.woken == 0 && other.woken == 1);
    gl_fd_wait_stop(rig->engine, &w.fd_wait);
    CHECK(start(rig, &other, newer[0], false) == 0); /* not taken out */
    rig_run(rig);
    CHECK(other.woken == 2);
    close(newer[0]);
    close(newer[1]);
    close(fds[1]);
    CHECK(first_free() == before);
}

/* Two events of one batch: the first wake ends the second wait. */
static void
test_stale_event(struct rig *rig)
{
    struct wait *a = __real_calloc(1, sizeof(*a));
    struct wait *b = __real_calloc(1, sizeof(*b));
    int fds[2];

    check_case("stale event");
    make_pair(fds);
    CHECK(start(rig, a, fds[0], false) == 0);
    CHECK(start(rig, b, fds[0], false) == 0);
    a->stops = b;
    b->stops = a;
    CHECK(send(fds[1], "x", 1, 0) == 1);
    rig_run(rig);
    CHECK((a->woken == 1) != (b->woken == 1)); /* the other is no more */
    free(a);
    free(b);
    close(fds[0]);
    close(fds[1]);
}

/* A wake may wait again, for the same too. */
static void
test_starts_again(struct rig *rig)
{
    struct wait w = {0};
    int fds[2];

    check_case("starts again");
    make_pair(fds);
    CHECK(send(fds[1], "x", 1, 0) == 1);
    w.starts = &w;
    w.starts_fd = fds[0];
    CHECK(start(rig, &w, fds[0], false) == 0);
    RIG_UNTIL(rig, w.woken >= 3);
    w.starts = NULL;
    rig_run(rig);
    gl_fd_wait_stop(rig->engine, &w.fd_wait);
    close(fds[0]);
    close(fds[1]);
}

static void
test_refused(struct rig *rig)
{
    struct wait w = {0};
    FILE *file = tmpfile();
    int before, fds[2];

    check_case("refused");
    make_pair(fds);
    before = first_free();
    CHECK(start(rig, &w, -1, false) == -EBADF);
    CHECK(start(rig, &w, before, false) == -EBADF);
    CHECK(start(rig, &w, fileno(file), false) == -EPERM);
    CHECK(start(rig, &w, fileno(file), true) == -EPERM);
    check_fail_allocation(1);
    CHECK(start(rig, &w, fds[0], false) == -ENOMEM);
    CHECK(w.fd_wait.watch == NULL);
    CHECK(first_free() == before);
    gl_fd_wait_stop(rig->engine, &w.fd_wait);
    CHECK(fclose(file) == 0);
    close(fds[0]);
    close(fds[1]);
}

/* The engine goes first: what waited is not woken, and may be stopped. */
static void
test_engine_ends(void)
{
    struct rig rig;
    struct wait w = {0};
    int fds[2], before = first_free();

    check_case("engine ends");
    rig_init(&rig);
    rig_open(&rig);
    make_pair(fds);
    CHECK(start(&rig, &w, fds[0], false) == 0);
    rig_close(&rig);
    CHECK(w.woken == 0 && w.fd_wait.watch == NULL);
    close(fds[0]);
    close(fds[1]);
    CHECK(first_free() == before);
}

int
main(void)
{
    struct rig rig;

    rig_init(&rig);
    rig_open(&rig);
    test_read_and_write(&rig);
    test_many_on_one(&rig);
    test_of_a_connection(&rig);
    test_closed_meanwhile(&rig);
    test_stale_event(&rig);
    test_starts_again(&rig);
    test_refused(&rig);
    rig_close(&rig);
    test_engine_ends();
    return check_end();
}
