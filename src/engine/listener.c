/* listener.c - accepting connections, and when not to.
 *
 * Who cannot be accepted waits in the kernel's backlog: a listener that is
 * paused is not watched, because it would stay readable, and spin.  It is
 * watched again when a connection has been closed; and after errors, whose
 * end nobody announces, also by a timer.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/gl.h"
#include "engine/engine.h"
#include "engine/engine_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ACCEPTS_PER_EVENT 64
#define ACCEPT_PAUSE_MS 500 /* after EMFILE and its kind */
/* Connections beyond max_connections that are being told so. */
#define EXCESS_MAX 128
/* Connections that are looked at for one that is idle. */
#define LOOKS_FOR_IDLE 64
#define NO_ROOM (-EBUSY) /* beside what accept() may say */

/* --- what the log says ------------------------------------------------- */

/* Somebody waits in the backlog of a listener that can't accept. */
static void
note_starved(struct gl_listener *l, int error)
{
    struct gl_engine *e = l->engine;

    e->starved_listeners += !l->starved;
    l->starved = true;
    if (!gl_episode_begin(&e->starving, gl_clock_ms())) {
        return;
    }
    if (error == NO_ROOM) {
        gl_log(&e->log, GL_LOG_WARNING,
               "accepting pauses: there are %u connections; further ones "
               "wait in the backlog (max_connections)",
               e->stats.connections);
    } else {
        gl_log(&e->log, GL_LOG_WARNING, "accepting pauses: %s%s",
               strerror(-error),
               error == -EMFILE
                   ? "; raise the limit of open files (ulimit -n)"
                   : "");
    }
}

/* Nobody waits there any more. */
static void
note_fed(struct gl_listener *l)
{
    struct gl_engine *e = l->engine;

    if (!l->starved) {
        return;
    }
    l->starved = false;
    e->starved_listeners--;
    if (e->starved_listeners == 0 &&
        gl_episode_end(&e->starving, gl_clock_ms())) {
        gl_log(&e->log, GL_LOG_WARNING,
               "accepting goes on: the backlog is empty");
    }
}

static void
note_rejected(struct gl_engine *e)
{
    e->stats.rejected++;
    if (gl_episode_begin(&e->rejecting, gl_clock_ms())) {
        gl_log(&e->log, GL_LOG_WARNING,
               "new connections are rejected: there are %u "
               "(max_connections)",
               e->stats.connections);
    }
}

static void
note_room(struct gl_engine *e)
{
    if (e->rejecting.open && gl_episode_end(&e->rejecting, gl_clock_ms())) {
        gl_log(&e->log, GL_LOG_WARNING, "new connections are accepted again");
    }
}

/* --- making room ------------------------------------------------------- */

/* Closes, of the connections between two requests, the one that has been so
 * for longest.  With max_connections the list is in that order, because each
 * connection goes to its end when it becomes idle (gl_conn_next); without, it
 * closes an old one.  What is not idle is moved out of the way, so that
 * looking again finds others. */
static bool
close_an_idle_one(struct gl_engine *e)
{
    for (int i = 0; i < LOOKS_FOR_IDLE && !gl_list_empty(&e->connections);
         i++) {
        struct gl_conn *conn =
            GL_CONTAINER_OF(e->connections.next, struct gl_conn, link);

        if (gl_conn_is_idle(conn)) {
            gl_conn_close(conn);
            return true;
        }
        gl_list_remove(&conn->link);
        gl_list_push(&e->connections, &conn->link);
    }
    return false;
}

/* --- pausing ---------------------------------------------------------- */

static void
retry_later(struct gl_listener *l)
{
    l->retry.due_ms = gl_clock_ms() + ACCEPT_PAUSE_MS;
    (void)gl_engine_timer_start(l->engine, &l->retry); /* a resumption
                                                        * helps too */
}

static void
resume(struct gl_listener *l)
{
    struct gl_engine *e = l->engine;

    if (!l->paused) {
        return;
    }
    if (gl_poller_add(&e->poller, &l->watch, EPOLLIN) < 0) {
        retry_later(l);
        return;
    }
    gl_timers_stop(e->timers, &l->retry);
    l->paused = false;
    e->paused_listeners--;
}

static void
retry_due(struct gl_timer *timer)
{
    resume(GL_CONTAINER_OF(timer, struct gl_listener, retry));
}

static void
pause_accepting(struct gl_listener *l, int error)
{
    struct gl_engine *e = l->engine;

    note_starved(l, error);
    if (error == -EMFILE && close_an_idle_one(e)) {
        return; /* and the next event has its descriptor */
    }
    l->retry.due_ms = gl_clock_ms() + ACCEPT_PAUSE_MS;
    if (error != NO_ROOM && gl_engine_timer_start(e, &l->retry) < 0) {
        return; /* without a timer it might never be watched again */
    }
    gl_poller_remove(&e->poller, &l->watch);
    l->paused = true;
    e->paused_listeners++;
}

void
gl_listeners_resume(struct gl_engine *e)
{
    struct gl_list *link;

    if (e->paused_listeners == 0 || e->draining) {
        return;
    }
    /* Another one is the first each time: the first may take all room. */
    link = gl_list_pop(&e->listeners);
    gl_list_push(&e->listeners, link);
    for (link = e->listeners.next; link != &e->listeners; link = link->next) {
        resume(GL_CONTAINER_OF(link, struct gl_listener, link));
    }
}

/* --- the limit of connections ------------------------------------------ */

static bool
has_room(const struct gl_engine *e)
{
    return e->options.max_connections == 0 ||
           e->stats.connections - e->excess < e->options.max_connections;
}

/* Takes a connection beyond the limit.  What answers in plain bytes says so
 * to the client; an answer under TLS would need a handshake first. */
static void
reject(struct gl_listener *l, int fd, const struct gl_peer *peer)
{
    struct gl_engine *e = l->engine;

    note_rejected(e);
    if (l->transport != &gl_transport_plain) {
        close(fd);
    } else if (gl_engine_adopt(e, fd, peer, l->transport, l->protocol, l) ==
               0) {
        /* A new connection is the last of all. */
        gl_conn_reject(
            GL_CONTAINER_OF(e->connections.prev, struct gl_conn, link));
    }
}

/* Whether a connection may be accepted: there is room, or can be made, or it
 * may be rejected. */
static bool
may_accept(struct gl_engine *e)
{
    return has_room(e) || close_an_idle_one(e) ||
           (e->options.max_connections_reject && e->excess < EXCESS_MAX);
}

/* --- accepting -------------------------------------------------------- */

/* Whether accept() failed for this one peer alone (see accept(2): errors of
 * the network that wait on the new socket are told there). */
static bool
is_of_one_peer(int error)
{
    switch (-error) {
    case ECONNABORTED:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENETDOWN:
    case ENETUNREACH:
    case ENONET:
    case ENOPROTOOPT:
    case EPERM: /* a firewall's rule */
    case EPROTO:
        return true;
    default:
        return false;
    }
}

static void
welcome(struct gl_listener *l, int fd, const struct gl_peer *peer)
{
    struct gl_engine *e = l->engine;

    if (!has_room(e)) {
        reject(l, fd, peer);
        return;
    }
    note_room(e);
    /* Failure has closed it: the peer sees that, and tries again. */
    (void)gl_engine_adopt(e, fd, peer, l->transport, l->protocol, l);
}

static void
listener_ready(struct gl_watch *watch, uint32_t events)
{
    struct gl_listener *l = GL_CONTAINER_OF(watch, struct gl_listener, watch);
    struct gl_peer peer;

    (void)events;
    for (int i = 0; i < ACCEPTS_PER_EVENT; i++) {
        /* Only the event says that somebody waits. */
        bool may = i == 0 ? may_accept(l->engine) : has_room(l->engine);
        int fd = may ? gl_sock_accept(watch->fd, &peer) : NO_ROOM;

        if (fd >= 0) {
            welcome(l, fd, &peer);
        } else if (fd == -EAGAIN) {
            note_fed(l);
            return;
        } else if (!is_of_one_peer(fd)) {
            if (i == 0) { /* else another event tells whether it matters */
                pause_accepting(l, fd);
            }
            return;
        }
    }
}

/* --- making and freeing ----------------------------------------------- */

static void
silence(struct gl_listener *l)
{
    struct gl_engine *e = l->engine;

    gl_poller_remove(&e->poller, &l->watch);
    gl_timers_stop(e->timers, &l->retry);
    e->paused_listeners -= l->paused;
    e->starved_listeners -= l->starved;
    l->paused = l->starved = false;
}

static void
free_listener(struct gl_listener *l)
{
    silence(l);
    gl_list_remove(&l->link);
    free(l);
}

int
gl_engine_listen(struct gl_engine *e, int fd,
                 const struct gl_transport *transport,
                 const struct gl_protocol *protocol, void *user)
{
    struct gl_listener *l = calloc(1, sizeof(*l));
    int error;

    if (l == NULL) {
        return -ENOMEM;
    }
    gl_sock_prepare_listener(fd);
    l->watch.fd = fd;
    l->watch.ready = listener_ready;
    l->retry.fire = retry_due;
    l->engine = e;
    l->transport = transport;
    l->protocol = protocol;
    l->user = user;
    gl_list_push(&e->listeners, &l->link);
    error = gl_poller_add(&e->poller, &l->watch, EPOLLIN);
    if (error < 0) {
        free_listener(l);
    }
    return error;
}

void
gl_listeners_silence(struct gl_engine *e)
{
    for (struct gl_list *link = e->listeners.next; link != &e->listeners;
         link = link->next) {
        silence(GL_CONTAINER_OF(link, struct gl_listener, link));
    }
}

void
gl_listeners_free(struct gl_engine *e)
{
    while (!gl_list_empty(&e->listeners)) {
        free_listener(
            GL_CONTAINER_OF(e->listeners.next, struct gl_listener, link));
    }
}
