/* fuzz_ws_conn.c - any bytes on a WebSocket of the C-only echo server.
 *
 * An input is what one peer sends after the handshake.  It is sent whole,
 * then to a second WebSocket in pieces, whose sizes the input decides; that
 * one may be read exactly, its peer may leave early, or the transport may
 * move a few bytes at a time.  What comes back must be well-formed frames, a
 * close the last of them, and the same however the input was cut; nothing may
 * stay behind, and no turn may run for nothing.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/gl.h"
#include "engine/engine.h"
#include "engine/ws_echo.h"
#include "fuzz.h"
#include "fuzz_peer.h"
#include "fuzz_ws_codec.h"
#include "proto/ws_frame.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define GOT_BYTES (1 << 20)
#define TURNS_FREE 64 /* for one piece, and one more for each byte */
#define SMALL_BUFFER_BYTES 4096
#define GET                                                \
    "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n"  \
    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

/* What a peer got after the handshake. */
struct seen {
    size_t n;
    bool ended;
    size_t judged_at; /* where a close with 1007 or 1009 begins, or n */
    char bytes[GOT_BYTES];
};

enum kind {
    DEFAULTS,
    SMALL_LIMITS,
    DEFLATING,
    SLOW_PEER, /* little room for answers: pongs may be left out */
    KINDS
};

/* How one connection is talked to. */
struct manner {
    const struct gl_transport *transport;
    size_t most; /* the largest piece */
    bool exact;
    bool leaves; /* closes at the end, instead of ending its stream */
    int send_buffer_bytes; /* 0: the default */
};

/* --- servers ------------------------------------------------------------ */

struct server {
    struct gl_ws_echo echo;
    struct gl_engine *engine; /* owned until the program ends */
};

static void
open_server(struct server *s, enum kind kind)
{
    const struct gl_log log = {GL_LOG_ERROR, be_silent, NULL};
    struct gl_options options;

    gl_options_init(&options);
    REQUIRE(gl_ws_echo_engine(&s->echo, &options, &log, &s->engine) == 0);
    if (kind == SMALL_LIMITS) { /* that small inputs reach */
        s->echo.options.message_max_bytes = 16;
        s->echo.options.output_max_bytes = 64;
    }
    if (kind == DEFLATING) {
        s->echo.codec = &fuzz_codec;
        s->echo.options.message_max_bytes = 64;
    }
    if (kind == SLOW_PEER) {
        s->echo.options.output_max_bytes = 64;
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

/* --- the peer ----------------------------------------------------------- */

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
        run(s, bytes + seen->n);
        take(fd, seen);
    } while (seen->n > before); /* there is room for more */
}

static int
connect_and_shake(struct server *s, const struct manner *how,
                  struct seen *seen)
{
    static const struct gl_peer peer = {.text = "127.0.0.1", .port = 1};
    int fds[2];

    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0);
    if (how->send_buffer_bytes > 0) {
        (void)setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF,
                         &how->send_buffer_bytes, sizeof(int));
    }
    s->echo.options.exact = how->exact;
    REQUIRE(gl_engine_adopt(s->engine, fds[0], &peer, how->transport,
                            &gl_protocol_http1, NULL) == 0);
    REQUIRE(send(fds[1], GET, sizeof(GET) - 1, 0) == sizeof(GET) - 1);
    seen->n = 0;
    seen->ended = false;
    run_and_take(s, fds[1], sizeof(GET), seen);
    REQUIRE(seen->n > 16 && memcmp(seen->bytes, "HTTP/1.1 101 ", 13) == 0);
    REQUIRE(memcmp(seen->bytes + seen->n - 4, "\r\n\r\n", 4) == 0);
    seen->n = 0;
    return fds[1];
}

/* Talks to the server over one WebSocket. */
static void
talk(struct server *s, const struct manner *how, const uint8_t *bytes,
     size_t n, struct seen *seen)
{
    struct fuzz_cuts cuts = fuzz_cuts_of(bytes, n);
    int fd = connect_and_shake(s, how, seen);

    for (size_t at = 0, len; at < n && !seen->ended; at += len) {
        len = how->most >= n ? n : fuzz_cut(&cuts, how->most);
        len = n - at < len ? n - at : len;
        /* Fails when the server has closed: the next read says so. */
        (void)!send(fd, bytes + at, len, MSG_NOSIGNAL);
        run_and_take(s, fd, len, seen);
    }
    if (!how->leaves) {
        (void)shutdown(fd, SHUT_WR); /* fails if the server closed */
        run_and_take(s, fd, n, seen);
        REQUIRE(seen->ended);
        REQUIRE(gl_engine_stats(s->engine).connections == 0);
    }
    close(fd);
    run(s, n);
}

/* --- what it got -------------------------------------------------------- */

/* Whole frames, final and unmasked, text is UTF-8 to those who want to know;
 * nothing after a close. */
static void
check_frames(struct seen *seen, bool deflating)
{
    struct gl_str rest = {seen->bytes, seen->n}, payload, reason;
    struct gl_ws_frame frame;
    size_t at;
    int size, code;

    seen->judged_at = seen->n;
    while (rest.n > 0) {
        at = seen->n - rest.n;
        size = gl_ws_frame_parse(rest, &frame);
        REQUIRE(size > 0 && !frame.masked && frame.fin);
        REQUIRE(frame.length <= rest.n - (size_t)size);
        (void)gl_str_take(&rest, (size_t)size);
        payload = gl_str_take(&rest, (size_t)frame.length);
        REQUIRE(frame.opcode == GL_WS_TEXT || frame.opcode == GL_WS_BINARY ||
                frame.opcode == GL_WS_PONG || frame.opcode == GL_WS_CLOSE);
        REQUIRE(frame.rsv1 == (deflating && frame.opcode < GL_WS_CLOSE));
        if (frame.opcode == GL_WS_CLOSE) {
            REQUIRE(gl_ws_close_parse(payload, &code, &reason) == 0);
            REQUIRE(rest.n == 0);
            if (code == GL_WS_CODE_BAD_DATA || code == GL_WS_CODE_TOO_BIG) {
                seen->judged_at = at;
            }
        }
    }
}

/* The same, however it was cut.  But a deflated text may be both too long and
 * not UTF-8: then how much of it is inflated at once decides. */
static void
check_same(struct seen *a, struct seen *b, bool deflating)
{
    if (deflating && a->judged_at < a->n && b->judged_at < b->n) {
        a->n = a->judged_at;
        b->n = b->judged_at;
    }
    REQUIRE(a->n == b->n && memcmp(a->bytes, b->bytes, a->n) == 0);
}

static void
check_left_behind(const struct server *s, int first_free)
{
    struct gl_engine_stats stats = gl_engine_stats(s->engine);
    int fd = dup(STDERR_FILENO);

    REQUIRE(stats.connections == 0 && stats.running == 0 &&
            stats.websockets == 0);
    REQUIRE(s->echo.sockets.next == &s->echo.sockets);
    REQUIRE(fd == first_free);
    close(fd);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static struct seen whole, cut;
    struct fuzz_cuts choice = fuzz_cuts_of(bytes, n);
    enum kind kind = (enum kind)(fuzz_cut(&choice, KINDS) - 1);
    struct manner plain = {&gl_transport_plain, n, false, false, 0};
    struct manner other = {
        .transport = fuzz_cut(&choice, 4) == 1 ? &sip : &gl_transport_plain,
        .exact = fuzz_cut(&choice, 2) == 1,
        .leaves = fuzz_cut(&choice, 6) == 1,
        .most = fuzz_cut(&choice, n < 8 ? 8 : n),
        .send_buffer_bytes = kind == SLOW_PEER ? SMALL_BUFFER_BYTES : 0,
    };
    struct server *s = server_of(kind);
    int first_free = dup(STDERR_FILENO);

    close(first_free);
    plain.send_buffer_bytes = other.send_buffer_bytes;
    talk(s, &plain, bytes, n, &whole);
    check_frames(&whole, kind == DEFLATING);
    check_left_behind(s, first_free);
    talk(s, &other, bytes, n, &cut);
    check_left_behind(s, first_free);
    if (!other.leaves) {
        check_frames(&cut, kind == DEFLATING);
        if (kind != SLOW_PEER) { /* to which pongs may be left out */
            check_same(&whole, &cut, kind == DEFLATING);
        }
    }
    return 0;
}
