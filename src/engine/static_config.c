/* static_config.c - which files are served, and how: lists of pairs of text.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine/static_config.h"

#include <errno.h>
#include <stdlib.h>

#define EXTENSION_BYTES 32 /* with its dot; longer ones have no type */

static char *
copy_text(struct gl_str text)
{
    char *copy = malloc(text.n + 1);

    if (copy != NULL) {
        if (text.n > 0) {
            memcpy(copy, text.p, text.n);
        }
        copy[text.n] = '\0';
    }
    return copy;
}

int
gl_static_config_add(struct gl_static_config *c, enum gl_static_list list,
                     struct gl_str key, struct gl_str value)
{
    struct gl_static_pairs *pairs = &c->lists[list];
    struct gl_static_pair *items =
        realloc(pairs->items, (pairs->count + 1) * sizeof(*items));
    char *own_key, *own_value;

    if (items == NULL) {
        return -ENOMEM;
    }
    pairs->items = items;
    own_key = copy_text(key);
    own_value = copy_text(value);
    if (own_key == NULL || own_value == NULL) {
        free(own_key);
        free(own_value);
        return -ENOMEM;
    }
    items[pairs->count++] = (struct gl_static_pair){
        .key = {own_key, key.n}, .value = {own_value, value.n}};
    return 0;
}

static int
compare(struct gl_str a, struct gl_str b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n > 0 ? memcmp(a.p, b.p, n) : 0;

    return order != 0 ? order : (a.n > b.n) - (a.n < b.n);
}

static int
compare_pairs(const void *a, const void *b)
{
    return compare(((const struct gl_static_pair *)a)->key,
                   ((const struct gl_static_pair *)b)->key);
}

int
gl_static_config_finish(struct gl_static_config *c)
{
    const struct gl_static_pairs *safe = &c->lists[GL_STATIC_SAFE];
    struct gl_static_pairs *types = &c->lists[GL_STATIC_TYPES];

    c->safe = calloc(safe->count + 1, sizeof(*c->safe));
    if (c->safe == NULL) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < safe->count; i++) {
        c->safe[i] = safe->items[i].key.p;
    }
    if (types->count > 0) {
        qsort(types->items, types->count, sizeof(*types->items),
              compare_pairs);
    }
    return 0;
}

void
gl_static_config_fini(struct gl_static_config *c)
{
    for (size_t list = 0; list < GL_STATIC_LISTS; list++) {
        struct gl_static_pairs *pairs = &c->lists[list];

        for (size_t i = 0; i < pairs->count; i++) {
            free((void *)(uintptr_t)pairs->items[i].key.p);
            free((void *)(uintptr_t)pairs->items[i].value.p);
        }
        free(pairs->items);
    }
    free(c->safe);
    *c = (struct gl_static_config){0};
}

struct gl_beneath_safe
gl_static_config_safe(const struct gl_static_config *c)
{
    return (struct gl_beneath_safe){c->safe, c->lists[GL_STATIC_SAFE].count};
}

/* The last dot of the last part, and what follows it, in lower case.  Its
 * length, or 0. */
static size_t
extension_of(struct gl_str name, char dst[EXTENSION_BYTES])
{
    size_t n = 0;

    while (n < name.n && n < EXTENSION_BYTES) {
        char c = name.p[name.n - 1 - n];

        if (c == '/') {
            return 0;
        }
        n++;
        if (c == '.') {
            for (size_t i = 0; i < n; i++) {
                c = name.p[name.n - n + i];
                dst[i] = c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
            }
            return n;
        }
    }
    return 0;
}

struct gl_str
gl_static_config_type(const struct gl_static_config *c, struct gl_str name)
{
    const struct gl_static_pairs *types = &c->lists[GL_STATIC_TYPES];
    char extension[EXTENSION_BYTES];
    struct gl_static_pair wanted = {
        .key = {extension, extension_of(name, extension)}};
    const struct gl_static_pair *found = NULL;

    if (wanted.key.n > 0 && types->count > 0) {
        found = bsearch(&wanted, types->items, types->count,
                        sizeof(*types->items), compare_pairs);
    }
    return found != NULL ? found->value : GL_STR("application/octet-stream");
}

bool
gl_static_config_skips(const struct gl_static_config *c, struct gl_str path)
{
    const struct gl_static_pairs *skips = &c->lists[GL_STATIC_SKIPS];

    for (size_t i = 0; i < skips->count; i++) {
        struct gl_str end = skips->items[i].key;

        if (path.n >= end.n &&
            memcmp(path.p + path.n - end.n, end.p, end.n) == 0) {
            return true;
        }
    }
    return false;
}
