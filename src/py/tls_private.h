/* tls_private.h - a connection's TLS session; for src/py/tls*.c alone.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_PY_TLS_PRIVATE_H
#define GL_PY_TLS_PRIVATE_H

#include "base/buf.h"
#include "base/list.h"
#include "engine/conn.h"
#include "py/tls.h"

#include <stdbool.h>

/* Made at the connection's first recv(); its objects when the first bytes
 * that may be TLS have come. */
struct gl_tls_session {
    struct gl_tls *tls;   /* borrowed from the entrance */
    struct gl_state *st;  /* borrowed */
    struct gl_conn *conn; /* borrowed: it owns the session */
    PyObject *object;     /* strong: ssl.SSLObject */
    PyObject *incoming;   /* strong: ssl.MemoryBIO */
    PyObject *outgoing;   /* strong: ssl.MemoryBIO */
    PyObject *facts;      /* strong dict; NULL before the handshake */
    struct gl_buf sealed; /* what the socket has not taken */
    struct gl_list link;  /* in tls->waiting */
    uint32_t barren;      /* received lately without a plain byte in it */
    bool owes;            /* a plain byte in `sealed` is not reported yet */
    bool hungry;          /* it surely has no plain bytes for us */
    bool drained;         /* this recv() has emptied the socket */
    bool admitted;        /* its turn has come */
    bool inside;          /* Python code of the user's may run */
    bool gone;            /* closed meanwhile */
    bool said_goodbye;
};

/* Whether a handshake may take the processor now; else it goes on by itself
 * in a later turn. */
bool gl_tls_admit(struct gl_tls_session *s);
/* Has the connection's bytes looked at again in a later turn. */
void gl_tls_wait_turn(struct gl_tls_session *s);
/* Counts what a step of a handshake took, from began_ns until now. */
void gl_tls_spent(struct gl_tls *tls, uint64_t began_ns);
/* Forgets a session that may be waiting. */
void gl_tls_forget(struct gl_tls_session *s);
/* Notes that a handshake failed by the exception that is set, and stays. */
void gl_tls_note_failure(struct gl_tls_session *s);

#endif
