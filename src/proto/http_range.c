/* http_range.c - which bytes of a representation a Range field asks for.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proto/http_range.h"

#include "proto/http_tables.h"

#include <stdbool.h>

#define ITEMS_MAX 16 /* of the field, those that cannot be met included */

/* Digits at the start of *s, cut off; a number that is too large becomes the
 * largest.  Returns false without any. */
static bool
take_number(struct gl_str *s, uint64_t *ret_number)
{
    uint64_t number = 0;
    size_t n = 0;

    while (n < s->n && (gl_http_class[(uint8_t)s->p[n]] & GL_CLASS_DIGIT)) {
        uint64_t digit = (uint64_t)(s->p[n] - '0');

        number = number > (UINT64_MAX - digit) / 10 ? UINT64_MAX
                                                    : number * 10 + digit;
        n++;
    }
    (void)gl_str_take(s, n);
    *ret_number = number;
    return n > 0;
}

/* One item: "first-", "first-last" or "-length".  Returns false if it is
 * malformed; ret->size is 0 if it cannot be met. */
static bool
read_item(struct gl_str item, uint64_t size, struct gl_range *ret)
{
    uint64_t first, last;
    bool has_first = take_number(&item, &first), has_last;

    if (item.n == 0 || item.p[0] != '-') {
        return false;
    }
    (void)gl_str_take(&item, 1);
    has_last = take_number(&item, &last);
    if (item.n > 0 || (!has_first && !has_last) ||
        (has_first && has_last && last < first)) {
        return false;
    }
    if (!has_first) { /* the last so many bytes */
        ret->size = last < size ? last : size;
        ret->at = size - ret->size;
        return true;
    }
    ret->at = first;
    ret->size = 0;
    if (first < size) {
        ret->size = has_last && last < size ? last - first + 1 : size - first;
    }
    return true;
}

static bool
overlaps(const struct gl_range *ranges, unsigned count,
         const struct gl_range *one)
{
    for (unsigned i = 0; i < count; i++) {
        if (one->at < ranges[i].at + ranges[i].size &&
            ranges[i].at < one->at + one->size) {
            return true;
        }
    }
    return false;
}

enum gl_range_result
gl_http_range_parse(struct gl_str value, uint64_t size,
                    struct gl_range ranges[GL_RANGES_MAX],
                    unsigned *ret_count)
{
    const size_t unit = sizeof("bytes=") - 1;
    struct gl_str item;
    unsigned count = 0, items = 0;

    if (size == 0 || value.n < unit ||
        !gl_http_equals((struct gl_str){value.p, unit}, GL_STR("bytes="))) {
        return GL_RANGE_WHOLE; /* an empty one has no range to name */
    }
    (void)gl_str_take(&value, unit);
    while (gl_http_list_next(&value, &item)) {
        struct gl_range range;

        if (item.n == 0) {
            continue; /* RFC 9110, 5.6.1.2 */
        }
        if (++items > ITEMS_MAX || !read_item(item, size, &range)) {
            return GL_RANGE_WHOLE;
        }
        if (range.size == 0) {
            continue;
        }
        if (count == GL_RANGES_MAX || overlaps(ranges, count, &range)) {
            return GL_RANGE_WHOLE;
        }
        ranges[count++] = range;
    }
    if (items == 0) {
        return GL_RANGE_WHOLE;
    }
    *ret_count = count;
    return count > 0 ? GL_RANGE_PARTS : GL_RANGE_NONE;
}
