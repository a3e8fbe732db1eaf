/* websocket_input.c - what a WebSocket's peer sends: frames to messages.
 *
 * RFC 6455, sections 5 and 8.1.  Bytes come in the engine's scratch memory,
 * or in conn->in if some were left there; a message that lies whole in either
 * is unmasked in place and handed out from there.  What is in pieces, or
 * deflated, is collected in ws->message; a large payload is received straight
 * into it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/gl.h"
#include "engine/engine_private.h"
#include "engine/websocket_private.h"

#include <errno.h>
#include <string.h>

#define READS_PER_PUMP 16        /* then others have their turn */
#define DIRECT_BYTES 4096        /* of a payload: worth a read of its own */
#define DIRECT_FIRST_BYTES 65536 /* of room that is made before bytes come */

/* --- the message that is ready ---------------------------------------- */

void
gl_ws_drop_handed(struct gl_ws *ws)
{
    if (ws->ready_opcode != 0) {
        return; /* it still waits */
    }
    if (ws->place == GL_WS_IN_INPUT) {
        gl_buf_consume(&ws->req->conn->in, ws->taken);
        ws->taken = 0;
    } else if (ws->place == GL_WS_IN_BUFFER) {
        gl_buf_fini(&ws->message);
    }
    ws->place = GL_WS_NOWHERE;
}

void
gl_ws_save_ready(struct gl_ws *ws)
{
    uint8_t place = ws->place;

    if (ws->ready_opcode == 0 || place == GL_WS_IN_BUFFER) {
        return;
    }
    ws->place = GL_WS_IN_BUFFER;
    if (gl_buf_append(&ws->message, ws->ready.p, ws->ready.n, SIZE_MAX) < 0) {
        ws->ready_opcode = 0;
        gl_ws_lose(ws, "no memory");
    }
    ws->ready.p = gl_buf_data(&ws->message);
    if (place == GL_WS_IN_INPUT) {
        gl_buf_consume(&ws->req->conn->in, ws->taken);
        ws->taken = 0;
    }
}

bool
gl_ws_between_messages(const struct gl_ws *ws)
{
    return ws->opcode == 0 && gl_buf_len(&ws->req->conn->in) == ws->taken;
}

static void
set_ready(struct gl_ws *ws, enum gl_ws_place place, struct gl_str bytes)
{
    ws->ready = bytes;
    ws->ready_opcode = ws->opcode;
    ws->place = (uint8_t)place;
    ws->opcode = 0;
}

/* --- payloads ---------------------------------------------------------- */

/* Checks what was added to the text since `before` bytes were there. */
static bool
is_text_so_far(struct gl_ws *ws, size_t before)
{
    return ws->opcode != GL_WS_TEXT ||
           gl_utf8_feed(&ws->utf8, gl_buf_data(&ws->message) + before,
                        gl_buf_len(&ws->message) - before);
}

static void
fail_for(struct gl_ws *ws, int error)
{
    if (error == -EMSGSIZE) {
        gl_ws_fail(ws, GL_WS_CODE_TOO_BIG, "message too big");
    } else if (error == -EILSEQ) {
        gl_ws_fail(ws, GL_WS_CODE_BAD_DATA, "text is not UTF-8");
    } else if (error == -EPROTO) {
        gl_ws_fail(ws, GL_WS_CODE_BAD_DATA, "bad deflate data");
    } else {
        gl_ws_fail(ws, GL_WS_CODE_INTERNAL, "no memory");
    }
}

/* Adds n unmasked bytes to the message.  0 or -errno. */
static int
add_to_message(struct gl_ws *ws, struct gl_str piece, bool last)
{
    size_t before = gl_buf_len(&ws->message);
    int error;

    if (ws->compressed) {
        error = ws->codec.inflate(ws->codec.arg, piece, last, &ws->message,
                                  ws->options.message_max_bytes);
    } else {
        error = gl_buf_append(&ws->message, piece.p, piece.n, SIZE_MAX);
    }
    if (error == 0 && !is_text_so_far(ws, before)) {
        error = -EILSEQ;
    }
    return error;
}

static void
end_frame(struct gl_ws *ws)
{
    ws->in_frame = false;
    if (!ws->fin) {
        return;
    }
    if (ws->state == GL_WS_IS_CLOSING) {
        ws->opcode = 0; /* nobody wants it */
    } else if (ws->opcode == GL_WS_TEXT && !gl_utf8_complete(&ws->utf8)) {
        fail_for(ws, -EILSEQ);
    } else {
        set_ready(ws, GL_WS_IN_BUFFER, gl_buf_str(&ws->message));
    }
}

/* Takes up to n bytes of the data frame's payload; returns how many. */
static size_t
take_payload(struct gl_ws *ws, char *bytes, size_t n)
{
    int error = 0;

    n = ws->left < n ? (size_t)ws->left : n;
    ws->left -= n;
    if (ws->state == GL_WS_IS_OPEN) {
        gl_ws_mask(bytes, n, ws->mask, ws->at);
        error = add_to_message(ws, (struct gl_str){bytes, n},
                               ws->fin && ws->left == 0);
    }
    ws->at += n;
    if (error < 0) {
        fail_for(ws, error);
    } else if (ws->left == 0) {
        end_frame(ws);
    }
    return n;
}

/* A message that is one whole frame, in memory that stays for now. */
static void
take_whole_message(struct gl_ws *ws, char *bytes, size_t n,
                   enum gl_ws_place place)
{
    gl_ws_mask(bytes, n, ws->mask, 0);
    ws->in_frame = false;
    if (ws->opcode == GL_WS_TEXT && (!gl_utf8_feed(&ws->utf8, bytes, n) ||
                                     !gl_utf8_complete(&ws->utf8))) {
        fail_for(ws, -EILSEQ);
        return;
    }
    set_ready(ws, place, (struct gl_str){bytes, n});
}

/* --- heads ------------------------------------------------------------- */

/* What is wrong with a data frame here; NULL: nothing. */
static const char *
fault_of(const struct gl_ws *ws, const struct gl_ws_frame *frame)
{
    bool first = frame->opcode != GL_WS_CONTINUATION;

    if (first == (ws->opcode != 0)) {
        return first ? "new message within another"
                     : "continuation of nothing";
    }
    if (frame->rsv1 && (!first || ws->codec.inflate == NULL)) {
        return "reserved bit";
    }
    return NULL;
}

static void
begin_frame(struct gl_ws *ws, const struct gl_ws_frame *frame)
{
    const char *fault = fault_of(ws, frame);

    if (fault != NULL) {
        gl_ws_fail(ws, GL_WS_CODE_PROTOCOL_ERROR, fault);
        return;
    }
    if (frame->opcode != GL_WS_CONTINUATION) {
        ws->opcode = frame->opcode;
        ws->compressed = frame->rsv1;
        ws->utf8 = (struct gl_utf8){0};
    }
    ws->in_frame = true;
    ws->fin = frame->fin;
    ws->left = frame->length;
    ws->at = 0;
    memcpy(ws->mask, frame->mask, sizeof(ws->mask));
    if (ws->state == GL_WS_IS_OPEN && !ws->compressed &&
        frame->length >
            ws->options.message_max_bytes - gl_buf_len(&ws->message)) {
        fail_for(ws, -EMSGSIZE);
    }
}

static void
take_control(struct gl_ws *ws, enum gl_ws_opcode opcode,
             struct gl_str payload)
{
    struct gl_str reason;
    int code, error;

    if (opcode == GL_WS_PING) {
        gl_ws_pong(ws, payload);
    } else if (opcode == GL_WS_CLOSE) {
        error = gl_ws_close_parse(payload, &code, &reason);
        if (error == 0) {
            gl_ws_peer_closes(ws, code, reason);
        } else if (error == -EILSEQ) {
            gl_ws_fail(ws, GL_WS_CODE_BAD_DATA, "reason is not UTF-8");
        } else {
            gl_ws_fail(ws, GL_WS_CODE_PROTOCOL_ERROR, "bad close frame");
        }
    } /* a pong says that the peer lives: so does every byte */
}

/* Takes a frame's head, and with it a whole control frame or a whole message.
 * Returns the bytes used; 0: more are needed, or the peer was wrong. */
static size_t
take_frame(struct gl_ws *ws, char *bytes, size_t n, enum gl_ws_place place)
{
    struct gl_ws_frame frame;
    int size = gl_ws_frame_parse((struct gl_str){bytes, n}, &frame);
    size_t room = size > 0 ? n - (size_t)size : 0, length;

    if (size == 0) {
        return 0;
    }
    if (size < 0 || !frame.masked) {
        gl_ws_fail(ws, GL_WS_CODE_PROTOCOL_ERROR,
                   size < 0 ? "bad frame" : "unmasked frame");
        return 0;
    }
    bytes += size;
    if (frame.opcode < GL_WS_CLOSE) {
        begin_frame(ws, &frame);
        if (ws->state == GL_WS_IS_CLOSED) {
            return 0;
        }
        if (ws->state == GL_WS_IS_OPEN && frame.fin && !ws->compressed &&
            frame.opcode != GL_WS_CONTINUATION && frame.length <= room) {
            length = (size_t)frame.length;
            take_whole_message(ws, bytes, length, place);
            return (size_t)size + length;
        }
        if (frame.length == 0) {
            (void)take_payload(ws, bytes, 0);
        }
        return (size_t)size;
    }
    if (frame.rsv1) {
        gl_ws_fail(ws, GL_WS_CODE_PROTOCOL_ERROR, "reserved bit");
        return 0;
    }
    if (frame.length > room) {
        return 0; /* at most 125 bytes: not worth a state of its own */
    }
    length = (size_t)frame.length;
    gl_ws_mask(bytes, length, frame.mask, 0);
    take_control(ws, frame.opcode, (struct gl_str){bytes, length});
    return (size_t)size + length;
}

/* Whether there is no use for more input now. */
static bool
is_sated(const struct gl_ws *ws)
{
    return ws->state == GL_WS_IS_CLOSED ||
           (ws->state == GL_WS_IS_OPEN && ws->ready_opcode != 0);
}

/* Takes what it can of n bytes; returns how many. */
static size_t
take(struct gl_ws *ws, char *bytes, size_t n, enum gl_ws_place place)
{
    size_t used = 0, step = 1;

    while (used < n && step > 0 && !is_sated(ws)) {
        step = ws->in_frame ? take_payload(ws, bytes + used, n - used)
                            : take_frame(ws, bytes + used, n - used, place);
        used += step;
    }
    return used;
}

/* --- receiving --------------------------------------------------------- */

/* How many bytes the frame that comes has yet, as far as is known. */
static size_t
frame_needs(const struct gl_ws *ws)
{
    const struct gl_buf *in = &ws->req->conn->in;
    size_t have = gl_buf_len(in), head = 2;
    unsigned char second;

    if (ws->in_frame) {
        return ws->left < GL_SCRATCH_BYTES ? (size_t)ws->left
                                           : GL_SCRATCH_BYTES;
    }
    if (have >= 2) {
        second = (unsigned char)gl_buf_data(in)[1];
        head += second & 0x80 ? 4 : 0;
        second &= 0x7f;
        head += second < 126 ? second : second == 126 ? 2 : 8;
    }
    assert(head > have);
    return head - have;
}

static bool
is_direct(const struct gl_ws *ws)
{
    return ws->in_frame && !ws->compressed && ws->left >= DIRECT_BYTES &&
           ws->state == GL_WS_IS_OPEN;
}

/* Receives a large payload straight into the message. */
static ssize_t
receive_direct(struct gl_ws *ws)
{
    size_t before = gl_buf_len(&ws->message);
    size_t want = before > DIRECT_FIRST_BYTES ? before : DIRECT_FIRST_BYTES;
    char *dst;
    ssize_t n;

    want = ws->left < want ? (size_t)ws->left : want;
    dst = gl_buf_reserve(&ws->message, want);
    if (dst == NULL) {
        fail_for(ws, -ENOMEM);
        return -ENOMEM;
    }
    n = gl_conn_receive(ws->req->conn, dst, want);
    if (n <= 0) {
        return n;
    }
    gl_ws_mask(dst, (size_t)n, ws->mask, ws->at);
    gl_buf_commit(&ws->message, (size_t)n);
    ws->left -= (uint64_t)n;
    ws->at += (uint64_t)n;
    if (!is_text_so_far(ws, before)) {
        fail_for(ws, -EILSEQ);
    } else if (ws->left == 0) {
        end_frame(ws);
    }
    return n;
}

/* Receives to the scratch memory, and takes what it can; the rest waits in
 * conn->in. */
static ssize_t
receive_scratch(struct gl_ws *ws)
{
    struct gl_conn *conn = ws->req->conn;
    char *scratch = conn->engine->scratch;
    bool exact = ws->options.exact && ws->state == GL_WS_IS_OPEN;
    bool whole = gl_buf_len(&conn->in) == 0; /* nothing came before it */
    size_t want = exact ? frame_needs(ws) : GL_SCRATCH_BYTES, used = 0;
    ssize_t n = gl_conn_receive(conn, scratch, want);

    if (n <= 0) {
        return n;
    }
    if (whole) {
        used = take(ws, scratch, (size_t)n, GL_WS_IN_SCRATCH);
    }
    if (ws->state != GL_WS_IS_CLOSED &&
        gl_buf_append(&conn->in, scratch + used, (size_t)n - used, SIZE_MAX) <
            0) {
        fail_for(ws, -ENOMEM);
    }
    /* What was appended to bytes that waited is still to be looked at. */
    ws->more = gl_buf_len(&conn->in) > 0 && (!whole || is_sated(ws));
    return n;
}

static ssize_t
receive(struct gl_ws *ws)
{
    struct gl_conn *conn = ws->req->conn;
    ssize_t n;

    if (!conn->readable) {
        return conn->half_closed ? 0 : -EAGAIN;
    }
    n = is_direct(ws) && gl_buf_len(&conn->in) == 0 ? receive_direct(ws)
                                                    : receive_scratch(ws);
    if (n > 0 && ws->options.ping_interval_ms > 0) {
        ws->heard_ms = gl_clock_ms();
        ws->pinged = false;
    }
    return n;
}

/* Takes what waits in conn->in. */
static void
take_input(struct gl_ws *ws)
{
    struct gl_buf *in = &ws->req->conn->in;
    size_t used =
        take(ws, in->bytes + in->start, gl_buf_len(in), GL_WS_IN_INPUT);

    if (ws->ready_opcode != 0 && ws->place == GL_WS_IN_INPUT) {
        ws->taken = used; /* the message is there */
    } else {
        gl_buf_consume(in, used);
    }
    ws->more = gl_buf_len(in) > ws->taken && is_sated(ws);
}

void
gl_ws_pump(struct gl_ws *ws)
{
    struct gl_conn *conn = ws->req->conn;
    int reads = 0;
    ssize_t n = 1;

    gl_ws_drop_handed(ws);
    if (ws->state == GL_WS_IS_CLOSING) {
        gl_ws_save_ready(ws); /* reading goes on behind it */
    }
    /* What was read is taken also behind the last read: in exact mode nobody
     * would tell of it, with the kernel empty. */
    while (n > 0 && !is_sated(ws) && (ws->more || reads < READS_PER_PUMP)) {
        if (ws->more) {
            take_input(ws);
        } else {
            n = receive(ws);
            reads++;
        }
    }
    if (ws->state == GL_WS_IS_CLOSED || n == -EAGAIN) {
        return;
    }
    if (n == 0) {
        gl_ws_lose(ws, "the stream ended without a close");
    } else if (n < 0 || conn->reset) {
        gl_ws_lose(ws, "connection reset");
    }
}
