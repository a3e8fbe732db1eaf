/* fuzz_conn.c - any bytes on a connection of the C-only server.
 *
 * An input is what one peer sends.  It is sent whole, then to a second
 * connection in pieces, whose sizes the input decides; that peer may also
 * leave early, or the transport may move a few bytes at a time.  Answers must
 * be well-formed, never more than there were requests, the same however the
 * input was cut; nothing may stay behind, and no turn may run for nothing.
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

#define GOT_BYTES (1 << 20)
#define STATUSES_MAX 4096
#define TURNS_FREE 64 /* for one piece, and one more for each byte */

enum ending { HALF_CLOSE, CLOSE, ENDINGS };

/* What a peer got. */
struct seen {
    size_t n;
    bool ended;
    size_t count;                    /* of final answers */
    uint16_t statuses[STATUSES_MAX]; /* of those */
    char bytes[GOT_BYTES];
};

struct server {
    struct gl_fixed_answer answer;
    struct gl_engine *engine; /* owned until the program ends */
};

/* --- servers ----------------------------------------------------------- */

/* Answers without a look at the body, which the engine throws away. */
static void
answer_at_once(void *owner, struct gl_request *req)
{
    struct gl_fixed_answer *answer = owner;
    char bytes[128];
    int len = snprintf(bytes, sizeof(bytes),
                       "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n%s\r\n%s",
                       gl_request_keeps(req) ? "" : "Connection: close\r\n",
                       req->head_only ? "" : "Hello World");
    struct iovec iov = {bytes, (size_t)len};
    bool sent = gl_request_send(req, &iov, 1, true) == len;

    answer->answered += sent;
    gl_request_finish(req, sent);
}

static void
ignore_departure(void *owner, struct gl_request *req)
{
    (void)owner;
    (void)req;
}

static const struct gl_engine_ops at_once = {
    .start = answer_at_once,
    .departed = ignore_departure,
};

enum kind { DEFAULTS, SMALL_LIMITS, UNREAD_BODIES, KINDS };

static void
open_server(struct server *s, enum kind kind)
{
    const struct gl_log log = {GL_LOG_ERROR, be_silent, NULL};
    struct gl_options options;

    gl_options_init(&options);
    if (kind == SMALL_LIMITS) { /* that small inputs reach */
        options.head_max_bytes = 512;
        options.line_max_bytes = 64;
        options.fields_max = 4;
        options.body_max_bytes = 64;
        options.cores = 1;
    }
    if (kind == UNREAD_BODIES) {
        gl_list_init(&s->answer.waiting);
        REQUIRE(gl_engine_new(&at_once, &s->answer, &options, &log, NULL,
                              &s->engine) == 0);
    } else {
        REQUIRE(gl_fixed_answer_engine(&s->answer, &options, &log,
                                       &s->engine) == 0);
    }
}

/* The servers of the program, one of each kind. */
static struct server *
server_of(enum kind kind)
{
    static struct server servers[KINDS];

    if (servers[kind].engine == NULL) {
        open_server(&servers[kind], kind);
    }
    return &servers[kind];
}

/* Runs what is ready; more turns than there are bytes to handle is a spin. */
static void
run(struct server *s, size_t bytes)
{
    size_t most = TURNS_FREE + bytes;

    while (gl_engine_turn(s->engine, 0, &gl_budget_default) > 0) {
        REQUIRE(most > 0);
        most--;
    }
}

/* --- the peer ---------------------------------------------------------- */

static void
take(int fd, struct seen *seen)
{
    ssize_t n;

    do {
        REQUIRE(seen->n < GOT_BYTES);
        n = recv(fd, seen->bytes + seen->n, GOT_BYTES - seen->n, 0);
        seen->n += n > 0 ? (size_t)n : 0;
    } while (n > 0);
    REQUIRE(n == 0 || errno == EAGAIN); /* no reset destroys an answer */
    seen->ended |= n == 0;
}

/* Lets the server work, and takes what it answers, until both are done. */
static void
run_and_take(struct server *s, int fd, size_t bytes, struct seen *seen)
{
    size_t before;

    do {
        before = seen->n;
        run(s, bytes);
        take(fd, seen);
    } while (seen->n > before); /* there is room for more */
}

/* Talks to the server over one connection.  `most`: the largest piece. */
static void
talk(struct server *s, const struct gl_transport *transport,
     const uint8_t *bytes, size_t n, size_t most, enum ending ending,
     struct seen *seen)
{
    static const struct gl_peer peer = {.text = "127.0.0.1", .port = 1};
    struct fuzz_cuts cuts = fuzz_cuts_of(bytes, n);
    int fds[2];

    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0);
    REQUIRE(gl_engine_adopt(s->engine, fds[0], &peer, transport,
                            &gl_protocol_http1, NULL) == 0);
    seen->n = 0;
    seen->ended = false;
    for (size_t at = 0, len; at < n && !seen->ended; at += len) {
        len = most >= n ? n : fuzz_cut(&cuts, most);
        len = n - at < len ? n - at : len;
        /* Fails when the server has closed: the next read says so. */
        (void)!send(fds[1], bytes + at, len, MSG_NOSIGNAL);
        run_and_take(s, fds[1], len, seen);
    }
    if (ending == HALF_CLOSE) {
        (void)shutdown(fds[1], SHUT_WR); /* fails if the server closed */
        run_and_take(s, fds[1], n, seen);
        REQUIRE(seen->ended);
        REQUIRE(gl_engine_stats(s->engine).connections == 0);
    }
    close(fds[1]);
    run(s, n);
}

/* --- what it got ------------------------------------------------------- */

static bool
starts_with(struct gl_str s, struct gl_str start)
{
    return s.n >= start.n && memcmp(s.p, start.p, start.n) == 0;
}

/* Cuts one answer off; returns its status. */
static uint16_t
take_answer(struct gl_str *rest, bool *ret_closes)
{
    const struct gl_str hello = GL_STR("Hello World");
    const char *end = memmem(rest->p, rest->n, "\r\n\r\n", 4), *at;
    struct gl_str head;
    unsigned long status, length = 0;

    REQUIRE(end != NULL && starts_with(*rest, GL_STR("HTTP/1.1 ")));
    head = gl_str_take(rest, (size_t)(end - rest->p) + 4);
    status = strtoul(head.p + 9, NULL, 10);
    *ret_closes =
        memmem(head.p, head.n, "\r\nConnection: close\r\n", 21) != NULL;
    at = memmem(head.p, head.n, "\r\nContent-Length: ", 18);
    REQUIRE((at == NULL) == (status == 100));
    if (at != NULL) {
        length = strtoul(at + 18, NULL, 10);
    }
    if (status == 200) {
        REQUIRE(length == hello.n);
        length = starts_with(*rest, hello) ? length : 0; /* HEAD */
    }
    if (status >= 400 && rest->n == 0) {
        length = 0; /* a refused HEAD */
    }
    REQUIRE(length <= rest->n);
    (void)gl_str_take(rest, length);
    return (uint16_t)status;
}

/* Parses all answers; the statuses are those of a fixed answer, or of a
 * refusal, which is the last. */
static void
check_answers(struct seen *seen)
{
    struct gl_str rest = {seen->bytes, seen->n};
    bool closes = false;

    seen->count = 0;
    while (rest.n > 0) {
        uint16_t status;

        REQUIRE(!closes);
        status = take_answer(&rest, &closes);
        if (status != 100) {
            REQUIRE(status == 200 || (status >= 400 && closes));
            REQUIRE(seen->count < STATUSES_MAX);
            seen->statuses[seen->count++] = status;
        }
    }
}

/* Ends of heads: no input holds more requests than that. */
static size_t
heads_in(const uint8_t *bytes, size_t n)
{
    size_t heads = 0;

    for (size_t i = 3; i < n; i++) {
        heads += memcmp(bytes + i - 3, "\r\n\r\n", 4) == 0;
    }
    return heads;
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
    enum kind kind = (enum kind)(fuzz_cut(&choice, KINDS) - 1);
    const struct gl_transport *transport =
        fuzz_cut(&choice, 8) == 1 ? &sip : &gl_transport_plain;
    enum ending ending = fuzz_cut(&choice, 4) == 1 ? CLOSE : HALF_CLOSE;
    size_t most = fuzz_cut(&choice, n < 8 ? 8 : n);
    struct server *s = server_of(kind);
    int first_free = dup(STDERR_FILENO);
    uint64_t before = s->answer.answered;

    close(first_free);
    talk(s, &gl_transport_plain, bytes, n, n, HALF_CLOSE, &whole);
    check_answers(&whole);
    check_left_behind(s, first_free);
    REQUIRE(whole.count <= heads_in(bytes, n) + 1);
    REQUIRE(s->answer.answered - before <= whole.count);
    talk(s, transport, bytes, n, most < n ? most : 1 + n / 2, ending, &cut);
    check_left_behind(s, first_free);
    if (ending == HALF_CLOSE) {
        check_answers(&cut);
        REQUIRE(cut.count == whole.count);
        REQUIRE(memcmp(cut.statuses, whole.statuses,
                       cut.count * sizeof(cut.statuses[0])) == 0);
    }
    return 0;
}
