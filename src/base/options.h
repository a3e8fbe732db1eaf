/* options.h - the engine's options: one table of names, ranges and defaults.
 *
 * The command line, start_server() and the documentation all read these
 * rows; nothing else repeats a default.  Values are unsigned integers in the
 * unit of their row.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_BASE_OPTIONS_H
#define GL_BASE_OPTIONS_H

#include <stddef.h>
#include <stdint.h>

struct gl_options {
    uint32_t cores;           /* concurrent requests of one worker */
    uint32_t head_max_bytes;  /* request line and fields; beyond: 431 */
    uint32_t line_max_bytes;  /* request line; beyond: 414 */
    uint32_t fields_max;      /* header fields; beyond: 431 */
    uint64_t body_max_bytes;  /* request body; beyond: 413; 0: no limit */
    uint32_t head_timeout_ms; /* first byte to whole head; beyond: 408 */
    uint32_t body_timeout_ms; /* without a byte of the body: 408 */
    uint32_t keepalive_timeout_ms;   /* idle between requests: closed */
    uint32_t write_timeout_ms;       /* without a byte taken: closed */
    uint32_t max_connections;        /* open at a time; 0: no limit */
    uint32_t max_connections_reject; /* 1: 503 for those beyond it */
    uint32_t max_queued;             /* waiting for a slot; beyond: 503 */
    uint32_t queue_timeout_ms;       /* waiting for a slot; beyond: 503 */
    uint32_t proxy_protocol; /* 1: connections begin with a PROXY header */
    uint32_t cancel_on_disconnect;        /* 1: throw ClientDisconnected */
    uint64_t websocket_message_max_bytes; /* of a message; beyond: 1009 */
    uint64_t websocket_output_max_bytes;  /* unsent, before a send waits */
    uint32_t websocket_ping_interval_ms;  /* of silence; 0: no pings */
    uint32_t websocket_pong_timeout_ms;   /* after a ping; then 1006 */
    uint32_t websocket_deflate;           /* 1: permessage-deflate */
    uint32_t websocket_window_bits;       /* of its windows, 2^bits bytes */
};

struct gl_option_spec {
    const char *name; /* the field's name */
    size_t offset;    /* in struct gl_options */
    size_t size;      /* of the field: 4 or 8 bytes */
    uint64_t min, max, initial;
    const char *unit; /* "requests", "bytes", "ms", "fields", "flag" */
    const char *help; /* one sentence */
};

extern const struct gl_option_spec gl_option_specs[];
extern const size_t gl_option_count;

/* Fills every field with its default. */
void gl_options_init(struct gl_options *o);
/* Returns 0, -ENOENT for an unknown name, -ERANGE outside [min, max]. */
int gl_options_set(struct gl_options *o, const char *name, uint64_t value);

#endif
