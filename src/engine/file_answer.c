/* file_answer.c - an answer whose body is a file, sent without a slot.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine/file_answer.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/gl.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

/* What one event sends of a file, and at once: reading it may have to wait
 * for the disk, and the other connections for that. */
#define EVENT_BYTES (512 << 10)
#define SENDFILE_BYTES (256 << 10)
/* Read along with the head rather than sent after it: one call for all of a
 * small file. */
#define JOINED_BYTES GL_FILE_PIECE_BYTES

struct part {
    size_t text_n;  /* bytes of `text` that come first */
    off_t at;       /* then those of the file from here */
    uint64_t left;  /* not read yet */
    bool has_begun; /* its first piece was read */
};

struct gl_file_answer {
    struct gl_waiter waiter;
    struct gl_list link;           /* in all->running, once run */
    struct gl_file_answers *all;   /* borrowed */
    struct gl_request *req;        /* borrowed */
    struct gl_access_entry *entry; /* owned; NULL: no log */
    int fd;                        /* owned; -1: none */
    bool reads;                    /* the kernel cannot send it here */
    bool keep;
    unsigned count, at; /* parts; the present one */
    struct part parts[GL_FILE_PARTS_MAX];
    struct gl_buf text;  /* of all parts that are left */
    struct gl_buf piece; /* read from the file, not yet sent */
};

void
gl_file_answers_init(struct gl_file_answers *all, struct gl_engine *engine)
{
    *all = (struct gl_file_answers){.engine = engine};
    gl_list_init(&all->running);
}

struct gl_file_answer *
gl_file_answer_new(struct gl_file_answers *all, struct gl_request *req,
                   int fd)
{
    struct gl_file_answer *a = calloc(1, sizeof(*a));

    if (a == NULL) {
        if (fd >= 0) {
            close(fd);
        }
        return NULL;
    }
    a->all = all;
    a->req = req;
    a->fd = fd;
    a->reads = !gl_request_has_sendfile(req);
    return a;
}

void
gl_file_answer_free(struct gl_file_answer *a)
{
    if (a == NULL) {
        return;
    }
    gl_list_remove(&a->link);
    gl_buf_fini(&a->text);
    gl_buf_fini(&a->piece);
    free(a->entry);
    if (a->fd >= 0) {
        close(a->fd);
    }
    free(a);
}

int
gl_file_answer_add(struct gl_file_answer *a, struct gl_str text, off_t at,
                   uint64_t size)
{
    assert(a->count < GL_FILE_PARTS_MAX && (size == 0 || a->fd >= 0));
    if (gl_buf_append(&a->text, text.p, text.n, SIZE_MAX) < 0) {
        return -ENOMEM;
    }
    a->parts[a->count++] =
        (struct part){.text_n = text.n, .at = at, .left = size};
    return 0;
}

void
gl_file_answer_log(struct gl_file_answer *a, struct gl_access_entry *entry)
{
    a->entry = entry;
}

/* --- sending ---------------------------------------------------------- */

/* Reads the next bytes of the part into a->piece.  0 or a negative errno;
 * -EIO: there are none, though they were promised. */
static int
read_piece(struct gl_file_answer *a, struct part *part)
{
    size_t n = part->left < GL_FILE_PIECE_BYTES ? (size_t)part->left
                                                : GL_FILE_PIECE_BYTES;
    char *dst = gl_buf_reserve(&a->piece, n);
    ssize_t got;

    if (dst == NULL) {
        return -ENOMEM;
    }
    do {
        got = pread(a->fd, dst, n, part->at);
    } while (got < 0 && errno == EINTR);
    if (got <= 0) {
        gl_buf_fini(&a->piece);
        return got < 0 ? -errno : -EIO;
    }
    gl_buf_commit(&a->piece, (size_t)got);
    part->at += got;
    part->left -= (uint64_t)got;
    return 0;
}

/* Sends text and what was read.  1 when they have left, 0, or -errno. */
static int
send_memory(struct gl_file_answer *a, struct part *part)
{
    struct iovec iov[2];
    size_t piece = gl_buf_len(&a->piece), of_text;
    int count = 0;
    bool last = a->at + 1 == a->count && part->left == 0;
    ssize_t n;

    if (part->text_n > 0) {
        iov[count].iov_base = (void *)(uintptr_t)gl_buf_data(&a->text);
        iov[count++].iov_len = part->text_n;
    }
    if (piece > 0) {
        iov[count].iov_base = (void *)(uintptr_t)gl_buf_data(&a->piece);
        iov[count++].iov_len = piece;
    }
    n = gl_request_send(a->req, iov, count, last);
    if (n < 0) {
        return (int)n;
    }
    of_text = (size_t)n < part->text_n ? (size_t)n : part->text_n;
    if (of_text > 0) {
        gl_buf_consume(&a->text, of_text);
        part->text_n -= of_text;
    }
    if ((size_t)n > of_text) {
        gl_buf_consume(&a->piece, (size_t)n - of_text);
    }
    return part->text_n == 0 && gl_buf_len(&a->piece) == 0 ? 1 : -EAGAIN;
}

/* Has the kernel send a piece.  0 or -errno. */
static int
send_from_file(struct gl_file_answer *a, struct part *part)
{
    size_t n =
        part->left < SENDFILE_BYTES ? (size_t)part->left : SENDFILE_BYTES;
    ssize_t sent = gl_request_sendfile(a->req, a->fd, &part->at, n);

    if (sent == -EINVAL || sent == -ENOSYS) {
        a->reads = true; /* this filesystem cannot */
        return 0;
    }
    if (sent <= 0) {
        return sent < 0 ? (int)sent : -EIO;
    }
    part->left -= (uint64_t)sent;
    return 0;
}

int
gl_file_answer_step(struct gl_file_answer *a)
{
    struct part *part = &a->parts[a->at];
    int result = 0;

    if (a->at == a->count) {
        return 1;
    }
    if (gl_buf_len(&a->piece) == 0 && part->left > 0 &&
        (a->reads || (!part->has_begun && part->left <= JOINED_BYTES))) {
        result = read_piece(a, part);
    }
    part->has_begun = true;
    if (result == 0 && (part->text_n > 0 || gl_buf_len(&a->piece) > 0)) {
        result = send_memory(a, part);
    } else if (result == 0 && part->left > 0) {
        result = send_from_file(a, part);
    }
    if (result < 0) {
        return result;
    }
    if (part->text_n == 0 && gl_buf_len(&a->piece) == 0 && part->left == 0) {
        a->at++;
    }
    return a->at == a->count;
}

/* --- without the caller ----------------------------------------------- */

static void
log_end(struct gl_file_answer *a)
{
    struct gl_access_log *log = gl_engine_access_log(a->all->engine);
    struct gl_request *req = a->req;
    struct gl_access_entry *entry = a->entry;

    if (log == NULL || entry == NULL) {
        return;
    }
    entry->body_bytes = req->sent_bytes > entry->head_bytes
                            ? req->sent_bytes - entry->head_bytes
                            : 0;
    entry->micros = (uint32_t)((gl_clock_ns() - req->started_ns) / 1000);
    gl_access_log_add(log, entry);
    gl_engine_note_access(a->all->engine);
}

static void
end(struct gl_file_answer *a, bool whole)
{
    struct gl_request *req = a->req;
    bool keep = a->keep && whole;

    log_end(a);
    a->all->sent_bytes += req->sent_bytes;
    gl_file_answer_free(a);
    req->cut |= !whole;
    gl_request_finish(req, keep);
}

static void woken(struct gl_waiter *waiter, int result);

/* Waits for the socket: also where it took all of a piece, so that others
 * have their turn before the next. */
static int
wait_for_room(struct gl_file_answer *a)
{
    int error;

    a->waiter.wake = woken;
    error = gl_request_wait_write(a->req, &a->waiter);
    if (error == 0 && !a->req->slotless) {
        gl_request_release_slot(a->req);
    }
    return error;
}

static void
advance(struct gl_file_answer *a)
{
    uint64_t before = a->req->sent_bytes;
    int result;

    do {
        result = gl_file_answer_step(a);
    } while (result == 0 && a->req->sent_bytes - before < EVENT_BYTES);
    if (result > 0) {
        end(a, true);
    } else if ((result < 0 && result != -EAGAIN) || wait_for_room(a) < 0) {
        end(a, false);
    }
}

static void
woken(struct gl_waiter *waiter, int result)
{
    struct gl_file_answer *a =
        GL_CONTAINER_OF(waiter, struct gl_file_answer, waiter);

    if (result < 0) {
        end(a, false);
    } else {
        advance(a);
    }
}

void
gl_file_answer_run(struct gl_file_answer *a, bool keep)
{
    a->keep = keep;
    gl_list_push(&a->all->running, &a->link);
    advance(a);
}

void
gl_file_answers_end(struct gl_file_answers *all)
{
    while (!gl_list_empty(&all->running)) {
        struct gl_file_answer *a =
            GL_CONTAINER_OF(all->running.next, struct gl_file_answer, link);

        gl_request_forget(a->req, &a->waiter);
        end(a, false);
    }
}
