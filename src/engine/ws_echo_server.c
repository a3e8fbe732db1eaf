/* ws_echo_server.c - a C-only WebSocket server: every message comes back.
 *
 * The floor of the benchmark's WebSocket part, and the smallest owner of a
 * struct gl_ws: read it to see how src/py uses the same functions.
 *
 *     ws_echo_server PORT        (0: any free port, which is printed)
 *
 * Serves on 127.0.0.1 until SIGINT or SIGTERM.  What is no WebSocket gets a
 * short answer.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine/engine.h"
#include "engine/loopback.h"
#include "engine/ws_echo.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int
main(int argc, char **argv)
{
    struct gl_ws_echo echo;
    struct gl_options options;
    const struct gl_log log = {.level = GL_LOG_WARNING};
    struct gl_engine *e = NULL;
    int error;
    int fd = gl_loopback_listen(argc > 1 ? (uint16_t)strtol(argv[1], NULL, 10)
                                         : 0);

    if (fd < 0) {
        fprintf(stderr, "ws_echo_server: %s\n", strerror(-fd));
        return 1;
    }
    gl_options_init(&options);
    error = gl_ws_echo_engine(&echo, &options, &log, &e);
    if (error == 0) {
        error = gl_loopback_serve(e, fd);
    }
    if (error < 0) {
        fprintf(stderr, "ws_echo_server: %s\n", strerror(-error));
    }
    gl_ws_echo_fini(&echo);
    gl_engine_free(e);
    close(fd);
    return error < 0;
}
