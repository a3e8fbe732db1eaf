/* fuzz_uwsgi_conn.c - any bytes on a uwsgi connection of the C-only server.
 *
 * An input is what one peer sends: whole, then to a second connection in
 * pieces, whose sizes the input decides, through a transport that may move
 * few bytes at a time.  It gets at most one answer, the same each time, or a
 * pong; nothing may stay behind, and no turn may run for nothing.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/gl.h"
#include "engine/engine.h"
#include "engine/fixed_answer.h"
#include "fuzz.h"
#include "fuzz_peer.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define GOT_BYTES 4096
#define TURNS_FREE 64 /* for one piece, and one more for each byte */

/* What a peer got. */
struct seen {
    size_t n;
    bool ended;
    char bytes[GOT_BYTES];
};

struct server {
    struct gl_fixed_answer answer;
    struct gl_engine *engine; /* owned until the program ends */
};

/* The servers of the program: with the usual limits, and with small ones. */
static struct server *
server_of(bool small)
{
    static struct server servers[2];
    const struct gl_log log = {GL_LOG_INFO, be_silent, NULL};
    struct gl_options options;

    if (servers[small].engine == NULL) {
        gl_options_init(&options);
        if (small) {
            options.head_max_bytes = 512;
            options.fields_max = 2;
            options.body_max_bytes = 64;
            options.cores = 1;
        }
        REQUIRE(gl_fixed_answer_engine(&servers[small].answer, &options, &log,
                                       &servers[small].engine) == 0);
    }
    return &servers[small];
}

static void
run(struct server *s, size_t bytes)
{
    size_t most = TURNS_FREE + bytes;

    while (gl_engine_turn(s->engine, 0, &gl_budget_default) > 0) {
        REQUIRE(most > 0);
        most--;
    }
}

static void
run_and_take(struct server *s, int fd, size_t bytes, struct seen *seen)
{
    ssize_t n;

    do {
        run(s, bytes);
        REQUIRE(seen->n < GOT_BYTES);
        n = recv(fd, seen->bytes + seen->n, GOT_BYTES - seen->n, 0);
        seen->n += n > 0 ? (size_t)n : 0;
    } while (n > 0);
    REQUIRE(n == 0 || errno == EAGAIN); /* no reset destroys an answer */
    seen->ended |= n == 0;
}

/* Talks to the server over one connection.  `most`: the largest piece. */
static void
talk(struct server *s, const struct gl_transport *transport,
     const uint8_t *bytes, size_t n, size_t most, struct seen *seen)
{
    static const struct gl_peer peer = {.text = "127.0.0.1", .port = 1};
    struct fuzz_cuts cuts = fuzz_cuts_of(bytes, n);
    int fds[2];

    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0);
    REQUIRE(gl_engine_adopt(s->engine, fds[0], &peer, transport,
                            &gl_protocol_uwsgi, NULL) == 0);
    seen->n = 0;
    seen->ended = false;
    for (size_t at = 0, len; at < n && !seen->ended; at += len) {
        len = most >= n ? n : fuzz_cut(&cuts, most);
        len = n - at < len ? n - at : len;
        /* Fails when the server has closed: the next read says so. */
        (void)!send(fds[1], bytes + at, len, MSG_NOSIGNAL);
        run_and_take(s, fds[1], len, seen);
    }
    (void)shutdown(fds[1], SHUT_WR); /* fails if the server closed */
    run_and_take(s, fds[1], n, seen);
    REQUIRE(seen->ended);
    close(fds[1]);
    run(s, n);
}

/* The status of the one answer; 0: none, or a pong. */
static unsigned long
status_of(const struct seen *seen)
{
    struct gl_str got = {seen->bytes, seen->n};
    const char *end = memmem(got.p, got.n, "\r\n\r\n", 4);
    unsigned long status;

    if (got.n == 0 || gl_str_eq(got, (struct gl_str){"\x64\0\0\x01", 4})) {
        return 0;
    }
    REQUIRE(end != NULL && memcmp(got.p, "HTTP/1.1 ", 9) == 0);
    REQUIRE(memmem(got.p, got.n, "\r\nConnection: close\r\n", 21) != NULL);
    REQUIRE(memmem(end, got.n - (size_t)(end - got.p), "HTTP/1.", 7) == NULL);
    status = strtoul(got.p + 9, NULL, 10);
    REQUIRE(status == 200 || status >= 400);
    return status;
}

static void
check_left_behind(const struct server *s, int first_free)
{
    struct gl_engine_stats stats = gl_engine_stats(s->engine);
    int fd = dup(STDERR_FILENO);

    REQUIRE(stats.connections == 0 && stats.running == 0 &&
            stats.waiting == 0);
    REQUIRE(s->answer.waiting.next == &s->answer.waiting);
    REQUIRE(fd == first_free);
    close(fd);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static struct seen whole, cut;
    struct fuzz_cuts choice = fuzz_cuts_of(bytes, n);
    struct server *s = server_of(fuzz_cut(&choice, 2) == 1);
    const struct gl_transport *transport =
        fuzz_cut(&choice, 4) == 1 ? &sip : &gl_transport_plain;
    size_t most = fuzz_cut(&choice, n < 8 ? 8 : n);
    int first_free = dup(STDERR_FILENO);
    uint64_t before = s->answer.answered;

    close(first_free);
    talk(s, &gl_transport_plain, bytes, n, n, &whole);
    check_left_behind(s, first_free);
    REQUIRE(s->answer.answered - before <= 1);
    talk(s, transport, bytes, n, most < n ? most : 1 + n / 2, &cut);
    check_left_behind(s, first_free);
    REQUIRE(status_of(&cut) == status_of(&whole));
    return 0;
}
