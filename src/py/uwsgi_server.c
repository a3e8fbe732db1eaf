/* uwsgi_server.c - the module `uwsgi`: what it says of the server and of this
 * process, and asks of them.
 *
 * None of it belongs to a request.  What is asked of the server goes to the
 * one that serves the calling request, or else this thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include "py/uwsgi_api.h"

#include "base/clock.h"
#include "py/core.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define WARNING_BYTES 80

/* The engine that serves here, or NULL without an exception. */
static GlEngine *
engine_here(PyObject *module)
{
    struct gl_state *st = gl_uwsgi_state(module);
    struct gl_core *core = gl_core_current(st);
    GlEngine *engine = core != NULL ? gl_engine_of_pool(core->pool)
                                    : gl_engine_of_hub(gl_hub_here(st));

    return engine != NULL && engine->engine != NULL ? engine : NULL;
}

/* The same, with RuntimeError. */
static GlEngine *
serving_engine(PyObject *module, const char *what)
{
    GlEngine *engine = engine_here(module);

    if (engine == NULL) {
        PyErr_Format(PyExc_RuntimeError,
                     "uwsgi.%s(): no server runs in this thread", what);
    }
    return engine;
}

/* --- the worker ------------------------------------------------------- */

PyDoc_STRVAR(worker_id_doc,
"worker_id($module, /)\n--\n\n"
"The number of this worker: 1, because there is one.");

static PyObject *
worker_id(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    return PyLong_FromLong(1);
}

PyDoc_STRVAR(mule_id_doc,
"mule_id($module, /)\n--\n\n"
"0: there are no mules.");

PyDoc_STRVAR(masterpid_doc,
"masterpid($module, /)\n--\n\n"
"0: there is no master process.");

static PyObject *
zero(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    return PyLong_FromLong(0);
}

PyDoc_STRVAR(total_requests_doc,
"total_requests($module, /)\n--\n\n"
"The requests that this worker has begun to serve.");

static PyObject *
total_requests(PyObject *module, PyObject *unused)
{
    GlEngine *engine = engine_here(module);

    (void)unused;
    return PyLong_FromUnsignedLongLong(
        engine != NULL ? gl_engine_stats(engine->engine).requests : 0);
}

PyDoc_STRVAR(ready_doc,
"ready($module, /)\n--\n\n"
"Whether the server has been started and was not told to stop.");

static PyObject *
ready(PyObject *module, PyObject *unused)
{
    GlEngine *engine = engine_here(module);

    (void)unused;
    return PyBool_FromLong(engine != NULL && !engine->stopping);
}

PyDoc_STRVAR(accepting_doc,
"accepting($module, flag=True, /)\n--\n\n"
"Has no effect: it times chain reloads, and there is one worker.  None.");

static PyObject *
accepting(PyObject *module, PyObject *args)
{
    int flag = 1;

    (void)module;
    if (!PyArg_ParseTuple(args, "|p:accepting", &flag)) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(stop_doc,
"stop($module, /)\n--\n\n"
"Begin the graceful stop, as SIGTERM does; an embedded server's program gets\n"
"a KeyboardInterrupt.  Returns True; harmless when repeated.  Raises\n"
"RuntimeError where no server runs.");

static PyObject *
stop(PyObject *module, PyObject *unused)
{
    GlEngine *engine = serving_engine(module, "stop");
    PyObject *done;

    (void)unused;
    if (engine == NULL) {
        return NULL;
    }
    if (engine->stopping) {
        Py_RETURN_TRUE;
    }
    Py_INCREF((PyObject *)engine);
    done = PyObject_CallNoArgs(engine->on_interrupt);
    Py_DECREF((PyObject *)engine);
    if (done == NULL) {
        return NULL;
    }
    Py_DECREF(done);
    Py_RETURN_TRUE;
}

/* --- memory, time, log ------------------------------------------------ */

/* Resident and mapped bytes.  0 or -1 with OSError. */
static int
read_memory(unsigned long long *ret_rss, unsigned long long *ret_vsz)
{
    unsigned long long vsz, rss;
    char text[128];
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
    int error = n < 0 ? -errno : 0;

    if (fd >= 0) {
        (void)close(fd); /* nothing was written to it */
    }
    if (n >= 0) {
        text[n] = '\0';
        error = sscanf(text, "%llu %llu", &vsz, &rss) == 2 ? 0 : -EIO;
    }
    if (error < 0) {
        gl_raise_errno(error, "cannot read /proc/self/statm");
        return -1;
    }
    *ret_vsz = vsz * (unsigned long long)sysconf(_SC_PAGESIZE);
    *ret_rss = rss * (unsigned long long)sysconf(_SC_PAGESIZE);
    return 0;
}

PyDoc_STRVAR(mem_doc,
"mem($module, /)\n--\n\n"
"(resident, mapped) memory of this process, in bytes.  Raises OSError where\n"
"/proc is missing.");

static PyObject *
mem(PyObject *module, PyObject *unused)
{
    unsigned long long rss, vsz;

    (void)module;
    (void)unused;
    if (read_memory(&rss, &vsz) < 0) {
        return NULL;
    }
    return Py_BuildValue("KK", rss, vsz);
}

PyDoc_STRVAR(micros_doc,
"micros($module, /)\n--\n\n"
"The time since 1970, in microseconds.");

static PyObject *
micros(PyObject *module, PyObject *unused)
{
    struct timespec now;

    (void)module;
    (void)unused;
    (void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail */
    return PyLong_FromLongLong((long long)now.tv_sec * 1000000 +
                               now.tv_nsec / 1000);
}

PyDoc_STRVAR(logsize_doc,
"logsize($module, /)\n--\n\n"
"The bytes of the log file; 0 if the log is no file.");

static PyObject *
logsize(PyObject *module, PyObject *unused)
{
    struct stat info;

    (void)module;
    (void)unused;
    if (fstat(STDERR_FILENO, &info) < 0 || !S_ISREG(info.st_mode)) {
        return PyLong_FromLong(0);
    }
    return PyLong_FromLongLong(info.st_size);
}

/* One line to standard error, which is the log, in one write.  0 or -1. */
static int
log_line(struct gl_str text)
{
    PyObject *err = PySys_GetObject("stderr"); /* borrowed */
    PyObject *line, *part;
    int error = -1;

    if (err == NULL || err == Py_None) {
        return 0; /* a program without one has no log */
    }
    part =
        PyUnicode_DecodeUTF8(text.p, (Py_ssize_t)text.n, "backslashreplace");
    line = part != NULL ? PyUnicode_FromFormat("%U\n", part) : NULL;
    if (line != NULL) {
        Py_INCREF(err); /* writing may replace it */
        error = PyFile_WriteObject(line, err, Py_PRINT_RAW);
        Py_DECREF(err);
    }
    Py_XDECREF(part);
    Py_XDECREF(line);
    return error;
}

PyDoc_STRVAR(log_doc,
"log($module, text, /)\n--\n\n"
"Write a line to the log, which is standard error.  Returns True.");

static PyObject *
uwsgi_log(PyObject *module, PyObject *object)
{
    struct gl_str text;

    (void)module;
    if (gl_uwsgi_text(object, &text) < 0 || log_line(text) < 0) {
        return NULL;
    }
    Py_RETURN_TRUE;
}

PyDoc_STRVAR(set_warning_message_doc,
"set_warning_message($module, text, /)\n--\n\n"
"Write a warning, at most 80 bytes, to the log.  Returns True.  Raises\n"
"ValueError for a longer one.");

static PyObject *
set_warning_message(PyObject *module, PyObject *object)
{
    struct gl_str text;

    if (gl_uwsgi_text(object, &text) < 0) {
        return NULL;
    }
    if (text.n > WARNING_BYTES) {
        PyErr_Format(PyExc_ValueError,
                     "a warning message has at most %d bytes", WARNING_BYTES);
        return NULL;
    }
    return uwsgi_log(module, object);
}

PyDoc_STRVAR(setprocname_doc,
"setprocname($module, name, /)\n--\n\n"
"Name the process as `ps -c` and `top` show it; the kernel keeps 15 bytes.");

static PyObject *
setprocname(PyObject *module, PyObject *object)
{
    struct gl_str text;
    char name[16] = ""; /* what the kernel keeps */

    (void)module;
    if (gl_uwsgi_text(object, &text) < 0) {
        return NULL;
    }
    memcpy(name, text.p, text.n < sizeof(name) ? text.n : sizeof(name) - 1);
    if (prctl(PR_SET_NAME, name) < 0) {
        return gl_raise_errno(-errno, "cannot name the process");
    }
    Py_RETURN_NONE;
}

/* --- workers ---------------------------------------------------------- */

static PyObject *
shown_apps(GlEngine *engine)
{
    PyObject *apps = PyList_New(0);

    for (size_t i = 0; apps != NULL && i < engine->mount_count; i++) {
        struct gl_str prefix = {"", 0};
        PyObject *app;

        (void)gl_latin1_view(engine->mounts[i].prefix, &prefix);
        app = Py_BuildValue("{sn si sy#}", "id", (Py_ssize_t)i, "modifier1",
                            0, "mountpoint", prefix.p, (Py_ssize_t)prefix.n);
        if (app == NULL || PyList_Append(apps, app) < 0) {
            Py_CLEAR(apps);
        }
        Py_XDECREF(app);
    }
    return apps;
}

static PyObject *
shown_worker(PyObject *module, GlEngine *engine)
{
    struct gl_engine_stats stats = gl_engine_stats(engine->engine);
    /* borrowed */
    PyObject *started =
        PyDict_GetItemString(PyModule_GetDict(module), "started_on");
    unsigned long long rss, vsz;
    PyObject *apps;

    if (read_memory(&rss, &vsz) < 0) {
        return NULL;
    }
    apps = shown_apps(engine);
    if (apps == NULL) {
        return NULL;
    }
    return Py_BuildValue(
        "{si sl sK sK sK sy sK sK sO si sK sN}", "id", 1, "pid",
        (long)getpid(), "requests", (unsigned long long)stats.requests,
        "delta_requests", (unsigned long long)stats.requests, "exceptions",
        (unsigned long long)engine->exceptions, "status",
        stats.running > 0 ? "busy" : "idle", "rss", rss, "vsz", vsz,
        "last_spawn", started != NULL ? started : Py_None, "respawn_count", 1,
        "tx", (unsigned long long)engine->answers.sent_bytes, "apps", apps);
}

PyDoc_STRVAR(workers_doc,
"workers($module, /)\n--\n\n"
"A tuple of one dict, about this worker: id, pid, requests, delta_requests,\n"
"exceptions, status (b'busy' or b'idle'), rss and vsz (bytes), last_spawn\n"
"(seconds since 1970), respawn_count, tx (bytes that requests which have\n"
"ended sent), and apps.  Raises RuntimeError where no server runs.");

static PyObject *
workers(PyObject *module, PyObject *unused)
{
    GlEngine *engine = serving_engine(module, "workers");
    PyObject *worker = engine != NULL ? shown_worker(module, engine) : NULL;
    PyObject *all = NULL;

    (void)unused;
    if (worker != NULL) {
        all = PyTuple_Pack(1, worker);
        Py_DECREF(worker);
    }
    return all;
}

/* --- the listening sockets -------------------------------------------- */

/* The descriptor of uwsgi.sockets[id], or -1 with ValueError. */
static int
listening_fd(PyObject *module, int id)
{
    PyObject *sockets = PyDict_GetItemString(PyModule_GetDict(module),
                                             "sockets"); /* borrowed */
    long fd = -1;

    if (sockets != NULL && PyList_Check(sockets) && id >= 0 &&
        id < PyList_GET_SIZE(sockets)) {
        fd = PyLong_AsLong(PyList_GET_ITEM(sockets, id));
        PyErr_Clear(); /* somebody else's list: no such socket */
    }
    if (fd < 0 || fd > INT_MAX) {
        PyErr_Format(PyExc_ValueError, "there is no socket %d", id);
        return -1;
    }
    return (int)fd;
}

PyDoc_STRVAR(listen_queue_doc,
"listen_queue($module, id=0, /)\n--\n\n"
"The connections that wait in the kernel for uwsgi.sockets[id] to accept\n"
"them.  Raises ValueError for a bad id, OSError for a Unix socket, of which\n"
"the kernel does not tell.");

static PyObject *
listen_queue(PyObject *module, PyObject *args)
{
    struct tcp_info info = {0};
    socklen_t size = sizeof(info);
    int id = 0, fd;

    if (!PyArg_ParseTuple(args, "|i:listen_queue", &id)) {
        return NULL;
    }
    fd = listening_fd(module, id);
    if (fd < 0) {
        return NULL;
    }
    /* Of a listening socket this field is its queue's length. */
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) < 0) {
        return gl_raise_errno(-errno, "the length of the queue is unknown");
    }
    return PyLong_FromUnsignedLong(info.tcpi_unacked);
}

PyMethodDef gl_uwsgi_server_methods[] = {
    {"worker_id", worker_id, METH_NOARGS, worker_id_doc},
    {"mule_id", zero, METH_NOARGS, mule_id_doc},
    {"masterpid", zero, METH_NOARGS, masterpid_doc},
    {"total_requests", total_requests, METH_NOARGS, total_requests_doc},
    {"ready", ready, METH_NOARGS, ready_doc},
    {"accepting", accepting, METH_VARARGS, accepting_doc},
    {"stop", stop, METH_NOARGS, stop_doc},
    {"mem", mem, METH_NOARGS, mem_doc},
    {"micros", micros, METH_NOARGS, micros_doc},
    {"logsize", logsize, METH_NOARGS, logsize_doc},
    {"log", uwsgi_log, METH_O, log_doc},
    {"set_warning_message", set_warning_message, METH_O,
     set_warning_message_doc},
    {"setprocname", setprocname, METH_O, setprocname_doc},
    {"workers", workers, METH_NOARGS, workers_doc},
    {"listen_queue", listen_queue, METH_VARARGS, listen_queue_doc},
    {NULL, NULL, 0, NULL},
};
