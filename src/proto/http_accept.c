/* http_accept.c - how much a client likes a content coding.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proto/http_accept.h"

#include "proto/http_tables.h"

#include <stdbool.h>

static void
skip_blanks(struct gl_str *s)
{
    while (s->n > 0 && (s->p[0] == ' ' || s->p[0] == '\t')) {
        (void)gl_str_take(s, 1);
    }
}

/* "0", "1", each with up to three digits behind a dot; 0 for anything else. */
static int
quality_of(struct gl_str text)
{
    int quality;

    if (text.n == 0 || text.n > 5 || (text.p[0] != '0' && text.p[0] != '1') ||
        (text.n > 1 && text.p[1] != '.')) {
        return 0;
    }
    quality = (text.p[0] - '0') * 1000;
    for (size_t i = 2, unit = 100; i < text.n; i++, unit /= 10) {
        if (!(gl_http_class[(uint8_t)text.p[i]] & GL_CLASS_DIGIT)) {
            return 0;
        }
        quality += (text.p[i] - '0') * (int)unit;
    }
    return quality <= 1000 ? quality : 0;
}

/* Cuts the name off an item, whose rest is its weight.  The quality. */
static int
read_item(struct gl_str item, struct gl_str *ret_name)
{
    const char *end = memchr(item.p, ';', item.n);

    *ret_name = item;
    if (end == NULL) {
        return 1000;
    }
    ret_name->n = (size_t)(end - item.p);
    (void)gl_str_take(&item, ret_name->n + 1);
    while (ret_name->n > 0 && (ret_name->p[ret_name->n - 1] == ' ' ||
                               ret_name->p[ret_name->n - 1] == '\t')) {
        ret_name->n--;
    }
    skip_blanks(&item);
    if (item.n < 2 || (item.p[0] | 0x20) != 'q' || item.p[1] != '=') {
        return 0;
    }
    (void)gl_str_take(&item, 2);
    return quality_of(item);
}

int
gl_http_coding_quality(struct gl_str field, struct gl_str coding)
{
    struct gl_str item, name;
    int any = -1;

    while (gl_http_list_next(&field, &item)) {
        int quality;

        if (item.n == 0) {
            continue;
        }
        quality = read_item(item, &name);
        if (gl_http_equals(name, coding)) {
            return quality;
        }
        if (gl_str_eq(name, GL_STR("*"))) {
            any = quality;
        }
    }
    return any;
}
