/* static_lookup.h - from the path of a request to an open file.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_ENGINE_STATIC_LOOKUP_H
#define GL_ENGINE_STATIC_LOOKUP_H

#include "base/str.h"
#include "engine/static_config.h"
#include "proto/file_path.h"

#include <stdbool.h>
#include <sys/stat.h>

#define GL_STATIC_PATH_BYTES 4096 /* longer paths name no file */
#define GL_STATIC_NAME_BYTES (GL_STATIC_PATH_BYTES + 260)

/* root_fd and fd are -1 where there are none. */
struct gl_static_found {
    int fd;      /* of what is served */
    int root_fd; /* of the folder it was found in */
    struct stat info;
    bool redirects; /* it is a folder, and asked for without its slash */
    bool checked;   /* by GL_STATIC_CHECKS */
    struct gl_str coding;
    bool varies;                     /* there is one in another coding */
    char name[GL_STATIC_NAME_BYTES]; /* beneath the root, with a NUL */
};

/* Looks for what `path` names.  1 if there is something: then the descriptors
 * of `found` are the caller's; 0 if not; or -EMFILE, -ENFILE, -ENOMEM. */
int gl_static_lookup(const struct gl_static_config *c,
                     const struct gl_file_path *path,
                     struct gl_static_found *found);
/* Takes a compressed file beside the one found, where the client (by its
 * Accept-Encoding; p is NULL without) likes it best. */
void gl_static_choose_coding(const struct gl_static_config *c,
                             struct gl_str accept,
                             struct gl_static_found *found);
void gl_static_found_fini(struct gl_static_found *found);

#endif
