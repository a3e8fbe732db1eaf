/* representation.h - a file as the answer to a request: its validators, the
 * fields that tell of it, and the parts that are sent.
 *
 * RFC 9110, sections 8.8, 13, 14 and 15.3.7.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_ENGINE_REPRESENTATION_H
#define GL_ENGINE_REPRESENTATION_H

#include "base/buf.h"
#include "engine/file_answer.h"
#include "proto/head.h"
#include "proto/http_conditional.h"

#include <sys/stat.h>

#define GL_ETAG_BYTES 64

struct gl_representation {
    struct gl_selection selection;
    char etag[GL_ETAG_BYTES];
    struct timespec modified;
    uint64_t size;
    uint64_t length;      /* Content-Length */
    struct gl_str type;   /* borrowed; of the file itself */
    struct gl_str coding; /* borrowed; "" for none */
    char boundary[33];    /* of several ranges */
};

/* The conditional fields of a head, borrowed from its bytes.  If one came on
 * several lines, `*ret_joined` (else NULL) has their values instead, owned by
 * the caller: to be freed once the conditions are no longer used.  0 or
 * -ENOMEM. */
int gl_representation_conditions(const char *bytes,
                                 const struct gl_head *head,
                                 struct gl_conditions *ret,
                                 char **ret_joined);
/* Chooses what is sent of a file.  `ret` has its type and coding already. */
void gl_representation_choose(struct gl_representation *ret,
                              const struct gl_conditions *c,
                              const struct stat *info);
/* Appends Accept-Ranges and Content-Range, as the choice calls for.  0 or
 * -ENOMEM. */
int gl_representation_range_fields(const struct gl_representation *r,
                                   struct gl_buf *head);
/* Appends Last-Modified and ETag.  0 or -ENOMEM. */
int gl_representation_validators(const struct gl_representation *r,
                                 struct gl_buf *head);
/* Appends Content-Type and Content-Length.  0 or -ENOMEM. */
int gl_representation_body_fields(const struct gl_representation *r,
                                  struct gl_buf *head);
/* Adds the head and the chosen parts of the file to an answer.  0 or
 * -ENOMEM. */
int gl_representation_add(const struct gl_representation *r,
                          struct gl_file_answer *a, struct gl_str head,
                          bool head_only);

/* Appends formatted text, at most 511 bytes.  0 or -ENOMEM. */
int gl_head_printf(struct gl_buf *head, const char *format, ...)
    GL_PRINTF(2, 3);

#endif
