/* file_answer.h - an answer whose body is a file, sent without a slot.
 *
 * It is made of parts: text, and after it bytes of one file.  While a slow
 * peer takes it, it holds a descriptor and at most GL_FILE_PIECE_BYTES; a
 * slot that the request still has is given back.
 *
 * A file that becomes shorter ends the connection; it is never padded.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_ENGINE_FILE_ANSWER_H
#define GL_ENGINE_FILE_ANSWER_H

#include "base/list.h"
#include "engine/access_log.h"
#include "engine/engine.h"
#include "engine/request.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define GL_FILE_PIECE_BYTES 16384
#define GL_FILE_PARTS_MAX 9 /* eight ranges, and what closes them */

/* All that are under way in an engine. */
struct gl_file_answers {
    struct gl_engine *engine; /* borrowed */
    struct gl_list running;
    uint64_t sent_bytes; /* of answers that have ended */
};

struct gl_file_answer; /* opaque */

void gl_file_answers_init(struct gl_file_answers *all,
                          struct gl_engine *engine);
/* Ends all: their connections are closed. */
void gl_file_answers_end(struct gl_file_answers *all);

/* Makes one for a request (borrowed until it is run or freed) and a file,
 * which it owns from now on, also on failure; -1: none.  NULL without
 * memory. */
struct gl_file_answer *gl_file_answer_new(struct gl_file_answers *all,
                                          struct gl_request *req, int fd);
/* Frees one that was not run; the request goes on. */
void gl_file_answer_free(struct gl_file_answer *a);
/* Adds text, and `size` bytes of the file from `at` on.  0 or -ENOMEM. */
int gl_file_answer_add(struct gl_file_answer *a, struct gl_str text, off_t at,
                       uint64_t size);
/* What the access log is to tell at the end: a copy, or NULL.  body_bytes and
 * micros are filled in then; head_bytes are what of the sent bytes is no
 * body. */
void gl_file_answer_log(struct gl_file_answer *a,
                        struct gl_access_entry *entry);
/* Sends the next piece.  Returns 1 when all is sent, 0 for more, -EAGAIN for
 * a full socket, or a negative errno: nothing can follow. */
int gl_file_answer_step(struct gl_file_answer *a);
/* Sends the rest, now or later, and ends the request; keep: whether the
 * connection may serve on then.  `a` is gone for the caller. */
void gl_file_answer_run(struct gl_file_answer *a, bool keep);

#endif
