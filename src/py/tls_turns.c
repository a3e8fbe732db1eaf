/* tls_turns.c - when handshakes run, and what is told of failed ones.
 *
 * A handshake costs a signature: most of a millisecond with an RSA key.  So
 * those of one turn of the engine get TURN_NS together, at least one of them
 * a step, and the rest waits in line for later turns: a burst of new clients
 * must not stop the requests that run.  Who sends many small pieces waits in
 * the same line.
 *
 * Failures are the daily bread of an open port.  A line tells of the first
 * one, and then one a minute at most, with their number.
 *
 * SPDX-License-Identifier: MIT
 */
#include "py/tls_private.h"

#include "base/clock.h"
#include "base/gl.h"

#define TURN_NS 1000000ULL
#define TURN_STEPS 256 /* those that are no handshakes count no time */
#define TELL_MS 60000

/* --- turns ------------------------------------------------------------- */

void
gl_tls_spent(struct gl_tls *tls, uint64_t began_ns)
{
    tls->spent_ns += gl_clock_ns() - began_ns;
}

/* Begins to count anew in each turn. */
static void
look_at_turn(struct gl_tls *tls, const struct gl_engine *e)
{
    uint64_t turn = gl_engine_stats(e).turns;

    if (tls->turn != turn) {
        tls->turn = turn;
        tls->spent_ns = 0;
    }
}

/* Goes on with those that wait, in their order. */
static void
run_waiting(struct gl_deferred *self)
{
    struct gl_tls *tls = GL_CONTAINER_OF(self, struct gl_tls, later);
    struct gl_list *link = tls->waiting.next, *last = tls->waiting.prev;
    struct gl_engine *e;

    if (gl_list_empty(&tls->waiting)) {
        return;
    }
    e = GL_CONTAINER_OF(link, struct gl_tls_session, link)->conn->engine;
    look_at_turn(tls, e);
    for (int i = 0; i < TURN_STEPS; i++) {
        struct gl_tls_session *s;

        if (gl_list_empty(&tls->waiting)) {
            return;
        }
        if (i > 0 && tls->spent_ns >= TURN_NS) {
            break;
        }
        link = gl_list_pop(&tls->waiting);
        s = GL_CONTAINER_OF(link, struct gl_tls_session, link);
        s->admitted = true;
        /* Nobody announces again what came; may free the session. */
        s->conn->watch.ready(&s->conn->watch, EPOLLIN);
        if (link == last) {
            break; /* who came back into the line meanwhile has had a turn */
        }
    }
    if (!gl_list_empty(&tls->waiting) && !gl_list_linked(&self->link)) {
        gl_engine_defer(e, self);
    }
}

void
gl_tls_wait_turn(struct gl_tls_session *s)
{
    struct gl_tls *tls = s->tls;

    if (gl_list_linked(&s->link)) {
        return;
    }
    gl_list_push(&tls->waiting, &s->link);
    if (!gl_list_linked(&tls->later.link)) {
        tls->later.run = run_waiting;
        gl_engine_defer(s->conn->engine, &tls->later);
    }
}

bool
gl_tls_admit(struct gl_tls_session *s)
{
    struct gl_tls *tls = s->tls;
    struct gl_engine *e = s->conn->engine;

    if (s->admitted) {
        s->admitted = false;
        return true;
    }
    if (gl_list_linked(&s->link)) {
        return false;
    }
    look_at_turn(tls, e);
    if (gl_list_empty(&tls->waiting) && tls->spent_ns < TURN_NS) {
        return true;
    }
    gl_tls_wait_turn(s);
    return false;
}

void
gl_tls_forget(struct gl_tls_session *s)
{
    gl_list_remove(&s->link);
    if (gl_list_empty(&s->tls->waiting)) {
        gl_list_remove(&s->tls->later.link); /* the engine may be ending */
    }
}

/* --- failures ---------------------------------------------------------- */

/* OpenSSL's word for why; borrowed from `reason`, or a constant. */
static const char *
reason_text(PyObject *reason)
{
    const char *text = NULL;

    if (reason != NULL && PyUnicode_Check(reason)) {
        text = PyUnicode_AsUTF8(reason);
    }
    return text != NULL ? text : "no reason is known";
}

void
gl_tls_note_failure(struct gl_tls_session *s)
{
    const struct gl_conn *conn = s->conn;
    struct gl_tls *tls = s->tls;
    uint64_t now = gl_clock_ms();
    struct gl_exc exc;
    PyObject *reason;

    tls->untold++;
    if (tls->told_ms != 0 && now - tls->told_ms < TELL_MS) {
        return;
    }
    exc = gl_exc_take();
    reason = PyObject_GetAttrString(exc.value, "reason");
    gl_log(gl_engine_log(conn->engine), GL_LOG_WARNING,
           "TLS handshakes failed: %u, the last one with %s: %s", tls->untold,
           conn->peer.text[0] != '\0' ? conn->peer.text : "a local peer",
           reason_text(reason));
    tls->told_ms = now;
    tls->untold = 0;
    Py_XDECREF(reason);
    PyErr_Clear();
    gl_exc_restore(&exc);
}
