/* log.h - the server's own messages: levels, one line is one write.
 *
 * No global state: each engine holds a struct gl_log.  A message is cut at
 * GL_LOG_LINE_BYTES.  Text from outside goes through gl_log_escape first; a
 * control byte that comes all the same is written as '?', so that a peer
 * cannot forge lines.  Failures to write are ignored: there is nobody
 * left to tell.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_BASE_LOG_H
#define GL_BASE_LOG_H

#include "base/gl.h"

#include <stddef.h>

#define GL_LOG_LINE_BYTES 2048

enum gl_log_level { GL_LOG_ERROR, GL_LOG_WARNING, GL_LOG_INFO };

struct gl_log {
    enum gl_log_level level; /* the least urgent level that is written */
    /* Takes one line without its line end; borrowed for the call.  NULL:
     * written to standard error, as "greenloop: <line>\n". */
    void (*sink)(void *sink_arg, enum gl_log_level level, const char *line,
                 size_t n);
    void *sink_arg; /* borrowed */
};

void gl_log(const struct gl_log *log, enum gl_log_level level,
            const char *format, ...) GL_PRINTF(3, 4);

/* Writes `n` bytes of outside text to dst (cap bytes, NUL-terminated), with
 * bytes below 0x20, 0x7f, above 0x7e, '"' and '\\' as \xNN, cut to fit whole
 * escapes.  Returns the bytes written without the NUL. */
size_t gl_log_escape(char *dst, size_t cap, const char *src, size_t n);

#endif
