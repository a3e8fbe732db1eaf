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

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int
listen_on(uint16_t port)
{
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_port = htons(port)};
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0) {
        return -errno;
    }
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
        listen(fd, 1024) < 0) {
        int error = -errno;

        close(fd);
        return error;
    }
    return fd;
}

/* Tells the port, which the kernel may have chosen. */
static void
announce(int fd)
{
    struct sockaddr_in addr = {0};
    socklen_t n = sizeof(addr);

    if (getsockname(fd, (struct sockaddr *)&addr, &n) == 0) {
        printf("listening on %d\n", (int)ntohs(addr.sin_port));
        fflush(stdout);
    }
}

/* Signals arrive as events of this descriptor's set, not as interrupts. */
static int
block_stop_signals(sigset_t *ret_mask)
{
    sigemptyset(ret_mask);
    sigaddset(ret_mask, SIGINT);
    sigaddset(ret_mask, SIGTERM);
    signal(SIGPIPE, SIG_IGN);
    return sigprocmask(SIG_BLOCK, ret_mask, NULL);
}

static int
serve(struct gl_engine *e)
{
    sigset_t stop;
    const struct timespec no_wait = {0};
    int n = 0;

    if (block_stop_signals(&stop) < 0) {
        return -errno;
    }
    while (n >= 0 && sigtimedwait(&stop, NULL, &no_wait) < 0) {
        n = gl_engine_turn(e, 200, &gl_budget_default);
    }
    return n < 0 ? n : 0;
}

int
main(int argc, char **argv)
{
    struct gl_fixed_answer answer;
    struct gl_options options;
    const struct gl_log log = {.level = GL_LOG_WARNING};
    struct gl_engine *e = NULL;
    int error;
    int fd = listen_on(argc > 1 ? (uint16_t)strtol(argv[1], NULL, 10) : 0);

    if (fd < 0) {
        fprintf(stderr, "hello_server: %s\n", strerror(-fd));
        return 1;
    }
    gl_options_init(&options);
    error = gl_fixed_answer_engine(&answer, &options, &log, &e);
    if (error == 0) {
        error = gl_engine_listen(e, fd, &gl_transport_plain,
                                 &gl_protocol_http1, NULL);
    }
    answer.delay_ms = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 0;
    if (error == 0) {
        announce(fd);
        error = serve(e);
    }
    if (error < 0) {
        fprintf(stderr, "hello_server: %s\n", strerror(-error));
    }
    gl_fixed_answer_fini(&answer);
    gl_engine_free(e);
    close(fd);
    return error < 0;
}
