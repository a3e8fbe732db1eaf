/* test_sock.c - the socket calls, on loopback and on pairs of sockets.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/sock.h"

#include "check.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static bool
has_flags(int fd)
{
    return (fcntl(fd, F_GETFL) & O_NONBLOCK) &&
           (fcntl(fd, F_GETFD) & FD_CLOEXEC);
}

static int
no_delay(int fd)
{
    int value = 0;
    socklen_t n = sizeof(value);

    return getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, &n) < 0 ? -errno
                                                                    : value;
}

/* Binds and listens on `addr`, which receives the port chosen. */
static int
listen_on(struct sockaddr *addr, socklen_t n)
{
    int fd = socket(addr->sa_family, SOCK_STREAM | SOCK_NONBLOCK, 0), no = 0;

    if (addr->sa_family == AF_INET6) { /* takes IPv4 as well */
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof(no));
    }
    if (fd < 0 || bind(fd, addr, n) < 0 || listen(fd, 8) < 0 ||
        getsockname(fd, addr, &n) < 0) {
        int error = -errno;

        close(fd);
        return error;
    }
    return fd;
}

/* Accepts a connection from `from` through a listener on `at`. */
static void
check_accept(struct sockaddr *at, socklen_t at_bytes, struct sockaddr *to,
             socklen_t to_bytes, const char *text)
{
    int listener = listen_on(at, at_bytes), fd;
    int client = socket(to->sa_family, SOCK_STREAM, 0);
    struct sockaddr_in me = {0};
    socklen_t n = sizeof(me);
    struct gl_peer peer = {.port = 7};

    if (!CHECK(listener >= 0 && client >= 0)) {
        return;
    }
    gl_sock_prepare_listener(listener); /* its connections inherit that */
    CHECK(gl_sock_accept(listener, &peer) == -EAGAIN);
    CHECK(peer.port == 7); /* untouched on failure */
    /* The port is at the same place in both families. */
    ((struct sockaddr_in *)(void *)to)->sin_port =
        ((struct sockaddr_in *)(void *)at)->sin_port;
    CHECK(connect(client, to, to_bytes) == 0);
    CHECK(getsockname(client, (struct sockaddr *)&me, &n) == 0);
    fd = gl_sock_accept(listener, &peer);
    CHECK(fd >= 0 && has_flags(fd) && no_delay(fd) == 1);
    CHECK(strcmp(peer.text, text) == 0 && peer.port == ntohs(me.sin_port));
    close(fd);
    close(client);
    close(listener);
}

static void
test_accept_inet(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    struct sockaddr_in to = at;

    check_case("IPv4");
    at.sin_addr.s_addr = to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    check_accept((void *)&at, sizeof(at), (void *)&to, sizeof(to),
                 "127.0.0.1");
}

static void
test_accept_inet6(void)
{
    struct sockaddr_in6 at = {.sin6_family = AF_INET6};
    struct sockaddr_in6 to = at;
    struct sockaddr_in to4 = {.sin_family = AF_INET};
    int probe = listen_on((void *)&at, sizeof(at));

    if (probe < 0) {
        printf("no IPv6 here\n");
        return;
    }
    close(probe);
    at.sin6_port = 0;
    to.sin6_addr = in6addr_loopback;
    to4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    check_case("IPv6");
    check_accept((void *)&at, sizeof(at), (void *)&to, sizeof(to), "::1");
    at.sin6_port = 0;
    check_case("IPv4 through IPv6");
    check_accept((void *)&at, sizeof(at), (void *)&to4, sizeof(to4),
                 "127.0.0.1");
}

static void
test_accept_unix(void)
{
    /* An address of no bytes: the kernel chooses an abstract name. */
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    socklen_t n = sizeof(at);
    int listener = socket(AF_UNIX, SOCK_STREAM, 0), fd;
    int client = socket(AF_UNIX, SOCK_STREAM, 0);
    struct gl_peer peer = {"x", 7};

    check_case("Unix");
    CHECK(bind(listener, (void *)&at, sizeof(at.sun_family)) == 0);
    CHECK(getsockname(listener, (void *)&at, &n) == 0);
    CHECK(listen(listener, 1) == 0);
    CHECK(connect(client, (void *)&at, n) == 0);
    fd = gl_sock_accept(listener, &peer);
    CHECK(fd >= 0 && has_flags(fd));
    CHECK(strcmp(peer.text, "") == 0 && peer.port == 0);
    close(fd);
    close(client);
    close(listener);
    check_case("accept fails");
    CHECK(gl_sock_accept(-1, &peer) == -EBADF);
}

static void
make_pair(int fds[2])
{
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0);
}

static void
test_recv(void)
{
    char bytes[8];
    int fds[2];

    check_case("recv");
    make_pair(fds);
    CHECK(gl_sock_recv(fds[0], bytes, sizeof(bytes)) == -EAGAIN);
    CHECK(write(fds[1], "abc", 3) == 3);
    CHECK(gl_sock_recv(fds[0], bytes, 2) == 2);
    CHECK(gl_sock_recv(fds[0], bytes, sizeof(bytes)) == 1);
    CHECK(bytes[0] == 'c');
    CHECK(gl_sock_shutdown_write(fds[1]) == 0);
    CHECK(gl_sock_recv(fds[0], bytes, sizeof(bytes)) == 0);
    CHECK(gl_sock_shutdown_write(-1) == -EBADF);
    CHECK(gl_sock_recv(-1, bytes, sizeof(bytes)) == -EBADF);
    close(fds[0]);
    close(fds[1]);
}

/* A write to a peer that is gone is an error, never a signal. */
static void
test_writev(void)
{
    static char big[1 << 20];
    struct iovec iov[] = {{(char[]){'a', 'b'}, 2}, {(char[]){'c'}, 1}};
    struct iovec one = {big, sizeof(big)};
    char bytes[8];
    int fds[2];

    check_case("writev");
    make_pair(fds);
    CHECK(gl_sock_writev(fds[0], iov, 2) == 3);
    CHECK(gl_sock_writev(fds[0], iov, 1) == 2);
    CHECK(read(fds[1], bytes, sizeof(bytes)) == 5);
    CHECK(memcmp(bytes, "abcab", 5) == 0);
    CHECK(gl_sock_writev(fds[0], &one, 1) > 0);
    while (gl_sock_writev(fds[0], &one, 1) > 0) {
    }
    CHECK(gl_sock_writev(fds[0], &one, 1) == -EAGAIN);
    CHECK(gl_sock_writev(fds[0], iov, 2) == -EAGAIN);
    close(fds[1]);
    CHECK(gl_sock_writev(fds[0], iov, 2) == -EPIPE);
    CHECK(gl_sock_writev(fds[0], iov, 1) == -EPIPE);
    close(fds[0]);
}

static void
test_sendfile(void)
{
    int file = memfd_create("test", MFD_CLOEXEC), fds[2];
    off_t offset = 2;
    char bytes[8];

    check_case("sendfile");
    make_pair(fds);
    CHECK(write(file, "abcdef", 6) == 6);
    CHECK(gl_sock_sendfile(fds[0], file, &offset, 3) == 3 && offset == 5);
    CHECK(gl_sock_sendfile(fds[0], file, &offset, 9) == 1 && offset == 6);
    CHECK(gl_sock_sendfile(fds[0], file, &offset, 9) == 0 && offset == 6);
    CHECK(read(fds[1], bytes, sizeof(bytes)) == 4);
    CHECK(memcmp(bytes, "cdef", 4) == 0);
    CHECK(gl_sock_sendfile(fds[0], -1, &offset, 9) == -EBADF);
    CHECK(ftruncate(file, 1 << 20) == 0);
    offset = 0;
    while (gl_sock_sendfile(fds[0], file, &offset, 1 << 20) > 0) {
    }
    CHECK(offset > 0 && offset < 1 << 20);
    CHECK(gl_sock_sendfile(fds[0], file, &offset, 1 << 20) == -EAGAIN);
    close(fds[1]);
    (void)signal(SIGPIPE, SIG_IGN); /* as every owner of an engine does */
    CHECK(gl_sock_sendfile(fds[0], file, &offset, 1) == -EPIPE);
    (void)signal(SIGPIPE, SIG_DFL);
    close(fds[0]);
    close(file);
}

int
main(void)
{
    test_accept_inet();
    test_accept_inet6();
    test_accept_unix();
    test_recv();
    test_writev();
    test_sendfile();
    return check_end();
}
