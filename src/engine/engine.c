/* engine.c - turns, timers, and the queue for slots.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine/engine.h"

#include "base/clock.h"
#include "base/gl.h"
#include "engine/engine_private.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

/* So few that what they and the next events touch is in the cache together:
 * a thousand sleeping requests come back in waves. */
#define TIMERS_PER_RUN 16
/* The same for requests whose heads have been read. */
#define EVENTS_PER_GROUP 16
#define ACCESS_LOG_DELAY_MS 200 /* a line waits at most this long */
#define EXPLANATIONS_PER_SECOND 50

const struct gl_budget gl_budget_default = {.events = 512, .ns = 500000};

/* --- timers ----------------------------------------------------------- */

/* Sets the timerfd if the earliest deadline is before what it is set to.  A
 * later one is left to a spurious, harmless expiry. */
static void
arm_timerfd(struct gl_engine *e)
{
    uint64_t next = gl_timers_next_ms(e->timers);
    struct itimerspec when = {0};

    if (next >= e->timer_armed_ms || e->timers_left) {
        return;
    }
    when.it_value.tv_sec = (time_t)(next / 1000);
    when.it_value.tv_nsec = (long)(next % 1000) * 1000000;
    if (next == 0) {
        when.it_value.tv_nsec = 1; /* zero would disarm it */
    }
    if (timerfd_settime(e->timer_watch.fd, TFD_TIMER_ABSTIME, &when, NULL) ==
        0) {
        e->timer_armed_ms = next;
    }
}

/* A burst of timers is brief if it takes no longer.  Requests that take their
 * time between two waits make it longer. */
#define BRIEF_NS 500000

/* From now on each answer leaves at once, first those that were held. */
static void
stop_holding(struct gl_engine *e)
{
    struct gl_list *link;

    e->hold_until_ns = 0;
    while ((link = gl_list_pop(&e->held)) != NULL) {
        struct gl_conn *conn = GL_CONTAINER_OF(link, struct gl_conn, pending);

        if (conn->state == GL_CONN_BUSY) { /* it has not ended yet */
            (void)gl_conn_flush_in_time(conn);
        } else {
            gl_conn_continue(conn);
        }
    }
}

/* Fires some of the timers that are due; the turn comes back for the rest.
 * The answers with which requests end then leave together, after it: a client
 * on the same machine, asleep since it asked, is woken for several, where each
 * waking costs as much as making a small answer.  But only while such bursts
 * are brief, so that no answer waits for what others take their time for. */
static void
run_timers(struct gl_engine *e)
{
    uint64_t began_ns = gl_clock_ns();
    size_t fired;

    e->hold_until_ns = e->brief_bursts ? began_ns + BRIEF_NS : 0;
    fired = gl_timers_run(e->timers, gl_clock_ms(), TIMERS_PER_RUN);
    stop_holding(e);
    e->brief_bursts = fired > 1 && gl_clock_ns() - began_ns < BRIEF_NS;
    e->timers_left = fired == TIMERS_PER_RUN;
    if (!e->timers_left) {
        arm_timerfd(e);
    }
}

static void
timerfd_ready(struct gl_watch *watch, uint32_t events)
{
    struct gl_engine *e =
        GL_CONTAINER_OF(watch, struct gl_engine, timer_watch);
    uint64_t expirations;

    (void)events;
    /* Fails with EAGAIN when it was set anew in this batch: fine. */
    (void)!read(watch->fd, &expirations, sizeof(expirations));
    e->timer_armed_ms = GL_TIMERS_NEVER;
    e->timers_left = true; /* they fire behind this group of events */
}

int
gl_engine_timer_start(struct gl_engine *e, struct gl_timer *timer)
{
    int error = gl_timers_start(e->timers, timer);

    arm_timerfd(e);
    return error;
}

void
gl_engine_timer_stop(struct gl_engine *e, struct gl_timer *timer)
{
    gl_timers_stop(e->timers, timer);
}

/* --- access log ------------------------------------------------------- */

static void
access_log_due(struct gl_timer *timer)
{
    struct gl_engine *e =
        GL_CONTAINER_OF(timer, struct gl_engine, access_log_timer);

    gl_access_log_flush(e->access_log);
    gl_engine_note_access(e); /* what a full pipe did not take */
}

void
gl_engine_note_access(struct gl_engine *e)
{
    if (gl_access_log_pending(e->access_log) > 0 &&
        !gl_timer_running(&e->access_log_timer)) {
        e->access_log_timer.due_ms = gl_clock_ms() + ACCESS_LOG_DELAY_MS;
        /* Without memory the lines wait for the next request's. */
        (void)gl_engine_timer_start(e, &e->access_log_timer);
    }
}

/* --- making and freeing ----------------------------------------------- */

static void
member_ready(struct gl_watch *watch, uint32_t events)
{
    (void)events;
    GL_CONTAINER_OF(watch, struct gl_engine, member)->member_ready = true;
}

static int
open_descriptors(struct gl_engine *e)
{
    int error = gl_poller_init(&e->poller);

    if (error < 0) {
        return error;
    }
    e->timer_watch.fd =
        timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (e->timer_watch.fd < 0) {
        return -errno;
    }
    e->timer_watch.ready = timerfd_ready;
    return gl_poller_add(&e->poller, &e->timer_watch, EPOLLIN);
}

int
gl_engine_new(const struct gl_engine_ops *ops, void *owner,
              const struct gl_options *options, const struct gl_log *log,
              struct gl_access_log *access_log, struct gl_engine **ret_engine)
{
    struct gl_engine *e = calloc(1, sizeof(*e));
    int error = -ENOMEM;

    if (e == NULL) {
        return -ENOMEM;
    }
    e->ops = ops;
    e->owner = owner;
    e->options = *options;
    e->log = *log;
    e->access_log = access_log;
    e->access_log_timer.fire = access_log_due;
    e->poller.fd = e->timer_watch.fd = e->member.fd = -1;
    e->member.ready = member_ready;
    e->timer_armed_ms = GL_TIMERS_NEVER;
    gl_list_init(&e->listeners);
    gl_list_init(&e->connections);
    gl_list_init(&e->pending);
    gl_list_init(&e->deferred);
    gl_list_init(&e->due);
    gl_list_init(&e->websockets);
    gl_list_init(&e->queue);
    gl_list_init(&e->gathered);
    gl_list_init(&e->held);
    gl_list_init(&e->graveyard);
    gl_list_init(&e->fd_watches);
    gl_list_init(&e->fd_graveyard);
    gl_list_init(&e->spares);
    e->timers = gl_timers_new();
    if (e->timers != NULL) {
        error = open_descriptors(e);
    }
    if (error < 0) {
        gl_engine_free(e);
        return error;
    }
    *ret_engine = e;
    return 0;
}

static void
bury(struct gl_engine *e)
{
    struct gl_list *link;
    bool any = !gl_list_empty(&e->graveyard);

    while ((link = gl_list_pop(&e->graveyard)) != NULL) {
        gl_conn_free(GL_CONTAINER_OF(link, struct gl_conn, link));
    }
    gl_fd_bury(e);
    if (any) {
        gl_listeners_resume(e);
    }
}

void
gl_engine_free(struct gl_engine *e)
{
    struct gl_list *link;

    if (e == NULL) {
        return;
    }
    assert(!e->in_turn && e->stats.running == 0);
    gl_ws_abandon_all(e);
    gl_engine_close_unused(e);
    gl_fd_forget_all(e);
    assert(gl_list_empty(&e->connections)); /* none runs without a slot */
    bury(e);
    gl_listeners_free(e);
    while ((link = gl_list_pop(&e->spares)) != NULL) {
        free(GL_CONTAINER_OF(link, struct gl_request, link));
    }
    if (e->timers != NULL) {
        gl_timers_stop(e->timers, &e->access_log_timer);
    }
    gl_timers_free(e->timers);
    gl_poller_remove(&e->poller, &e->member);
    if (e->timer_watch.fd >= 0) {
        close(e->timer_watch.fd);
    }
    gl_poller_fini(&e->poller);
    gl_networks_fini(&e->trust.proxies);
    free(e);
}

/* --- small views ------------------------------------------------------ */

int
gl_engine_fd(const struct gl_engine *e)
{
    return e->poller.fd;
}

bool
gl_engine_is_ours(const struct gl_engine *e)
{
    return gl_poller_is_ours(&e->poller);
}

const struct gl_options *
gl_engine_options(const struct gl_engine *e)
{
    return &e->options;
}

struct gl_engine_stats
gl_engine_stats(const struct gl_engine *e)
{
    return e->stats;
}

const struct gl_log *
gl_engine_log(const struct gl_engine *e)
{
    return &e->log;
}

const char *
gl_engine_date(struct gl_engine *e)
{
    return gl_date_text(&e->date, time(NULL));
}

struct gl_access_log *
gl_engine_access_log(const struct gl_engine *e)
{
    return e->access_log;
}

void
gl_engine_set_trust(struct gl_engine *e, struct gl_trust *trust)
{
    gl_networks_fini(&e->trust.proxies);
    e->trust = *trust;
    *trust = (struct gl_trust){.fields = 0};
}

const struct gl_trust *
gl_engine_trust(const struct gl_engine *e)
{
    return &e->trust;
}

bool
gl_engine_draining(const struct gl_engine *e)
{
    return e->draining;
}

/* --- requests --------------------------------------------------------- */

struct gl_request *
gl_engine_take_request(struct gl_engine *e)
{
    struct gl_list *link = gl_list_pop(&e->spares);
    struct gl_request *req;

    if (link == NULL) {
        return calloc(1, sizeof(*req));
    }
    e->spare_count--;
    req = GL_CONTAINER_OF(link, struct gl_request, link);
    memset(req, 0, sizeof(*req));
    return req;
}

void
gl_engine_give_request(struct gl_engine *e, struct gl_request *req)
{
    free(req->kept);
    if (e->spare_count >= GL_SPARE_REQUESTS) {
        free(req);
        return;
    }
    e->spare_count++;
    gl_list_push_front(&e->spares, &req->link); /* its memory is warm */
}

bool
gl_engine_queue_full(const struct gl_engine *e)
{
    return e->options.max_queued > 0 &&
           e->stats.waiting >= e->options.max_queued;
}

void
gl_engine_note_overload(struct gl_engine *e, bool late)
{
    if (late) {
        e->stats.expired++;
    } else {
        e->stats.overflowed++;
    }
    if (gl_episode_begin(&e->refusing, gl_clock_ms())) {
        gl_log(&e->log, GL_LOG_WARNING,
               "all %u cores are busy: requests get 503 (%s)",
               e->options.cores, late ? "queue_timeout_ms" : "max_queued");
    }
}

static void
note_queue_empty(struct gl_engine *e)
{
    if (gl_episode_end(&e->refusing, gl_clock_ms())) {
        gl_log(&e->log, GL_LOG_WARNING,
               "no request waits for a core any more");
    }
}

void
gl_engine_explain(struct gl_engine *e, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vsnprintf(e->explanation, sizeof(e->explanation), format, args);
    va_end(args);
}

static bool
may_explain(struct gl_engine *e)
{
    uint64_t second = gl_clock_ms() / 1000;

    if (second != e->explained_second) {
        e->explained_second = second;
        e->explained = 0;
    }
    return e->explained++ < EXPLANATIONS_PER_SECOND;
}

void
gl_engine_log_explanation(struct gl_engine *e)
{
    char text[GL_EXPLANATION_BYTES];
    uint32_t dropped = e->unexplained;

    if (e->explanation[0] == '\0') {
        return;
    }
    memcpy(text, e->explanation, sizeof(text));
    e->explanation[0] = '\0';
    if (!may_explain(e)) {
        e->unexplained++;
        return;
    }
    e->unexplained = 0;
    if (dropped > 0) {
        gl_log(&e->log, GL_LOG_WARNING,
               "%u lines about refused requests were dropped",
               (unsigned)dropped);
    }
    gl_log(&e->log, GL_LOG_WARNING, "%s", text);
}

/* --- turns ------------------------------------------------------------ */

void
gl_engine_continue_later(struct gl_engine *e, struct gl_conn *conn)
{
    if (!gl_list_linked(&conn->pending)) {
        gl_list_push(&e->pending, &conn->pending);
    }
}

static bool
start_queued(struct gl_engine *e)
{
    struct gl_list *link;
    struct gl_request *req;

    if (e->stats.running >= e->options.cores) {
        return false;
    }
    link = gl_list_pop(&e->queue);
    if (link == NULL) {
        return false;
    }
    e->stats.waiting--;
    req = GL_CONTAINER_OF(link, struct gl_request, link);
    gl_conn_start(req->conn);
    return true;
}

static bool
continue_pending(struct gl_engine *e)
{
    struct gl_list *link = gl_list_pop(&e->pending);

    if (link == NULL) {
        return false;
    }
    gl_conn_continue(GL_CONTAINER_OF(link, struct gl_conn, pending));
    return true;
}

/* A connection with a long pipeline must not keep the others waiting: what
 * is left after so many steps is done in the next batch. */
#define STEPS_PER_SETTLE 256

/* Whether settling stopped for its bound: no event will announce the rest,
 * a queued request with a free slot least of all. */
static bool
is_unsettled(const struct gl_engine *e)
{
    return e->timers_left || !gl_list_empty(&e->pending) ||
           (!gl_list_empty(&e->queue) && e->stats.running < e->options.cores);
}

/* Nothing may come from outside to wake the loop for what is left. */
static void
wake_loop(struct gl_engine *e)
{
    static const struct itimerspec now = {.it_value.tv_nsec = 1};

    (void)timerfd_settime(e->timer_watch.fd, TFD_TIMER_ABSTIME, &now, NULL);
    e->timer_armed_ms = 0;
}

void
gl_engine_wake(struct gl_engine *e)
{
    if (!e->in_turn && e->timer_armed_ms > 0) {
        wake_loop(e);
    }
}

void
gl_engine_continue_soon(struct gl_engine *e, struct gl_conn *conn)
{
    gl_engine_continue_later(e, conn);
    gl_engine_wake(e);
}

void
gl_engine_settle(struct gl_engine *e)
{
    int steps = 0;

    if (e->settling) {
        return;
    }
    e->settling = true;
    if (e->hold_until_ns > 0 && gl_clock_ns() >= e->hold_until_ns) {
        stop_holding(e);
    }
    while (steps < STEPS_PER_SETTLE &&
           (start_queued(e) || continue_pending(e))) {
        steps++;
    }
    if (e->refusing.open && gl_list_empty(&e->queue)) {
        note_queue_empty(e);
    }
    if (!e->in_turn) {
        bury(e);
        if (is_unsettled(e)) {
            wake_loop(e);
        }
    }
    e->settling = false;
    if (e->draining && !e->drained && gl_list_empty(&e->connections)) {
        e->drained = true;
        if (e->ops->drained != NULL) {
            e->ops->drained(e->owner);
        }
    }
}

void
gl_engine_defer(struct gl_engine *e, struct gl_deferred *d)
{
    gl_list_push(&e->deferred, &d->link);
    if (!e->in_turn) {
        wake_loop(e);
    }
}

/* Runs what was deferred before now; what that defers waits for the next
 * turn.  The list is no local: while an owner runs a request, our stack may
 * be away, and that request may undo what another one deferred. */
static void
run_deferred(struct gl_engine *e)
{
    struct gl_list *link;

    if (gl_list_empty(&e->deferred)) {
        return;
    }
    e->due = e->deferred;
    e->due.next->prev = e->due.prev->next = &e->due;
    gl_list_init(&e->deferred);
    while ((link = gl_list_pop(&e->due)) != NULL) {
        struct gl_deferred *d =
            GL_CONTAINER_OF(link, struct gl_deferred, link);

        d->run(d);
    }
}

struct gl_request *
gl_engine_next_request(struct gl_engine *e)
{
    struct gl_list *link =
        gl_poller_is_ours(&e->poller) ? gl_list_pop(&e->gathered) : NULL;

    return link != NULL ? GL_CONTAINER_OF(link, struct gl_request, link)
                        : NULL;
}

static void
start_gathered(struct gl_engine *e)
{
    struct gl_request *req;

    while ((req = gl_engine_next_request(e)) != NULL) {
        e->ops->start(e->owner, req);
    }
}

/* Handles the events of a batch group by group.  The requests that come with
 * one group start when all of it has been handled: then the application runs
 * several times in a row, with its memory warm, and the answers leave close
 * to each other, for which a client is woken once.  Timers fire before: who
 * ends a request then goes on with one of the new ones. */
static void
dispatch(struct gl_engine *e, int n)
{
    int from = 0, to;

    do {
        to = n - from > EVENTS_PER_GROUP ? from + EVENTS_PER_GROUP : n;
        e->gathering = to - from > 1 || e->timers_left;
        gl_poller_dispatch(&e->poller, from, to);
        e->gathering = false;
        if (e->timers_left) {
            run_timers(e);
        }
        start_gathered(e);
        from = to;
    } while (from < n);
}

/* Waits for one batch.  Returns what gl_poller_wait does. */
static int
wait_batch(struct gl_engine *e, int timeout_ms)
{
    int n;

    if (timeout_ms == 0) {
        return gl_poller_wait(&e->poller, 0);
    }
    if (e->ops->before_wait != NULL) {
        e->ops->before_wait(e->owner);
    }
    n = gl_poller_wait(&e->poller, timeout_ms);
    if (e->ops->after_wait != NULL) {
        e->ops->after_wait(e->owner);
    }
    return n;
}

int
gl_engine_turn(struct gl_engine *e, int timeout_ms,
               const struct gl_budget *budget)
{
    uint64_t began_ns = 0;
    bool deferred;
    int total = 0, n;

    if (e->in_turn) {
        return 0;
    }
    if (!gl_poller_is_ours(&e->poller)) {
        return -ECHILD;
    }
    e->in_turn = true;
    e->member_ready = false;
    e->stats.turns++;
    deferred = !gl_list_empty(&e->deferred);
    if (deferred || is_unsettled(e)) {
        timeout_ms = 0;
    }
    for (;;) {
        n = wait_batch(e, timeout_ms);
        if (n < 0 || (n == 0 && !deferred && !is_unsettled(e))) {
            break;
        }
        if (n > 1 && began_ns == 0) {
            began_ns = gl_clock_ns();
        }
        dispatch(e, n);
        if (deferred) { /* once a turn: the loop's callbacks are others too */
            deferred = false;
            run_deferred(e);
        }
        gl_engine_settle(e);
        bury(e);
        total += n > 0 ? n : 1;
        /* A lone event has no company that could share the turn: looking for
         * it would be a system call for each request of a lone client. */
        if (e->member_ready || total >= budget->events ||
            (n <= 1 && !is_unsettled(e)) ||
            gl_clock_ns() - began_ns >= budget->ns) {
            n = 0;
            break;
        }
        timeout_ms = 0;
    }
    e->in_turn = false;
    if (is_unsettled(e) || !gl_list_empty(&e->deferred)) {
        wake_loop(e);
    }
    return n < 0 && total == 0 ? n : total;
}

int
gl_engine_set_member(struct gl_engine *e, int fd)
{
    e->member.fd = fd;
    return gl_poller_add(&e->poller, &e->member, EPOLLIN);
}

bool
gl_engine_member_ready(const struct gl_engine *e)
{
    return e->member_ready;
}

/* --- connections ------------------------------------------------------ */

int
gl_engine_adopt(struct gl_engine *e, int fd, const struct gl_peer *peer,
                const struct gl_transport *transport,
                const struct gl_protocol *protocol,
                const struct gl_listener *listener)
{
    int error = gl_conn_new(e, fd, peer, transport, protocol, listener);

    e->stats.accepted += error == 0;
    return error;
}

/* --- the end ---------------------------------------------------------- */

void
gl_engine_close_unused(struct gl_engine *e)
{
    struct gl_list *link = e->connections.next;

    while (link != &e->connections) {
        struct gl_conn *conn = GL_CONTAINER_OF(link, struct gl_conn, link);

        link = link->next;
        if (conn->state != GL_CONN_BUSY) {
            gl_conn_close(conn);
        }
    }
}

void
gl_engine_drain(struct gl_engine *e)
{
    struct gl_list *link = e->connections.next;

    e->draining = true;
    gl_listeners_silence(e);
    while (link != &e->connections) {
        struct gl_conn *conn = GL_CONTAINER_OF(link, struct gl_conn, link);

        link = link->next;
        if (conn->state == GL_CONN_IDLE || conn->state == GL_CONN_PROXY) {
            /* A request may have come already: look once more. */
            conn->readable = true;
            gl_engine_continue_later(e, conn);
        }
    }
    gl_ws_close_all(e);
    gl_engine_settle(e);
}
