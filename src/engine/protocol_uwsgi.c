/* protocol_uwsgi.c - uwsgi packets as a protocol of the engine.
 *
 * One request a connection: the answer is one of HTTP/1.1 whose body ends
 * with the connection, or with its Content-Length; never in chunks, which
 * proxies do not take apart here.  Who sends what is no request gets a line
 * in the log that says what to do about it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine/protocol.h"

#include "engine/conn.h"
#include "engine/engine.h"
#include "engine/engine_private.h"
#include "proto/http1_write.h"
#include "proto/uwsgi_packet.h"

#include <stdio.h>

static void
explain_speech(struct gl_conn *conn, const char *bytes)
{
    char shown[4 * GL_PACKET_HEADER_BYTES + 1];

    (void)gl_log_escape(shown, sizeof(shown), bytes, GL_PACKET_HEADER_BYTES);
    gl_engine_explain(
        conn->engine,
        "%s sent no uwsgi packet but \"%s\": if it speaks HTTP, "
        "give it an --http-socket",
        gl_conn_peer_name(conn), shown);
}

/* What the log says of a packet that its text does not already tell. */
static const char *
advice(enum gl_packet_result result)
{
    switch (result) {
    case GL_PACKET_EMPTY:
        return "it has no variables; nginx sends them with "
               "\"include uwsgi_params\"";
    case GL_PACKET_BAD_SIZES:
        return "its variables do not fill it exactly; is the peer a uwsgi "
               "client?";
    case GL_PACKET_BAD_TEXT:
        return "a variable has bytes that its name or value cannot have";
    case GL_PACKET_BAD_LENGTH:
        return "CONTENT_LENGTH came twice, or is not a number; send it once";
    case GL_PACKET_NO_METHOD:
        return "it has no REQUEST_METHOD; nginx sends it with "
               "\"include uwsgi_params\"";
    case GL_PACKET_NO_LENGTH:
        return "its body is chunked; have the proxy buffer request bodies "
               "and send CONTENT_LENGTH";
    default:
        return "it is malformed";
    }
}

static void
explain(struct gl_conn *conn, enum gl_packet_result result,
        const struct gl_head *head, const char *bytes)
{
    struct gl_engine *e = conn->engine;
    const char *peer = gl_conn_peer_name(conn);

    switch (result) {
    case GL_PACKET_OTHER_SPEECH:
        explain_speech(conn, bytes);
        break;
    case GL_PACKET_MODIFIER:
        gl_engine_explain(
            e,
            "%s sent a uwsgi packet with modifier1 %u, which is "
            "not served: only 0 and 30 (WSGI) and 100 (ping) "
            "are",
            peer, (unsigned)(unsigned char)bytes[0]);
        break;
    case GL_PACKET_TOO_LARGE:
        gl_engine_explain(e,
                          "a uwsgi packet from %s was refused: its variables "
                          "need %u bytes, raise --buffer-size (%u)",
                          peer, (unsigned)head->size,
                          (unsigned)e->options.head_max_bytes);
        break;
    case GL_PACKET_TOO_MANY:
        gl_engine_explain(e,
                          "a uwsgi packet from %s was refused: over %u "
                          "header fields (--limit-request-fields), or over "
                          "%d variables",
                          peer, (unsigned)e->options.fields_max,
                          GL_HEAD_FIELDS_MAX);
        break;
    default:
        gl_engine_explain(e, "a uwsgi packet from %s was refused: %s", peer,
                          advice(result));
        break;
    }
}

/* The original answers a ping with the same header, modifier2 being 1. */
static enum gl_intake
answer_ping(struct gl_conn *conn)
{
    static const char pong[GL_PACKET_HEADER_BYTES] = {GL_MODIFIER_PING, 0, 0,
                                                      1};

    /* Without memory for it the peer sees a close without an answer. */
    (void)gl_buf_append(&conn->out, pong, sizeof(pong), SIZE_MAX);
    return GL_INTAKE_CLOSE;
}

static enum gl_intake
uwsgi_intake(struct gl_conn *conn, struct gl_head *head, struct gl_str bytes,
             int *ret_status)
{
    const struct gl_options *o = gl_engine_options(conn->engine);
    const struct gl_packet_limits limits = {
        .head_max_bytes = o->head_max_bytes,
        .fields_max = o->fields_max,
    };
    enum gl_packet_result result =
        gl_uwsgi_packet_parse(head, &limits, bytes.p, bytes.n);

    switch (result) {
    case GL_PACKET_DONE:
        return GL_INTAKE_REQUEST;
    case GL_PACKET_MORE:
        return GL_INTAKE_MORE;
    case GL_PACKET_PING:
        return answer_ping(conn);
    default:
        explain(conn, result, head, bytes.p);
        *ret_status = gl_uwsgi_packet_status(result);
        return *ret_status > 0 ? GL_INTAKE_REFUSE : GL_INTAKE_CLOSE;
    }
}

/* CONTENT_LENGTH bytes; whatever follows them is no request's. */
static enum gl_chunk_event
uwsgi_body(struct gl_request *req, struct gl_str *in, struct gl_str *data)
{
    size_t n = req->body_left < in->n ? (size_t)req->body_left : in->n;

    if (req->body_left == 0) {
        return GL_CHUNK_END;
    }
    if (n == 0) {
        return GL_CHUNK_MORE;
    }
    *data = gl_str_take(in, n);
    req->body_left -= n;
    return GL_CHUNK_DATA;
}

const struct gl_protocol gl_protocol_uwsgi = {
    .name = "uwsgi",
    .keeps_alive = false,
    .chunks = false,
    .begin = gl_uwsgi_packet_init,
    .intake = uwsgi_intake,
    .body = uwsgi_body,
    .invitation = {"", 0}, /* the proxy itself has invited the body */
    .refusal = gl_http1_refusal,
};
