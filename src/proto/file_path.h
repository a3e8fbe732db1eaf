/* file_path.h - the path of a request as the name of a file.
 *
 * The first of two walls around a folder that is served; the second one is
 * base/beneath.h, which does not trust this one.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_PROTO_FILE_PATH_H
#define GL_PROTO_FILE_PATH_H

#include "base/str.h"

#include <stdbool.h>

struct gl_file_path {
    struct gl_str name; /* "" or "/a/b": no empty part, no last slash */
    bool slash;         /* there was a last slash */
};

/* Brings a path (percent-decoded, in `path`, which is changed) to its plain
 * form: repeated slashes become one.  Returns false for what names no file
 * that is served: no slash in front, a NUL, or a part that begins with a dot
 * (so "." and ".." too), except ".well-known" as the first (RFC 8615). */
bool gl_file_path_parse(char *path, size_t n, struct gl_file_path *ret);

#endif
