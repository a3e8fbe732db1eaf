/* fuzz_proxy_conn.c - any bytes on a connection that must begin with a PROXY
 * header.
 *
 * An input is sent whole, and in pieces whose sizes it decides.  Without a
 * good header nothing may come back; with one, just what a server without
 * the option answers to the rest.  Nothing may stay behind.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine/engine.h"
#include "engine/fixed_answer.h"
#include "fuzz.h"
#include "fuzz_peer.h"
#include "proto/proxy_header.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define GOT_BYTES (1 << 20)
#define TURNS_FREE 64 /* for one piece, and one more for each byte */

struct server {
    struct gl_fixed_answer answer;
    struct gl_engine *engine; /* owned until the program ends */
};

/* The servers of the program: one that wants headers, one that does not. */
static struct server *
server_of(bool proxied)
{
    static struct server servers[2];
    struct server *s = &servers[proxied];
    const struct gl_log log = {GL_LOG_ERROR, be_silent, NULL};
    struct gl_options options;
    struct gl_trust trust = {.fields = GL_TRUST_DEFAULT};

    if (s->engine == NULL) {
        gl_options_init(&options);
        options.proxy_protocol = proxied;
        REQUIRE(gl_fixed_answer_engine(&s->answer, &options, &log,
                                       &s->engine) == 0);
        REQUIRE(gl_networks_add(&trust.proxies, GL_STR("127.0.0.1")) == 0);
        gl_engine_set_trust(s->engine, &trust);
    }
    return s;
}

/* Runs what is ready and returns the bytes that came to `fd`. */
static size_t
run(struct server *s, int fd, size_t bytes, bool *ended)
{
    static char got[GOT_BYTES];
    size_t most = TURNS_FREE + bytes, total = 0;
    ssize_t n;

    do {
        while (gl_engine_turn(s->engine, 0, &gl_budget_default) > 0) {
            REQUIRE(most > 0); /* more turns than bytes are a spin */
            most--;
        }
        n = recv(fd, got, sizeof(got), 0);
        total += n > 0 ? (size_t)n : 0;
        *ended |= n == 0 || (n < 0 && errno == ECONNRESET);
    } while (n > 0);
    return total;
}

/* Sends an input in pieces of at most `most` bytes, then ends the stream.
 * Returns the bytes that were answered. */
static size_t
talk(struct server *s, const uint8_t *bytes, size_t n, size_t most)
{
    static const struct gl_peer peer = {.text = "127.0.0.1", .port = 1};
    struct fuzz_cuts cuts = fuzz_cuts_of(bytes, n);
    size_t answered = 0;
    bool ended = false;
    int fds[2];

    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0);
    REQUIRE(gl_engine_adopt(s->engine, fds[0], &peer, &gl_transport_plain,
                            &gl_protocol_http1, NULL) == 0);
    for (size_t at = 0, len; at < n && !ended; at += len) {
        len = most >= n ? n : fuzz_cut(&cuts, most);
        len = n - at < len ? n - at : len;
        /* Fails when the server has closed: the next read says so. */
        (void)!send(fds[1], bytes + at, len, MSG_NOSIGNAL);
        answered += run(s, fds[1], len, &ended);
    }
    (void)shutdown(fds[1], SHUT_WR); /* fails if the server closed */
    answered += run(s, fds[1], n, &ended);
    REQUIRE(ended && gl_engine_stats(s->engine).connections == 0);
    close(fds[1]);
    return answered;
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct fuzz_cuts choice = fuzz_cuts_of(bytes, n);
    struct gl_proxy_header header = {.size = 0};
    struct server *s = server_of(true);
    size_t expected = 0;

    if (gl_proxy_header_parse((struct gl_str){(const char *)bytes, n},
                              &header) == GL_PROXY_DONE) {
        expected =
            talk(server_of(false), bytes + header.size, n - header.size, n);
    }
    REQUIRE(talk(s, bytes, n, n) == expected);
    REQUIRE(talk(s, bytes, n, fuzz_cut(&choice, n < 8 ? 8 : n)) == expected);
    return 0;
}
