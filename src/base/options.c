/* options.c - the engine's options: one table of names, ranges and defaults.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/options.h"

#include "base/gl.h"

#include <errno.h>
#include <string.h>

#define HOUR_MS 3600000

#define OPT(field, min, max, initial, unit, help) \
    {#field,                                      \
     offsetof(struct gl_options, field),          \
     sizeof(((struct gl_options *)0)->field),     \
     min,                                         \
     max,                                         \
     initial,                                     \
     unit,                                        \
     help}

const struct gl_option_spec gl_option_specs[] = {
    OPT(cores, 1, 1000000, 1000, "requests",
        "requests that one worker serves at a time; further ones wait"),
    OPT(head_max_bytes, 512, 1 << 20, 32768, "bytes",
        "request line and header fields together; a larger head gets 431"),
    OPT(line_max_bytes, 64, 1 << 20, 8190, "bytes",
        "the request line; a longer one gets 414"),
    OPT(fields_max, 1, 128, 100, "fields",
        "header fields of a request; more get 431"),
    OPT(body_max_bytes, 0, INT64_MAX, 0, "bytes",
        "the request body; a larger one gets 413; 0 is no limit"),
    OPT(head_timeout_ms, 1, HOUR_MS, 15000, "ms",
        "from the first byte of a head to its last; then 408"),
    OPT(body_timeout_ms, 1, HOUR_MS, 30000, "ms",
        "without a byte of a body that is waited for; then 408"),
    OPT(keepalive_timeout_ms, 0, HOUR_MS, 60000, "ms",
        "idle between two requests; then closed; 0 closes after each"),
    OPT(write_timeout_ms, 1, HOUR_MS, 30000, "ms",
        "without the client taking a byte of an answer; then closed"),
    OPT(max_connections, 0, 10000000, 0, "connections",
        "open at a time; further ones wait in the backlog; 0 is no limit"),
    OPT(max_connections_reject, 0, 1, 0, "flag",
        "answer 503 to connections beyond max_connections, at once"),
    OPT(max_queued, 0, 10000000, 0, "requests",
        "that wait for a core; further ones get 503; 0 is no limit"),
    OPT(queue_timeout_ms, 0, HOUR_MS, 0, "ms",
        "that a request waits for a core; then 503; 0 is no limit"),
    OPT(proxy_protocol, 0, 1, 0, "flag",
        "connections begin with a PROXY header, from trusted proxies only"),
    OPT(cancel_on_disconnect, 0, 1, 0, "flag",
        "throw ClientDisconnected into a parked request whose client left"),
    OPT(websocket_message_max_bytes, 1, INT32_MAX, 1 << 20, "bytes",
        "a message of a WebSocket, inflated; a larger one ends it with 1009"),
    OPT(websocket_output_max_bytes, 1, INT32_MAX, 1 << 20, "bytes",
        "unsent messages of a WebSocket; with more of them send() waits"),
    OPT(websocket_ping_interval_ms, 0, HOUR_MS, 30000, "ms",
        "of silence before a WebSocket's client gets a ping; 0: never"),
    OPT(websocket_pong_timeout_ms, 1, HOUR_MS, 3000, "ms",
        "of silence after that ping; then the WebSocket ends with 1006"),
    OPT(websocket_deflate, 0, 1, 1, "flag",
        "compress the messages of WebSockets whose client offers it"),
    OPT(websocket_window_bits, 9, 15, 12, "bits",
        "compression windows of 2^bits bytes for each WebSocket"),
};
#undef OPT

const size_t gl_option_count = GL_ARRAY_LEN(gl_option_specs);

static void
store(struct gl_options *o, const struct gl_option_spec *spec, uint64_t value)
{
    char *field = (char *)o + spec->offset;
    uint32_t narrow = (uint32_t)value; /* the ranges fit */

    if (spec->size == sizeof(value)) {
        memcpy(field, &value, sizeof(value));
    } else {
        memcpy(field, &narrow, sizeof(narrow));
    }
}

void
gl_options_init(struct gl_options *o)
{
    for (size_t i = 0; i < gl_option_count; i++) {
        store(o, &gl_option_specs[i], gl_option_specs[i].initial);
    }
}

int
gl_options_set(struct gl_options *o, const char *name, uint64_t value)
{
    for (size_t i = 0; i < gl_option_count; i++) {
        const struct gl_option_spec *spec = &gl_option_specs[i];

        if (strcmp(spec->name, name) == 0) {
            if (value < spec->min || value > spec->max) {
                return -ERANGE;
            }
            store(o, spec, value);
            return 0;
        }
    }
    return -ENOENT;
}
