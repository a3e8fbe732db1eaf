/* uwsgi_wait.c - the module `uwsgi`: suspend(), async_sleep(), and waits for
 * descriptors.
 *
 * wait_fd_read() and wait_fd_write() only note a descriptor.  The next
 * suspend(), or the next item that the response's iterator yields, parks the
 * request until one of the noted is ready or the timeout has passed;
 * ready_fd() then tells which.  All are forgotten by then.
 *
 * SPDX-License-Identifier: MIT
 */
#include "py/uwsgi_api.h"

#include "base/gl.h"
#include "engine/fd_wait.h"
#include "py/api.h"
#include "py/core.h"
#include "py/fd_park.h"
#include "py/park.h"
#include "py/websocket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

/* A descriptor that was noted. */
struct noted {
    int fd;
    bool for_write;
};

/* What the module keeps for a request that used it. */
struct gl_uwsgi_request {
    struct noted *noted; /* owned */
    size_t count, room;
    uint64_t timeout_ns; /* of the next wait; 0: none */
    int ready_fd;        /* that ended the last wait, or -1 */
    PyObject *logvars;   /* strong: {bytes: bytes}, or NULL */
};

/* One park for all that was noted; on the heap, as the engine refers to it
 * while the greenlet's stack is away. */
struct watched {
    struct gl_fd_wait wait;
    struct gl_websocket_wait message; /* in place of it, if it is own */
    struct wait_set *set;             /* borrowed: whose member this is */
    int fd;
    bool for_write;
    bool own; /* the request's WebSocket: the engine knows what came */
};

struct wait_set {
    struct gl_wait *wait; /* owned */
    int ready_fd;         /* -1: none yet */
    size_t count;
    struct watched watched[];
};

/* --- what is kept ----------------------------------------------------- */

/* Made when first needed; NULL with MemoryError. */
static struct gl_uwsgi_request *
kept_for(GlExchange *x)
{
    if (x->uwsgi == NULL) {
        x->uwsgi = calloc(1, sizeof(*x->uwsgi));
        if (x->uwsgi == NULL) {
            PyErr_NoMemory();
            return NULL;
        }
        x->uwsgi->ready_fd = -1;
    }
    return x->uwsgi;
}

void
gl_uwsgi_request_free(GlExchange *x)
{
    struct gl_uwsgi_request *kept = x->uwsgi;

    x->uwsgi = NULL;
    Py_XDECREF(kept->logvars);
    free(kept->noted);
    free(kept);
}

PyObject *
gl_uwsgi_logvars(GlExchange *x)
{
    struct gl_uwsgi_request *kept = kept_for(x);

    if (kept != NULL && kept->logvars == NULL) {
        kept->logvars = PyDict_New();
    }
    return kept != NULL ? kept->logvars : NULL;
}

/* Notes a descriptor once for each direction.  0 or -1. */
static int
note(struct gl_uwsgi_request *kept, int fd, bool for_write)
{
    for (size_t i = 0; i < kept->count; i++) {
        if (kept->noted[i].fd == fd &&
            kept->noted[i].for_write == for_write) {
            return 0;
        }
    }
    if (kept->count == kept->room) {
        size_t room = kept->room > 0 ? 2 * kept->room : 4;
        struct noted *noted = realloc(kept->noted, room * sizeof(*noted));

        if (noted == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        kept->noted = noted;
        kept->room = room;
    }
    kept->noted[kept->count++] = (struct noted){fd, for_write};
    return 0;
}

/* --- waiting ---------------------------------------------------------- */

static void
became_ready(struct gl_waiter *waiter, int result)
{
    struct gl_fd_wait *wait =
        GL_CONTAINER_OF(waiter, struct gl_fd_wait, waiter);
    struct watched *one = GL_CONTAINER_OF(wait, struct watched, wait);

    (void)result; /* a peer that has gone is found out by reading */
    one->set->ready_fd = one->fd;
    gl_wait_wake(one->set->wait, 0);
}

static void
message_came(struct gl_waiter *waiter, int result)
{
    struct gl_websocket_wait *wait =
        GL_CONTAINER_OF(waiter, struct gl_websocket_wait, waiter);
    struct watched *one = GL_CONTAINER_OF(wait, struct watched, message);
    struct gl_wait *w = one->set->wait;

    one->set->ready_fd = one->fd;
    if (result == -ESHUTDOWN) { /* ended, perhaps in another request */
        gl_engine_defer(w->core->pool->engine, &w->turn);
    } else {
        gl_wait_wake(w, 0);
    }
}

static void
forget_all(GlExchange *x, struct wait_set *set)
{
    struct gl_engine *engine = set->wait->core->pool->engine;

    for (size_t i = 0; i < set->count; i++) {
        struct watched *one = &set->watched[i];

        if (!one->own) {
            gl_fd_wait_stop(engine, &one->wait);
        } else if (x->websocket != NULL) {
            gl_websocket_forget((GlWebSocket *)x->websocket, &one->message);
        } else {
            gl_list_remove(&one->message.link);
        }
    }
}

/* Has the engine tell of messages: it may have read some bytes already. */
static int
watch_websocket(GlExchange *x, struct watched *one)
{
    int outcome = gl_websocket_wait((GlWebSocket *)x->websocket,
                                    &one->message, GL_WEBSOCKET_MESSAGE);

    if (outcome > 0) {
        one->set->ready_fd = one->fd; /* it has ended */
    }
    return outcome < 0 ? -1 : 0;
}

/* Starts one wait.  0, or -1 with an exception. */
static int
watch(GlExchange *x, struct wait_set *set, const struct noted *noted)
{
    struct gl_core *core = set->wait->core;
    struct watched *one = &set->watched[set->count++];
    int error;

    one->set = set;
    one->fd = noted->fd;
    one->for_write = noted->for_write;
    one->wait.waiter.wake = became_ready;
    one->message.waiter.wake = message_came;
    one->own = !noted->for_write && x->websocket != NULL &&
               noted->fd == gl_request_fd(x->req);
    if (one->own) {
        return watch_websocket(x, one);
    }
    error = gl_fd_wait_start(core->pool->engine, &one->wait, noted->fd,
                             noted->for_write);
    if (error == -EPERM) { /* a regular file is always ready */
        set->ready_fd = noted->fd;
        error = 0;
    }
    if (error < 0) {
        gl_raise_errno(error, "cannot wait for this descriptor");
    }
    return error < 0 ? -1 : 0;
}

/* Starts the waits for all that was noted, which is forgotten.  A new set, or
 * NULL with an exception. */
static struct wait_set *
watch_all(GlExchange *x, struct gl_wait *w)
{
    struct gl_uwsgi_request *kept = x->uwsgi;
    size_t count = kept != NULL ? kept->count : 0;
    struct wait_set *set =
        calloc(1, sizeof(*set) + count * sizeof(set->watched[0]));
    int error = 0;

    if (set == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    set->wait = w;
    set->ready_fd = -1;
    for (size_t i = 0; i < count && error == 0; i++) {
        error = watch(x, set, &kept->noted[i]);
    }
    if (error == 0 && kept != NULL && kept->timeout_ns > 0) {
        error = gl_wait_start_timer(w, kept->timeout_ns);
    }
    if (kept != NULL) {
        kept->count = 0;
        kept->timeout_ns = 0;
    }
    if (error < 0) {
        forget_all(x, set);
        free(set);
        set = NULL;
    }
    return set;
}

/* The time has passed: the first that is ready, though the engine had no time
 * to hear of it, or -1. */
static int
ready_at_last(const struct wait_set *set)
{
    const struct watched *one = set->watched;

    for (; one < set->watched + set->count; one++) {
        if (gl_fd_is_ready(one->fd, one->for_write)) {
            return one->fd;
        }
    }
    return -1;
}

/* Tells the application how its wait ended.  0 or -1. */
static int
tell(GlExchange *x, int ready_fd, bool timed_out)
{
    PyObject *number;
    int error;

    if (x->uwsgi != NULL) {
        x->uwsgi->ready_fd = ready_fd;
    }
    if (x->environ == NULL) {
        return 0;
    }
    if (PyDict_SetItem(x->environ, x->st->s_fdevent_timeout,
                       timed_out ? Py_True : Py_None) < 0) {
        return -1;
    }
    if (ready_fd < 0) {
        return 0;
    }
    number = PyLong_FromLong(ready_fd);
    if (number == NULL) {
        return -1;
    }
    error = PyDict_SetItem(x->environ, x->st->s_uwsgi_ready_fd, number);
    Py_DECREF(number);
    return error;
}

/* Parks until one of the noted is ready or the timeout has passed; an open
 * wait also until somebody switches back.  0 or -1. */
static int
wait_for_noted(GlExchange *x, bool open, const char *what)
{
    struct gl_wait *w = gl_wait_new(x->st, what);
    bool tells = x->uwsgi != NULL && x->uwsgi->count > 0, timed_out;
    struct wait_set *set = NULL;
    int error = -1, ready_fd;

    if (w == NULL) {
        return -1;
    }
    w->open = open;
    if (gl_api_refuse_in_task(x->st, w->core, what) == 0) {
        set = watch_all(x, w);
    }
    if (set == NULL) {
        gl_wait_free(w);
        return -1;
    }
    error = set->ready_fd < 0 ? gl_wait_park(w) : 0;
    forget_all(x, set);
    ready_fd = set->ready_fd;
    if (w->woken && ready_fd < 0) {
        ready_fd = ready_at_last(set);
    }
    timed_out = w->woken && ready_fd < 0;
    free(set);
    gl_wait_free(w);
    return error == 0 && tells ? tell(x, ready_fd, timed_out) : error;
}

int
gl_uwsgi_after_item(GlExchange *x)
{
    x->slept = false;
    if (x->uwsgi == NULL || x->uwsgi->count == 0) {
        return 0;
    }
    if (wait_for_noted(x, false, "waiting for a descriptor") < 0) {
        return -1;
    }
    return gl_exchange_request(x) != NULL ? 0 : -1;
}

/* --- functions -------------------------------------------------------- */

PyDoc_STRVAR(suspend_doc,
"suspend($module, /, *, request_context=None)\n--\n\n"
"Park the request until somebody switches back into its greenlet.\n\n"
"With descriptors noted by wait_fd_read() or wait_fd_write(), also until one\n"
"of them is ready or their timeout has passed: see ready_fd().\n"
"Returns True; at once after async_sleep(), which has waited already.\n"
"Raises SystemError outside of a request, RuntimeError in a task, OSError\n"
"for a descriptor that cannot be waited for, and whatever is thrown into the\n"
"request.");

static PyObject *
uwsgi_suspend(PyObject *module, PyObject *args, PyObject *kwargs)
{
    GlExchange *x = gl_uwsgi_exchange_alone(module, args, kwargs);

    if (x == NULL) {
        return NULL;
    }
    if (x->slept) {
        x->slept = false;
    } else if (wait_for_noted(x, true, "uwsgi.suspend()") < 0) {
        return NULL;
    }
    Py_RETURN_TRUE;
}

PyDoc_STRVAR(async_sleep_doc,
"async_sleep($module, seconds, /, *, request_context=None)\n--\n\n"
"Park the request for `seconds` (a number >= 0), and return b''.\n\n"
"Alone, yielded by the response's iterator, or followed by suspend(): it\n"
"waits once.  With descriptors noted by wait_fd_read() or wait_fd_write() it\n"
"waits not itself, but sets the timeout of the wait for them.  Raises\n"
"SystemError outside of a request, RuntimeError in a task, ValueError for a\n"
"negative time.");

static int
sleep_for(GlExchange *x, uint64_t ns)
{
    struct gl_wait *w = gl_wait_new(x->st, "uwsgi.async_sleep()");
    int error;

    if (w == NULL) {
        return -1;
    }
    error = gl_api_refuse_in_task(x->st, w->core, "uwsgi.async_sleep()");
    if (error == 0) {
        error = gl_wait_start_timer(w, ns);
    }
    if (error == 0) {
        error = gl_wait_park(w);
    }
    gl_wait_free(w);
    x->slept = error == 0;
    return error;
}

static PyObject *
async_sleep(PyObject *module, PyObject *args, PyObject *kwargs)
{
    char *names[] = {"", "request_context", NULL};
    PyObject *seconds, *context = NULL;
    GlExchange *x;
    uint64_t ns;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|$O:async_sleep", names,
                                     &seconds, &context) ||
        gl_seconds_to_ns(seconds, "uwsgi.async_sleep()", &ns) < 0) {
        return NULL;
    }
    x = gl_uwsgi_exchange(module, context);
    if (x == NULL) {
        return NULL;
    }
    if (x->uwsgi != NULL && x->uwsgi->count > 0) {
        x->uwsgi->timeout_ns = ns > 0 ? ns : 1;
    } else if (sleep_for(x, ns) < 0) {
        return NULL;
    }
    return Py_NewRef(x->st->empty_bytes);
}

/* Of several timeouts the shortest counts. */
static PyObject *
wait_fd(PyObject *module, PyObject *args, PyObject *kwargs, bool for_write)
{
    char *names[] = {"", "", "request_context", NULL};
    PyObject *seconds = NULL, *context = NULL;
    struct gl_uwsgi_request *kept;
    uint64_t ns = 0;
    GlExchange *x;
    int fd;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs,
                                     for_write ? "i|O$O:wait_fd_write"
                                               : "i|O$O:wait_fd_read",
                                     names, &fd, &seconds, &context) ||
        (seconds != NULL &&
         gl_seconds_to_ns(seconds, "the timeout", &ns) < 0)) {
        return NULL;
    }
    x = gl_uwsgi_exchange(module, context);
    if (x == NULL) {
        return NULL;
    }
    if (fcntl(fd, F_GETFD) < 0) {
        return gl_raise_errno(-errno, "cannot wait for this descriptor");
    }
    kept = kept_for(x);
    if (kept == NULL || note(kept, fd, for_write) < 0) {
        return NULL;
    }
    if (ns > 0 && (kept->timeout_ns == 0 || ns < kept->timeout_ns)) {
        kept->timeout_ns = ns;
    }
    x->slept = false;
    return Py_NewRef(x->st->empty_bytes);
}

PyDoc_STRVAR(wait_fd_read_doc,
"wait_fd_read($module, fd, timeout=0, /, *, request_context=None)\n--\n\n"
"Note that the next suspend(), or the next item that is yielded, is to wait\n"
"until `fd` can be read.\n\n"
"  timeout  seconds (a number >= 0) of that whole wait; 0: for ever\n"
"Returns b'', to be yielded.  After a timeout ready_fd() is -1 and\n"
"environ['x-wsgiorg.fdevent.timeout'] is True.  Raises SystemError outside\n"
"of a request, OSError (EBADF) for what is no descriptor.");

static PyObject *
wait_fd_read(PyObject *module, PyObject *args, PyObject *kwargs)
{
    return wait_fd(module, args, kwargs, false);
}

PyDoc_STRVAR(wait_fd_write_doc,
"wait_fd_write($module, fd, timeout=0, /, *, request_context=None)\n--\n\n"
"The same until `fd` can be written; a connecting socket can when it is\n"
"connected or has failed: see is_connected().");

static PyObject *
wait_fd_write(PyObject *module, PyObject *args, PyObject *kwargs)
{
    return wait_fd(module, args, kwargs, true);
}

PyDoc_STRVAR(ready_fd_doc,
"ready_fd($module, /, *, request_context=None)\n--\n\n"
"The descriptor that ended the request's last wait for descriptors; -1 if\n"
"the timeout did, or a switch, or there was none.");

static PyObject *
ready_fd(PyObject *module, PyObject *args, PyObject *kwargs)
{
    GlExchange *x = gl_uwsgi_exchange_alone(module, args, kwargs);

    if (x == NULL) {
        return NULL;
    }
    return PyLong_FromLong(x->uwsgi != NULL ? x->uwsgi->ready_fd : -1);
}

PyMethodDef gl_uwsgi_wait_methods[] = {
    {"suspend", GL_UWSGI_KEYWORDS(uwsgi_suspend), suspend_doc},
    {"green_schedule", GL_UWSGI_KEYWORDS(uwsgi_suspend),
     "green_schedule($module, /, *, request_context=None)\n--\n\n"
     "The same as suspend()."},
    {"async_sleep", GL_UWSGI_KEYWORDS(async_sleep), async_sleep_doc},
    {"wait_fd_read", GL_UWSGI_KEYWORDS(wait_fd_read), wait_fd_read_doc},
    {"wait_fd_write", GL_UWSGI_KEYWORDS(wait_fd_write), wait_fd_write_doc},
    {"ready_fd", GL_UWSGI_KEYWORDS(ready_fd), ready_fd_doc},
    {NULL, NULL, 0, NULL},
};
