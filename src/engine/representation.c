/* representation.c - a file as the answer to a request.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine/representation.h"

#include "base/clock.h"
#include "base/gl.h"
#include "proto/http_tables.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#define LINE_BYTES 512
#define PART_BYTES 512 /* of the head of one part */

/* --- the request's side ----------------------------------------------- */

/* Where a field's value goes, or NULL for others. */
static struct gl_str *
place_of(const struct gl_field *field, struct gl_conditions *c)
{
    switch (field->id) {
    case GL_FIELD_IF_MATCH:
        return &c->if_match;
    case GL_FIELD_IF_NONE_MATCH:
        return &c->if_none_match;
    case GL_FIELD_IF_MODIFIED_SINCE:
        return &c->if_modified_since;
    case GL_FIELD_IF_UNMODIFIED_SINCE:
        return &c->if_unmodified_since;
    case GL_FIELD_IF_RANGE:
        return &c->if_range;
    case GL_FIELD_RANGE:
        return &c->range;
    default:
        return NULL;
    }
}

/* Makes one value of each field's lines, with commas between them (RFC 9110,
 * 5.3).  Returns the memory that has them (owned by the caller), or NULL. */
static char *
join_lines(const char *bytes, const struct gl_head *head,
           struct gl_conditions *c)
{
    struct gl_str *const places[] = {
        &c->if_match,          &c->if_none_match,
        &c->if_modified_since, &c->if_unmodified_since,
        &c->if_range,          &c->range,
    };
    char *joined = malloc(head->size); /* has the values, names and more */
    size_t n = 0;

    for (size_t p = 0; joined != NULL && p < GL_ARRAY_LEN(places); p++) {
        size_t from = n;

        for (unsigned i = 0; i < head->count; i++) {
            struct gl_str line = gl_span_str(bytes, head->fields[i].value);

            if (place_of(&head->fields[i], c) == places[p]) {
                if (n > from) {
                    joined[n++] = ',';
                }
                memcpy(joined + n, line.p, line.n);
                n += line.n;
            }
        }
        if (places[p]->p != NULL) {
            *places[p] = (struct gl_str){joined + from, n - from};
        }
    }
    return joined;
}

int
gl_representation_conditions(const char *bytes, const struct gl_head *head,
                             struct gl_conditions *ret, char **ret_joined)
{
    bool several = false;

    *ret = (struct gl_conditions){0};
    *ret_joined = NULL;
    for (unsigned i = 0; i < head->count; i++) {
        struct gl_str *place = place_of(&head->fields[i], ret);

        if (place != NULL) {
            several |= place->p != NULL;
            *place = gl_span_str(bytes, head->fields[i].value);
        }
    }
    if (several) {
        *ret_joined = join_lines(bytes, head, ret);
        return *ret_joined != NULL ? 0 : -ENOMEM;
    }
    return 0;
}

/* --- choosing --------------------------------------------------------- */

/* Where it could be told in advance, whoever writes a file could write parts
 * into it that are none. */
static void
make_boundary(char dst[33])
{
    static const char hex[] = "0123456789abcdef";
    unsigned char random[16];

    if (getrandom(random, sizeof(random), GRND_NONBLOCK) != sizeof(random)) {
        uint64_t now = gl_clock_ns(); /* early in the boot of a machine */

        memset(random, 0, sizeof(random));
        memcpy(random, &now, sizeof(now));
    }
    for (size_t i = 0; i < sizeof(random); i++) {
        dst[2 * i] = hex[random[i] >> 4];
        dst[2 * i + 1] = hex[random[i] & 15];
    }
    dst[32] = '\0';
}

/* Writes the head of a part; its length. */
static size_t
part_head(const struct gl_representation *r, unsigned i, char *dst)
{
    const struct gl_range *range = &r->selection.ranges[i];
    int n = snprintf(dst, PART_BYTES,
                     "%s--%s\r\nContent-Type: %.*s\r\n"
                     "Content-Range: bytes %llu-%llu/%llu\r\n\r\n",
                     i > 0 ? "\r\n" : "", r->boundary, (int)r->type.n,
                     r->type.p, (unsigned long long)range->at,
                     (unsigned long long)(range->at + range->size - 1),
                     (unsigned long long)r->size);

    return n < PART_BYTES ? (size_t)n : PART_BYTES - 1;
}

static size_t
closing(const struct gl_representation *r, char dst[PART_BYTES])
{
    return (size_t)snprintf(dst, PART_BYTES, "\r\n--%s--\r\n", r->boundary);
}

static uint64_t
length_of(const struct gl_representation *r)
{
    char text[PART_BYTES];
    uint64_t length;

    if (r->selection.status != 206) {
        return r->selection.status == 200 ? r->size : 0;
    }
    if (r->selection.range_count == 1) {
        return r->selection.ranges[0].size;
    }
    length = closing(r, text);
    for (unsigned i = 0; i < r->selection.range_count; i++) {
        length += part_head(r, i, text) + r->selection.ranges[i].size;
    }
    return length;
}

void
gl_representation_choose(struct gl_representation *ret,
                         const struct gl_conditions *c,
                         const struct stat *info)
{
    struct gl_validators v = {.modified = info->st_mtim.tv_sec};
    int n;

    ret->modified = info->st_mtim;
    ret->size = v.size = (uint64_t)info->st_size;
    n = snprintf(ret->etag, sizeof(ret->etag), "\"%llx.%lx-%llx%s%.*s\"",
                 (unsigned long long)info->st_mtim.tv_sec,
                 (unsigned long)info->st_mtim.tv_nsec,
                 (unsigned long long)info->st_size,
                 ret->coding.n > 0 ? "-" : "", (int)ret->coding.n,
                 ret->coding.p);
    v.etag = (struct gl_str){ret->etag, (size_t)n};
    gl_http_select(c, &v, (int64_t)time(NULL), &ret->selection);
    if (ret->selection.range_count > 1) {
        make_boundary(ret->boundary);
    }
    ret->length = length_of(ret);
}

/* --- the answer's side ------------------------------------------------ */

int
gl_head_printf(struct gl_buf *head, const char *format, ...)
{
    char line[LINE_BYTES];
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    assert(n >= 0 && n < LINE_BYTES);
    return gl_buf_append(head, line, (size_t)n, SIZE_MAX);
}

int
gl_representation_range_fields(const struct gl_representation *r,
                               struct gl_buf *head)
{
    const struct gl_range *range = &r->selection.ranges[0];

    if (r->selection.status == 416) {
        return gl_head_printf(head, "Content-Range: bytes */%llu\r\n",
                              (unsigned long long)r->size);
    }
    if (gl_head_printf(head, "Accept-Ranges: bytes\r\n") < 0) {
        return -ENOMEM;
    }
    if (r->selection.status != 206 || r->selection.range_count > 1) {
        return 0;
    }
    return gl_head_printf(head, "Content-Range: bytes %llu-%llu/%llu\r\n",
                          (unsigned long long)range->at,
                          (unsigned long long)(range->at + range->size - 1),
                          (unsigned long long)r->size);
}

int
gl_representation_validators(const struct gl_representation *r,
                             struct gl_buf *head)
{
    struct gl_date date = {0};
    time_t now = time(NULL);
    /* A Last-Modified in the future is none (RFC 9110, 8.8.2.1). */
    time_t modified = r->modified.tv_sec < now ? r->modified.tv_sec : now;

    return gl_head_printf(head, "Last-Modified: %s\r\nETag: %s\r\n",
                          gl_date_text(&date, modified), r->etag);
}

int
gl_representation_body_fields(const struct gl_representation *r,
                              struct gl_buf *head)
{
    int error;

    if (r->selection.range_count > 1) {
        error = gl_head_printf(
            head, "Content-Type: multipart/byteranges; boundary=%s\r\n",
            r->boundary);
    } else {
        error = gl_head_printf(head, "Content-Type: %.*s\r\n", (int)r->type.n,
                               r->type.p);
    }
    return error < 0 ? error
                     : gl_head_printf(head, "Content-Length: %llu\r\n",
                                      (unsigned long long)r->length);
}

static int
add_ranges(const struct gl_representation *r, struct gl_file_answer *a,
           struct gl_str head)
{
    struct gl_buf text = {0};
    char part[PART_BYTES];
    int error = gl_buf_append(&text, head.p, head.n, SIZE_MAX);

    for (unsigned i = 0; error == 0 && i < r->selection.range_count; i++) {
        const struct gl_range *range = &r->selection.ranges[i];

        error = gl_buf_append(&text, part, part_head(r, i, part), SIZE_MAX);
        if (error == 0) {
            error = gl_file_answer_add(a, gl_buf_str(&text), (off_t)range->at,
                                       range->size);
        }
        gl_buf_fini(&text);
    }
    gl_buf_fini(&text);
    return error < 0 ? error
                     : gl_file_answer_add(
                           a, (struct gl_str){part, closing(r, part)}, 0, 0);
}

int
gl_representation_add(const struct gl_representation *r,
                      struct gl_file_answer *a, struct gl_str head,
                      bool head_only)
{
    const struct gl_range *range = &r->selection.ranges[0];

    if (head_only || r->length == 0) {
        return gl_file_answer_add(a, head, 0, 0);
    }
    if (r->selection.status == 200) {
        return gl_file_answer_add(a, head, 0, r->size);
    }
    return r->selection.range_count == 1
               ? gl_file_answer_add(a, head, (off_t)range->at, range->size)
               : add_ranges(r, a, head);
}
