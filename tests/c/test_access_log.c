/* test_access_log.c - lines, their escapes and bounds, and a full pipe.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine/access_log.h"

#include "base/gl.h"
#include "check.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#define TEXT_BYTES (2 << 20)

struct outlet {
    int read_fd, write_fd;
    size_t n;
    char text[TEXT_BYTES];
};

static void
outlet_open(struct outlet *o)
{
    int fds[2];

    CHECK(pipe2(fds, O_NONBLOCK | O_CLOEXEC) == 0);
    o->read_fd = fds[0];
    o->write_fd = fds[1];
    o->n = 0;
    o->text[0] = '\0';
}

static void
outlet_close(struct outlet *o)
{
    close(o->read_fd);
    close(o->write_fd);
}

static void
outlet_read(struct outlet *o)
{
    ssize_t n;

    while ((n = read(o->read_fd, o->text + o->n, TEXT_BYTES - 1 - o->n)) >
           0) {
        o->n += (size_t)n;
    }
    o->text[o->n] = '\0';
}

static const struct gl_access_entry entry = {
    .peer = {"10.1.2.3", 8},
    .user = {"", 0},
    .method = {"GET", 3},
    .uri = {"/a?b", 4},
    .protocol = {"HTTP/1.1", 8},
    .referer = {"", 0},
    .user_agent = {"agent \"x\"\n", 10},
    .vars = 7,
    .vars_bytes = 99,
    .body_bytes = UINT64_C(5000000000),
    .head_bytes = 120,
    .head_fields = 3,
    .micros = 12999,
    .switches = 2,
    .core = 4,
    .status = 200,
};

/* Fills in the pid and the counts, which the line begins with. */
static void
expect_uwsgi(char *dst, size_t cap, unsigned line, const char *rest)
{
    (void)snprintf(dst, cap, "[pid: %d|app: 0|req: %u/%u] %s", (int)getpid(),
                   line, line, rest);
}

static void
test_uwsgi_line(void)
{
    static struct outlet o;
    struct gl_access_log *log;
    char start[256];
    const char *rest;

    check_case("uwsgi");
    outlet_open(&o);
    log = gl_access_log_new(o.write_fd, GL_ACCESS_UWSGI);
    CHECK(gl_access_log_wants(log) && !gl_access_log_wants(NULL));
    CHECK(gl_access_log_pending(log) == 0);
    gl_access_log_add(log, &entry);
    CHECK(gl_access_log_pending(log) > 0);
    outlet_read(&o);
    CHECK(o.n == 0); /* in batches */
    gl_access_log_flush(log);
    CHECK(gl_access_log_pending(log) == 0);
    outlet_read(&o);
    expect_uwsgi(start, sizeof(start), 1,
                 "10.1.2.3 () {7 vars in 99 bytes} [");
    CHECK(strncmp(o.text, start, strlen(start)) == 0);
    rest = strchr(o.text + strlen(start), ']');
    CHECK(rest != NULL &&
          strcmp(rest, "] GET /a?b => generated 5000000000 bytes in 12 "
                       "msecs (HTTP/1.1 200) 3 headers in 120 bytes "
                       "(2 switches on core 4)\n") == 0);
    gl_access_log_free(log);
    outlet_close(&o);
}

static void
test_combined_line(void)
{
    static struct outlet o;
    struct gl_access_log *log;
    const char *rest;

    check_case("combined");
    outlet_open(&o);
    log = gl_access_log_new(o.write_fd, GL_ACCESS_COMBINED);
    gl_access_log_add(log, &entry);
    gl_access_log_free(log); /* writes what is pending */
    outlet_read(&o);
    CHECK(strncmp(o.text, "10.1.2.3 - - [", 14) == 0);
    rest = strchr(o.text, ']');
    CHECK(rest != NULL &&
          strcmp(rest, "] \"GET /a?b HTTP/1.1\" 200 5000000000 \"-\" "
                       "\"agent \\x22x\\x22\\x0a\"\n") == 0);
    outlet_close(&o);
}

static void
test_refusal(void)
{
    static struct outlet o;
    struct gl_access_log *log;

    check_case("refusal");
    outlet_open(&o);
    log = gl_access_log_new(o.write_fd, GL_ACCESS_UWSGI);
    gl_access_log_refusal(log, "10.0.0.1", GL_STR(""), 400, 211);
    gl_access_log_free(log);
    outlet_read(&o);
    CHECK(strstr(o.text, "10.0.0.1 () {0 vars in 0 bytes}") != NULL);
    CHECK(strstr(o.text, " - - => generated 0 bytes in 0 msecs (- 400) 0 "
                         "headers in 211 bytes") != NULL);
    outlet_close(&o);
}

/* What came of a refused head is told as far as it is a request line. */
static void
test_refused_lines(void)
{
    static const struct {
        const char *came;
        const char *shown;
    } rows[] = {
        {"PUT /a HTTP/1.1\r\nHost: b\r\n", "\"PUT /a HTTP/1.1\""},
        {"\r\n\nGET / HTTP/1.1", "\"GET / HTTP/1.1\""},
        {"GET /a b HTTP/1.1\r\n", "\"GET /a b HTTP/1.1\""},
        {"GET /begun", "\"GET /begun -\""},
        {"GET ", "\"GET - -\""},
        {" ", "\"- - -\""},
        {"  ", "\"- - -\""},
        {"\x16\x03\x01\x02", "\"\\x16\\x03\\x01\\x02 - -\""},
        {"\r\n", "\"- - -\""},
    };
    static struct outlet o;

    for (size_t i = 0; i < GL_ARRAY_LEN(rows); i++) {
        struct gl_access_log *log;

        check_case("refused line %zu", i);
        outlet_open(&o);
        log = gl_access_log_new(o.write_fd, GL_ACCESS_COMBINED);
        gl_access_log_refusal(
            log, "10.0.0.1",
            (struct gl_str){rows[i].came, strlen(rows[i].came)}, 400, 211);
        gl_access_log_free(log);
        outlet_read(&o);
        CHECK(strstr(o.text, rows[i].shown) != NULL);
        outlet_close(&o);
    }
}

/* Whatever a peer sends, a line is one line, and bounded. */
static void
test_hostile_text(enum gl_access_format format)
{
    static struct outlet o;
    static char noise[70000];
    struct gl_access_entry hostile = entry;
    struct gl_str text = {noise, sizeof(noise)};
    struct gl_access_log *log;

    check_case("hostile, format %d", format);
    for (size_t i = 0; i < sizeof(noise); i++) {
        noise[i] = (char)i;
    }
    hostile.peer = hostile.user = hostile.method = hostile.uri = text;
    hostile.protocol = hostile.referer = hostile.user_agent = text;
    outlet_open(&o);
    log = gl_access_log_new(o.write_fd, format);
    gl_access_log_add(log, &hostile);
    gl_access_log_free(log);
    outlet_read(&o);
    CHECK(o.n > 1000 && o.n < 4096);
    CHECK(strchr(o.text, '\n') == o.text + o.n - 1);
    for (size_t i = 0; i + 1 < o.n; i++) {
        if (!CHECK(o.text[i] >= 0x20 && o.text[i] < 0x7f)) {
            break;
        }
    }
    outlet_close(&o);
}

static size_t
lines_in(const char *text)
{
    size_t lines = 0;

    for (; *text != '\0'; text++) {
        lines += *text == '\n';
    }
    return lines;
}

/* A pipe that nobody reads: memory is bounded, lines are whole, and those
 * which were dropped are counted in the log itself. */
static void
test_full_pipe(void)
{
    enum { LINES = 20000 };
    static struct outlet o;
    struct gl_access_log *log;
    const char *note;
    unsigned long dropped = 0;
    size_t lines = 0;

    check_case("full pipe");
    outlet_open(&o);
    CHECK(fcntl(o.write_fd, F_SETPIPE_SZ, 4096) > 0);
    log = gl_access_log_new(o.write_fd, GL_ACCESS_COMBINED);
    for (int i = 0; i < LINES; i++) {
        gl_access_log_add(log, &entry);
    }
    CHECK(gl_access_log_pending(log) <= 1 << 20);
    CHECK(gl_access_log_pending(log) > (1 << 20) - 1000);
    for (int i = 0; i < 1000 && gl_access_log_pending(log) > 0; i++) {
        outlet_read(&o);
        gl_access_log_flush(log);
    }
    gl_access_log_add(log, &entry);
    outlet_read(&o);
    gl_access_log_flush(log);
    outlet_read(&o);
    lines = lines_in(o.text);
    note = strstr(o.text, "greenloop: ");
    CHECK(note != NULL);
    if (note != NULL) {
        dropped = strtoul(note + 11, NULL, 10);
        CHECK(strstr(note, " access log lines were dropped\n") != NULL);
    }
    CHECK(dropped > 0 && lines - 1 + dropped == LINES + 1);
    gl_access_log_free(log);
    outlet_close(&o);
}

/* Nobody reads any more: lines are lost, nothing else happens. */
static void
test_closed_pipe(void)
{
    static struct outlet o;
    struct gl_access_log *log;

    check_case("closed pipe");
    outlet_open(&o);
    close(o.read_fd);
    log = gl_access_log_new(o.write_fd, GL_ACCESS_UWSGI);
    for (int i = 0; i < 10000; i++) {
        gl_access_log_add(log, &entry);
    }
    CHECK(gl_access_log_pending(log) <= 1 << 20);
    gl_access_log_free(log);
    close(o.write_fd);
}

static void
test_without_memory(void)
{
    static struct outlet o;
    struct gl_access_log *log;

    check_case("no memory");
    outlet_open(&o);
    check_fail_allocation(1);
    CHECK(gl_access_log_new(o.write_fd, GL_ACCESS_UWSGI) == NULL);
    log = gl_access_log_new(o.write_fd, GL_ACCESS_UWSGI);
    check_fail_allocation(1);
    gl_access_log_add(log, &entry); /* dropped, and told */
    CHECK(gl_access_log_pending(log) == 0);
    gl_access_log_add(log, &entry);
    gl_access_log_free(log);
    outlet_read(&o);
    CHECK(lines_in(o.text) == 2);
    CHECK(strncmp(o.text, "greenloop: 1 access log lines", 29) == 0);
    gl_access_log_free(NULL);
    outlet_close(&o);
}

int
main(void)
{
    (void)signal(SIGPIPE, SIG_IGN);
    test_uwsgi_line();
    test_combined_line();
    test_refusal();
    test_refused_lines();
    test_hostile_text(GL_ACCESS_UWSGI);
    test_hostile_text(GL_ACCESS_COMBINED);
    test_full_pipe();
    test_closed_pipe();
    test_without_memory();
    return check_end();
}
