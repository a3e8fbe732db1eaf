/* protocol.h - how a connection's bytes become requests: HTTP/1.1, or uwsgi
 * packets.
 *
 * A protocol is a const table.  It decides where a request begins and ends
 * on the wire; it does no I/O.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_ENGINE_PROTOCOL_H
#define GL_ENGINE_PROTOCOL_H

#include "base/str.h"
#include "proto/head.h"
#include "proto/http1_chunked.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct gl_conn;
struct gl_request;

enum gl_intake {
    GL_INTAKE_MORE,    /* the head is not whole yet */
    GL_INTAKE_REQUEST, /* head->size bytes are a request's head */
    GL_INTAKE_REFUSE,  /* answer *ret_status and close */
    GL_INTAKE_CLOSE    /* send what is in conn->out, if any, and close */
};

struct gl_protocol {
    const char *name;
    bool keeps_alive; /* a connection may carry several requests */
    bool chunks;      /* an answer may come in chunks */
    bool has_line;    /* a head begins with a request line */
    /* Makes `head` ready for a new request. */
    void (*begin)(struct gl_head *head);
    /* Looks at all bytes of a head so far (see gl_http1_head_parse).  May
     * leave a line for the log, with gl_engine_explain(). */
    enum gl_intake (*intake)(struct gl_conn *conn, struct gl_head *head,
                             struct gl_str bytes, int *ret_status);
    /* Takes body bytes from *in: DATA, END, MORE or BAD, as the chunked
     * decoder says them. */
    enum gl_chunk_event (*body)(struct gl_request *req, struct gl_str *in,
                                struct gl_str *data);
    /* The interim answer that invites a body; may be empty. */
    struct gl_str invitation;
    /* Writes a whole answer that refuses a request; returns its length. */
    size_t (*refusal)(char *dst, int status, const char *date, int head_only);
};

extern const struct gl_protocol gl_protocol_http1;
extern const struct gl_protocol gl_protocol_uwsgi;

#endif
