/* test_log.c - levels, sinks, cut lines and escaped text.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/log.h"

#include "check.h"

#include <unistd.h>

struct taken {
    int lines;
    enum gl_log_level level;
    size_t n;
    char line[2 * GL_LOG_LINE_BYTES];
};

static void
take(void *sink_arg, enum gl_log_level level, const char *line, size_t n)
{
    struct taken *taken = sink_arg;

    taken->lines++;
    taken->level = level;
    taken->n = n;
    memcpy(taken->line, line, n);
    taken->line[n] = '\0';
}

static void
test_levels(void)
{
    struct taken taken = {0};
    struct gl_log log = {GL_LOG_WARNING, take, &taken};

    check_case("levels");
    gl_log(&log, GL_LOG_INFO, "no");
    CHECK(taken.lines == 0);
    gl_log(&log, GL_LOG_WARNING, "%s %d", "yes", 1);
    CHECK(taken.lines == 1 && taken.level == GL_LOG_WARNING);
    CHECK(taken.n == 5 && strcmp(taken.line, "yes 1") == 0);
    gl_log(&log, GL_LOG_ERROR, "worse");
    CHECK(taken.lines == 2 && taken.level == GL_LOG_ERROR);
}

/* Long messages are cut, and none makes a second line. */
static void
test_bounds(void)
{
    static char text[3 * GL_LOG_LINE_BYTES];
    struct taken taken = {0};
    struct gl_log log = {GL_LOG_INFO, take, &taken};

    check_case("bounds");
    memset(text, 'x', sizeof(text) - 1);
    gl_log(&log, GL_LOG_INFO, "%s", text);
    CHECK(taken.n == GL_LOG_LINE_BYTES - 1);
    gl_log(&log, GL_LOG_INFO,
           "a\r\nb\x7f\x1b"
           "c\xc3\xa4");
    CHECK(taken.lines == 2);
    CHECK(strcmp(taken.line, "a??b??c\xc3\xa4") == 0);
    gl_log(&log, GL_LOG_INFO, "%s", "");
    CHECK(taken.lines == 3 && taken.n == 0);
}

/* Without a sink: one write to standard error. */
static void
test_standard_error(void)
{
    static char text[2 * GL_LOG_LINE_BYTES], found[2 * GL_LOG_LINE_BYTES];
    const struct gl_log log = {.level = GL_LOG_INFO};
    int pipe_fds[2], saved = dup(STDERR_FILENO);
    ssize_t n;

    check_case("standard error");
    if (!CHECK(saved >= 0 && pipe(pipe_fds) == 0)) {
        return;
    }
    memset(text, 'x', sizeof(text) - 1);
    (void)dup2(pipe_fds[1], STDERR_FILENO);
    gl_log(&log, GL_LOG_ERROR, "it's %d", 42);
    gl_log(&log, GL_LOG_ERROR, "%s", text);
    (void)dup2(saved, STDERR_FILENO);
    n = read(pipe_fds[0], found, sizeof(found));
    CHECK(n > 0 && found[n - 1] == '\n');
    CHECK(strncmp(found, "greenloop: it's 42\ngreenloop: xxx", 33) == 0);
    CHECK(n == 19 + 11 + GL_LOG_LINE_BYTES - 1 + 1);
    close(saved);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

static void
check_escape(const char *src, size_t n, size_t cap, const char *expected)
{
    char *exact = check_copy(src, n);
    char *dst = check_copy(src, 0);

    check_case("escape to %zu: %s", cap, expected);
    free(dst);
    dst = malloc(cap > 0 ? cap : 1);
    CHECK(gl_log_escape(dst, cap, exact, n) == strlen(expected));
    CHECK(cap == 0 || strcmp(dst, expected) == 0);
    free(exact);
    free(dst);
}

static void
test_escape(void)
{
    check_escape("plain text ~", 12, 64, "plain text ~");
    check_escape("a\r\n\t\0b", 6, 64, "a\\x0d\\x0a\\x09\\x00b");
    check_escape("\"\\\x7f\x80\xff", 5, 64, "\\x22\\x5c\\x7f\\x80\\xff");
    check_escape("", 0, 1, "");
    check_escape("a", 1, 0, "");
    check_escape("a", 1, 1, "");
    check_escape("abc", 3, 3, "ab");
    check_escape("abc", 3, 4, "abc");
    check_escape("a\nb", 3, 5, "a"); /* no half escapes, nothing after */
    check_escape("a\nb", 3, 6, "a\\x0a");
}

int
main(void)
{
    test_levels();
    test_bounds();
    test_standard_error();
    test_escape();
    return check_end();
}
