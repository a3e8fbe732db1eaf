/* static_lookup.c - from the path of a request to an open file.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine/static_lookup.h"

#include "base/gl.h"
#include "proto/http_accept.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

static void
close_one(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

void
gl_static_found_fini(struct gl_static_found *found)
{
    close_one(&found->fd);
    close_one(&found->root_fd);
}

/* Writes the name of a file beneath the root.  Returns whether it fits. */
static bool
set_name(struct gl_static_found *found, struct gl_str first,
         struct gl_str second)
{
    bool slash = first.n > 0 && second.n > 0;

    if (first.n + second.n + 2 > sizeof(found->name)) {
        return false;
    }
    memmove(found->name, first.p, first.n);
    found->name[first.n] = '/';
    memcpy(found->name + first.n + slash, second.p, second.n);
    found->name[first.n + slash + second.n] = '\0';
    return true;
}

/* Opens found->name.  0, or -errno. */
static int
open_name(const struct gl_static_config *c, struct gl_static_found *found)
{
    const struct gl_beneath_safe safe = gl_static_config_safe(c);

    found->fd =
        gl_beneath_open(found->root_fd, found->name, &safe, &found->info);
    return found->fd < 0 ? found->fd : 0;
}

/* In a folder, the first index that is a file. */
static int
find_index(const struct gl_static_config *c, struct gl_str folder,
           struct gl_static_found *found)
{
    const struct gl_static_pairs *names = &c->lists[GL_STATIC_INDEXES];

    for (size_t i = 0; i < names->count; i++) {
        int error = set_name(found, folder, names->items[i].key)
                        ? open_name(c, found)
                        : -ENOENT;

        if (error == 0 && S_ISREG(found->info.st_mode)) {
            return 0;
        }
        close_one(&found->fd);
        if (error < 0 && error != -ENOENT) {
            return error;
        }
    }
    return -ENOENT;
}

/* `rest`: of the path, beneath found->root_fd. */
static int
find_beneath(const struct gl_static_config *c, struct gl_str rest, bool slash,
             struct gl_static_found *found)
{
    int error;

    if (rest.n > 0 && !slash) {
        error =
            set_name(found, rest, GL_STR("")) ? open_name(c, found) : -ENOENT;
        if (error < 0 || S_ISREG(found->info.st_mode)) {
            return error;
        }
        close_one(&found->fd);
    }
    error = find_index(c, rest, found);
    found->redirects = error == 0 && !slash;
    return error;
}

/* Without a descriptor nothing can be opened; whether it would be there is
 * seen without one.  `error`, or -ENOENT. */
static int
lack_of(const char *folder, struct gl_str rest, int error)
{
    char path[GL_STATIC_NAME_BYTES + PATH_MAX];
    struct stat info;

    (void)snprintf(path, sizeof(path), "%s/%.*s", folder, (int)rest.n,
                   rest.p);
    return stat(path, &info) == 0 ? error : -ENOENT;
}

/* Looks in a folder for what is left of the path. */
static int
look_into(const struct gl_static_config *c, const char *folder,
          struct gl_str rest, bool slash, struct gl_static_found *found)
{
    int error;

    if (rest.n > 0) {
        (void)gl_str_take(&rest, 1); /* its slash */
    }
    found->root_fd = gl_beneath_root(folder);
    error = found->root_fd < 0 ? found->root_fd
                               : find_beneath(c, rest, slash, found);
    if (error < 0) {
        gl_static_found_fini(found);
    }
    return error < 0 && error != -ENOENT ? lack_of(folder, rest, error)
                                         : error;
}

/* The path without the prefix, if it has it as whole parts. */
static bool
cut_prefix(struct gl_str path, struct gl_str prefix, struct gl_str *ret_rest)
{
    if (path.n < prefix.n ||
        (prefix.n > 0 && memcmp(path.p, prefix.p, prefix.n) != 0) ||
        (path.n > prefix.n && path.p[prefix.n] != '/')) {
        return false;
    }
    (void)gl_str_take(&path, prefix.n);
    *ret_rest = path;
    return true;
}

static int
look_for_file(const struct gl_static_config *c,
              const struct gl_file_path *path, struct gl_static_found *found)
{
    const struct gl_static_pairs *files = &c->lists[GL_STATIC_FILES];

    for (size_t i = 0; i < files->count; i++) {
        const struct gl_static_pair *pair = &files->items[i];

        if (!path->slash && gl_str_eq(path->name, pair->key)) {
            struct gl_str type_of = pair->value;

            found->fd = gl_beneath_open_file(pair->value.p, &found->info);
            if (found->fd < 0) {
                return found->fd;
            }
            while (type_of.n + 2 > sizeof(found->name)) {
                (void)gl_str_take(&type_of, 1);
            }
            (void)set_name(found, GL_STR(""), type_of);
            return 0;
        }
    }
    return -ENOENT;
}

static int
look_in_list(const struct gl_static_config *c, enum gl_static_list list,
             const struct gl_file_path *path, struct gl_static_found *found)
{
    const struct gl_static_pairs *folders = &c->lists[list];

    for (size_t i = 0; i < folders->count; i++) {
        const struct gl_static_pair *pair = &folders->items[i];
        struct gl_str rest;
        int error = -ENOENT;

        if (cut_prefix(path->name, pair->key, &rest)) {
            error = look_into(c, pair->value.p, rest, path->slash, found);
        }
        if (error != -ENOENT) {
            return error;
        }
    }
    return -ENOENT;
}

int
gl_static_lookup(const struct gl_static_config *c,
                 const struct gl_file_path *path,
                 struct gl_static_found *found)
{
    int error;

    found->fd = found->root_fd = -1;
    found->redirects = found->checked = found->varies = false;
    found->coding = GL_STR("");
    error = look_for_file(c, path, found);
    if (error == -ENOENT) {
        error = look_in_list(c, GL_STATIC_CHECKS, path, found);
        found->checked = error == 0;
    }
    if (error == -ENOENT) {
        error = look_in_list(c, GL_STATIC_MAPS, path, found);
    }
    return error == -ENOENT ? 0 : error < 0 ? error : 1;
}

/* --- codings ---------------------------------------------------------- */

struct coding {
    struct gl_str name, other_name, ending;
};

static bool
is_older(const struct stat *a, const struct stat *b)
{
    return a->st_mtim.tv_sec != b->st_mtim.tv_sec
               ? a->st_mtim.tv_sec < b->st_mtim.tv_sec
               : a->st_mtim.tv_nsec < b->st_mtim.tv_nsec;
}

/* Opens the file beside the one found.  A descriptor, or -1. */
static int
open_sibling(const struct gl_static_config *c, struct gl_str ending,
             struct gl_static_found *found, struct stat *ret_info)
{
    const struct gl_beneath_safe safe = gl_static_config_safe(c);
    size_t n = strlen(found->name);
    int fd;

    if (n + ending.n >= sizeof(found->name)) {
        return -1;
    }
    memcpy(found->name + n, ending.p, ending.n);
    found->name[n + ending.n] = '\0';
    fd = gl_beneath_open(found->root_fd, found->name, &safe, ret_info);
    found->name[n] = '\0'; /* the type is that of the original */
    if (fd >= 0 && !S_ISREG(ret_info->st_mode)) {
        close_one(&fd);
    }
    return fd >= 0 ? fd : -1;
}

static int
quality_of(struct gl_str accept, const struct coding *coding)
{
    int quality = gl_http_coding_quality(accept, coding->name);

    return quality >= 0 || coding->other_name.n == 0
               ? quality
               : gl_http_coding_quality(accept, coding->other_name);
}

void
gl_static_choose_coding(const struct gl_static_config *c,
                        struct gl_str accept, struct gl_static_found *found)
{
    static const struct coding codings[] = {
        {{"br", 2}, {"", 0}, {".br", 3}},
        {{"gzip", 4}, {"x-gzip", 6}, {".gz", 3}},
    };
    struct stat original = found->info;
    int best = 0, identity;

    if (found->root_fd < 0) {
        return; /* a single file was mapped, not what lies beside it */
    }
    identity = gl_http_coding_quality(accept, GL_STR("identity"));
    for (size_t i = 0; i < GL_ARRAY_LEN(codings); i++) {
        int quality = quality_of(accept, &codings[i]);
        struct stat info;
        int fd = open_sibling(c, codings[i].ending, found, &info);

        if (fd >= 0 && is_older(&info, &original)) {
            close_one(&fd);
        }
        found->varies |= fd >= 0;
        if (fd >= 0 && quality > best && quality >= identity) {
            close_one(&found->fd);
            found->fd = fd;
            found->info = info;
            found->coding = codings[i].name;
            best = quality;
        } else {
            close_one(&fd);
        }
    }
}
