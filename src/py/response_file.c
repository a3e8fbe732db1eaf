/* response_file.c - files as the answer of an application, or as a part.
 *
 * A whole file is sent without the core: the exchange keeps an answer that
 * the engine goes on with when the application has ended, x->rest.
 *
 * SPDX-License-Identifier: MIT
 */
#include "py/response.h"

#include "base/gl.h"
#include "engine/file_answer.h"
#include "proto/http1_write.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define FILE_PIECE_BYTES (1 << 20)
#define READ_PIECE_BYTES 65536
#define STEPS_IN_CORE 2 /* of a file that a quick client takes at once */

/* --- a whole file ----------------------------------------------------- */

/* Whether read() of the file gives what its descriptor has.  Others may have
 * a fileno() too, such as GzipFile, but change the bytes on their way. */
static bool
is_plain_file(struct gl_state *st, PyObject *file)
{
    PyObject *type = (PyObject *)Py_TYPE(file), *raw;
    bool plain;

    if (type != st->buffered_reader && type != st->buffered_random) {
        return type == st->file_io;
    }
    raw = PyObject_GetAttr(file, st->s_raw);
    plain = raw != NULL && (PyObject *)Py_TYPE(raw) == st->file_io;
    Py_XDECREF(raw);
    PyErr_Clear(); /* detached: reading says so */
    return plain;
}

/* Whether the size is that of the content.  A file of no size may be one of
 * /proc, and one of /sys has a page whatever is in it: only reading shows. */
static bool
has_known_size(int fd, const struct stat *info)
{
    struct statfs where;

    if (!S_ISREG(info->st_mode) || info->st_size == 0) {
        return false;
    }
    return info->st_blocks > 0 || fstatfs(fd, &where) < 0 ||
           where.f_type != SYSFS_MAGIC;
}

/* The descriptor and the rest of a regular file.  Returns 1, or 0 if it is
 * none (no exception), or -1. */
static int
file_rest(GlExchange *x, PyObject *file, int *ret_fd, off_t *ret_at,
          uint64_t *ret_size)
{
    PyObject *number = gl_call_method(file, x->st->s_fileno), *at = NULL;
    struct stat info;
    long long position = -1;
    int fd = -1;

    if (number != NULL) {
        fd = PyObject_AsFileDescriptor(number);
        at = fd >= 0 ? gl_call_method(file, x->st->s_tell) : NULL;
    }
    if (at != NULL) {
        position = PyLong_AsLongLong(at);
    }
    Py_XDECREF(number);
    Py_XDECREF(at);
    if (PyErr_Occurred()) {
        if (!PyErr_ExceptionMatches(PyExc_Exception)) {
            return -1;
        }
        PyErr_Clear(); /* no file of the system's: it is read instead */
        return 0;
    }
    if (position < 0 || fstat(fd, &info) < 0 || !has_known_size(fd, &info)) {
        return 0;
    }
    *ret_fd = fd;
    *ret_at = (off_t)position;
    *ret_size =
        info.st_size > position ? (uint64_t)(info.st_size - position) : 0;
    return 1;
}

/* Has the head, and the file (owned, also on failure) after it, sent when the
 * application has ended.  1 or -1. */
static int
keep_rest(GlExchange *x, int fd, off_t at, uint64_t size)
{
    GlEngine *engine = gl_engine_of_pool(x->core->pool);
    struct gl_file_answer *a =
        gl_file_answer_new(&engine->answers, x->req, fd);

    if (a == NULL ||
        gl_file_answer_add(a, (struct gl_str){x->head, x->head_n}, at, size) <
            0) {
        gl_file_answer_free(a);
        gl_response_end_output(x);
        PyErr_NoMemory();
        return -1;
    }
    x->rest = a;
    return 1;
}

int
gl_response_send_file(GlExchange *x, PyObject *file)
{
    struct iovec iov[1];
    uint64_t size;
    int count = 0, fd, found;
    off_t at;

    if (x->head_sent || !is_plain_file(x->st, file)) {
        return 0;
    }
    found = file_rest(x, file, &fd, &at, &size);
    if (found <= 0) {
        return found;
    }
    /* The application may close its own as soon as it has returned. */
    fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (fd < 0) {
        return 0; /* no descriptor is left: it is read through its own */
    }
    gl_response_note_whole(x, size);
    size = x->has_length && x->length < size ? x->length : size;
    if (gl_response_begin(x, iov, &count) < 0) {
        close(fd);
        return -1;
    }
    if (count == 0) { /* the head named another file */
        close(fd);
        return 1;
    }
    size = x->no_body ? 0 : size;
    x->body_sent = size;
    return keep_rest(x, fd, at, size);
}

/* --- what is left to the engine --------------------------------------- */

void
gl_response_drop_rest(GlExchange *x)
{
    gl_file_answer_free(x->rest);
    x->rest = NULL;
}

void
gl_response_push_rest(GlExchange *x)
{
    int result = 0;

    for (int i = 0; result == 0 && i < STEPS_IN_CORE; i++) {
        result = gl_file_answer_step(x->rest);
    }
    if (result == 0 || result == -EAGAIN) {
        return; /* the engine's */
    }
    if (result < 0) {
        x->req->keep_alive = false; /* the client sees that it is cut */
        x->req->cut = true;
    }
    if (result < 0 && result != -ECONNRESET) { /* not the client's doing */
        gl_gateway_report(x, "the file could not be sent whole: the client "
                             "sees it cut");
    }
    gl_response_drop_rest(x);
}

int
gl_response_finish_rest(GlExchange *x)
{
    int result = 0;

    while (x->rest != NULL && result <= 0) {
        result = gl_file_answer_step(x->rest);
        if (result == -EAGAIN) {
            if (gl_exchange_wait(x, true) < 0) {
                return -1;
            }
        } else if (result < 0) {
            gl_response_drop_rest(x);
            return gl_exchange_fail(x, result);
        }
    }
    gl_response_drop_rest(x);
    return 0;
}

/* --- a part of one, as a piece of the body ---------------------------- */

static int
send_file_bytes(GlExchange *x, int fd, off_t at, uint64_t size)
{
    while (size > 0) {
        size_t piece =
            size < FILE_PIECE_BYTES ? (size_t)size : FILE_PIECE_BYTES;
        ssize_t n = gl_request_sendfile(x->req, fd, &at, piece);

        if (n == 0) {
            return 0; /* it shrank: the missing bytes close the connection */
        }
        if (n == -EAGAIN) {
            if (gl_exchange_wait(x, true) < 0) {
                return -1;
            }
            continue;
        }
        if (n < 0 && n != -ECONNRESET) {
            gl_raise_errno((int)n, "cannot send the file");
            return -1;
        }
        if (n < 0) {
            return gl_exchange_fail(x, (int)n);
        }
        size -= (uint64_t)n;
        x->body_sent += (uint64_t)n;
        if (gl_exchange_be_fair(x) < 0) {
            return -1;
        }
    }
    return 0;
}

/* A chunk has said how long it is, and Content-Length may have. */
static int
file_ended_early(GlExchange *x)
{
    gl_response_end_output(x);
    gl_raise_errno(-EIO, "the file became shorter while it was sent");
    return -1;
}

static int
send_whole_range(GlExchange *x, int fd, off_t at, uint64_t size)
{
    uint64_t before = x->body_sent;

    if (send_file_bytes(x, fd, at, size) < 0) {
        gl_response_give_up(x);
        return -1;
    }
    return x->body_sent - before < size ? file_ended_early(x) : 0;
}

/* Where the kernel cannot send the file, as through TLS: piece by piece. */
static int
send_read_range(GlExchange *x, int fd, off_t at, uint64_t size)
{
    char *bytes = malloc(READ_PIECE_BYTES);
    int error = 0;

    if (bytes == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    while (size > 0 && error == 0) {
        ssize_t n = pread(
            fd, bytes,
            size < READ_PIECE_BYTES ? (size_t)size : READ_PIECE_BYTES, at);

        if (n <= 0) {
            error = file_ended_early(x);
            break;
        }
        error = gl_response_send_claimed(x, bytes, (size_t)n, false);
        if (error == 0) {
            error = gl_exchange_be_fair(x);
        }
        at += n;
        size -= (uint64_t)n;
    }
    free(bytes);
    return error;
}

static int
send_range(GlExchange *x, int fd, off_t at, uint64_t size)
{
    struct iovec iov[2], end = {(void *)(uintptr_t)"\r\n", 2};
    char chunk[GL_CHUNK_HEAD_BYTES];
    int count = 0;

    if (gl_response_begin(x, iov, &count) < 0) {
        return -1;
    }
    size = x->no_body ? 0 : gl_response_allowed(x, size);
    if (!gl_request_has_sendfile(x->req)) {
        return gl_response_send_all(x, iov, count, false) < 0
                   ? -1
                   : send_read_range(x, fd, at, size);
    }
    if (x->chunked && size > 0) {
        gl_response_add_iov(iov, &count, chunk,
                            gl_http1_chunk_head(chunk, size));
    }
    if (gl_response_send_all(x, iov, count, false) < 0 ||
        (size > 0 && send_whole_range(x, fd, at, size) < 0)) {
        return -1;
    }
    return x->chunked && size > 0 ? gl_response_send_all(x, &end, 1, false)
                                  : 0;
}

int
gl_response_send_range(GlExchange *x, int fd, off_t at, uint64_t size)
{
    int error;

    if (gl_response_check_open(x) < 0 || gl_response_claim(x) < 0) {
        return -1;
    }
    error = send_range(x, fd, at, size);
    x->writing = false;
    return error;
}
