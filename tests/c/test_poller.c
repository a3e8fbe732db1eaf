/* test_poller.c - events reach their watches, stale ones nobody.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine/poller.h"

#include "base/gl.h"
#include "check.h"

#include <errno.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

struct source {
    struct gl_watch watch;
    struct gl_poller *poller;
    struct source *victim; /* removed when this one is ready */
    unsigned calls;
    uint32_t events;
};

static void
source_ready(struct gl_watch *watch, uint32_t events)
{
    struct source *s = GL_CONTAINER_OF(watch, struct source, watch);

    s->calls++;
    s->events = events;
    if (s->victim != NULL) {
        gl_poller_remove(s->poller, &s->victim->watch);
    }
}

static void
source_open(struct source *s, struct gl_poller *p, bool is_ready,
            uint32_t events)
{
    *s = (struct source){.poller = p};
    s->watch.fd = eventfd(is_ready, EFD_CLOEXEC | EFD_NONBLOCK);
    s->watch.ready = source_ready;
    CHECK(gl_poller_add(p, &s->watch, events) == 0);
}

static void
source_close(struct source *s)
{
    gl_poller_remove(s->poller, &s->watch);
    gl_poller_remove(s->poller, &s->watch); /* harmless */
    close(s->watch.fd);
}

static int
poll_once(struct gl_poller *p)
{
    int n = gl_poller_wait(p, 0);

    gl_poller_dispatch(p, 0, n);
    return n;
}

static void
test_add_change_remove(void)
{
    struct gl_poller p;
    struct source s;

    check_case("add, change, remove");
    CHECK(gl_poller_init(&p) == 0);
    source_open(&s, &p, true, EPOLLIN);
    CHECK(s.watch.active);
    CHECK(poll_once(&p) == 1);
    CHECK(poll_once(&p) == 1); /* level-triggered */
    CHECK(s.calls == 2 && s.events == EPOLLIN);
    CHECK(gl_poller_change(&p, &s.watch, EPOLLIN | EPOLLET) == 0);
    CHECK(s.watch.events == (EPOLLIN | EPOLLET));
    CHECK(poll_once(&p) == 1); /* a change announces anew */
    CHECK(poll_once(&p) == 0);
    gl_poller_remove(&p, &s.watch);
    CHECK(!s.watch.active);
    CHECK(gl_poller_add(&p, &s.watch, EPOLLIN) == 0);
    CHECK(poll_once(&p) == 1);
    source_close(&s);
    CHECK(poll_once(&p) == 0);
    gl_poller_fini(&p);
    CHECK(p.fd == -1);
    gl_poller_fini(&p); /* harmless */
}

/* Each of two ready sources removes the other: one event is stale. */
static void
test_stale_event_is_dropped(void)
{
    struct gl_poller p;
    struct source a, b;

    check_case("stale event");
    CHECK(gl_poller_init(&p) == 0);
    source_open(&a, &p, true, EPOLLIN);
    source_open(&b, &p, true, EPOLLIN);
    a.victim = &b;
    b.victim = &a;
    CHECK(poll_once(&p) == 2);
    CHECK(a.calls + b.calls == 1);
    CHECK(a.watch.active + b.watch.active == 1);
    source_close(&a);
    source_close(&b);
    gl_poller_fini(&p);
}

static void
test_batch_is_bounded(void)
{
    enum { SOURCES = GL_POLLER_BATCH + 10 };
    static struct source sources[SOURCES];
    struct gl_poller p;
    unsigned calls = 0;

    check_case("batch");
    CHECK(gl_poller_init(&p) == 0);
    for (int i = 0; i < SOURCES; i++) {
        source_open(&sources[i], &p, true, EPOLLIN | EPOLLET);
    }
    CHECK(poll_once(&p) == GL_POLLER_BATCH);
    CHECK(poll_once(&p) == SOURCES - GL_POLLER_BATCH);
    for (int i = 0; i < SOURCES; i++) {
        calls += sources[i].calls;
        source_close(&sources[i]);
    }
    CHECK(calls == SOURCES);
    gl_poller_fini(&p);
}

static void
test_errors(void)
{
    struct gl_poller p;
    struct source s;
    FILE *file = tmpfile();

    check_case("errors");
    CHECK(gl_poller_init(&p) == 0);
    s = (struct source){.poller = &p};
    s.watch.ready = source_ready;
    s.watch.fd = -1;
    CHECK(gl_poller_add(&p, &s.watch, EPOLLIN) == -EBADF);
    CHECK(!s.watch.active);
    s.watch.fd = fileno(file);
    CHECK(gl_poller_add(&p, &s.watch, EPOLLIN) == -EPERM);
    CHECK(!s.watch.active);
    source_open(&s, &p, false, EPOLLIN);
    close(s.watch.fd); /* behind our back */
    CHECK(gl_poller_change(&p, &s.watch, EPOLLIN) == -EBADF);
    gl_poller_remove(&p, &s.watch);
    CHECK(!s.watch.active);
    gl_poller_fini(&p);
    CHECK(gl_poller_wait(&p, 0) == -EBADF);
    CHECK(fclose(file) == 0);
}

static void
ignore_signal(int number)
{
    (void)number;
}

static void
test_signal_interrupts(void)
{
    const struct sigaction action = {.sa_handler = ignore_signal};
    struct gl_poller p;

    check_case("signal");
    CHECK(gl_poller_init(&p) == 0);
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    CHECK(ualarm(20000, 0) == 0);
    CHECK(gl_poller_wait(&p, 10000) == -EINTR);
    gl_poller_fini(&p);
}

/* The parent's descriptors are not a child's to serve. */
static void
test_child_is_told(void)
{
    struct gl_poller p;
    int status;
    pid_t child;

    check_case("fork");
    CHECK(gl_poller_init(&p) == 0);
    CHECK(gl_poller_is_ours(&p));
    child = fork();
    if (child == 0) {
        _exit(gl_poller_is_ours(&p) ? 1 : 42);
    }
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 42);
    gl_poller_fini(&p);
}

int
main(void)
{
    test_add_change_remove();
    test_stale_event_is_dropped();
    test_batch_is_bounded();
    test_errors();
    test_signal_interrupts();
    test_child_is_told();
    return check_end();
}
