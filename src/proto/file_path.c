/* file_path.c - the path of a request as the name of a file.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proto/file_path.h"

static bool
is_served(struct gl_str part, bool first)
{
    return part.p[0] != '.' ||
           (first && gl_str_eq(part, GL_STR(".well-known")));
}

bool
gl_file_path_parse(char *path, size_t n, struct gl_file_path *ret)
{
    size_t at = 0, out = 0;

    if (n == 0 || path[0] != '/' || memchr(path, '\0', n) != NULL) {
        return false;
    }
    while (at < n) {
        size_t end;

        while (at < n && path[at] == '/') {
            at++;
        }
        end = at;
        while (end < n && path[end] != '/') {
            end++;
        }
        if (end == at) {
            break; /* only slashes were left */
        }
        if (!is_served((struct gl_str){path + at, end - at}, out == 0)) {
            return false;
        }
        path[out++] = '/';
        memmove(path + out, path + at, end - at);
        out += end - at;
        at = end;
    }
    ret->slash = path[n - 1] == '/';
    ret->name = (struct gl_str){path, out};
    return true;
}
