/* gateway.c - one WSGI exchange: environ in, application, answer out.
 *
 * PEP 3333.  Runs in the greenlet of a core; an exception of the application
 * becomes a logged traceback and a 500, and never leaves this file.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/clock.h"
#include "base/gl.h"
#include "py/bridge.h"
#include "py/exchange.h"
#include "py/park.h"
#include "py/uwsgi_api.h"
#include "py/websocket.h"

#include <errno.h>
#include <stdlib.h>

/* Of a client that left before its answer, in the log alone; nginx's. */
#define STATUS_DEPARTED 499

/* --- kits ------------------------------------------------------------- */

void
gl_gateway_free_kit(void *kit)
{
    if (kit != NULL) {
        gl_kit_clear(kit);
        free(kit);
    }
}

void
gl_gateway_forget_request(void *exchange)
{
    struct gl_kit *kit = exchange;

    if (kit != NULL && kit->x != NULL) {
        kit->x->req = NULL;
    }
}

static struct gl_kit *
kit_for(struct gl_core *core)
{
    struct gl_kit *kit = core->exchange;

    if (kit == NULL) {
        kit = calloc(1, sizeof(*kit));
        if (kit == NULL) {
            PyErr_NoMemory();
            return NULL;
        }
        core->exchange = kit;
    }
    if (kit->x != NULL && !gl_kit_is_private(kit)) {
        gl_kit_clear(kit); /* the application kept one: it keeps all */
    }
    Py_CLEAR(kit->request); /* it is one request's */
    if (kit->x == NULL && gl_kit_init(kit, core->pool->st) < 0) {
        return NULL;
    }
    return kit;
}

static void
begin(GlExchange *x, struct gl_core *core)
{
    x->core = core;
    x->req = core->request;
    core->served++;
    x->head_n = 0;
    x->length = x->body_sent = x->since_ns = 0;
    x->fields = x->vars = x->vars_bytes = 0;
    x->status = 0;
    x->environ = NULL;
    x->started = x->head_sent = x->has_length = x->has_date = false;
    x->has_server = x->wants_close = x->chunked = x->no_body = false;
    x->has_validators = x->writing = false;
    x->fileno_given = x->slept = x->upgraded = false;
}

void
gl_gateway_prefetch(const struct gl_core *core)
{
    const struct gl_kit *kit = core->exchange;

    if (kit != NULL) {
        gl_prefetch(kit->x, 3);
        gl_prefetch(kit->start_response, 1);
        gl_prefetch(kit->write, 1);
        gl_prefetch(kit->departed, 1);
        gl_prefetch(kit->input, 2);
    }
    if (core->request != NULL) {
        gl_prefetch(core->request->conn, 5);
    }
}

/* --- which application ------------------------------------------------ */

static bool
mount_matches(struct gl_str path, struct gl_str prefix)
{
    return path.n >= prefix.n && memcmp(path.p, prefix.p, prefix.n) == 0 &&
           (prefix.n == 0 || path.n == prefix.n || path.p[prefix.n] == '/');
}

/* Moves the prefix from PATH_INFO to SCRIPT_NAME.  0 or -1. */
static int
shift_path(struct gl_state *st, PyObject *env, const struct gl_mount *mount,
           struct gl_str path, size_t prefix_n)
{
    PyObject *rest =
        gl_latin1((struct gl_str){path.p + prefix_n, path.n - prefix_n});
    PyObject *before = PyDict_GetItemWithError(env, st->s_script_name);
    PyObject *name = before != NULL ? PyUnicode_Concat(before, mount->prefix)
                                    : Py_NewRef(mount->prefix);
    int error = -1;

    if (rest != NULL && name != NULL) {
        error = PyDict_SetItem(env, st->s_script_name, name);
        if (error == 0) {
            error = PyDict_SetItem(env, st->s_path_info, rest);
        }
    }
    Py_XDECREF(name);
    Py_XDECREF(rest);
    return error;
}

/* The mount that the SCRIPT_NAME of a proxy names; NULL: none. */
static struct gl_mount *
mount_of_script_name(GlEngine *engine, PyObject *env)
{
    PyObject *name = PyDict_GetItemWithError(env, engine->st->s_script_name);

    for (size_t i = 0; name != NULL && i < engine->mount_count; i++) {
        struct gl_mount *mount = &engine->mounts[i];

        if (PyUnicode_GET_LENGTH(mount->prefix) > 0 &&
            PyUnicode_Compare(mount->prefix, name) == 0) {
            return mount;
        }
    }
    return NULL;
}

/* The application for PATH_INFO: a borrowed reference; NULL without an
 * exception where none is mounted. */
static PyObject *
find_app(GlEngine *engine, PyObject *env)
{
    struct gl_state *st = engine->st;
    struct gl_mount *named;
    PyObject *path_info;
    struct gl_str path, prefix;

    if (engine->mount_count == 1 &&
        PyUnicode_GET_LENGTH(engine->mounts[0].prefix) == 0) {
        return engine->mounts[0].app;
    }
    named = mount_of_script_name(engine, env);
    if (named != NULL) {
        return named->app;
    }
    path_info = PyDict_GetItemWithError(env, st->s_path_info);
    if (path_info == NULL || !gl_latin1_view(path_info, &path)) {
        return NULL;
    }
    for (size_t i = 0; i < engine->mount_count; i++) {
        struct gl_mount *mount = &engine->mounts[i];

        if (gl_latin1_view(mount->prefix, &prefix) &&
            mount_matches(path, prefix)) {
            if (engine->manage_script_name && prefix.n > 0 &&
                shift_path(st, env, mount, path, prefix.n) < 0) {
                return NULL;
            }
            return mount->app;
        }
    }
    return NULL;
}

/* --- the body of the answer ------------------------------------------- */

static int
send_item(GlExchange *x, PyObject *item)
{
    if (!PyBytes_Check(item)) {
        PyErr_Format(PyExc_TypeError,
                     "the response's items must be bytes, not %.100s",
                     Py_TYPE(item)->tp_name);
        return -1;
    }
    if (PyBytes_GET_SIZE(item) == 0) {
        return 0; /* no reason to send the head yet */
    }
    return gl_response_send(x, PyBytes_AS_STRING(item),
                            (size_t)PyBytes_GET_SIZE(item), false);
}

/* Each item is with the kernel before the next one is asked for. */
static int
send_iterable(GlExchange *x, PyObject *result)
{
    PyObject *iterator = PyObject_GetIter(result), *item;
    int error = 0;

    if (iterator == NULL) {
        return -1;
    }
    while (error == 0 && (item = PyIter_Next(iterator)) != NULL) {
        error = send_item(x, item);
        Py_DECREF(item);
        if (x->head_sent && x->no_body) {
            break; /* HEAD: what would follow is of no use */
        }
        if (error == 0) {
            error = gl_uwsgi_after_item(x);
        }
        if (error == 0 && !x->upgraded) {
            error = gl_exchange_be_fair(x);
        }
    }
    Py_DECREF(iterator);
    if (error < 0 || PyErr_Occurred()) {
        return -1;
    }
    return gl_response_send(x, "", 0, true);
}

/* Borrowed, or NULL: the application set none. */
static PyObject *
after_request_hook(struct gl_state *st)
{
    PyObject *names = PyModule_GetDict(st->uwsgi_module); /* borrowed */
    PyObject *hook = PyDict_GetItemWithError(names, st->s_after_req_hook);

    if (hook == NULL) {
        PyErr_Clear(); /* the key is an interned string: nothing can fail */
    }
    return hook != Py_None ? hook : NULL;
}

/* Whether it may have a close() of the application's. */
static bool
may_have_close(PyObject *result)
{
    return !PyList_CheckExact(result) && !PyTuple_CheckExact(result) &&
           !PyBytes_CheckExact(result);
}

static int
respond(GlExchange *x, PyObject *result)
{
    if (x->req != NULL) {
        x->req->quiet_end =
            !may_have_close(result) && after_request_hook(x->st) == NULL;
    }
    if (PyList_CheckExact(result) || PyTuple_CheckExact(result)) {
        return gl_response_send_sequence(x, result);
    }
    if (PyBytes_CheckExact(result)) { /* as uWSGI has it: one piece */
        return gl_response_send(x, PyBytes_AS_STRING(result),
                                (size_t)PyBytes_GET_SIZE(result), true);
    }
    if (x->upgraded && result == Py_None) {
        return 0; /* a WebSocket's function has nothing to return */
    }
    if (Py_TYPE(result) == x->st->file_wrapper_type && !x->upgraded) {
        int sent = gl_response_send_file(x, gl_file_wrapper_file(result));

        if (sent != 0) {
            return sent > 0 ? 0 : -1;
        }
    }
    return send_iterable(x, result);
}

/* --- failures --------------------------------------------------------- */

/* Answers with a page of the server's own.  Keeps no exception. */
static void
answer_own(GlExchange *x, int status)
{
    const char *reason = gl_http_reason(status);

    if (x->head_sent || gl_exchange_request(x) == NULL ||
        gl_response_start_own(x, status) < 0 ||
        gl_response_send(x, reason, strlen(reason), true) < 0) {
        PyErr_Clear(); /* the connection is closed below, in any case */
        if (x->req != NULL) {
            x->req->keep_alive = false;
        }
    }
}

static struct gl_str
text_of(PyObject *text)
{
    struct gl_str view = {"", 0};

    if (text != NULL && PyUnicode_Check(text)) {
        (void)gl_latin1_view(text, &view);
    }
    return view;
}

/* Reports the exception that is set, or just the text, with the request
 * line.  Clears the exception. */
GL_OFF_STACK void
gl_gateway_report(GlExchange *x, const char *what)
{
    struct gl_str method = text_of(x->method), uri = text_of(x->uri);
    char text[512];

    (void)PyOS_snprintf(text, sizeof(text), "%s: %.*s %.*s", what,
                        method.n < 16 ? (int)method.n : 16, method.p,
                        uri.n < 400 ? (int)uri.n : 400, uri.p);
    gl_engine_report(gl_engine_of_pool(x->core->pool), text);
}

/* What the exception that is set means for the answer. */
static int
failure_status(GlExchange *x, GlEngine *engine)
{
    int status;

    if (PyErr_ExceptionMatches(x->st->greenlet_exit) && engine->stopping) {
        PyErr_Clear();
        gl_gateway_report(x, "ended by the server's stop");
        return 503;
    }
    if (PyErr_ExceptionMatches(x->st->client_disconnected) ||
        PyErr_ExceptionMatches(x->st->websocket_closed)) {
        PyErr_Clear(); /* nobody is there to be answered */
        if (x->req != NULL) {
            x->req->keep_alive = false;
        }
        return 0;
    }
    status = gl_exchange_marked_status(x);
    if (status != 0) {
        PyErr_Clear(); /* the client's fault; it is told so if it can be */
        return x->head_sent ? 0 : status;
    }
    if (!x->upgraded && PyErr_ExceptionMatches(x->st->websocket_error)) {
        status = gl_websocket_refused_status();
        if (status != 500) {
            PyErr_Clear(); /* a client that asked wrongly is no bug */
            return status;
        }
    }
    gl_engine_heed_interrupt(engine);
    gl_gateway_report(x, "error in a request");
    engine->exceptions++;
    return 500;
}

static GL_OFF_STACK void
fail(GlExchange *x)
{
    GlEngine *engine = gl_engine_of_pool(x->core->pool);
    int status = failure_status(x, engine);

    if (x->websocket != NULL) {
        gl_websocket_begin_close((GlWebSocket *)x->websocket,
                                 status == 503 ? 1001
                                 : status == 0 ? 1000
                                               : 1011);
    }
    if (x->req == NULL) {
        return;
    }
    if (status == 0 || x->head_sent) {
        gl_response_drop_rest(x);
        x->req->keep_alive = false; /* the client sees that it's cut */
        x->req->cut = x->head_sent && !x->upgraded;
        return;
    }
    if (status != 500) {
        x->req->keep_alive = false;
    }
    answer_own(x, status);
}

/* PEP 3333: called however the response ended. */
static void
close_result(GlExchange *x, PyObject *result)
{
    PyObject *close, *done;

    if (!may_have_close(result)) {
        return;
    }
    close = PyObject_GetAttr(result, x->st->s_close);
    if (close == NULL && PyErr_ExceptionMatches(PyExc_AttributeError)) {
        PyErr_Clear();
        return;
    }
    done = close != NULL ? PyObject_CallNoArgs(close) : NULL;
    Py_XDECREF(close);
    if (done == NULL) {
        gl_engine_heed_interrupt(gl_engine_of_pool(x->core->pool));
        gl_gateway_report(x, "close() of a response failed");
    }
    Py_XDECREF(done);
}

/* --- the end ---------------------------------------------------------- */

void
gl_gateway_forget_fd(GlEngine *engine, int fd)
{
    PyObject *loop = engine->pool.hub->loop;
    PyObject *number = PyLong_FromLong(fd);
    PyObject *const names[] = {engine->st->s_remove_reader,
                               engine->st->s_remove_writer};

    for (size_t i = 0; number != NULL && i < GL_ARRAY_LEN(names); i++) {
        PyObject *done = gl_call_method_one(loop, names[i], number);

        if (done == NULL) {
            gl_engine_report(engine, "a reader could not be removed");
        }
        Py_XDECREF(done);
    }
    Py_XDECREF(number);
}

/* Of the body, what has left: a client may go before all of it has.  Chunk
 * heads count for none. */
static uint64_t
body_that_left(const GlExchange *x)
{
    uint64_t sent = x->req->sent_bytes, head = x->head_sent ? x->head_n : 0;

    sent = sent > head ? sent - head : 0;
    return sent < x->body_sent ? sent : x->body_sent;
}

/* With `rest`, the file answer writes the line when the rest has left. */
static GL_OFF_STACK void
log_access(GlExchange *x, struct gl_access_log *log, bool rest)
{
    struct gl_request *req = x->req;
    uint64_t took_ns = gl_clock_ns() - req->started_ns;
    const char *peer = gl_request_peer(req)->text;
    PyObject *version = req->minor > 0 ? x->st->s_http_11 : x->st->s_http_10;
    const struct gl_access_entry entry = {
        .peer = x->client != NULL ? text_of(x->client)
                                  : (struct gl_str){peer, strlen(peer)},
        .user = text_of(x->user),
        .method = text_of(x->method),
        .uri = text_of(x->uri),
        .protocol = text_of(x->protocol != NULL ? x->protocol : version),
        .referer = text_of(x->referer),
        .user_agent = text_of(x->agent),
        .vars = x->vars,
        .vars_bytes = x->vars_bytes,
        .body_bytes = body_that_left(x),
        .head_bytes = (uint32_t)x->head_n,
        .head_fields = x->fields,
        .micros = (uint32_t)(took_ns / 1000),
        .switches = x->core->switches,
        .core = x->core->id,
        .status =
            x->status != 0 || x->head_sent ? x->status : STATUS_DEPARTED,
    };

    if (rest) {
        gl_file_answer_log(x->rest, gl_access_entry_copy(&entry));
        return;
    }
    gl_access_log_add(log, &entry);
    gl_engine_note_access(x->core->pool->engine);
}

static void
log_exchange(GlExchange *x, bool rest)
{
    struct gl_access_log *log = gl_engine_access_log(x->core->pool->engine);

    if (log != NULL) {
        log_access(x, log, rest);
    }
}

void
gl_gateway_log(GlExchange *x)
{
    log_exchange(x, false);
}

/* Ends the request, or leaves it to what sends the rest of its answer. */
static void
end_request(struct gl_request *req, struct gl_file_answer *rest, bool whole)
{
    if (rest == NULL) {
        gl_request_finish(req, whole);
        return;
    }
    req->user = NULL; /* no core has it any more */
    gl_file_answer_run(rest, whole);
}

static void
finish(GlExchange *x, struct gl_kit *kit)
{
    struct gl_core *core = x->core;
    struct gl_request *req = x->req;
    struct gl_file_answer *rest;
    bool whole;

    gl_core_end_waits(core); /* a greenlet of the request may wait for it */
    whole = !x->has_length || x->no_body || x->body_sent == x->length;
    if (req != NULL) {
        if (x->fileno_given) {
            gl_gateway_forget_fd(gl_engine_of_pool(core->pool),
                                 gl_request_fd(req));
        }
        log_exchange(x, x->rest != NULL);
        if (x->rest == NULL) {
            gl_engine_of_pool(core->pool)->answers.sent_bytes +=
                req->sent_bytes;
        }
    }
    if (x->websocket != NULL) {
        gl_websocket_finish(x); /* may end the request: req is gone then */
    }
    if (x->uwsgi != NULL) {
        gl_uwsgi_request_free(x);
    }
    rest = x->rest;
    x->rest = NULL;
    free(x->sendfile);
    x->sendfile = NULL;
    x->core = NULL;
    x->req = NULL;
    Py_CLEAR(x->method);
    Py_CLEAR(x->uri);
    Py_CLEAR(x->referer);
    Py_CLEAR(x->agent);
    Py_CLEAR(x->client);
    Py_CLEAR(x->user);
    Py_CLEAR(x->protocol);
    gl_buf_fini(&((GlInput *)kit->input)->ahead);
    if (core->request != NULL) {
        core->request = NULL;
        req->cut |= !whole;
        end_request(req, rest, whole);
    } else {
        gl_file_answer_free(rest);
    }
}

/* uwsgi.after_req_hook(), if the application set it: the answer is out, and
 * the request's functions still work. */
static void
call_after_request(GlExchange *x)
{
    PyObject *hook = after_request_hook(x->st), *done;

    if (hook == NULL) {
        return;
    }
    Py_INCREF(hook);
    done = PyObject_CallNoArgs(hook);
    Py_DECREF(hook);
    if (done == NULL) {
        gl_engine_heed_interrupt(gl_engine_of_pool(x->core->pool));
        gl_gateway_report(x, "uwsgi.after_req_hook failed");
    }
    Py_XDECREF(done);
}

/* Whether there is less of a body than was said. */
static bool
is_short(const GlExchange *x)
{
    return x->req != NULL && x->has_length && !x->no_body && !x->upgraded &&
           x->body_sent < x->length;
}

/* Calls the application and sends its answer.  The result is closed before
 * the environ goes, which it may use. */
static void
exchange(GlExchange *x, GlEngine *engine, PyObject *env, struct gl_kit *kit)
{
    PyObject *app = find_app(engine, env);
    PyObject *args[2] = {env, kit->start_response};
    PyObject *result;

    if (app == NULL) {
        if (PyErr_Occurred()) {
            fail(x);
        } else {
            answer_own(x, 404);
        }
        return;
    }
    result = PyObject_Vectorcall(app, args, 2, NULL);
    if (result == NULL || respond(x, result) < 0) {
        fail(x);
    } else if (x->rest != NULL) {
        gl_response_push_rest(x);
    } else if (is_short(x)) {
        gl_gateway_report(x, "the response is shorter than its "
                             "Content-Length: the client sees it cut");
    }
    if (result != NULL) {
        close_result(x, result);
        Py_DECREF(result);
    }
}

void
gl_gateway_serve(struct gl_core *core)
{
    GlEngine *engine = gl_engine_of_pool(core->pool);
    const struct gl_entrance *entrance =
        gl_request_listener_user(core->request);
    struct gl_kit *kit = kit_for(core);
    PyObject *env;

    if (kit == NULL) {
        gl_engine_report(engine, "a request could not be started");
        gl_request_finish(core->request, false);
        core->request = NULL;
        return;
    }
    begin(kit->x, core);
    env = gl_environ_new(kit->x, entrance->environ, kit);
    gl_request_drop_head(core->request);
    if (env != NULL) {
        kit->x->environ = env;
        exchange(kit->x, engine, env, kit);
        call_after_request(kit->x);
        kit->x->environ = NULL;
        Py_DECREF(env);
    } else {
        fail(kit->x);
    }
    finish(kit->x, kit);
}
