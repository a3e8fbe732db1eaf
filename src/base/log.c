/* log.c - the server's own messages: levels, one line is one write.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PREFIX "greenloop: "
#define ESCAPE_BYTES 4 /* \xNN */

static void
write_line(const char *line, size_t n)
{
    char whole[GL_LOG_LINE_BYTES + sizeof(PREFIX) + 1];

    memcpy(whole, PREFIX, sizeof(PREFIX) - 1);
    memcpy(whole + sizeof(PREFIX) - 1, line, n);
    whole[sizeof(PREFIX) - 1 + n] = '\n';
    /* Nobody is left to be told of a failure. */
    (void)!write(STDERR_FILENO, whole, sizeof(PREFIX) + n);
}

void
gl_log(const struct gl_log *log, enum gl_log_level level, const char *format,
       ...)
{
    char line[GL_LOG_LINE_BYTES];
    va_list args;
    size_t n;
    int len;

    if (level > log->level) {
        return;
    }
    va_start(args, format);
    len = vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    if (len < 0) {
        return;
    }
    n = (size_t)len < sizeof(line) ? (size_t)len : sizeof(line) - 1;
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f) {
            line[i] = '?'; /* callers escape; this is the last guard */
        }
    }
    if (log->sink != NULL) {
        log->sink(log->sink_arg, level, line, n);
    } else {
        write_line(line, n);
    }
}

size_t
gl_log_escape(char *dst, size_t cap, const char *src, size_t n)
{
    static const char hex[] = "0123456789abcdef";
    size_t at = 0;

    if (cap == 0) {
        return 0;
    }
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)src[i];
        bool plain = c >= 0x20 && c < 0x7f && c != '"' && c != '\\';

        if (at + (plain ? 1 : ESCAPE_BYTES) >= cap) {
            break;
        }
        if (plain) {
            dst[at++] = (char)c;
        } else {
            dst[at++] = '\\';
            dst[at++] = 'x';
            dst[at++] = hex[c >> 4];
            dst[at++] = hex[c & 15];
        }
    }
    dst[at] = '\0';
    return at;
}
