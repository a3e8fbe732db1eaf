/* ws_frame.h - frames of WebSocket (RFC 6455, sections 5 and 7.4).
 *
 * Heads are read and written, payloads masked in place, and close frames
 * judged: no I/O, no allocation, nothing kept between two calls.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_PROTO_WS_FRAME_H
#define GL_PROTO_WS_FRAME_H

#include "base/str.h"

#include <stdint.h>

enum gl_ws_opcode {
    GL_WS_CONTINUATION = 0,
    GL_WS_TEXT = 1,
    GL_WS_BINARY = 2,
    GL_WS_CLOSE = 8,
    GL_WS_PING = 9,
    GL_WS_PONG = 10
};

/* Codes of section 7.4.1 that the server itself uses. */
enum {
    GL_WS_CODE_NORMAL = 1000,
    GL_WS_CODE_GOING_AWAY = 1001,
    GL_WS_CODE_PROTOCOL_ERROR = 1002,
    GL_WS_CODE_NONE = 1005, /* never on the wire: a close without a code */
    GL_WS_CODE_ABNORMAL = 1006, /* never on the wire: no close at all */
    GL_WS_CODE_BAD_DATA = 1007,
    GL_WS_CODE_POLICY = 1008,
    GL_WS_CODE_TOO_BIG = 1009,
    GL_WS_CODE_INTERNAL = 1011
};

#define GL_WS_CONTROL_MAX_BYTES 125 /* of a control frame's payload */
#define GL_WS_REASON_MAX_BYTES 123  /* of a close frame's reason */
#define GL_WS_FRAME_HEAD_MAX_BYTES 14

struct gl_ws_frame {
    uint64_t length; /* bytes of the payload, below 2^63 */
    uint8_t opcode;  /* enum gl_ws_opcode */
    bool fin;
    bool rsv1;
    bool masked;
    uint8_t mask[4]; /* zero when not masked */
    uint8_t size;    /* bytes of the head */
};

/* Reads a frame's head from the start of `in`.  Returns its size in bytes
 * (2 to GL_WS_FRAME_HEAD_MAX_BYTES); 0: more bytes are needed; -EPROTO: what
 * the RFC forbids in the head itself (reserved bits other than rsv1, reserved
 * opcodes, long or fragmented control frames, lengths that are not in the
 * shortest form or have the top bit).  Masking, rsv1 and the order of
 * fragments are the caller's to judge. */
int gl_ws_frame_parse(struct gl_str in, struct gl_ws_frame *ret_frame);

/* Masks or unmasks n bytes in place; `at` is the offset of bytes[0] in the
 * payload. */
void gl_ws_mask(char *bytes, size_t n, const uint8_t mask[4], uint64_t at);

#define GL_WS_HEAD_BYTES 10
/* Writes the head of an unmasked, final frame to dst (GL_WS_HEAD_BYTES);
 * returns its size: 2, 4 or 10.  length < 2^63. */
size_t gl_ws_frame_write(char *dst, enum gl_ws_opcode opcode, bool rsv1,
                         uint64_t length);

/* Reads a close frame's payload: *ret_code is GL_WS_CODE_NONE for an empty
 * one, *ret_reason (borrowed from payload, UTF-8) may be empty.  0; -EPROTO:
 * one byte only, or a code that may not be sent; -EILSEQ: the reason is not
 * UTF-8. */
int gl_ws_close_parse(struct gl_str payload, int *ret_code,
                      struct gl_str *ret_reason);
/* Whether an endpoint may put the code into a close frame: the registered
 * ones that are not for local use, and 3000 to 4999. */
bool gl_ws_close_code_may_be_sent(int code);

#endif
