/* protocol_http1.c - HTTP/1.1 as a protocol of the engine (RFC 9112).
 *
 * The parsing itself is in src/proto; here it meets a connection's limits
 * and a request's body.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine/protocol.h"

#include "engine/conn.h"
#include "engine/engine.h"
#include "engine/engine_private.h"
#include "proto/http1_head.h"
#include "proto/http1_write.h"

/* A packet's header, and a variable whose name begins like all of nginx's. */
static bool
is_packet(struct gl_str bytes)
{
    return bytes.n > 6 && bytes.p[0] == 0 && bytes.p[3] == 0 &&
           bytes.p[4] > 0 && bytes.p[5] == 0 && bytes.p[6] >= 'A' &&
           bytes.p[6] <= 'Z';
}

/* For an operator whose own clients meet a limit, or who has mistaken the
 * protocol.  What else is refused is the Internet as ever. */
static void
explain(struct gl_conn *conn, enum gl_head_result result, struct gl_str bytes)
{
    const struct gl_options *o = gl_engine_options(conn->engine);
    const char *peer = gl_conn_peer_name(conn);

    if (result == GL_HEAD_LINE_TOO_LONG) {
        gl_engine_explain(conn->engine,
                          "a request from %s was refused with 414: its line "
                          "has over %u bytes (--limit-request-line)",
                          peer, (unsigned)o->line_max_bytes);
    } else if (result == GL_HEAD_TOO_LARGE) {
        gl_engine_explain(conn->engine,
                          "a request from %s was refused with 431: its head "
                          "has over %u bytes (--buffer-size), or over %u "
                          "fields (--limit-request-fields)",
                          peer, (unsigned)o->head_max_bytes,
                          (unsigned)o->fields_max);
    } else if (is_packet(bytes)) {
        gl_engine_explain(conn->engine,
                          "%s sent a uwsgi packet to an --http-socket: for "
                          "uwsgi_pass give it a --socket",
                          peer);
    }
}

static enum gl_intake
http1_intake(struct gl_conn *conn, struct gl_head *head, struct gl_str bytes,
             int *ret_status)
{
    const struct gl_options *o = gl_engine_options(conn->engine);
    const struct gl_head_limits limits = {
        .head_max_bytes = o->head_max_bytes,
        .line_max_bytes = o->line_max_bytes,
        .fields_max = o->fields_max,
    };
    enum gl_head_result result =
        gl_http1_head_parse(head, &limits, bytes.p, bytes.n);

    if (result == GL_HEAD_DONE) {
        return GL_INTAKE_REQUEST;
    }
    if (result == GL_HEAD_MORE) {
        return GL_INTAKE_MORE;
    }
    explain(conn, result, bytes);
    *ret_status = gl_http1_head_status(result);
    return GL_INTAKE_REFUSE;
}

static enum gl_chunk_event
http1_body(struct gl_request *req, struct gl_str *in, struct gl_str *data)
{
    size_t n;

    if (req->body_chunked) {
        return gl_chunked_step(&req->chunked, in, data);
    }
    if (req->body_left == 0) {
        return GL_CHUNK_END;
    }
    if (in->n == 0) {
        return GL_CHUNK_MORE;
    }
    n = req->body_left < in->n ? (size_t)req->body_left : in->n;
    *data = gl_str_take(in, n);
    req->body_left -= n;
    return GL_CHUNK_DATA;
}

const struct gl_protocol gl_protocol_http1 = {
    .name = "http1",
    .keeps_alive = true,
    .chunks = true,
    .has_line = true,
    .begin = gl_http1_head_init,
    .intake = http1_intake,
    .body = http1_body,
    .invitation = {"HTTP/1.1 100 Continue\r\n\r\n", 25},
    .refusal = gl_http1_refusal,
};
