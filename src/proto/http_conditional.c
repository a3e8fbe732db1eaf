/* http_conditional.c - whether a GET or HEAD of a representation is answered
 * with it, with a part of it, or with 304, 412 or 416.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proto/http_conditional.h"

#include "proto/http_date.h"

/* Cuts the next entity tag off a list.  Returns false at its end, and for
 * what is none: nothing after it matches then. */
static bool
next_tag(struct gl_str *list, struct gl_str *ret_tag, bool *ret_weak)
{
    const char *end;

    while (list->n > 0 &&
           (list->p[0] == ' ' || list->p[0] == '\t' || list->p[0] == ',')) {
        (void)gl_str_take(list, 1);
    }
    *ret_weak = list->n > 2 && list->p[0] == 'W' && list->p[1] == '/';
    if (*ret_weak) {
        (void)gl_str_take(list, 2);
    }
    if (list->n < 2 || list->p[0] != '"') {
        return false;
    }
    end = memchr(list->p + 1, '"', list->n - 1);
    if (end == NULL) {
        return false;
    }
    *ret_tag = gl_str_take(list, (size_t)(end - list->p) + 1);
    return true;
}

/* Whether a list has the tag, or is "*".  Weak tags count if `weak`. */
static bool
has_tag(struct gl_str list, struct gl_str etag, bool weak)
{
    struct gl_str tag;
    bool is_weak;

    if (gl_str_eq(list, GL_STR("*"))) {
        return true;
    }
    while (next_tag(&list, &tag, &is_weak)) {
        if ((weak || !is_weak) && gl_str_eq(tag, etag)) {
            return true;
        }
    }
    return false;
}

/* Whether the field holds a date before which it was modified last, or at
 * which; `unless` for a field that is none. */
static bool
not_modified_since(struct gl_str field, const struct gl_validators *v,
                   int64_t now, bool unless)
{
    int64_t date;

    return gl_http_date_parse(field, now, &date) ? v->modified <= date
                                                 : unless;
}

/* 412, 304, or 0 to go on. */
static int
check_preconditions(const struct gl_conditions *c,
                    const struct gl_validators *v, int64_t now)
{
    if (c->if_match.p != NULL) {
        if (!has_tag(c->if_match, v->etag, false)) {
            return 412;
        }
    } else if (c->if_unmodified_since.p != NULL &&
               !not_modified_since(c->if_unmodified_since, v, now, true)) {
        return 412;
    }
    if (c->if_none_match.p != NULL) {
        return has_tag(c->if_none_match, v->etag, true) ? 304 : 0;
    }
    return c->if_modified_since.p != NULL &&
                   not_modified_since(c->if_modified_since, v, now, false)
               ? 304
               : 0;
}

/* Whether the client's part is of this very representation: a strong tag, or
 * a date that is one (RFC 9110, 13.1.5 and 8.8.2.2). */
static bool
is_same(const struct gl_conditions *c, const struct gl_validators *v,
        int64_t now)
{
    int64_t date;

    if (c->if_range.p == NULL) {
        return true;
    }
    if (c->if_range.n > 0 && c->if_range.p[0] == '"') {
        return gl_str_eq(c->if_range, v->etag);
    }
    return gl_http_date_parse(c->if_range, now, &date) &&
           date == v->modified && now - v->modified > 1;
}

void
gl_http_select(const struct gl_conditions *c, const struct gl_validators *v,
               int64_t now, struct gl_selection *ret)
{
    ret->range_count = 0;
    ret->status = check_preconditions(c, v, now);
    if (ret->status != 0) {
        return;
    }
    ret->status = 200;
    if (c->range.p != NULL && is_same(c, v, now)) {
        switch (gl_http_range_parse(c->range, v->size, ret->ranges,
                                    &ret->range_count)) {
        case GL_RANGE_PARTS:
            ret->status = 206;
            break;
        case GL_RANGE_NONE:
            ret->status = 416;
            break;
        case GL_RANGE_WHOLE:
            break;
        }
    }
}
