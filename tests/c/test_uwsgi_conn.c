/* test_uwsgi_conn.c - connections on which uwsgi packets come.
 *
 * SPDX-License-Identifier: MIT
 */
#include "check.h"
#include "packet.h"
#include "rig.h"

#define SOON_MS 40
#define RUNS_MAX 200
#define GET_VARS "REQUEST_METHOD=GET|PATH_INFO=/a|SERVER_PROTOCOL=HTTP/1.1"
#define POST_VARS "REQUEST_METHOD=POST|PATH_INFO=/p|CONTENT_LENGTH=5"

/* What the engine logged last. */
struct heard {
    unsigned lines;
    char line[512];
    char before[512]; /* the one before it */
};

static void
hear(void *arg, enum gl_log_level level, const char *line, size_t n)
{
    struct heard *heard = arg;

    CHECK(level == GL_LOG_WARNING && n < sizeof(heard->line));
    heard->lines++;
    memcpy(heard->before, heard->line, sizeof(heard->before));
    (void)snprintf(heard->line, sizeof(heard->line), "%s", line);
}

static void
open_rig(struct rig *rig, struct heard *heard)
{
    *heard = (struct heard){0};
    rig->protocol = &gl_protocol_uwsgi;
    rig->log = (struct gl_log){GL_LOG_INFO, hear, heard};
    rig_open(rig);
}

static void
end_test(struct rig *rig, struct rig_peer *peer)
{
    peer_close(peer);
    RIG_UNTIL(rig, rig_is_empty(rig));
    rig_close(rig);
}

/* --- requests --------------------------------------------------------- */

/* A request whose bytes come in two pieces; junk may follow it. */
static void
check_request(const char *wire, size_t n, size_t cut)
{
    struct rig rig;
    struct heard heard;
    struct rig_peer peer;

    rig_init(&rig);
    open_rig(&rig, &heard);
    CHECK(rig_connect(&rig, &peer));
    peer_send(&peer, wire, cut);
    rig_run(&rig);
    if (cut < n) {
        peer_send(&peer, wire + cut, n - cut);
    }
    RIG_UNTIL(&rig, (peer_read(&peer), peer.ended));
    CHECK(peer_got(&peer, "200"));
    CHECK(find_text(peer.got, peer.n, "\r\nConnection: close\r\n") != NULL);
    CHECK(rig.started == 1 && rig.answered == 1 && heard.lines == 0);
    end_test(&rig, &peer);
}

static void
test_every_cut(void)
{
    char wire[PACKET_BYTES];
    size_t n = packet_write(wire, 0, GET_VARS);

    for (size_t cut = 0; cut <= n; cut++) {
        check_case("get, cut %zu", cut);
        check_request(wire, n, cut);
    }
    n = packet_write(wire, 30, POST_VARS);
    memcpy(wire + n, "hello", 5);
    for (size_t cut = 0; cut <= n + 5; cut++) {
        check_case("post, cut %zu", cut);
        check_request(wire, n + 5, cut);
    }
}

/* What follows a request is no second one. */
static void
test_junk_follows(void)
{
    char wire[2 * PACKET_BYTES];
    size_t n = packet_write(wire, 0, POST_VARS);

    check_case("junk follows");
    memcpy(wire + n, "hello", 5);
    n += 5;
    n += packet_write(wire + n, 0, GET_VARS);
    check_request(wire, n, n);
    check_request(wire, n, 20);
}

/* With no slot free the packet is kept, and served later. */
static void
test_queued(void)
{
    struct rig rig;
    struct heard heard;
    struct rig_peer first, second;
    char wire[PACKET_BYTES];
    size_t n = packet_write(wire, 0, GET_VARS);

    check_case("queued");
    rig_init(&rig);
    rig.hold = true;
    rig.options.cores = 1;
    open_rig(&rig, &heard);
    CHECK(rig_connect(&rig, &first));
    CHECK(rig_connect(&rig, &second));
    peer_send(&first, wire, n);
    peer_send(&second, wire, n);
    rig_run(&rig);
    CHECK(rig.started == 1 && gl_engine_stats(rig.engine).waiting == 1);
    CHECK(rig_release(&rig));
    RIG_UNTIL(&rig, rig.started == 2);
    CHECK(rig_release(&rig));
    RIG_UNTIL(&rig, (peer_read(&second), second.ended));
    CHECK(peer_got(&first, "200") && peer_got(&second, "200"));
    CHECK(strcmp(rig.order, "aa") == 0);
    peer_close(&first);
    end_test(&rig, &second);
}

static void
test_body_cut_short(void)
{
    struct rig rig;
    struct heard heard;
    struct rig_peer peer;
    char wire[PACKET_BYTES];
    size_t n = packet_write(wire, 0, POST_VARS);

    check_case("body cut short");
    rig_init(&rig);
    open_rig(&rig, &heard);
    CHECK(rig_connect(&rig, &peer));
    memcpy(wire + n, "hel", 3);
    peer_send(&peer, wire, n + 3);
    rig_run(&rig);
    CHECK(rig.started == 1);
    (void)shutdown(peer.fd, SHUT_WR);
    RIG_UNTIL(&rig, rig.failed == 1);
    CHECK(rig.last_error == -ECONNRESET && rig.body_bytes == 3);
    end_test(&rig, &peer);
}

/* --- what is no request ----------------------------------------------- */

/* Sends bytes and expects this answer, with one line in the log if `logged`
 * is not "". */
static void
check_refused(const char *wire, size_t n, const char *statuses,
              const char *logged)
{
    struct rig rig;
    struct heard heard;
    struct rig_peer peer;

    rig_init(&rig);
    rig.options.head_max_bytes = 600;
    rig.options.fields_max = 2;
    rig.options.body_max_bytes = 10;
    open_rig(&rig, &heard);
    CHECK(rig_connect(&rig, &peer));
    peer_send(&peer, wire, n);
    RIG_UNTIL(&rig, (peer_read(&peer), peer.ended));
    CHECK(!peer.reset && rig.started == 0);
    CHECK(peer_got(&peer, statuses));
    CHECK(heard.lines == (logged[0] != '\0'));
    if (!CHECK(strstr(heard.line, logged) != NULL)) {
        fprintf(stderr, "  logged \"%s\"\n", heard.line);
    }
    end_test(&rig, &peer);
}

static const struct {
    const char *vars;
    const char *statuses;
    const char *logged;
} refused[] = {
    {"", "400", "10.0.0.7 was refused: it has no variables"},
    {"PATH_INFO=/", "400", "no REQUEST_METHOD"},
    {"=x|" GET_VARS, "400", "do not fill it"},
    {GET_VARS "|HTTP_A=\n", "400", "bytes that its name or value"},
    {POST_VARS "|CONTENT_LENGTH=6", "400", "CONTENT_LENGTH came twice"},
    {GET_VARS "|CONTENT_LENGTH=x", "400", "CONTENT_LENGTH came twice"},
    {GET_VARS "|HTTP_TRANSFER_ENCODING=chunked", "411", "chunked"},
    {GET_VARS "|HTTP_A=1|HTTP_B=2|HTTP_C=3", "431",
     "over 2 header fields (--limit-request-fields)"},
    {"REQUEST_METHOD=POST|CONTENT_LENGTH=11", "413", "(--limit-post)"},
};

static void
test_refused(void)
{
    char wire[PACKET_BYTES];

    for (size_t i = 0; i < GL_ARRAY_LEN(refused); i++) {
        size_t n = packet_write(wire, 0, refused[i].vars);

        check_case("refused: %s", refused[i].vars);
        check_refused(wire, n, refused[i].statuses, refused[i].logged);
    }
    check_case("large");
    check_refused("\0\x60\xea\0junk", 8, "431",
                  "need 60004 bytes, raise --buffer-size (600)");
    check_case("http");
    check_refused("GET / HTTP/1.1\r\n", 16, "400",
                  "10.0.0.7 sent no uwsgi packet but \"GET \": if it speaks "
                  "HTTP, give it an --http-socket");
    check_case("modifier");
    check_refused("\x11\0\0\0", 4, "", "modifier1 17, which is not served");
}

/* Peers cannot flood the log. */
static void
test_many_refused(void)
{
    struct rig rig;
    struct heard heard;
    struct rig_peer peer;

    check_case("many refused");
    rig_init(&rig);
    open_rig(&rig, &heard);
    for (unsigned i = 0; i == heard.lines && i < 5000; i++) {
        CHECK(rig_connect(&rig, &peer));
        peer_send(&peer, "\0\0\0\0", 4);
        rig_run(&rig);
        CHECK(peer_got(&peer, "400"));
        peer_close(&peer);
    }
    CHECK(heard.lines >= 50 && heard.lines < 5000);
    while (strstr(heard.line, "no variables") != NULL) {
        CHECK(rig_connect(&rig, &peer));
        peer_send(&peer, "\x07\0\0\0", 4);
        rig_run(&rig);
        peer_close(&peer);
    }
    CHECK(strstr(heard.line, "modifier1 7") != NULL);
    CHECK(strstr(heard.before, "lines about refused requests were") != NULL);
    RIG_UNTIL(&rig, rig_is_empty(&rig));
    rig_close(&rig);
}

/* The other way round: an HTTP connection says what it would take. */
static void
test_packet_to_http(void)
{
    struct rig rig;
    struct heard heard;
    struct rig_peer peer;
    char wire[PACKET_BYTES];
    size_t n = packet_write(wire, 0, GET_VARS);

    check_case("packet to http");
    rig_init(&rig);
    open_rig(&rig, &heard);
    rig.protocol = &gl_protocol_http1;
    CHECK(rig_connect(&rig, &peer));
    peer_send(&peer, wire, n);
    rig_run(&rig);
    CHECK(peer_got(&peer, "400") && heard.lines == 1);
    CHECK(strstr(heard.line, "for uwsgi_pass give it a --socket") != NULL);
    peer_close(&peer);
    CHECK(rig_connect(&rig, &peer));
    peer_say(&rig, &peer, "\x01 garbage");
    CHECK(peer_got(&peer, "400") && heard.lines == 1);
    end_test(&rig, &peer);
}

static void
test_ping(void)
{
    struct rig rig;
    struct heard heard;
    struct rig_peer peer;

    check_case("ping");
    rig_init(&rig);
    open_rig(&rig, &heard);
    CHECK(rig_connect(&rig, &peer));
    peer_send(&peer, "\x64\0\0\0", 4);
    RIG_UNTIL(&rig, (peer_read(&peer), peer.ended));
    CHECK(peer.n == 4 && memcmp(peer.got, "\x64\0\0\x01", 4) == 0);
    CHECK(heard.lines == 0 && gl_engine_stats(rig.engine).refused == 0);
    end_test(&rig, &peer);
}

static void
test_deadlines(void)
{
    struct rig rig;
    struct heard heard;
    struct rig_peer silent, slow;

    check_case("deadlines");
    rig_init(&rig);
    rig.options.head_timeout_ms = SOON_MS;
    open_rig(&rig, &heard);
    CHECK(rig_connect(&rig, &silent));
    CHECK(rig_connect(&rig, &slow));
    peer_send(&slow, "\0\x05\0", 3);
    RIG_UNTIL(&rig, (peer_read(&silent), silent.ended));
    RIG_UNTIL(&rig, (peer_read(&slow), slow.ended));
    CHECK(peer_got(&silent, "") && peer_got(&slow, "408"));
    peer_close(&silent);
    end_test(&rig, &slow);
}

/* --- without memory --------------------------------------------------- */

/* One of each kind; whatever fails, nothing stays behind. */
static void
play(void)
{
    struct rig rig;
    struct heard heard;
    char wire[PACKET_BYTES];
    size_t n = packet_write(wire, 0, POST_VARS);

    rig_init(&rig);
    heard.lines = 0;
    rig.protocol = &gl_protocol_uwsgi;
    rig.log = (struct gl_log){GL_LOG_INFO, hear, &heard};
    if (gl_engine_new(&rig_ops, &rig, &rig.options, &rig.log, NULL,
                      &rig.engine) < 0) {
        return;
    }
    memcpy(wire + n, "hello", 5);
    for (int i = 0; i < 3; i++) {
        struct rig_peer peer;

        (void)rig_connect(&rig, &peer); /* may fail */
        (void)!send(peer.fd, i == 1 ? "\x64\0\0\0" : wire, i == 1 ? 4 : 9,
                    MSG_NOSIGNAL);
        rig_run(&rig);
        if (i != 1) {
            (void)!send(peer.fd, i == 2 ? "\0\0\0" : wire + 9,
                        i == 2 ? 3 : n - 4, MSG_NOSIGNAL);
        }
        (void)shutdown(peer.fd, SHUT_WR);
        rig_run(&rig);
        (void)peer_read(&peer);
        peer_close(&peer);
        rig_run(&rig);
    }
    CHECK(rig_is_empty(&rig));
    rig_close(&rig);
}

static void
test_without_memory(void)
{
    bool due = false;
    unsigned long n = 0;

    while (!due && n < RUNS_MAX) {
        n++;
        check_case("allocation %lu", n);
        check_fail_allocation(n);
        play();
        due = check_failure_is_due();
        check_fail_allocation(0);
    }
    CHECK(n > 5 && n < RUNS_MAX);
}

int
main(void)
{
    test_every_cut();
    test_junk_follows();
    test_queued();
    test_body_cut_short();
    test_refused();
    test_many_refused();
    test_packet_to_http();
    test_ping();
    test_deadlines();
    test_without_memory();
    return check_end();
}
