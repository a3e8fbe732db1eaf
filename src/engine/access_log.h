/* access_log.h - one line a request, collected and written in batches.
 *
 * Lines are formatted into memory and leave in few writes, at most
 * ACCESS_LOG_DELAY_MS (engine.c) later.  A descriptor that takes nothing (a
 * full pipe) never blocks the loop: beyond a bound lines are dropped, and
 * their number is written when it takes bytes again.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_ENGINE_ACCESS_LOG_H
#define GL_ENGINE_ACCESS_LOG_H

#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum gl_access_format {
    GL_ACCESS_UWSGI,   /* like uWSGI's default line */
    GL_ACCESS_COMBINED /* Apache's "combined" */
};

struct gl_access_log; /* opaque */

/* What a line tells.  All text is borrowed for the call and is escaped. */
struct gl_access_entry {
    struct gl_str peer;
    struct gl_str user;
    struct gl_str method;
    struct gl_str uri;
    struct gl_str protocol;
    struct gl_str referer;
    struct gl_str user_agent;
    uint32_t vars;       /* entries of the environ that came from outside */
    uint32_t vars_bytes; /* of the request head */
    uint64_t body_bytes; /* sent, without the head */
    uint32_t head_bytes; /* sent */
    uint32_t head_fields;
    uint32_t micros;   /* from the whole head to the end */
    uint32_t switches; /* times the request gave control to the hub, +1 */
    uint32_t core;
    int status;
};

/* A copy that owns its text, in one block that free() releases.  NULL without
 * memory. */
struct gl_access_entry *gl_access_entry_copy(
    const struct gl_access_entry *entry);
/* Makes a log that writes to fd (borrowed).  NULL without memory. */
struct gl_access_log *gl_access_log_new(int fd, enum gl_access_format format);
/* Writes what is pending as far as the descriptor takes it; NULL is fine. */
void gl_access_log_free(struct gl_access_log *log);
/* Whether lines are wanted at all: log is not NULL. */
static inline bool
gl_access_log_wants(const struct gl_access_log *log)
{
    return log != NULL;
}
/* Adds the line of an answered request. */
void gl_access_log_add(struct gl_access_log *log,
                       const struct gl_access_entry *entry);
/* Adds the line of a request that the engine refused.  `came`: of its head,
 * what there is, beginning with the request line; may be empty. */
void gl_access_log_refusal(struct gl_access_log *log, const char *peer,
                           struct gl_str came, int status, size_t bytes);
/* Bytes that wait to be written. */
size_t gl_access_log_pending(const struct gl_access_log *log);
/* Writes what the descriptor takes without blocking. */
void gl_access_log_flush(struct gl_access_log *log);

#endif
