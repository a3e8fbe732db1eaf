/* loopback.c - what the C-only servers share.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine/loopback.h"

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

int
gl_loopback_listen(uint16_t port)
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
run(struct gl_engine *e)
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
gl_loopback_serve(struct gl_engine *e, int fd)
{
    int error = gl_engine_listen(e, fd, &gl_transport_plain,
                                 &gl_protocol_http1, NULL);

    if (error == 0) {
        announce(fd);
        error = run(e);
    }
    return error;
}
