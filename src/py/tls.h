/* tls.h - TLS for connections, through the interpreter's ssl module.
 *
 * gl_transport_tls seals and opens bytes with an ssl.SSLObject over two
 * ssl.MemoryBIO: the OpenSSL is the interpreter's, and the context is the
 * user's own, with his certificates, callbacks and protocols.  Handshakes
 * run inside recv(), so they never block and fall under the deadline of the
 * request's head.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_PY_TLS_H
#define GL_PY_TLS_H

#include "engine/engine.h"
#include "engine/request.h"
#include "engine/transport.h"
#include "py/state.h"

#include <stdint.h>

/* What the TLS connections of a listener share.  Objects are strong. */
struct gl_tls {
    PyObject *wrap;        /* (MemoryBIO, MemoryBIO) -> SSLObject */
    PyObject *describe;    /* (SSLObject) -> dict for the environ */
    PyObject *memory_bio;  /* ssl.MemoryBIO */
    PyObject *error;       /* ssl.SSLError */
    PyObject *want_read;   /* ssl.SSLWantReadError */
    PyObject *zero_return; /* ssl.SSLZeroReturnError */
    PyObject *no_limit;    /* the int 0: as much as the buffer takes */
    /* Handshakes that wait for a later turn: see tls_turns.c. */
    struct gl_list waiting; /* of struct gl_tls_session */
    struct gl_deferred later;
    uint64_t turn;     /* of the engine, in which ... */
    uint64_t spent_ns; /* ... handshakes took this long */
    /* Handshakes that failed */
    uint64_t told_ms; /* when a line said so; 0: never */
    unsigned untold;  /* since then */
};

/* Fills a zeroed struct.  0, or -1 with an exception. */
int gl_tls_init(struct gl_tls *tls, PyObject *wrap, PyObject *describe);
/* To be called when the last connection has gone. */
void gl_tls_fini(struct gl_tls *tls);

/* For listeners whose user is a struct gl_entrance with `tls` set. */
extern const struct gl_transport gl_transport_tls;

/* Adds what describe() told of the request's connection to the environ;
 * nothing for a plain one.  0 or -1. */
int gl_tls_put(const struct gl_request *req, PyObject *env);

#endif
