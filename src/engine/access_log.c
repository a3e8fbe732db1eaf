/* access_log.c - one line a request, collected and written in batches.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine/access_log.h"

#include "base/buf.h"
#include "base/gl.h"
#include "base/log.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define LINE_BYTES 4096
#define TEXT_BYTES 1024             /* of one piece of outside text */
#define REFUSED_BYTES 200           /* of a refused request's line */
#define FLUSH_BYTES 16384           /* pending lines are written from here */
#define PENDING_MAX_BYTES (1 << 20) /* beyond, lines are dropped */
#define DASH GL_STR("-")

struct gl_access_log {
    int fd; /* borrowed */
    enum gl_access_format format;
    struct gl_buf pending;
    uint64_t dropped;
    uint64_t lines;
    pid_t pid;
    time_t second; /* of `stamp` */
    char stamp[64];
};

struct gl_access_entry *
gl_access_entry_copy(const struct gl_access_entry *entry)
{
    struct gl_access_entry own = *entry, *copy;
    struct gl_str *const texts[] = {
        &own.peer,     &own.user,    &own.method,     &own.uri,
        &own.protocol, &own.referer, &own.user_agent,
    };
    size_t n = sizeof(*copy);
    char *at;

    for (size_t i = 0; i < GL_ARRAY_LEN(texts); i++) {
        n += texts[i]->n;
    }
    copy = malloc(n);
    if (copy == NULL) {
        return NULL;
    }
    at = (char *)(copy + 1);
    for (size_t i = 0; i < GL_ARRAY_LEN(texts); i++) {
        if (texts[i]->n > 0) {
            memcpy(at, texts[i]->p, texts[i]->n);
        }
        texts[i]->p = at;
        at += texts[i]->n;
    }
    *copy = own;
    return copy;
}

struct gl_access_log *
gl_access_log_new(int fd, enum gl_access_format format)
{
    struct gl_access_log *log = calloc(1, sizeof(*log));

    if (log != NULL) {
        log->fd = fd;
        log->format = format;
        log->pid = getpid();
        log->second = (time_t)-1;
    }
    return log;
}

void
gl_access_log_free(struct gl_access_log *log)
{
    if (log == NULL) {
        return;
    }
    gl_access_log_flush(log);
    gl_buf_fini(&log->pending);
    free(log);
}

size_t
gl_access_log_pending(const struct gl_access_log *log)
{
    return gl_buf_len(&log->pending);
}

/* A pipe or terminal that poll() calls writable takes PIPE_BUF bytes at once
 * without blocking, even if the descriptor is in blocking mode. */
static bool
takes_bytes(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};

    return poll(&p, 1, 0) == 1 && (p.revents & POLLOUT);
}

void
gl_access_log_flush(struct gl_access_log *log)
{
    while (gl_buf_len(&log->pending) > 0 && takes_bytes(log->fd)) {
        size_t n = gl_buf_len(&log->pending);
        ssize_t written = write(log->fd, gl_buf_data(&log->pending),
                                n < PIPE_BUF ? n : PIPE_BUF);

        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            break; /* the lines stay, up to the bound */
        }
        gl_buf_consume(&log->pending, (size_t)written);
    }
}

static void
append(struct gl_access_log *log, const char *line, size_t n)
{
    char note[80];
    int len;

    if (log->dropped > 0 && gl_buf_len(&log->pending) < FLUSH_BYTES) {
        len = snprintf(note, sizeof(note),
                       "greenloop: %llu access log lines were dropped\n",
                       (unsigned long long)log->dropped);
        if (gl_buf_append(&log->pending, note, (size_t)len,
                          PENDING_MAX_BYTES) == 0) {
            log->dropped = 0;
        }
    }
    if (gl_buf_append(&log->pending, line, n, PENDING_MAX_BYTES) < 0) {
        log->dropped++;
    }
    if (gl_buf_len(&log->pending) >= FLUSH_BYTES) {
        gl_access_log_flush(log);
    }
}

/* The time of the line, formatted once a second. */
static const char *
stamp(struct gl_access_log *log)
{
    time_t now = time(NULL);
    struct tm tm;

    if (now != log->second && localtime_r(&now, &tm) != NULL) {
        log->second = now;
        (void)strftime(log->stamp, sizeof(log->stamp),
                       log->format == GL_ACCESS_UWSGI
                           ? "%a %b %e %H:%M:%S %Y"
                           : "%d/%b/%Y:%H:%M:%S %z",
                       &tm);
    }
    return log->stamp;
}

/* Escaped copy of outside text; "-" for none where a log expects one. */
static const char *
shown(char dst[TEXT_BYTES], struct gl_str text, struct gl_str none)
{
    if (text.n == 0) {
        text = none;
    }
    (void)gl_log_escape(dst, TEXT_BYTES, text.p, text.n);
    return dst;
}

static int
uwsgi_line(struct gl_access_log *log, const struct gl_access_entry *e,
           char line[LINE_BYTES])
{
    char peer[TEXT_BYTES], user[TEXT_BYTES], method[TEXT_BYTES],
        uri[TEXT_BYTES], protocol[TEXT_BYTES];
    unsigned long long n = log->lines;

    return snprintf(
        line, LINE_BYTES,
        "[pid: %d|app: 0|req: %llu/%llu] %s (%s) {%u vars in %u bytes} "
        "[%s] %s %s => generated %llu bytes in %u msecs (%s %d) "
        "%u headers in %u bytes (%u switches on core %u)\n",
        (int)log->pid, n, n, shown(peer, e->peer, GL_STR("")),
        shown(user, e->user, GL_STR("")), e->vars, e->vars_bytes, stamp(log),
        shown(method, e->method, GL_STR("-")), shown(uri, e->uri, DASH),
        (unsigned long long)e->body_bytes, e->micros / 1000,
        shown(protocol, e->protocol, GL_STR("-")), e->status, e->head_fields,
        e->head_bytes, e->switches, e->core);
}

static int
combined_line(struct gl_access_log *log, const struct gl_access_entry *e,
              char line[LINE_BYTES])
{
    char peer[TEXT_BYTES], user[TEXT_BYTES], method[TEXT_BYTES],
        uri[TEXT_BYTES], protocol[TEXT_BYTES], referer[TEXT_BYTES],
        agent[TEXT_BYTES];

    return snprintf(
        line, LINE_BYTES, "%s - %s [%s] \"%s %s %s\" %d %llu \"%s\" \"%s\"\n",
        shown(peer, e->peer, DASH), shown(user, e->user, DASH), stamp(log),
        shown(method, e->method, DASH), shown(uri, e->uri, DASH),
        shown(protocol, e->protocol, DASH), e->status,
        (unsigned long long)e->body_bytes, shown(referer, e->referer, DASH),
        shown(agent, e->user_agent, DASH));
}

void
gl_access_log_add(struct gl_access_log *log,
                  const struct gl_access_entry *entry)
{
    char line[LINE_BYTES];
    int n;

    log->lines++;
    n = log->format == GL_ACCESS_UWSGI ? uwsgi_line(log, entry, line)
                                       : combined_line(log, entry, line);
    if (n >= LINE_BYTES) {
        n = LINE_BYTES - 1; /* cut, with the line end kept */
        line[n - 1] = '\n';
    }
    append(log, line, (size_t)n);
}

static bool
ends_line(char c)
{
    return c == '\r' || c == '\n';
}

/* Cuts the request line, or its beginning, off what came. */
static struct gl_str
first_line(struct gl_str came)
{
    struct gl_str line;
    size_t n = 0;

    while (came.n > 0 && ends_line(came.p[0])) {
        (void)gl_str_take(&came, 1);
    }
    line = came;
    while (n < came.n && n < REFUSED_BYTES && !ends_line(came.p[n])) {
        n++;
    }
    line.n = n;
    return line;
}

/* What stands before the first blank, behind the last, and between them; of
 * bytes that are no request line, whatever that is. */
static void
split_line(struct gl_str line, struct gl_access_entry *entry)
{
    const char *blank = line.n > 0 ? memchr(line.p, ' ', line.n) : NULL;
    const char *last = blank != NULL ? memrchr(line.p, ' ', line.n) : NULL;
    const char *end = line.p + line.n;

    entry->method = line;
    if (blank != NULL) {
        entry->method.n = (size_t)(blank - line.p);
        entry->uri.p = blank + 1;
        entry->uri.n = (size_t)((last > blank ? last : end) - blank) - 1;
    }
    if (last > blank) {
        entry->protocol = (struct gl_str){last + 1, (size_t)(end - last) - 1};
    }
}

void
gl_access_log_refusal(struct gl_access_log *log, const char *peer,
                      struct gl_str came, int status, size_t bytes)
{
    struct gl_access_entry entry = {
        .peer = {peer, strlen(peer)},
        .head_bytes = (uint32_t)bytes,
        .switches = 0,
        .status = status,
    };

    split_line(first_line(came), &entry);
    gl_access_log_add(log, &entry);
}
