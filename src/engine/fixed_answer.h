/* fixed_answer.h - an owner of an engine that answers every request alike.
 *
 * Used by the C-only server, by the whole-connection fuzz target and by the
 * C tests: everything of the server but Python.  A body is read to its end
 * first, waiting for it where it has not arrived.  With a delay each request
 * is put aside for that long: what a parked one costs without Python.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_ENGINE_FIXED_ANSWER_H
#define GL_ENGINE_FIXED_ANSWER_H

#include "base/list.h"
#include "engine/engine.h"
#include "engine/request.h"

struct gl_fixed_answer {
    struct gl_engine *engine; /* borrowed */
    struct gl_list waiting;   /* exchanges that wait for a body or to send */
    uint64_t answered;
    uint64_t failed; /* bodies that broke off or were malformed */
    uint64_t body_bytes;
    uint32_t delay_ms; /* set by the caller after the making; 0: none */
};

/* Makes an engine that `answer` (the caller's memory, uninitialised) owns.
 * Returns 0 or a negative errno. */
int gl_fixed_answer_engine(struct gl_fixed_answer *answer,
                           const struct gl_options *options,
                           const struct gl_log *log,
                           struct gl_engine **ret_engine);
/* Ends every exchange that still waits; before gl_engine_free. */
void gl_fixed_answer_fini(struct gl_fixed_answer *answer);

#endif
