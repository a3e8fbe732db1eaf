/* sock.c - the socket calls of the engine, with one error convention.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/sock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

/* The errno of the call that just failed, or -EAGAIN. */
static int
failure(void)
{
    return errno == EWOULDBLOCK ? -EAGAIN : -errno;
}

static void
describe(const struct sockaddr_storage *addr, struct gl_peer *ret_peer)
{
    const struct sockaddr_in *v4 = (const void *)addr;
    const struct sockaddr_in6 *v6 = (const void *)addr;

    *ret_peer = (struct gl_peer){0};
    if (addr->ss_family == AF_INET) {
        (void)inet_ntop(AF_INET, &v4->sin_addr, ret_peer->text,
                        sizeof(ret_peer->text));
        ret_peer->port = ntohs(v4->sin_port);
    } else if (addr->ss_family == AF_INET6) {
        bool mapped = IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr);

        (void)inet_ntop(mapped ? AF_INET : AF_INET6,
                        mapped ? &v6->sin6_addr.s6_addr[12]
                               : &v6->sin6_addr.s6_addr[0],
                        ret_peer->text, sizeof(ret_peer->text));
        ret_peer->port = ntohs(v6->sin6_port);
    }
}

void
gl_sock_prepare_listener(int fd)
{
    int one = 1;

    /* Failing, small answers are slower and no less right. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

int
gl_sock_accept(int listen_fd, struct gl_peer *ret_peer)
{
    struct sockaddr_storage addr = {0};
    socklen_t n = sizeof(addr);
    int fd;

    do {
        fd = accept4(listen_fd, (struct sockaddr *)&addr, &n,
                     SOCK_NONBLOCK | SOCK_CLOEXEC);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0) {
        return failure();
    }
    describe(&addr, ret_peer);
    return fd;
}

ssize_t
gl_sock_recv(int fd, void *dst, size_t n)
{
    ssize_t got;

    do {
        got = recv(fd, dst, n, 0);
    } while (got < 0 && errno == EINTR);
    return got < 0 ? failure() : got;
}

ssize_t
gl_sock_writev(int fd, const struct iovec *iov, int count)
{
    struct msghdr message = {
        .msg_iov = (struct iovec *)(uintptr_t)iov,
        .msg_iovlen = (size_t)count,
    };
    ssize_t sent;

    do {
        sent = count == 1
                   ? send(fd, iov->iov_base, iov->iov_len, MSG_NOSIGNAL)
                   : sendmsg(fd, &message, MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    return sent < 0 ? failure() : sent;
}

ssize_t
gl_sock_sendfile(int fd, int file_fd, off_t *offset, size_t n)
{
    ssize_t sent;

    do { /* no flag stops its SIGPIPE: the process ignores that signal, as
          * every CPython does */
        sent = sendfile(fd, file_fd, offset, n);
    } while (sent < 0 && errno == EINTR);
    return sent < 0 ? failure() : sent;
}

int
gl_sock_shutdown_write(int fd)
{
    return shutdown(fd, SHUT_WR) < 0 ? -errno : 0;
}

int
gl_sock_unread(int fd)
{
    int bytes;

    return ioctl(fd, SIOCINQ, &bytes) < 0 ? -errno : bytes;
}

int
gl_sock_unsent(int fd)
{
    int bytes;

    return ioctl(fd, SIOCOUTQ, &bytes) < 0 ? -errno : bytes;
}
