/* hello_server.c - a C-only server: the engine, HTTP/1.1, one fixed answer.
 *
 * The honest floor of the benchmark, and the smallest owner of an engine:
 * read it to see how src/py uses the same functions.
 *
 *     hello_server PORT [DELAY]   (0: any free port, which is printed;
 *                                  DELAY: ms before each answer)
 *
 * Serves on 127.0.0.1 until SIGINT or SIGTERM.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine/engine.h"
#include "engine/fixed_answer.h"
#include "engine/loopback.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int
main(int argc, char **argv)
{
    struct gl_fixed_answer answer;
    struct gl_options options;
    const struct gl_log log = {.level = GL_LOG_WARNING};
    struct gl_engine *e = NULL;
    int error;
    int fd = gl_loopback_listen(argc > 1 ? (uint16_t)strtol(argv[1], NULL, 10)
                                         : 0);

    if (fd < 0) {
        fprintf(stderr, "hello_server: %s\n", strerror(-fd));
        return 1;
    }
    gl_options_init(&options);
    error = gl_fixed_answer_engine(&answer, &options, &log, &e);
    answer.delay_ms = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 0;
    if (error == 0) {
        error = gl_loopback_serve(e, fd);
    }
    if (error < 0) {
        fprintf(stderr, "hello_server: %s\n", strerror(-error));
    }
    gl_fixed_answer_fini(&answer);
    gl_engine_free(e);
    close(fd);
    return error < 0;
}
