/* static.h - requests that files answer, without a slot and without Python.
 *
 * A path that names no file that may be served is left to the owner: it is
 * not told apart why.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_ENGINE_STATIC_H
#define GL_ENGINE_STATIC_H

#include "engine/file_answer.h"
#include "engine/static_config.h"

#include <stdbool.h>
#include <stdint.h>

struct gl_static {
    struct gl_static_config config;
    struct gl_file_answers *answers; /* borrowed */
    uint64_t served;                 /* requests, refusals included */
    bool told; /* of a lack of descriptors, until one is there again */
};

/* Answers the request if a file does: whether it did, or will.  The head must
 * be valid. */
bool gl_static_try(struct gl_static *s, struct gl_request *req);

/* Opens the file that an X-Sendfile field names: beneath one of its folders.
 * Returns the descriptor (the caller's), or what gl_beneath_open does. */
int gl_static_open_sendfile(struct gl_static *s, struct gl_str name,
                            struct stat *ret_info);

#endif
