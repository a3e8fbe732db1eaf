/* websocket.h - a WebSocket of an application: what the synchronous object,
 * the one on the loop and uwsgi's functions share.
 *
 * A GlWebSocket owns a struct gl_ws, and with it the request that became it,
 * from the handshake to the end of the request (or of the handler's task,
 * once it was handed over).  After that `ws` is NULL, every use raises
 * WebSocketClosed, and the object remembers why it ended.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_PY_WEBSOCKET_H
#define GL_PY_WEBSOCKET_H

#include "engine/websocket.h"
#include "py/deflate.h"
#include "py/exchange.h"

typedef struct {
    PyObject_HEAD
    struct gl_state *st;        /* borrowed from the module */
    GlEngine *engine;           /* borrowed; NULL once it ended */
    struct gl_ws *ws;           /* owned; NULL once it ended */
    GlExchange *x;              /* strong; NULL: handed over, or ended */
    struct gl_list link;        /* in engine->websockets */
    struct gl_list waits;       /* of struct gl_websocket_wait */
    struct gl_deflate *deflate; /* owned; NULL: not agreed */
    PyObject *subprotocol;      /* strong: a str or None */
    PyObject *uri;              /* strong str or NULL; for logs */
    PyObject *task;    /* strong: the handler's; NULL: none, or over */
    PyObject *reason;  /* strong str; NULL until it ended */
    PyObject *kept;    /* strong: itself, for the engine; see _move */
    uint64_t since_ns; /* of messages without a wait; 0: not looked at */
    int code;          /* of our close, then of the end; 0: open */
    bool handed_over;  /* to another object: this one is of no use */
    bool fileno_given;
} GlWebSocket;

/* Somebody who waits for the WebSocket.  The waiter's wake() is also called,
 * with -ESHUTDOWN, when the WebSocket ends; the wait has left the list by
 * then. */
struct gl_websocket_wait {
    struct gl_list link; /* in websocket->waits */
    struct gl_waiter waiter;
};

enum gl_websocket_event { GL_WEBSOCKET_MESSAGE, GL_WEBSOCKET_ROOM };

/* What the handshake is to be.  Views and objects are borrowed. */
struct gl_websocket_wish {
    PyObject *environ;      /* a dict */
    PyObject *subprotocols; /* a sequence of str, or NULL: none */
    PyObject *origins;      /* a sequence of str, or NULL: any */
    struct gl_str key;      /* in place of the header's; p NULL: that */
    bool any_subprotocol;   /* NULL above: the first that is offered */
    bool compression;
    struct gl_ws_options options;
};

/* --- websocket_handshake.c --- */

/* The settings of the engine, for a wish to begin with. */
struct gl_ws_options gl_websocket_defaults(GlExchange *x);
/* Performs the server's side of the handshake and sends the 101.  A new
 * WebSocket, which the exchange has a reference to as well; or NULL with
 * WebSocketError, whose status the gateway answers with. */
PyObject *gl_websocket_open(GlExchange *x,
                            const struct gl_websocket_wish *wish);
/* The status that the exception carries which is set, and stays so; 500 if
 * it is none of ours. */
int gl_websocket_refused_status(void);

/* --- websocket.c --- */

/* An object of `type` without a connection; a new reference or NULL. */
GlWebSocket *gl_websocket_alloc(struct gl_state *st, PyTypeObject *type);
/* The synchronous object for an upgraded request, which it takes over: on
 * failure the request stays the exchange's.  deflate is owned from now on,
 * also on failure.  A new reference or NULL. */
GlWebSocket *gl_websocket_new(GlExchange *x,
                              const struct gl_ws_options *options,
                              struct gl_deflate *deflate);
/* Moves the connection to `to`, which was just allocated; nobody waits for
 * `from`, which is handed over by this. */
void gl_websocket_move(GlWebSocket *from, GlWebSocket *to);
/* Ends it: the connection is closed, who waits is woken, the descriptor is
 * forgotten by the loop.  Harmless when repeated.  Keeps an exception. */
void gl_websocket_end(GlWebSocket *self);
/* The end of the exchange of x: closes with `code` what is still open. */
void gl_websocket_finish(GlExchange *x);
/* Begins the closing handshake, if it did not yet. */
void gl_websocket_begin_close(GlWebSocket *self, int code);

/* Whether it may be used now, in this thread.  0; or -1 with WebSocketClosed
 * or RuntimeError. */
int gl_websocket_check(GlWebSocket *self);
/* Sets WebSocketClosed; returns -1. */
int gl_websocket_raise_closed(GlWebSocket *self);
/* The code with which it was closed, or 0 while it is open. */
int gl_websocket_close_code(GlWebSocket *self);
/* An ending that iteration takes for a normal one. */
bool gl_websocket_ended_well(GlWebSocket *self);
/* Registers a wait; its waiter's function is set.  0 or -1. */
int gl_websocket_wait(GlWebSocket *self, struct gl_websocket_wait *wait,
                      enum gl_websocket_event event);
/* Takes it back; harmless if it was woken or never registered. */
void gl_websocket_forget(GlWebSocket *self, struct gl_websocket_wait *wait);
/* The next message as a str or bytes object: 1; 0: none yet; -1 with an
 * exception.  With as_bytes it is bytes in any case. */
int gl_websocket_take(GlWebSocket *self, bool as_bytes, PyObject **ret);
/* Sends a str, or what has the buffer interface.  1: taken; 0: the peer is
 * slow, nothing was taken; -1 with an exception. */
int gl_websocket_put(GlWebSocket *self, enum gl_ws_opcode opcode,
                     PyObject *message);
/* Whether it may be sent as text: a str, or bytes of UTF-8. */
bool gl_websocket_is_text(PyObject *message);
/* Text for a str, binary for the rest. */
enum gl_ws_opcode gl_websocket_opcode(PyObject *message);
/* Whether messages have come for so long without a wait that others should
 * have their turn; begins anew then. */
bool gl_websocket_is_greedy(GlWebSocket *self);
/* Checks the arguments of close() and begins the closing handshake. */
int gl_websocket_close(GlWebSocket *self, int code, PyObject *reason);

/* What both classes have. */
PyObject *gl_websocket_get_closed(PyObject *self, void *unused);
PyObject *gl_websocket_get_subprotocol(PyObject *self, void *unused);
extern const char gl_websocket_fileno_doc[];
PyObject *gl_websocket_fileno(PyObject *self, PyObject *unused);
extern const char gl_websocket_ping_doc[];
PyObject *gl_websocket_ping(PyObject *self, PyObject *const *args,
                            Py_ssize_t nargs);
int gl_websocket_traverse(PyObject *self, visitproc visit, void *arg);
int gl_websocket_clear(PyObject *self);
void gl_websocket_finalize(PyObject *self);
void gl_websocket_dealloc(PyObject *self);

/* --- websocket_type.c: the synchronous object, greenloop.websocket() --- */

extern PyMethodDef gl_websocket_functions[];
int gl_websocket_type_init(PyObject *module, struct gl_state *st);
/* Parks until the event, or until due_ns on the monotonic clock (0: no
 * matter how long).  0; 1: that time came; -1 with an exception. */
int gl_websocket_park(GlWebSocket *self, enum gl_websocket_event event,
                      uint64_t due_ns);
/* receive() and send(), as uwsgi's functions need them too. */
PyObject *gl_websocket_receive(GlWebSocket *self, bool as_bytes,
                               uint64_t due_ns);
int gl_websocket_send(GlWebSocket *self, enum gl_ws_opcode opcode,
                      PyObject *message);

/* --- websocket_async_type.c: the object on the loop --- */

int gl_websocket_async_type_init(PyObject *module, struct gl_state *st);
/* Has `handler` run as a task with what `self` was.  0 or -1. */
int gl_websocket_hand_over(GlWebSocket *self, PyObject *handler);
/* Cancels the tasks of all handlers. */
void gl_websocket_cancel_tasks(GlEngine *engine);

/* --- for engine_type.c --- */

/* Ends every WebSocket that is left. */
void gl_websocket_end_all(GlEngine *engine);

#endif
