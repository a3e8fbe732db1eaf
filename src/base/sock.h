/* sock.h - the socket calls of the engine, with one error convention.
 *
 * Each returns >= 0, or a negative errno; EINTR is retried here, and
 * EWOULDBLOCK is always reported as -EAGAIN.  Descriptors that are made here
 * are close-on-exec and non-blocking.  No call raises SIGPIPE, except
 * sendfile, whose callers ignore that signal.  `fd` is always a socket.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_BASE_SOCK_H
#define GL_BASE_SOCK_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

/* Longest text of an address: an IPv6 address with a zone, and a NUL. */
#define GL_ADDR_TEXT_BYTES 64

/* The far end of a connection, as text. */
struct gl_peer {
    char text[GL_ADDR_TEXT_BYTES]; /* "" for Unix sockets; a v4-mapped IPv6
                                    * address is written as IPv4 */
    uint16_t port;                 /* 0 for Unix sockets */
};

/* Sets TCP_NODELAY on a listening socket, from which connections have it, so
 * that none costs a call of its own (a socket without it, such as a Unix one,
 * is fine). */
void gl_sock_prepare_listener(int fd);
/* Accepts one connection.  ret_peer is filled on success.  Returns the
 * descriptor (owned by the caller). */
int gl_sock_accept(int listen_fd, struct gl_peer *ret_peer);
ssize_t gl_sock_recv(int fd, void *dst, size_t n); /* 0: end of stream */
ssize_t gl_sock_writev(int fd, const struct iovec *iov, int count);
/* Sends up to n bytes of file_fd from *offset, and advances *offset. */
ssize_t gl_sock_sendfile(int fd, int file_fd, off_t *offset, size_t n);
int gl_sock_shutdown_write(int fd);
/* Bytes that have come and were not received yet. */
int gl_sock_unread(int fd);
/* Bytes that were sent and that the far end has not taken yet. */
int gl_sock_unsent(int fd);

#endif
