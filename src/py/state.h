/* state.h - the module's state: types, exceptions, interned names, hooks.
 *
 * One per module object, so several interpreters may each have their own.
 * Every PyObject pointer here is a strong reference, made in module.c and
 * released by its traverse and clear.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_PY_STATE_H
#define GL_PY_STATE_H

#include "py/pyutil.h"

#include "base/list.h"
#include "proto/http_tables.h"

/* Names used on the way of a request: X(member, "text"). */
#define GL_NAMES(X)                                          \
    X(after_req_hook, "after_req_hook")                      \
    X(add_done_callback, "add_done_callback")                \
    X(asyncio_future_blocking, "_asyncio_future_blocking")   \
    X(call_soon, "call_soon")                                \
    X(cancel, "cancel")                                      \
    X(close, "close")                                        \
    X(compress, "compress")                                  \
    X(context, "context")                                    \
    X(content_length, "CONTENT_LENGTH")                      \
    X(content_type, "CONTENT_TYPE")                          \
    X(create_future, "create_future")                        \
    X(create_task, "create_task")                            \
    X(do_handshake, "do_handshake")                          \
    X(decompress, "decompress")                              \
    X(done, "done")                                          \
    X(empty, "")                                             \
    X(eof, "eof")                                            \
    X(exception, "exception")                                \
    X(fdevent_readable, "x-wsgiorg.fdevent.readable")        \
    X(fdevent_timeout, "x-wsgiorg.fdevent.timeout")          \
    X(fdevent_writable, "x-wsgiorg.fdevent.writable")        \
    X(fileno, "fileno")                                      \
    X(flush, "flush")                                        \
    X(get_loop, "get_loop")                                  \
    X(loop_ready, "_ready")                                  \
    X(loop_stopping, "_stopping")                            \
    X(loop_timers, "_scheduled")                             \
    X(http, "http")                                          \
    X(http_10, "HTTP/1.0")                                   \
    X(http_11, "HTTP/1.1")                                   \
    X(http_connection, "HTTP_CONNECTION")                    \
    X(http_cookie, "HTTP_COOKIE")                            \
    X(http_host, "HTTP_HOST")                                \
    X(https, "https")                                        \
    X(https_on, "HTTPS")                                     \
    X(job, "_job")                                           \
    X(http_origin, "HTTP_ORIGIN")                            \
    X(http_upgrade, "HTTP_UPGRADE")                          \
    X(m_delete, "DELETE")                                    \
    X(m_get, "GET")                                          \
    X(m_head, "HEAD")                                        \
    X(m_options, "OPTIONS")                                  \
    X(m_patch, "PATCH")                                      \
    X(m_post, "POST")                                        \
    X(m_put, "PUT")                                          \
    X(on, "on")                                              \
    X(path_info, "PATH_INFO")                                \
    X(pending, "pending")                                    \
    X(query_string, "QUERY_STRING")                          \
    X(raw, "raw")                                            \
    X(read, "read")                                          \
    X(refused, "_greenloop_status")                          \
    X(remote_addr, "REMOTE_ADDR")                            \
    X(remote_port, "REMOTE_PORT")                            \
    X(remote_user, "REMOTE_USER")                            \
    X(remove_done_callback, "remove_done_callback")          \
    X(remove_reader, "remove_reader")                        \
    X(remove_writer, "remove_writer")                        \
    X(request_method, "REQUEST_METHOD")                      \
    X(request_uri, "REQUEST_URI")                            \
    X(result, "result")                                      \
    X(script_name, "SCRIPT_NAME")                            \
    X(server_name, "SERVER_NAME")                            \
    X(server_port, "SERVER_PORT")                            \
    X(server_protocol, "SERVER_PROTOCOL")                    \
    X(set_exception, "set_exception")                        \
    X(set_result, "set_result")                              \
    X(slash, "/")                                            \
    X(switch_name, "switch")                                 \
    X(tell, "tell")                                          \
    X(throw, "throw")                                        \
    X(unwrap, "unwrap")                                      \
    X(unused_data, "unused_data")                            \
    X(uwsgi_core, "uwsgi.core")                              \
    X(uwsgi_ready_fd, "uwsgi.ready_fd")                      \
    X(websocket_extensions, "HTTP_SEC_WEBSOCKET_EXTENSIONS") \
    X(websocket_key, "HTTP_SEC_WEBSOCKET_KEY")               \
    X(websocket_protocol, "HTTP_SEC_WEBSOCKET_PROTOCOL")     \
    X(websocket_version, "HTTP_SEC_WEBSOCKET_VERSION")       \
    X(wsgi_disconnected, "greenloop.client_disconnected")    \
    X(write, "write")                                        \
    X(write_eof, "write_eof")                                \
    X(wsgi_input, "wsgi.input")                              \
    X(wsgi_url_scheme, "wsgi.url_scheme")

/* Environ keys of fields that have no id are cached by their bytes. */
#define GL_KEY_SLOTS 256

struct gl_state {
    /* types */
    PyTypeObject *async_websocket_type;
    PyTypeObject *await_type;
    PyTypeObject *core_type;
    PyTypeObject *departed_type;
    PyTypeObject *engine_type;
    PyTypeObject *exchange_type;
    PyTypeObject *file_wrapper_type;
    PyTypeObject *input_type;
    PyTypeObject *job_type;
    PyTypeObject *request_context_type;
    PyTypeObject *request_type;
    PyTypeObject *start_response_type;
    PyTypeObject *visible_type;
    PyTypeObject *waker_type;
    PyTypeObject *websocket_type;
    PyTypeObject *write_type;
    /* exceptions */
    PyObject *client_disconnected; /* greenloop.ClientDisconnected */
    PyObject *timeout_error;       /* asyncio.TimeoutError */
    PyObject *websocket_closed;    /* greenloop.WebSocketClosed */
    PyObject *websocket_error;     /* greenloop.WebSocketError */
    PyObject *greenlet_exit;
    PyObject *gr_context; /* the descriptor of greenlet.greenlet */
    /* asyncio hooks (design: the closed list) and predicates */
    PyObject *set_running_loop;
    PyObject *enter_task;
    PyObject *leave_task;
    PyObject *current_task;
    PyObject *get_running_loop;
    PyObject *as_coroutine;    /* of compat: any awaitable to a coroutine */
    PyObject *cancelled_error; /* asyncio.CancelledError */
    PyObject *spawned_future;  /* the class of what spawn() returns */
    PyObject *await_nothing;   /* an awaitable that is done: None */
    /* of the module zlib; NULL where this Python has none */
    PyObject *compressobj;
    PyObject *decompressobj;
    PyObject *zlib_error;
    PyObject *zlib_sync_flush;
    /* classes of io whose read() gives what is on the disk */
    PyObject *file_io;
    PyObject *buffered_reader;
    PyObject *buffered_random;
    /* the environ keys of known fields, by id; NULL where there is none */
    PyObject *field_keys[GL_FIELD_COUNT];
    PyObject *key_cache[GL_KEY_SLOTS];
    PyObject *uwsgi_module; /* what applications import as uwsgi */
    PyObject *empty_tuple;
    PyObject *empty_bytes;
#define GL_NAME_MEMBER(member, text) PyObject *s_##member;
    GL_NAMES(GL_NAME_MEMBER)
#undef GL_NAME_MEMBER
    /* one struct gl_hub for each thread that runs engines */
    struct gl_list hubs;
    unsigned long long request_ids; /* given so far */
};

/* The state of the module that made `type` (borrowed, lives as long). */
struct gl_state *gl_state_of_type(PyTypeObject *type);
struct gl_state *gl_state_of_module(PyObject *module);

#endif
