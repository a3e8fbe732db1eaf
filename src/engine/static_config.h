/* static_config.h - which files are served, and how: lists of pairs of text.
 *
 * Filled once, before the first request, and only read afterwards.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_ENGINE_STATIC_CONFIG_H
#define GL_ENGINE_STATIC_CONFIG_H

#include "base/beneath.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum gl_static_list {
    GL_STATIC_FILES,    /* path -> file */
    GL_STATIC_CHECKS,   /* "" -> folder, before the application */
    GL_STATIC_MAPS,     /* prefix ("" or "/p") -> folder */
    GL_STATIC_INDEXES,  /* name -> "" */
    GL_STATIC_SAFE,     /* folder -> "" */
    GL_STATIC_SKIPS,    /* end of a path -> "" */
    GL_STATIC_TYPES,    /* extension with its dot, in lower case -> type */
    GL_STATIC_SENDFILE, /* folder -> "": of X-Sendfile */
    GL_STATIC_LISTS
};

struct gl_static_pair {
    struct gl_str key, value; /* owned, NUL-terminated */
};

struct gl_static_pairs {
    struct gl_static_pair *items; /* owned */
    size_t count;
};

/* Zeroed memory is an empty one. */
struct gl_static_config {
    struct gl_static_pairs lists[GL_STATIC_LISTS];
    const char **safe; /* owned: the keys of GL_STATIC_SAFE */
    bool has_max_age;
    uint32_t max_age; /* seconds */
};

/* Adds a pair, copied.  0 or -ENOMEM. */
int gl_static_config_add(struct gl_static_config *c, enum gl_static_list list,
                         struct gl_str key, struct gl_str value);
/* Makes it ready for look-ups: once, after the last pair.  0 or -ENOMEM. */
int gl_static_config_finish(struct gl_static_config *c);
void gl_static_config_fini(struct gl_static_config *c);

/* The folders that links may lead to. */
struct gl_beneath_safe gl_static_config_safe(
    const struct gl_static_config *c);
/* The media type of a file by its name (borrowed). */
struct gl_str gl_static_config_type(const struct gl_static_config *c,
                                    struct gl_str name);
/* Whether a path has an end that is not to be served. */
bool gl_static_config_skips(const struct gl_static_config *c,
                            struct gl_str path);

#endif
