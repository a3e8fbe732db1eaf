/* engine_type.c - the Engine object: an engine's owner.  How a loop runs it
 * is in loop_turns.c.
 *
 * SPDX-License-Identifier: MIT
 */
#include "py/engine_type.h"

#include "base/gl.h"
#include "engine/static.h"
#include "py/exchange.h"
#include "py/loop_turns.h"
#include "py/spawn.h"
#include "py/trust.h"
#include "py/websocket.h"

#include <errno.h>
#include <stdlib.h>

/* --- reports ---------------------------------------------------------- */

GlEngine *
gl_engine_of_pool(struct gl_pool *pool)
{
    return pool->owner;
}

GlEngine *
gl_engine_of_hub(struct gl_hub *hub)
{
    GlEngine *found = NULL;

    for (struct gl_list *l = hub != NULL ? hub->pools.next : NULL;
         l != NULL && l != &hub->pools; l = l->next) {
        GlEngine *engine =
            gl_engine_of_pool(GL_CONTAINER_OF(l, struct gl_pool, link));

        if (found == NULL || (found->stopping && !engine->stopping)) {
            found = engine;
        }
    }
    return found;
}

void
gl_engine_report(GlEngine *self, const char *text)
{
    struct gl_exc exc = gl_exc_take();
    /* It may quote a target with any bytes above ASCII. */
    PyObject *line = PyUnicode_DecodeASCII(text, (Py_ssize_t)strlen(text),
                                           "backslashreplace");
    PyObject *done = NULL;

    if (line != NULL) {
        done = PyObject_CallFunctionObjArgs(
            self->report, line, exc.value != NULL ? exc.value : Py_None,
            NULL);
    }
    if (done == NULL) {
        gl_unraisable(self->report);
    }
    Py_XDECREF(line);
    Py_XDECREF(done);
    gl_exc_clear(&exc);
}

void
gl_engine_heed_interrupt(GlEngine *self)
{
    struct gl_exc exc;
    PyObject *done;

    if (!PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)) {
        return;
    }
    exc = gl_exc_take();
    done = PyObject_CallNoArgs(self->on_interrupt);
    if (done == NULL) {
        gl_engine_report(self, "the interrupt handler failed");
    }
    Py_XDECREF(done);
    gl_exc_restore(&exc);
}

static void
pool_report(struct gl_pool *pool, const char *what)
{
    gl_engine_report(gl_engine_of_pool(pool), what);
}

static void
log_sink(void *arg, enum gl_log_level level, const char *line, size_t n)
{
    (void)level;
    (void)n; /* gl_log ends the line with a NUL */
    gl_engine_report(arg, line);
}

/* --- what the engine calls -------------------------------------------- */

static bool
on_answer(void *owner, struct gl_request *req)
{
    GlEngine *self = owner;

    return self->files != NULL && gl_static_try(self->files, req);
}

static void
on_start(void *owner, struct gl_request *req)
{
    gl_pool_run(&((GlEngine *)owner)->pool, req);
}

/* Whether the request on `core` became a WebSocket, whose own calls tell of
 * the peer's end; it is no failure of what else the request does. */
static bool
is_upgraded(const struct gl_core *core)
{
    const struct gl_kit *kit = core->exchange;

    return kit != NULL && kit->x != NULL && kit->x->upgraded;
}

/* A client may first half-close, then reset: the request is told once, and
 * what it does in its end is left alone. */
static void
on_departed(void *owner, struct gl_request *req)
{
    GlEngine *self = owner;
    struct gl_core *core = req->user;

    if (core != NULL && !core->cancelled && !is_upgraded(core) &&
        (self->cancel_on_disconnect || core->cancels)) {
        core->cancelled = true;
        gl_core_throw(core, self->st->client_disconnected,
                      "the client closed the connection");
    }
}

static void
before_wait(void *owner)
{
    ((GlEngine *)owner)->waiting = PyEval_SaveThread();
}

static void
after_wait(void *owner)
{
    PyEval_RestoreThread(((GlEngine *)owner)->waiting);
}

void
gl_engine_tell_drained(GlEngine *self)
{
    PyObject *done = PyObject_CallNoArgs(self->on_drained);

    if (done == NULL) {
        gl_engine_report(self, "the end of draining could not be told");
    }
    Py_XDECREF(done);
}

static void
on_drained(void *owner)
{
    GlEngine *self = owner;

    self->drained = true;
    gl_engine_tell_drained(self);
}

static const struct gl_engine_ops ops = {
    .answer = on_answer,
    .start = on_start,
    .departed = on_departed,
    .before_wait = before_wait,
    .after_wait = after_wait,
    .drained = on_drained,
};

/* --- making ----------------------------------------------------------- */

static int
set_option(struct gl_options *options, PyObject *key, PyObject *value)
{
    const char *name = PyUnicode_AsUTF8(key);
    unsigned long long number;
    int error;

    if (name == NULL) {
        return -1;
    }
    number = PyLong_AsUnsignedLongLong(value);
    if (PyErr_Occurred()) {
        if (PyErr_ExceptionMatches(PyExc_OverflowError)) {
            PyErr_Format(PyExc_ValueError, "out of range: %s=%S", name,
                         value);
        }
        return -1;
    }
    error = gl_options_set(options, name, number);
    if (error == -ENOENT) {
        PyErr_Format(PyExc_TypeError, "unknown engine option: %s", name);
    } else if (error < 0) {
        PyErr_Format(PyExc_ValueError, "out of range: %s=%llu", name, number);
    }
    return error < 0 ? -1 : 0;
}

static int
read_options(PyObject *dict, struct gl_options *options)
{
    PyObject *key, *value;
    Py_ssize_t at = 0;

    gl_options_init(options);
    while (dict != NULL && PyDict_Next(dict, &at, &key, &value)) {
        if (set_option(options, key, value) < 0) {
            return -1;
        }
    }
    return 0;
}

static int
longer_prefix_first(const void *a, const void *b)
{
    Py_ssize_t left =
        PyUnicode_GET_LENGTH(((const struct gl_mount *)a)->prefix);
    Py_ssize_t right =
        PyUnicode_GET_LENGTH(((const struct gl_mount *)b)->prefix);

    return left < right ? 1 : left > right ? -1 : 0;
}

/* `apps`: a list of (prefix, callable) tuples.  0 or -1. */
static int
read_mounts(GlEngine *self, PyObject *apps)
{
    size_t n = (size_t)PyList_GET_SIZE(apps);

    self->mounts = calloc(n > 0 ? n : 1, sizeof(*self->mounts));
    if (self->mounts == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        struct gl_mount *mount = &self->mounts[i];

        if (!PyArg_ParseTuple(PyList_GET_ITEM(apps, (Py_ssize_t)i),
                              "UO:application", &mount->prefix,
                              &mount->app)) {
            return -1;
        }
        Py_INCREF(mount->prefix);
        Py_INCREF(mount->app);
        self->mount_count++;
    }
    qsort(self->mounts, n, sizeof(*self->mounts), longer_prefix_first);
    return 0;
}

static int
make_access_log(GlEngine *self, int fd, const char *format)
{
    enum gl_access_format kind = GL_ACCESS_UWSGI;

    if (fd < 0) {
        return 0;
    }
    if (strcmp(format, "combined") == 0) {
        kind = GL_ACCESS_COMBINED;
    } else if (strcmp(format, "uwsgi") != 0) {
        PyErr_Format(PyExc_ValueError,
                     "access_log_format is 'uwsgi' or 'combined', not '%s'",
                     format);
        return -1;
    }
    self->access_log = gl_access_log_new(fd, kind);
    if (self->access_log == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

static int
make_engine(GlEngine *self, PyObject *loop, const struct gl_options *options)
{
    const struct gl_log log = {
        .level = GL_LOG_WARNING, .sink = log_sink, .sink_arg = self};
    int error = gl_engine_new(&ops, self, options, &log, self->access_log,
                              &self->engine);

    if (error < 0) {
        gl_raise_errno(error, "cannot make the event engine");
        return -1;
    }
    self->cancel_on_disconnect = options->cancel_on_disconnect != 0;
    self->pool.takes_requests = true;
    self->pool.serve = gl_gateway_serve;
    self->pool.prefetch = gl_gateway_prefetch;
    self->pool.free_exchange = gl_gateway_free_kit;
    self->pool.forget_request = gl_gateway_forget_request;
    self->pool.report = self->job_pool.report = pool_report;
    self->pool.owner = self->job_pool.owner = self;
    gl_list_init(&self->jobs);
    gl_file_answers_init(&self->answers, self->engine);
    if (gl_pool_init(&self->pool, self->st, self->engine, loop) < 0) {
        return -1;
    }
    return gl_job_pool_init(self, loop);
}

PyDoc_STRVAR(engine_doc,
"Engine(loop, apps, *, report, on_interrupt, on_drained, errors,\n"
"       options=None, running_loop_visible=False, manage_script_name=False,\n"
"       access_log_fd=-1, access_log_format='uwsgi', trusted_proxies='',\n"
"       forwarded_headers='')\n--\n\n"
"The C event engine with its applications; for greenloop's own use.\n\n"
"  loop          the running (or soon running) loop of this thread\n"
"  apps          list of (prefix, application); '' is the default\n"
"  report        called with (text, exception or None)\n"
"  on_interrupt  called when an application raised KeyboardInterrupt\n"
"  on_drained    called when, after drain(), the last connection has gone,\n"
"                and again when what was spawned has ended after that\n"
"  errors        the wsgi.errors stream\n"
"  options       {name: int} of the rows of options()\n"
"  running_loop_visible  whether requests see the running loop\n"
"  manage_script_name    whether a mount's prefix moves to SCRIPT_NAME\n"
"  access_log_fd         where the access log is written; -1: nowhere\n"
"  access_log_format     'uwsgi' or 'combined'\n"
"  trusted_proxies       comma-separated networks, and 'unix'\n"
"  forwarded_headers     what they tell of their clients in, comma-separated\n"
"Raises TypeError and ValueError for bad options, OSError and MemoryError\n"
"where the system gives no more.");

struct engine_args {
    PyObject *loop, *apps, *options;
    int visible, manage, log_fd;
    const char *log_format;
    const char *proxies, *headers; /* comma-separated */
};

static int
parse_args(GlEngine *self, PyObject *args, PyObject *kwargs,
           struct engine_args *a)
{
    char *names[] = {"loop",
                     "apps",
                     "report",
                     "on_interrupt",
                     "on_drained",
                     "errors",
                     "options",
                     "running_loop_visible",
                     "manage_script_name",
                     "access_log_fd",
                     "access_log_format",
                     "trusted_proxies",
                     "forwarded_headers",
                     NULL};

    if (!PyArg_ParseTupleAndKeywords(
            args, kwargs, "OO!|$OOOOO!ppisss:Engine", names, &a->loop,
            &PyList_Type, &a->apps, &self->report, &self->on_interrupt,
            &self->on_drained, &self->errors, &PyDict_Type, &a->options,
            &a->visible, &a->manage, &a->log_fd, &a->log_format, &a->proxies,
            &a->headers)) {
        self->report = self->on_interrupt = NULL; /* borrowed so far */
        self->on_drained = self->errors = NULL;
        return -1;
    }
    Py_XINCREF(self->report);
    Py_XINCREF(self->on_interrupt);
    Py_XINCREF(self->on_drained);
    Py_XINCREF(self->errors);
    if (self->report == NULL || self->on_interrupt == NULL ||
        self->on_drained == NULL || self->errors == NULL) {
        PyErr_SetString(PyExc_TypeError,
                        "Engine() needs report, on_interrupt, on_drained "
                        "and errors");
        return -1;
    }
    return 0;
}

static PyObject *
engine_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    struct engine_args a = {
        .log_fd = -1, .log_format = "uwsgi", .proxies = "", .headers = ""};
    struct gl_trust trust = {.fields = 0};
    struct gl_options options;
    GlEngine *self = (GlEngine *)type->tp_alloc(type, 0);

    if (self == NULL) {
        return NULL;
    }
    self->st = gl_state_of_type(type);
    gl_list_init(&self->websockets);
    if (parse_args(self, args, kwargs, &a) < 0 ||
        read_options(a.options, &options) < 0 ||
        read_mounts(self, a.apps) < 0 ||
        make_access_log(self, a.log_fd, a.log_format) < 0 ||
        gl_trust_read(a.proxies, a.headers, &trust) < 0 ||
        make_engine(self, a.loop, &options) < 0) {
        gl_networks_fini(&trust.proxies);
        Py_DECREF(self);
        return NULL;
    }
    gl_engine_set_trust(self->engine, &trust);
    self->pool.visible = self->job_pool.visible = a.visible != 0;
    self->manage_script_name = a.manage != 0;
    return (PyObject *)self;
}

/* --- methods ---------------------------------------------------------- */

int
gl_engine_check_open(GlEngine *self)
{
    if (self->engine == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "this engine is closed");
        return -1;
    }
    return 0;
}

/* Makes room for another entrance and keeps it.  Steals it on success. */
static int
keep_entrance(GlEngine *self, struct gl_entrance *entrance)
{
    struct gl_entrance **all =
        realloc(self->entrances, (self->entrance_count + 1) * sizeof(*all));

    if (all == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    self->entrances = all;
    all[self->entrance_count++] = entrance;
    return 0;
}

/* The protocol of a listener (static), or NULL with an exception. */
static const struct gl_protocol *
protocol_named(const char *name)
{
    if (strcmp(name, "http") == 0) {
        return &gl_protocol_http1;
    }
    if (strcmp(name, "uwsgi") == 0) {
        return &gl_protocol_uwsgi;
    }
    PyErr_Format(PyExc_ValueError, "there is no protocol '%s'", name);
    return NULL;
}

PyDoc_STRVAR(listen_doc,
"listen($self, fd, server_name, server_port, protocol, tls=None, /)\n--\n\n"
"Serve the connections of a listening, non-blocking socket.\n\n"
"  fd        stays the caller's, and open until drain() or close()\n"
"  protocol  how requests come: 'http' or 'uwsgi'\n"
"  tls       (wrap, describe): wrap(incoming, outgoing) gives the SSLObject\n"
"            of a new connection over two MemoryBIO; describe(SSLObject) is\n"
"            called after each handshake, and gives a dict of str for the\n"
"            connection's environs\n"
"Raises OSError if it cannot be watched, ValueError for other protocols.");

static PyObject *
engine_listen(PyObject *object, PyObject *args)
{
    GlEngine *self = (GlEngine *)object;
    struct gl_entrance_args a = {.errors = self->errors, .tls = Py_None};
    const struct gl_protocol *protocol;
    struct gl_entrance *entrance;
    const char *name;
    int fd, error;

    if (!PyArg_ParseTuple(args, "isss|O:listen", &fd, &a.server_name,
                          &a.server_port, &name, &a.tls) ||
        gl_engine_check_open(self) < 0) {
        return NULL;
    }
    protocol = protocol_named(name);
    if (protocol == NULL) {
        return NULL;
    }
    entrance = gl_entrance_new(self->st, &a);
    if (entrance == NULL) {
        return NULL;
    }
    if (keep_entrance(self, entrance) < 0) {
        gl_entrance_free(entrance);
        return NULL;
    }
    error = gl_engine_listen(self->engine, fd, entrance->transport, protocol,
                             entrance);
    if (error < 0) {
        return gl_raise_errno(error, "cannot watch the listening socket");
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(fileno_doc,
"fileno($self, /)\n--\n\n"
"The descriptor that is readable when turn() has work to do.");

static PyObject *
engine_fileno(PyObject *object, PyObject *unused)
{
    GlEngine *self = (GlEngine *)object;

    (void)unused;
    if (gl_engine_check_open(self) < 0) {
        return NULL;
    }
    return PyLong_FromLong(gl_engine_fd(self->engine));
}

PyDoc_STRVAR(drain_doc,
"drain($self, /)\n--\n\n"
"Stop accepting, close idle connections, end the others with their current\n"
"request.  on_drained is called when the last one has gone.");

static PyObject *
engine_drain(PyObject *object, PyObject *unused)
{
    GlEngine *self = (GlEngine *)object;

    (void)unused;
    if (gl_engine_check_open(self) < 0) {
        return NULL;
    }
    self->stopping = true;
    gl_engine_drain(self->engine);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(throw_exit_doc,
"throw_exit($self, final, /)\n--\n\n"
"Throw GreenletExit into every running request and spawned function, and\n"
"cancel the handlers of WebSockets.\n\n"
"With `final`, they may not wait any more.  Returns how many still run.");

static PyObject *
engine_throw_exit(PyObject *object, PyObject *final)
{
    GlEngine *self = (GlEngine *)object;
    int truth = PyObject_IsTrue(final);

    if (truth < 0 || gl_engine_check_open(self) < 0) {
        return NULL;
    }
    self->stopping = true;
    self->pool.no_parking = self->job_pool.no_parking = truth > 0;
    gl_pool_throw_all(&self->pool, self->st->greenlet_exit);
    gl_websocket_cancel_tasks(self);
    gl_jobs_throw_exit(self);
    if (self->job_count == 0) { /* what may come are the hooks of the stop */
        self->job_pool.no_parking = false;
    }
    return PyLong_FromUnsignedLong(self->pool.busy + self->job_count);
}

PyDoc_STRVAR(end_spawned_doc,
"end_spawned($self, /)\n--\n\n"
"Throw GreenletExit into every spawned function, and cancel those that have\n"
"not begun.  Returns how many still run: on_drained tells when none does.");

static PyObject *
engine_end_spawned(PyObject *object, PyObject *unused)
{
    GlEngine *self = (GlEngine *)object;

    (void)unused;
    if (gl_engine_check_open(self) < 0) {
        return NULL;
    }
    gl_jobs_throw_exit(self);
    return PyLong_FromUnsignedLong(self->job_count);
}

static void
close_engine(GlEngine *self)
{
    bool abandoned;

    if (self->engine == NULL) {
        return;
    }
    self->stopping = true;
    gl_websocket_end_all(self);
    gl_file_answers_end(&self->answers);
    gl_engine_close_unused(self->engine);
    gl_jobs_abandon(self);
    abandoned = gl_pool_fini(&self->job_pool);
    if (gl_pool_fini(&self->pool) || abandoned) {
        Py_INCREF((PyObject *)self); /* abandoned stacks refer to it */
        gl_engine_close_unused(self->engine);
        return; /* its memory stays as well, for their timers */
    }
    gl_engine_free(self->engine);
    self->engine = NULL;
    gl_access_log_free(self->access_log);
    self->access_log = NULL;
    gl_engine_free_files(self);
}

PyDoc_STRVAR(close_doc,
"close($self, /)\n--\n\n"
"Close every connection and end every core.  Not inside a request.");

static PyObject *
engine_close(PyObject *object, PyObject *unused)
{
    GlEngine *self = (GlEngine *)object;

    (void)unused;
    if (self->engine != NULL && self->pool.hub != NULL &&
        self->pool.hub->current != NULL) {
        PyErr_SetString(PyExc_RuntimeError,
                        "the server cannot be closed inside a request; use "
                        "loop.call_soon()");
        return NULL;
    }
    gl_loop_leave_uv(self);
    close_engine(self);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(flush_access_log_doc,
"flush_access_log($self, /)\n--\n\n"
"Write the lines that wait, as far as they are taken.  From any thread.");

/* The GIL keeps the loop's thread out: nothing gives it up amid a line. */
static PyObject *
engine_flush_access_log(PyObject *object, PyObject *unused)
{
    GlEngine *self = (GlEngine *)object;

    (void)unused;
    if (self->access_log != NULL) {
        gl_access_log_flush(self->access_log);
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(stats_doc,
"stats($self, /)\n--\n\n"
"Counters, as a dict of ints.");

static PyObject *
engine_stats(PyObject *object, PyObject *unused)
{
    GlEngine *self = (GlEngine *)object;
    struct gl_engine_stats s;

    (void)unused;
    if (gl_engine_check_open(self) < 0) {
        return NULL;
    }
    s = gl_engine_stats(self->engine);
    return Py_BuildValue(
        "{sK sK sK sK sK sK sK sK sK sI sI sI sI sI sI sK sI}", "accepted",
        (unsigned long long)s.accepted, "requests",
        (unsigned long long)s.requests, "static",
        (unsigned long long)(self->files != NULL ? self->files->served : 0),
        "refused", (unsigned long long)s.refused, "queued",
        (unsigned long long)s.queued, "rejected",
        (unsigned long long)s.rejected, "overflowed",
        (unsigned long long)s.overflowed, "expired",
        (unsigned long long)s.expired, "turns", (unsigned long long)s.turns,
        "connections", s.connections, "running", s.running, "waiting",
        s.waiting, "cores", self->pool.made, "busy", self->pool.busy,
        "spawned", self->job_count, "retired",
        (unsigned long long)(self->pool.retired + self->job_pool.retired),
        "websockets", self->websocket_count);
}

/* --- type ------------------------------------------------------------- */

static int
engine_traverse(PyObject *object, visitproc visit, void *arg)
{
    GlEngine *self = (GlEngine *)object;

    Py_VISIT(Py_TYPE(object));
    for (size_t i = 0; i < self->mount_count; i++) {
        Py_VISIT(self->mounts[i].app);
    }
    for (size_t i = 0; i < self->entrance_count; i++) {
        int stop = gl_entrance_traverse(self->entrances[i], visit, arg);

        if (stop != 0) {
            return stop;
        }
    }
    Py_VISIT(self->errors);
    Py_VISIT(self->report);
    Py_VISIT(self->on_interrupt);
    Py_VISIT(self->on_drained);
    Py_VISIT(self->loop_select);
    return 0;
}

static int
engine_clear(PyObject *object)
{
    GlEngine *self = (GlEngine *)object;

    Py_CLEAR(self->errors);
    Py_CLEAR(self->loop_select);
    return 0; /* abandoned requests may still call the rest */
}

/* While it may come back to life: requests that its application never gave
 * back keep it. */
static void
engine_finalize(PyObject *object)
{
    struct gl_exc exc = gl_exc_take();

    close_engine((GlEngine *)object);
    if (exc.value != NULL) {
        gl_exc_restore(&exc);
    }
}

static void
engine_dealloc(PyObject *object)
{
    GlEngine *self = (GlEngine *)object;
    PyTypeObject *type = Py_TYPE(object);

    if (PyObject_CallFinalizerFromDealloc(object) < 0) {
        return;
    }
    PyObject_GC_UnTrack(object);
    for (size_t i = 0; i < self->mount_count; i++) {
        Py_DECREF(self->mounts[i].prefix);
        Py_DECREF(self->mounts[i].app);
    }
    free(self->mounts);
    for (size_t i = 0; i < self->entrance_count; i++) {
        gl_entrance_free(self->entrances[i]);
    }
    free(self->entrances);
    (void)engine_clear(object);
    Py_CLEAR(self->report);
    Py_CLEAR(self->on_interrupt);
    Py_CLEAR(self->on_drained);
    type->tp_free(object);
    Py_DECREF(type);
}

static PyMethodDef engine_methods[] = {
    {"listen", engine_listen, METH_VARARGS, listen_doc},
    {"fileno", engine_fileno, METH_NOARGS, fileno_doc},
    {"turn", gl_loop_turn, METH_NOARGS, gl_loop_turn_doc},
    {"mount_select", gl_loop_mount_select, METH_VARARGS,
     gl_loop_mount_select_doc},
    {"select", (PyCFunction)(void (*)(void))gl_loop_select, METH_FASTCALL,
     gl_loop_select_doc},
    {"mount_uv", gl_loop_mount_uv, METH_VARARGS, gl_loop_mount_uv_doc},
    {"unmount_uv", gl_loop_unmount_uv, METH_NOARGS, gl_loop_unmount_uv_doc},
    {"serve_files", gl_engine_serve_files, METH_VARARGS,
     gl_engine_serve_files_doc},
    {"drain", engine_drain, METH_NOARGS, drain_doc},
    {"throw_exit", engine_throw_exit, METH_O, throw_exit_doc},
    {"end_spawned", engine_end_spawned, METH_NOARGS, end_spawned_doc},
    {"close", engine_close, METH_NOARGS, close_doc},
    {"flush_access_log", engine_flush_access_log, METH_NOARGS,
     flush_access_log_doc},
    {"stats", engine_stats, METH_NOARGS, stats_doc},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot engine_slots[] = {
    {Py_tp_doc, (void *)engine_doc},
    {Py_tp_new, (void *)engine_new},
    {Py_tp_finalize, (void *)engine_finalize},
    {Py_tp_dealloc, (void *)engine_dealloc},
    {Py_tp_traverse, (void *)engine_traverse},
    {Py_tp_clear, (void *)engine_clear},
    {Py_tp_methods, engine_methods},
    {0, NULL},
};

static PyType_Spec engine_spec = {
    .name = "greenloop._core.Engine",
    .basicsize = sizeof(GlEngine),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = engine_slots,
};

int
gl_engine_type_init(PyObject *module, struct gl_state *st)
{
    st->engine_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &engine_spec, NULL);
    return st->engine_type == NULL
               ? -1
               : PyModule_AddObjectRef(module, "Engine",
                                       (PyObject *)st->engine_type);
}
