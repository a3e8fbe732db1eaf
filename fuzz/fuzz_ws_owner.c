/* fuzz_ws_owner.c - any bytes on a WebSocket whose owner takes its time.
 *
 * An input is what one peer sends after the handshake.  The first owner takes
 * each message as it comes.  The second one gets the same bytes in pieces, and
 * does between them what the input decides: it takes a message or leaves it,
 * sends, closes, or frees the WebSocket.  What it received must be what the
 * first one did, up to its own close; nothing may stay behind.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/gl.h"
#include "engine/conn.h"
#include "engine/engine.h"
#include "fuzz.h"
#include "fuzz_peer.h"
#include "fuzz_ws_codec.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define GOT_BYTES (1 << 20)
#define SMALL_BYTES 64 /* of a message; small inputs reach it */
#define TURNS_MAX 10000
#define GET                                               \
    "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n" \
    "Connection: Upgrade\r\n\r\n"
#define ANSWER "HTTP/1.1 101 X\r\n\r\n"

/* The messages that an owner received, one after the other. */
struct got {
    size_t n;
    bool all; /* the owner let them come to their end */
    char bytes[GOT_BYTES];
};

/* The owner of the engine, which has one connection at a time. */
struct owner {
    struct gl_engine *engine; /* owned until the program ends */
    struct gl_ws_options options;
    const struct gl_ws_codec *codec;
    struct gl_ws *ws; /* owned; NULL before the handshake and once freed */
};

static void
start(void *arg, struct gl_request *req)
{
    struct owner *o = arg;
    struct iovec iov = {ANSWER, sizeof(ANSWER) - 1};

    REQUIRE(gl_request_send(req, &iov, 1, true) == (ssize_t)iov.iov_len);
    REQUIRE(gl_request_upgrade(req) == 0);
    REQUIRE(gl_ws_new(req, &o->options, o->codec, &o->ws) == 0);
    gl_request_release_slot(req);
}

static void
departed(void *arg, struct gl_request *req)
{
    (void)arg; /* the WebSocket sees it */
    (void)req;
}

static struct owner *
the_owner(void)
{
    static const struct gl_engine_ops ops = {.start = start,
                                             .departed = departed};
    static const struct gl_log log = {GL_LOG_ERROR, be_silent, NULL};
    static struct owner o;
    struct gl_options options;

    if (o.engine == NULL) {
        gl_options_init(&options);
        REQUIRE(gl_engine_new(&ops, &o, &options, &log, NULL, &o.engine) ==
                0);
    }
    return &o;
}

/* Runs what is ready, and drops what the peer got. */
static void
run(struct owner *o, int fd)
{
    char dropped[4096];
    size_t most = TURNS_MAX;

    while (gl_engine_turn(o->engine, 0, &gl_budget_default) > 0) {
        while (recv(fd, dropped, sizeof(dropped), 0) > 0) {
        }
        REQUIRE(--most > 0);
    }
}

static int
connect_and_shake(struct owner *o)
{
    static const struct gl_peer peer = {.text = "127.0.0.1", .port = 1};
    int fds[2];

    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0);
    REQUIRE(gl_engine_adopt(o->engine, fds[0], &peer, &gl_transport_plain,
                            &gl_protocol_http1, NULL) == 0);
    REQUIRE(send(fds[1], GET, sizeof(GET) - 1, 0) == sizeof(GET) - 1);
    run(o, fds[1]);
    REQUIRE(o->ws != NULL);
    return fds[1];
}

/* Takes the next message.  0, or what gl_ws_receive() says. */
static int
take(struct owner *o, struct got *got)
{
    struct gl_ws_message m;
    int error = gl_ws_receive(o->ws, &m);

    if (error < 0) {
        return error;
    }
    REQUIRE(m.opcode == GL_WS_TEXT || m.opcode == GL_WS_BINARY);
    REQUIRE(got->n + 1 + sizeof(m.bytes.n) + m.bytes.n <= GOT_BYTES);
    got->bytes[got->n++] = (char)m.opcode;
    memcpy(got->bytes + got->n, &m.bytes.n, sizeof(m.bytes.n));
    got->n += sizeof(m.bytes.n);
    if (m.bytes.n > 0) {
        memcpy(got->bytes + got->n, m.bytes.p, m.bytes.n);
        got->n += m.bytes.n;
    }
    return 0;
}

static void
free_ws(struct owner *o)
{
    if (o->ws != NULL) {
        gl_ws_free(o->ws);
        o->ws = NULL;
    }
}

/* Something that an owner may do, or nothing. */
static void
act(struct owner *o, unsigned what, struct got *got)
{
    switch (what) {
    case 1:
    case 2:
        (void)take(o, got);
        break;
    case 3:
        (void)gl_ws_send(o->ws, GL_WS_TEXT, GL_STR("said"));
        break;
    case 4:
        got->all = false;
        REQUIRE(gl_ws_close(o->ws, 1001, GL_STR("")) == 0);
        break;
    case 5:
        got->all = false;
        free_ws(o);
        break;
    default:
        break;
    }
}

/* What an owner receives; `cuts` is NULL for the one who takes all at once. */
static void
talk(struct owner *o, const uint8_t *bytes, size_t n, struct fuzz_cuts *cuts,
     struct got *got)
{
    int fd = connect_and_shake(o);

    got->n = 0;
    got->all = true;
    for (size_t at = 0, len; at < n; at += len) {
        len = cuts != NULL ? fuzz_cut(cuts, n < 8 ? 8 : n) : n;
        len = n - at < len ? n - at : len;
        /* Fails when the server has closed: the next read says so. */
        (void)!send(fd, bytes + at, len, MSG_NOSIGNAL);
        run(o, fd);
        if (cuts != NULL && o->ws != NULL) {
            act(o, (unsigned)fuzz_cut(cuts, 16), got);
            run(o, fd);
        }
    }
    (void)shutdown(fd, SHUT_WR); /* fails if the server closed */
    for (size_t most = TURNS_MAX; o->ws != NULL; most--) {
        REQUIRE(most > 0);
        run(o, fd);
        if (take(o, got) == -ESHUTDOWN) {
            free_ws(o);
        }
    }
    run(o, fd);
    close(fd);
    run(o, fd);
}

static void
check_left_behind(const struct owner *o)
{
    struct gl_engine_stats stats = gl_engine_stats(o->engine);

    REQUIRE(stats.connections == 0 && stats.running == 0 &&
            stats.websockets == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static struct got prompt, late;
    struct owner *o = the_owner();
    struct fuzz_cuts cuts = fuzz_cuts_of(bytes, n);
    bool deflating = fuzz_cut(&cuts, 2) == 1;

    o->codec = deflating ? &fuzz_codec : NULL;
    o->options = (struct gl_ws_options){
        .message_max_bytes =
            fuzz_cut(&cuts, 2) == 1 ? SMALL_BYTES : GOT_BYTES / 4,
        .output_max_bytes = GOT_BYTES,
        .close_timeout_ms = 5000,
    };
    talk(o, bytes, n, NULL, &prompt);
    check_left_behind(o);
    o->options.exact = fuzz_cut(&cuts, 2) == 1;
    talk(o, bytes, n, &cuts, &late);
    check_left_behind(o);
    REQUIRE(late.n <= prompt.n && (!late.all || late.n == prompt.n));
    REQUIRE(memcmp(late.bytes, prompt.bytes, late.n) == 0);
    return 0;
}
