/* exchange.h - one WSGI exchange: what the objects that an application gets
 * for a request share.
 *
 * A GlExchange outlives its request if the application keeps start_response
 * or wsgi.input; from then on `core` and `req` are NULL and every use of
 * those objects raises.  Each core has one kit of such objects and uses it
 * again if nobody else holds any of them.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_PY_EXCHANGE_H
#define GL_PY_EXCHANGE_H

#include "base/buf.h"
#include "engine/request.h"
#include "py/core.h"
#include "py/engine_type.h"

#include <sys/uio.h>

typedef struct {
    PyObject_HEAD
    struct gl_state *st;    /* borrowed from the module */
    struct gl_core *core;   /* borrowed; NULL once the request ended */
    struct gl_request *req; /* borrowed; NULL once the request ended */
    PyObject *method, *uri; /* strong str; for logs */
    PyObject *environ;      /* borrowed, while the application runs; NULL */
    PyObject *referer, *agent; /* strong str or NULL; for the access log */
    PyObject *client, *user, *protocol; /* the same, where a peer that is not
                                         * the client itself tells of them */
    PyObject *websocket; /* strong: what the request became, or NULL */
    char *head;          /* owned: the answer's head so far */
    size_t head_n, head_cap;
    uint64_t length; /* Content-Length, if has_length */
    uint64_t body_sent;
    uint64_t sent_before, body_before; /* req->sent_bytes and body_sent when
                                        * the piece being written began */
    uint64_t since_ns; /* of running without a wait; 0: not looked at yet */
    char *sendfile;    /* owned: the value of X-Sendfile; NULL: none */
    struct gl_file_answer *rest;    /* owned: sent after the application */
    struct gl_uwsgi_request *uwsgi; /* owned by uwsgi_wait.c; NULL: none */
    uint32_t fields;
    uint32_t vars, vars_bytes;
    int status;
    bool started;   /* start_response was called */
    bool head_sent; /* at least tried to */
    bool has_length, has_date, has_server;
    bool wants_close;    /* the application asked for it */
    bool has_validators; /* an ETag or Last-Modified of its own */
    bool chunked;
    bool no_body; /* HEAD, 204, 304 */
    bool writing; /* a piece, perhaps parked amid it: nobody else may */
    bool fileno_given;
    bool slept;    /* in uwsgi.async_sleep(): the next suspend() is over */
    bool upgraded; /* it speaks HTTP no longer */
} GlExchange;

/* What an application can hold of an exchange. */
typedef struct {
    PyObject_HEAD
    GlExchange *x; /* strong */
    vectorcallfunc vectorcall;
} GlHandle;

typedef struct {
    PyObject_HEAD
    GlExchange *x;       /* strong */
    struct gl_buf ahead; /* read from the request, not yet by the caller */
} GlInput;

struct gl_kit {
    GlExchange *x; /* all strong */
    PyObject *start_response;
    PyObject *write;
    PyObject *departed;
    PyObject *input;
    PyObject *request; /* of current_request(); NULL: not asked for */
};

/* The request of a live exchange in the calling thread, or NULL with
 * RuntimeError set. */
struct gl_request *gl_exchange_request(GlExchange *x);
/* Raises what a failed gl_request_read/send means, marked with the status
 * that it calls for.  Returns -1. */
int gl_exchange_fail(GlExchange *x, int error);
/* Marks the exception that is set as the client's fault, which calls for a
 * status.  Where memory is lacking MemoryError takes its place.  -1. */
int gl_exchange_mark(GlExchange *x, int status);
/* That status, where OSError is set that is so marked or came of one that is;
 * or 0: it is the application's own. */
int gl_exchange_marked_status(GlExchange *x);
/* Parks until reading (or writing) the request is worth trying, at most for
 * timeout_ns (0: as the options say).  Only in the request's own greenlets:
 * RuntimeError elsewhere.  0 or -1. */
int gl_exchange_wait_for(GlExchange *x, bool for_write, uint64_t timeout_ns);
int gl_exchange_wait(GlExchange *x, bool for_write);
/* Lets others run when this request has moved bytes for long without a wait:
 * to be called after each piece.  0 or -1. */
int gl_exchange_be_fair(GlExchange *x);

/* --- response.c --- */

struct gl_response_field {
    struct gl_str name, value;
};

/* start_response: checks and writes the head, without what depends on the
 * body.  exc_info may be NULL or None.  0 or -1. */
int gl_response_start(GlExchange *x, PyObject *status, PyObject *fields,
                      PyObject *exc_info);
/* Forgets the head and begins one of the server's own, text/plain. */
int gl_response_start_own(GlExchange *x, int status);
/* Sends one piece of the body, with the head before it if that was not sent;
 * with `last` nothing follows.  The bytes may be empty.  0 or -1. */
int gl_response_send(GlExchange *x, const char *bytes, size_t n, bool last);
/* The same for all items of a list or tuple of bytes. */
int gl_response_send_sequence(GlExchange *x, PyObject *items);
/* Makes an open file, from its current position to its end or as much as
 * Content-Length says, the rest of the answer.  Returns 1; 0 if it is no
 * regular file or cannot be sent this way (nothing was sent); or -1. */
int gl_response_send_file(GlExchange *x, PyObject *file);
/* Of such a rest, which x->rest is: sends what a client takes at once, and
 * leaves NULL if that was all; sends all, parking, 0 or -1; or forgets it. */
void gl_response_push_rest(GlExchange *x);
int gl_response_finish_rest(GlExchange *x);
void gl_response_drop_rest(GlExchange *x);

/* Sends bytes as they are, for an application that writes status line and
 * headers itself: before start_response.  The connection ends with the
 * request.  0 or -1. */
int gl_response_send_raw(GlExchange *x, const char *bytes, size_t n);
/* Sends `size` bytes of a regular file from `at` on, as a piece of the body.
 * 0, or -1: with OSError also if the file ends early. */
int gl_response_send_range(GlExchange *x, int fd, off_t at, uint64_t size);
/* Ends the answer as it is and the client's stream; the application goes on,
 * and what it sends later is dropped.  0 or -1. */
int gl_response_disconnect(GlExchange *x);
/* Sends a 101 with these fields and has the connection carry another
 * protocol.  0 or -1. */
int gl_response_upgrade(GlExchange *x, const struct gl_response_field *fields,
                        size_t n);
/* 0 while the exchange is one of HTTP; -1 with RuntimeError after that. */
int gl_exchange_check_http(GlExchange *x);

/* --- handle_types.c, input_type.c, file_wrapper_type.c --- */

/* What has arrived of the body, at most max bytes, b"" at its end.  Where
 * nothing has: waits for it, timeout_ns (0: as the options say) at most, or
 * returns None.  A new reference or NULL. */
PyObject *gl_input_arrived(GlExchange *x, size_t max, bool wait,
                           uint64_t timeout_ns);

int gl_handle_types_init(PyObject *module, struct gl_state *st);
int gl_input_type_init(PyObject *module, struct gl_state *st);
int gl_file_wrapper_type_init(PyObject *module, struct gl_state *st);
/* The file of a file_wrapper (borrowed). */
PyObject *gl_file_wrapper_file(PyObject *wrapper);
/* Makes a kit with a fresh exchange; all or nothing.  0 or -1. */
int gl_kit_init(struct gl_kit *kit, struct gl_state *st);
void gl_kit_clear(struct gl_kit *kit);
/* The request's start_response; a new reference. */
PyObject *gl_exchange_start_response(GlExchange *x);
/* A handle of `type` on the exchange, which cannot be called; a new reference
 * or NULL. */
PyObject *gl_handle_new(PyTypeObject *type, GlExchange *x);
/* Nobody but the kit holds any of its objects, or the exchange. */
bool gl_kit_is_private(const struct gl_kit *kit);

/* --- environ.c --- */

/* The environ every request of a listener begins with; a new reference. */
PyObject *gl_environ_base(struct gl_state *st, const char *scheme,
                          const char *server_name, const char *server_port,
                          PyObject *errors);
/* The environ of the exchange's request: to be called while the request's
 * head is valid.  Fills the exchange's method, uri and log fields.  A new
 * reference, or NULL. */
PyObject *gl_environ_new(GlExchange *x, PyObject *base,
                         const struct gl_kit *kit);
/* The str of a method; a new reference, or NULL. */
PyObject *gl_environ_method(struct gl_state *st, struct gl_str method);
/* The str of an environ key, which is kept for the next request; a new
 * reference, or NULL. */
PyObject *gl_environ_key(struct gl_state *st, struct gl_str text);
/* REMOTE_ADDR and REMOTE_PORT of the connection's far end.  0 or -1. */
int gl_environ_put_peer(GlExchange *x, PyObject *env);

/* --- environ_uwsgi.c --- */

/* All that a uwsgi packet says of the request; fills x->method and x->uri.
 * 0 or -1. */
int gl_environ_put_packet(GlExchange *x, PyObject *env);
/* What the access log will want of it. */
void gl_environ_note_packet(GlExchange *x, PyObject *env);

/* --- gateway.c --- */

/* Logs what happened, with the request's method and URI, and the exception
 * that is set, if one is, which it clears. */
void gl_gateway_report(GlExchange *x, const char *what);
/* Writes the access log's line for the exchange, if there is a log. */
void gl_gateway_log(GlExchange *x);
/* Takes readers and writers of fd off the loop, whose selector must not keep
 * a descriptor that the next client may get. */
void gl_gateway_forget_fd(GlEngine *engine, int fd);

#endif
