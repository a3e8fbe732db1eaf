/* websocket_async_type.c - a WebSocket on the loop: what is handed over to a
 * coroutine, and its awaitables.
 *
 * An awaitable of these does what it can at once, and only waits with a
 * future of the loop where it must.  It is a coroutine to asyncio, so that
 * create_task(), wait_for() and gather() take it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "py/websocket.h"

#include "base/gl.h"
#include "py/api.h"

#include <errno.h>

enum await_kind {
    AWAIT_NOTHING, /* done from the start */
    AWAIT_MESSAGE,
    AWAIT_NEXT, /* the same, for `async for` */
    AWAIT_SENT,
    AWAIT_CLOSED,
    AWAIT_OVER /* was awaited, or ended by an exception */
};

typedef struct {
    PyObject_HEAD
    GlWebSocket *socket; /* strong; NULL: it is over, or for nothing */
    PyObject *message;   /* strong; AWAIT_SENT: not taken yet; NULL: taken */
    PyObject *future;    /* strong; while it waits */
    struct gl_websocket_wait wait;
    uint8_t kind;   /* enum await_kind */
    uint8_t opcode; /* of the message */
    bool started;   /* somebody awaits it */
    bool woken;
    bool yielded; /* others have had their turn */
} GlAwait;

/* --- waiting ---------------------------------------------------------- */

static void
await_woken(struct gl_waiter *waiter, int result)
{
    struct gl_websocket_wait *wait =
        GL_CONTAINER_OF(waiter, struct gl_websocket_wait, waiter);
    GlAwait *self = GL_CONTAINER_OF(wait, GlAwait, wait);
    PyObject *future = self->future, *done;

    (void)result; /* the next attempt tells */
    if (self->woken || future == NULL) {
        return;
    }
    self->woken = true;
    Py_INCREF(future);
    done =
        gl_call_method_one(future, self->socket->st->s_set_result, Py_None);
    if (done == NULL) {
        PyErr_Clear(); /* its task was cancelled: that will throw here */
    }
    Py_XDECREF(done);
    Py_DECREF(future);
}

static void
stop_waiting(GlAwait *self)
{
    if (self->future != NULL) {
        gl_websocket_forget(self->socket, &self->wait);
        Py_CLEAR(self->future);
    }
}

static void
end_await(GlAwait *self)
{
    stop_waiting(self);
    self->kind = self->kind == AWAIT_NOTHING ? AWAIT_NOTHING : AWAIT_OVER;
    Py_CLEAR(self->socket);
    Py_CLEAR(self->message);
}

/* Waits with a new future for the event.  1: *result is what to yield; 0:
 * there is no need to wait; -1. */
static int
begin_waiting(GlAwait *self, enum gl_websocket_event event, PyObject **result)
{
    GlWebSocket *socket = self->socket;
    struct gl_state *st = socket->st;
    int outcome;

    if (gl_websocket_check(socket) < 0) {
        return -1;
    }
    self->future =
        gl_call_method(socket->engine->pool.hub->loop, st->s_create_future);
    if (self->future == NULL ||
        PyObject_SetAttr(self->future, st->s_asyncio_future_blocking,
                         Py_True) < 0) {
        Py_CLEAR(self->future);
        return -1;
    }
    self->woken = false;
    outcome = gl_websocket_wait(socket, &self->wait, event);
    if (outcome != 0) {
        Py_CLEAR(self->future);
        return outcome > 0 ? 0 : -1;
    }
    *result = Py_NewRef(self->future);
    return 1;
}

/* --- attempts: 1: done, *result; 0: to wait for *event; -1 ------------- */

static int
try_message(GlAwait *self, enum gl_websocket_event *event, PyObject **result)
{
    GlWebSocket *socket = self->socket;
    int taken = gl_websocket_take(socket, false, result);

    *event = GL_WEBSOCKET_MESSAGE;
    if (taken < 0 && self->kind == AWAIT_NEXT &&
        PyErr_ExceptionMatches(socket->st->websocket_closed) &&
        gl_websocket_ended_well(socket)) {
        PyErr_Clear();
        PyErr_SetNone(PyExc_StopAsyncIteration);
    }
    return taken;
}

static int
try_send(GlAwait *self, enum gl_websocket_event *event, PyObject **result)
{
    GlWebSocket *socket = self->socket;
    int taken = 1;

    *event = GL_WEBSOCKET_ROOM;
    if (self->message != NULL) {
        taken = gl_websocket_put(socket, (enum gl_ws_opcode)self->opcode,
                                 self->message);
        if (taken > 0) {
            Py_CLEAR(self->message);
        }
    }
    if (taken > 0 && socket->ws != NULL && gl_ws_should_wait(socket->ws)) {
        return 0;
    }
    if (taken > 0) {
        *result = Py_NewRef(Py_None);
    }
    return taken;
}

static int
try_close(GlAwait *self, enum gl_websocket_event *event, PyObject **result)
{
    GlWebSocket *socket = self->socket;
    int taken = 1;

    *event = GL_WEBSOCKET_MESSAGE;
    while (taken > 0 && gl_websocket_close_code(socket) == 0) {
        taken = gl_websocket_take(socket, true, result);
        if (taken > 0) {
            Py_CLEAR(*result); /* too late: it is dropped */
        }
    }
    if (taken < 0 && PyErr_ExceptionMatches(socket->st->websocket_closed)) {
        PyErr_Clear();
        taken = 1;
    }
    if (taken > 0) {
        *result = Py_NewRef(Py_None);
    }
    return taken;
}

static int
attempt(GlAwait *self, enum gl_websocket_event *event, PyObject **result)
{
    switch ((enum await_kind)self->kind) {
    case AWAIT_MESSAGE:
    case AWAIT_NEXT:
        return try_message(self, event, result);
    case AWAIT_SENT:
        return try_send(self, event, result);
    case AWAIT_CLOSED:
        return try_close(self, event, result);
    case AWAIT_OVER:
        PyErr_SetString(PyExc_RuntimeError, "this was awaited already");
        return -1;
    case AWAIT_NOTHING:
        break;
    }
    *result = Py_NewRef(Py_None);
    return 1;
}

/* --- the coroutine's protocol ------------------------------------------ */

/* Whether the loop is to go round once before the next message. */
static bool
must_yield(GlAwait *self)
{
    bool receives = self->kind == AWAIT_MESSAGE || self->kind == AWAIT_NEXT;

    if (!receives || self->yielded || !gl_websocket_is_greedy(self->socket)) {
        return false;
    }
    self->yielded = true;
    return true;
}

static PySendResult
await_send(PyObject *object, PyObject *value, PyObject **result)
{
    GlAwait *self = (GlAwait *)object;
    enum gl_websocket_event event = GL_WEBSOCKET_MESSAGE;
    int outcome;

    (void)value;
    *result = NULL;
    if (self->future != NULL && !self->woken) {
        PyErr_SetString(PyExc_RuntimeError, "this is being awaited already");
        return PYGEN_ERROR;
    }
    self->started = true;
    stop_waiting(self);
    if (must_yield(self)) {
        *result = Py_NewRef(Py_None);
        return PYGEN_NEXT;
    }
    while ((outcome = attempt(self, &event, result)) == 0) {
        outcome = begin_waiting(self, event, result);
        if (outcome > 0) {
            self->socket->since_ns = 0;
            return PYGEN_NEXT;
        }
        if (outcome < 0) {
            break;
        }
    }
    end_await(self);
    return outcome > 0 ? PYGEN_RETURN : PYGEN_ERROR;
}

/* The same for who iterates: StopIteration carries the result. */
static PyObject *
await_next(PyObject *self)
{
    PyObject *result = NULL, *stop;

    if (await_send(self, Py_None, &result) != PYGEN_RETURN) {
        return result;
    }
    if (result != Py_None) {
        stop = PyObject_CallOneArg(PyExc_StopIteration, result);
        if (stop != NULL) {
            PyErr_SetObject(PyExc_StopIteration, stop);
            Py_DECREF(stop);
        }
    }
    Py_DECREF(result);
    return NULL;
}

static PyObject *
await_send_method(PyObject *self, PyObject *value)
{
    PyObject *result;

    (void)value;
    result = await_next(self);
    if (result == NULL && !PyErr_Occurred()) {
        PyErr_SetNone(PyExc_StopIteration);
    }
    return result;
}

static PyObject *
await_throw(PyObject *self, PyObject *args)
{
    PyObject *type, *value = NULL, *traceback = NULL;

    if (!PyArg_ParseTuple(args, "O|OO:throw", &type, &value, &traceback)) {
        return NULL;
    }
    end_await((GlAwait *)self);
    if (PyExceptionInstance_Check(type)) {
        PyErr_SetObject((PyObject *)Py_TYPE(type), type);
    } else if (PyExceptionClass_Check(type)) {
        PyErr_SetObject(type, value);
    } else {
        PyErr_SetString(PyExc_TypeError, "throw() takes an exception");
    }
    return NULL;
}

static PyObject *
await_close(PyObject *self, PyObject *unused)
{
    (void)unused;
    end_await((GlAwait *)self);
    Py_RETURN_NONE;
}

static int
await_traverse(PyObject *object, visitproc visit, void *arg)
{
    GlAwait *self = (GlAwait *)object;

    Py_VISIT(Py_TYPE(object));
    Py_VISIT((PyObject *)self->socket);
    Py_VISIT(self->message);
    Py_VISIT(self->future);
    return 0;
}

static int
await_clear(PyObject *object)
{
    end_await((GlAwait *)object);
    return 0;
}

static void
warn_of_lost_message(PyObject *object)
{
    GlAwait *self = (GlAwait *)object;
    struct gl_exc exc;

    if (self->message == NULL || self->started) {
        return;
    }
    exc = gl_exc_take();
    if (PyErr_WarnEx(PyExc_RuntimeWarning,
                     "a WebSocket's send() was not awaited, and the client "
                     "was too slow: the message was not sent",
                     1) < 0) {
        gl_unraisable(object);
    }
    if (exc.value != NULL) {
        gl_exc_restore(&exc);
    }
}

static void
await_dealloc(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);

    if (PyObject_CallFinalizerFromDealloc(object) < 0) {
        return;
    }
    PyObject_GC_UnTrack(object);
    end_await((GlAwait *)object);
    type->tp_free(object);
    Py_DECREF(type);
}

static PyMethodDef await_methods[] = {
    {"send", await_send_method, METH_O, NULL},
    {"throw", await_throw, METH_VARARGS, NULL},
    {"close", await_close, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot await_slots[] = {
    {Py_tp_dealloc, (void *)await_dealloc},
    {Py_tp_finalize, (void *)warn_of_lost_message},
    {Py_tp_traverse, (void *)await_traverse},
    {Py_tp_clear, (void *)await_clear},
    {Py_tp_iter, (void *)PyObject_SelfIter},
    {Py_tp_iternext, (void *)await_next},
    {Py_am_await, (void *)PyObject_SelfIter},
    {Py_am_send, (void *)await_send},
    {Py_tp_methods, await_methods},
    {0, NULL},
};

static PyType_Spec await_spec = {
    .name = "greenloop._core._WebSocketAwaitable",
    .basicsize = sizeof(GlAwait),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = await_slots,
};

static PyObject *
await_new(PyObject *socket, enum await_kind kind)
{
    struct gl_state *st = ((GlWebSocket *)socket)->st;
    GlAwait *self = (GlAwait *)st->await_type->tp_alloc(st->await_type, 0);

    if (self != NULL) {
        self->socket = (GlWebSocket *)Py_NewRef(socket);
        self->wait.waiter.wake = await_woken;
        self->kind = kind;
    }
    return (PyObject *)self;
}

/* --- methods ---------------------------------------------------------- */

PyDoc_STRVAR(receive_doc,
"receive($self, /)\n--\n\n"
"Await the next message: a str or bytes, as its sender meant it.\n\n"
"Raises WebSocketClosed once the WebSocket has ended and all that came\n"
"before was received, RuntimeError if another task is receiving.  For a time\n"
"limit use asyncio.wait_for().");

static PyObject *
async_receive(PyObject *self, PyObject *unused)
{
    (void)unused;
    return await_new(self, AWAIT_MESSAGE);
}

static PyObject *
async_next(PyObject *self)
{
    return await_new(self, AWAIT_NEXT);
}

PyDoc_STRVAR(send_doc,
"send($self, message, /)\n--\n\n"
"Send a str as a text message, bytes (or what has the buffer interface) as a\n"
"binary one; await the result.\n\n"
"The message is sent by the call itself if the client is not slow, and then\n"
"the await is over at once; else the await waits for the client.  Any task\n"
"of the loop may send.  What is not awaited must be ready to lose messages\n"
"to slow clients, which a RuntimeWarning tells of.  Awaiting raises\n"
"WebSocketClosed; the call raises TypeError, and RuntimeError in another\n"
"thread.");

static PyObject *
async_send(PyObject *object, PyObject *message)
{
    GlWebSocket *self = (GlWebSocket *)object;
    enum gl_ws_opcode opcode = gl_websocket_opcode(message);
    int taken = gl_websocket_put(self, opcode, message);
    GlAwait *await;

    /* Releasing a buffer may have run anybody's code, and ended it. */
    if (taken > 0 && (self->ws == NULL || !gl_ws_should_wait(self->ws))) {
        return Py_NewRef(self->st->await_nothing);
    }
    if (taken < 0) {
        if (!PyErr_ExceptionMatches(self->st->websocket_closed)) {
            return NULL;
        }
        PyErr_Clear(); /* raised again by the await, for gather()'s sake */
    }
    await = (GlAwait *)await_new(object, AWAIT_SENT);
    if (await != NULL && taken <= 0) {
        await->message = Py_NewRef(message);
        await->opcode = (uint8_t)opcode;
        await->started = taken < 0; /* nobody is to be warned then */
    }
    return (PyObject *)await;
}

PyDoc_STRVAR(close_doc,
"close($self, /, code=1000, reason='')\n--\n\n"
"Close; await the result until the peer has answered or ten seconds have\n"
"passed.\n\n"
"  code    1000 to 1003, 1007 to 1014 or 3000 to 4999\n"
"  reason  a str of at most 123 bytes of UTF-8\n"
"What the peer sent and nobody received is dropped.  Does nothing if the\n"
"WebSocket has ended.  Raises ValueError; the await raises RuntimeError if\n"
"another task is receiving, which then gets the end.");

static PyObject *
async_close(PyObject *object, PyObject *args, PyObject *kwargs)
{
    char *names[] = {"code", "reason", NULL};
    GlWebSocket *self = (GlWebSocket *)object;
    PyObject *reason = self->st->s_empty;
    int code = 1000;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|iU:close", names, &code,
                                     &reason)) {
        return NULL;
    }
    if (self->ws == NULL) {
        return Py_NewRef(self->st->await_nothing);
    }
    if (gl_websocket_check(self) < 0 ||
        gl_websocket_close(self, code, reason) < 0) {
        return NULL;
    }
    return await_new(object, AWAIT_CLOSED);
}

static PyMethodDef async_methods[] = {
    {"receive", async_receive, METH_NOARGS, receive_doc},
    {"send", async_send, METH_O, send_doc},
    {"ping", (PyCFunction)(void (*)(void))gl_websocket_ping, METH_FASTCALL,
     gl_websocket_ping_doc},
    {"close", (PyCFunction)(void (*)(void))async_close,
     METH_VARARGS | METH_KEYWORDS, close_doc},
    {"fileno", gl_websocket_fileno, METH_NOARGS, gl_websocket_fileno_doc},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef async_getset[] = {
    {"closed", gl_websocket_get_closed, NULL,
     "Whether it has ended (a bool).", NULL},
    {"subprotocol", gl_websocket_get_subprotocol, NULL,
     "The agreed subprotocol (a str), or None.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(async_doc,
"A WebSocket on the loop: what WebSocket.hand_over() gives to its handler.\n\n"
"`async for` receives messages until the peer closes with 1000, 1001 or no\n"
"code, and raises WebSocketClosed for other ends.");

static PyType_Slot async_slots[] = {
    {Py_tp_doc, (void *)async_doc},
    {Py_tp_dealloc, (void *)gl_websocket_dealloc},
    {Py_tp_finalize, (void *)gl_websocket_finalize},
    {Py_tp_traverse, (void *)gl_websocket_traverse},
    {Py_tp_clear, (void *)gl_websocket_clear},
    {Py_am_aiter, (void *)PyObject_SelfIter},
    {Py_am_anext, (void *)async_next},
    {Py_tp_methods, async_methods},
    {Py_tp_getset, async_getset},
    {0, NULL},
};

static PyType_Spec async_spec = {
    .name = "greenloop.AsyncWebSocket",
    .basicsize = sizeof(GlWebSocket),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = async_slots,
};

/* --- handing over ----------------------------------------------------- */

/* Reports the exception that is set, with whose it is.  Clears it. */
static void
report(GlWebSocket *self)
{
    struct gl_str uri = {"", 0};
    char text[512];

    if (self->engine == NULL) {
        gl_unraisable((PyObject *)self); /* the server is closed already */
        return;
    }
    if (self->uri != NULL) {
        (void)gl_latin1_view(self->uri, &uri);
    }
    (void)PyOS_snprintf(text, sizeof(text),
                        "error in a WebSocket's handler: GET %.*s",
                        uri.n < 400 ? (int)uri.n : 400, uri.p);
    gl_engine_report(self->engine, text);
}

/* The close code that the end of the task calls for. */
static int
code_of_end(GlWebSocket *self, PyObject *task)
{
    PyObject *error = gl_call_method(task, self->st->s_exception);

    if (error == NULL) { /* cancelled */
        PyErr_Clear();
        return 1001;
    }
    if (error == Py_None) {
        Py_DECREF(error);
        return 1000;
    }
    if (PyObject_IsInstance(error, self->st->websocket_closed) > 0) {
        Py_DECREF(error); /* the client left, as clients do */
        return 1000;
    }
    PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    Py_DECREF(error);
    report(self);
    return 1011;
}

static PyObject *
handler_done(PyObject *object, PyObject *task)
{
    GlWebSocket *self = (GlWebSocket *)object;
    struct gl_engine *engine =
        self->engine != NULL ? self->engine->engine : NULL;

    Py_CLEAR(self->task);
    gl_websocket_begin_close(self, code_of_end(self, task));
    gl_websocket_end(self);
    if (engine != NULL) {
        gl_engine_settle(engine);
    }
    Py_RETURN_NONE;
}

static PyMethodDef handler_done_def = {"handler_done", handler_done, METH_O,
                                       NULL};

/* Makes the task.  0 or -1. */
static int
start_task(GlWebSocket *self, struct gl_core *core, PyObject *coroutine)
{
    PyObject *callback = PyCFunction_New(&handler_done_def, (PyObject *)self);
    PyObject *task = NULL, *done = NULL;

    if (callback != NULL) {
        task = gl_task_new(self->st, core, coroutine);
    }
    if (task != NULL) {
        self->task = Py_NewRef(task);
        done =
            gl_call_method_one(task, self->st->s_add_done_callback, callback);
    }
    Py_XDECREF(callback);
    Py_XDECREF(task);
    Py_XDECREF(done);
    return done != NULL ? 0 : -1;
}

/* handler(self), which must be a coroutine.  A new reference or NULL. */
static PyObject *
call_handler(GlWebSocket *self, PyObject *handler)
{
    PyObject *coroutine = PyObject_CallOneArg(handler, (PyObject *)self);

    if (coroutine != NULL && !PyCoro_CheckExact(coroutine)) {
        PyErr_Format(PyExc_TypeError,
                     "hand_over() takes an async def function, but %R "
                     "returned a %.100s",
                     handler, Py_TYPE(coroutine)->tp_name);
        Py_CLEAR(coroutine);
    }
    return coroutine;
}

/* Whether `self` can be handed over now. */
static int
check_free(GlWebSocket *self)
{
    if (gl_websocket_check(self) < 0) {
        return -1;
    }
    if (!gl_list_empty(&self->waits)) {
        PyErr_SetString(self->st->websocket_error,
                        "a greenlet waits for this WebSocket: it cannot be "
                        "handed over");
        return -1;
    }
    return 0;
}

int
gl_websocket_hand_over(GlWebSocket *self, PyObject *handler)
{
    struct gl_state *st = self->st;
    GlWebSocket *heir;
    PyObject *coroutine;
    struct gl_core *core;
    int error;

    if (check_free(self) < 0) {
        return -1;
    }
    heir = gl_websocket_alloc(st, st->async_websocket_type);
    coroutine = heir != NULL ? call_handler(heir, handler) : NULL;
    /* The handler may be anybody's code. */
    if (coroutine == NULL || check_free(self) < 0) {
        Py_XDECREF(coroutine);
        Py_XDECREF((PyObject *)heir);
        return -1;
    }
    gl_gateway_log(self->x);
    core = self->x->core;
    gl_websocket_move(self, heir);
    error = start_task(heir, core, coroutine);
    Py_DECREF(coroutine);
    if (error < 0) {
        gl_websocket_begin_close(heir, 1011);
        gl_websocket_end(heir);
    }
    Py_DECREF((PyObject *)heir);
    return error;
}

static PyObject *
tasks_of(GlEngine *engine)
{
    PyObject *tasks = PyList_New(0);

    for (struct gl_list *l = engine->websockets.next;
         tasks != NULL && l != &engine->websockets; l = l->next) {
        GlWebSocket *self = GL_CONTAINER_OF(l, GlWebSocket, link);

        if (self->task != NULL && PyList_Append(tasks, self->task) < 0) {
            Py_CLEAR(tasks);
        }
    }
    return tasks;
}

void
gl_websocket_cancel_tasks(GlEngine *engine)
{
    PyObject *tasks = tasks_of(engine); /* cancelling may change the list */

    for (Py_ssize_t i = 0; tasks != NULL && i < PyList_GET_SIZE(tasks); i++) {
        PyObject *done =
            gl_call_method(PyList_GET_ITEM(tasks, i), engine->st->s_cancel);

        if (done == NULL) {
            gl_engine_report(engine, "a task could not be cancelled");
        }
        Py_XDECREF(done);
    }
    if (tasks == NULL) {
        gl_engine_report(engine, "the tasks could not be cancelled");
    }
    Py_XDECREF(tasks);
}

int
gl_websocket_async_type_init(PyObject *module, struct gl_state *st)
{
    st->async_websocket_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &async_spec, NULL);
    st->await_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &await_spec, NULL);
    if (st->async_websocket_type == NULL || st->await_type == NULL) {
        return -1;
    }
    st->await_nothing = st->await_type->tp_alloc(st->await_type, 0);
    return st->await_nothing == NULL
               ? -1
               : PyModule_AddObjectRef(module, "AsyncWebSocket",
                                       (PyObject *)st->async_websocket_type);
}
