/* fd_park.c - parking until a descriptor is ready: wait_readable() and
 * wait_writable().
 *
 * The wait is an entry of the engine's own epoll set, not a reader of the
 * loop, so that any number may wait for one descriptor, and asyncio's
 * readers of it stay as they are.
 *
 * SPDX-License-Identifier: MIT
 */
#include "py/fd_park.h"

#include "base/gl.h"
#include "engine/fd_wait.h"
#include "py/api.h"
#include "py/park.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>

/* On the heap: the engine refers to it while the greenlet's stack is
 * away. */
struct fd_park {
    struct gl_fd_wait ready;
    struct gl_wait *wait; /* owned */
};

static void
became_ready(struct gl_waiter *waiter, int result)
{
    struct gl_fd_wait *ready =
        GL_CONTAINER_OF(waiter, struct gl_fd_wait, waiter);

    gl_wait_wake(GL_CONTAINER_OF(ready, struct fd_park, ready)->wait, result);
}

bool
gl_fd_is_ready(int fd, bool for_write)
{
    struct pollfd look = {.fd = fd, .events = for_write ? POLLOUT : POLLIN};

    return poll(&look, 1, 0) > 0 && (look.revents & POLLNVAL) == 0;
}

/* Registers and parks.  As gl_park_fd returns. */
static int
park_until_ready(struct fd_park *park, int fd, bool for_write,
                 uint64_t timeout_ns)
{
    struct gl_engine *engine = park->wait->core->pool->engine;
    int error = gl_fd_wait_start(engine, &park->ready, fd, for_write);

    if (error == -EPERM) {
        return 1; /* a regular file is always ready */
    }
    if (error < 0) {
        gl_raise_errno(error, "cannot wait for this descriptor");
        return -1;
    }
    if (timeout_ns > 0) {
        error = gl_wait_start_timer(park->wait, timeout_ns);
    }
    if (error == 0) {
        error = gl_wait_park(park->wait);
    }
    gl_fd_wait_stop(engine, &park->ready);
    if (error < 0) {
        return -1;
    }
    /* Who held up the loop may have let the time pass before the engine
     * could hear of the descriptor. */
    return park->wait->result != -ETIMEDOUT || gl_fd_is_ready(fd, for_write);
}

int
gl_park_fd(struct gl_state *st, int fd, bool for_write, uint64_t timeout_ns,
           const char *what)
{
    struct gl_wait *w = gl_wait_new(st, what);
    struct fd_park *park = NULL;
    int outcome = -1;

    if (w == NULL) {
        return -1;
    }
    if (gl_api_refuse_in_task(st, w->core, what) == 0) {
        park = calloc(1, sizeof(*park));
        if (park != NULL) {
            park->ready.waiter.wake = became_ready;
            park->wait = w;
            outcome = park_until_ready(park, fd, for_write, timeout_ns);
        } else {
            PyErr_NoMemory();
        }
    }
    free(park);
    gl_wait_free(w);
    return outcome;
}

/* --- functions -------------------------------------------------------- */

static PyObject *
wait_ready(PyObject *module, PyObject *args, PyObject *kwargs, bool for_write)
{
    char *names[] = {"fd", "timeout", NULL};
    struct gl_state *st = gl_state_of_module(module);
    PyObject *file, *timeout = Py_None;
    uint64_t ns = 0;
    int fd, outcome;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs,
                                     for_write ? "O|O:wait_writable"
                                               : "O|O:wait_readable",
                                     names, &file, &timeout) ||
        (timeout != Py_None &&
         gl_seconds_to_ns(timeout, "the timeout", &ns) < 0)) {
        return NULL;
    }
    fd = PyObject_AsFileDescriptor(file);
    if (fd < 0) {
        return NULL;
    }
    if (timeout != Py_None && ns == 0) {
        ns = 1; /* a look, once all that is ready now has had its turn */
    }
    outcome = gl_park_fd(st, fd, for_write, ns,
                         for_write ? "greenloop.wait_writable()"
                                   : "greenloop.wait_readable()");
    if (outcome == 0) {
        PyErr_SetString(st->timeout_error,
                        for_write
                            ? "the descriptor was not writable in time"
                            : "the descriptor was not readable in time");
    }
    return outcome > 0 ? Py_NewRef(Py_None) : NULL;
}

PyDoc_STRVAR(wait_readable_doc,
"wait_readable($module, /, fd, timeout=None)\n--\n\n"
"Park the request until a descriptor has something to read.\n\n"
"  fd       an int, or an object with fileno(), such as a socket\n"
"  timeout  seconds (a float >= 0); None waits for ever\n\n"
"Returns None, also at the end of a stream and after an error, which reading\n"
"tells; at once for a regular file.  Any number of requests, and asyncio's\n"
"readers, may wait for one descriptor.  Closing it wakes nobody.  Raises\n"
"asyncio.TimeoutError; OSError for what cannot be waited for; RuntimeError\n"
"outside of a request; and whatever is thrown into the request.");

static PyObject *
wait_readable(PyObject *module, PyObject *args, PyObject *kwargs)
{
    return wait_ready(module, args, kwargs, false);
}

PyDoc_STRVAR(wait_writable_doc,
"wait_writable($module, /, fd, timeout=None)\n--\n\n"
"Park the request until a descriptor takes what is written.\n\n"
"A socket that is connecting is ready when it is connected or has failed.\n"
"Otherwise as wait_readable().");

static PyObject *
wait_writable(PyObject *module, PyObject *args, PyObject *kwargs)
{
    return wait_ready(module, args, kwargs, true);
}

PyMethodDef gl_fd_park_methods[] = {
    {"wait_readable", (PyCFunction)(void (*)(void))wait_readable,
     METH_VARARGS | METH_KEYWORDS, wait_readable_doc},
    {"wait_writable", (PyCFunction)(void (*)(void))wait_writable,
     METH_VARARGS | METH_KEYWORDS, wait_writable_doc},
    {NULL, NULL, 0, NULL},
};
