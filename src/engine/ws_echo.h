/* ws_echo.h - an owner of an engine that sends every WebSocket message back.
 *
 * Used by the C-only server, by the fuzz target and by the C tests.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_ENGINE_WS_ECHO_H
#define GL_ENGINE_WS_ECHO_H

#include "base/list.h"
#include "engine/engine.h"
#include "engine/websocket.h"

struct gl_ws_echo {
    struct gl_engine *engine;        /* borrowed */
    struct gl_list sockets;          /* all that are open */
    struct gl_ws_options options;    /* of those to come; may be changed */
    const struct gl_ws_codec *codec; /* the same; borrowed, NULL: none */
    uint64_t opened, messages;
    uint64_t ended;
    int last_code; /* of the close of the last that ended */
};

/* Makes an engine that `echo` (the caller's memory, uninitialised) owns.
 * Returns 0 or a negative errno. */
int gl_ws_echo_engine(struct gl_ws_echo *echo,
                      const struct gl_options *options,
                      const struct gl_log *log,
                      struct gl_engine **ret_engine);
/* Ends every socket; before gl_engine_free. */
void gl_ws_echo_fini(struct gl_ws_echo *echo);

#endif
