/* beneath.h - opens files that lie beneath a folder, and no others.
 *
 * The kernel resolves the name (openat2, RESOLVE_BENEATH); where it cannot,
 * or where a symbolic link leads elsewhere, what was found is judged by where
 * it really lies, before it is opened for reading.  No check is of a name
 * that could mean another file a moment later.
 *
 * Errors are negative errno values: -ENOENT for whatever may not or cannot be
 * served; -EMFILE, -ENFILE and -ENOMEM are the system's.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_BASE_BENEATH_H
#define GL_BASE_BENEATH_H

#include <stddef.h>
#include <sys/stat.h>

/* Opens a folder as a root; the caller's to close.  It is opened for each
 * use, so that a link which is pointed to another release is followed. */
int gl_beneath_root(const char *path);

/* Further folders that symbolic links may lead to. */
struct gl_beneath_safe {
    const char *const *paths; /* borrowed */
    size_t count;
};

/* Opens `name` (relative, "." for the root itself) beneath root_fd for
 * reading: a regular file or a folder, nothing else, and without blocking.
 * Returns the descriptor, the caller's, and what it is. */
int gl_beneath_open(int root_fd, const char *name,
                    const struct gl_beneath_safe *safe,
                    struct stat *ret_info);

/* Opens a regular file by its whole path, following links. */
int gl_beneath_open_file(const char *path, struct stat *ret_info);

#endif
