/* test_websocket.c - what a WebSocket's peer sends: messages, control frames,
 * broken rules, limits; and the two ways of reading.
 *
 * SPDX-License-Identifier: MIT
 */
#include "check.h"
#include "rig.h"
#include "ws_rig.h"

#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>

#define FIN 0x80u
#define RSV1 0x40u
#define BIG_BYTES 300000

/* --- messages ----------------------------------------------------------- */

static void
check_echo(bool exact)
{
    static char big[BIG_BYTES];
    struct ws_rig w;

    check_case("echo, exact %d", exact);
    ws_open(&w, exact);
    ws_send(&w, GL_WS_TEXT, "hello", 5);
    CHECK(ws_got(&w, GL_WS_TEXT, "hello", 5));
    ws_send(&w, GL_WS_BINARY, "", 0);
    CHECK(ws_got(&w, GL_WS_BINARY, "", 0));
    for (size_t i = 0; i < sizeof(big); i++) {
        big[i] = (char)(i * 7);
    }
    for (size_t n = 120; n <= sizeof(big); n = n * 3 / 2) {
        ws_send(&w, GL_WS_BINARY, big, n);
        CHECK(ws_got(&w, GL_WS_BINARY, big, n));
    }
    ws_close_rig(&w);
}

/* However the bytes are cut, the messages are the same. */
static void
check_cuts(size_t most, bool exact)
{
    static const char text[] = "gr\xc3\xb6\xc3\x9f"
                               "er \xf0\x9f\x8c\x80";
    char bytes[512], payload[200];
    size_t n = 0, last = sizeof(text) - 1;
    struct ws_rig w;

    check_case("cuts of %zu, exact %d", most, exact);
    memset(payload, 'p', sizeof(payload));
    n += ws_frame(bytes + n, GL_WS_TEXT, text, 3); /* within a character */
    n += ws_frame(bytes + n, FIN | GL_WS_PING, "beat", 4);
    n += ws_frame(bytes + n, GL_WS_CONTINUATION, text + 3, 0);
    n += ws_frame(bytes + n, GL_WS_CONTINUATION, text + 3, last - 5);
    n += ws_frame(bytes + n, FIN | GL_WS_PONG, "", 0);
    n += ws_frame(bytes + n, FIN, text + last - 2, 2);
    n += ws_frame(bytes + n, FIN | GL_WS_BINARY, payload, sizeof(payload));
    n += ws_frame(bytes + n, FIN | GL_WS_TEXT, "", 0);
    ws_open(&w, exact);
    for (size_t at = 0; at < n; at += most) {
        ws_say(&w, bytes + at, n - at < most ? n - at : most);
    }
    CHECK(ws_got(&w, GL_WS_PONG, "beat", 4));
    CHECK(ws_got(&w, GL_WS_TEXT, text, last));
    CHECK(ws_got(&w, GL_WS_BINARY, payload, sizeof(payload)));
    CHECK(ws_got(&w, GL_WS_TEXT, "", 0));
    ws_close_rig(&w);
}

static void
test_many_at_once(void)
{
    enum { MANY = 3000 };
    static char bytes[MANY * 20];
    char text[16];
    size_t n = 0;
    struct ws_rig w;

    check_case("many at once");
    ws_open(&w, false);
    for (int i = 0; i < MANY; i++) {
        int len = snprintf(text, sizeof(text), "%d", i);

        n += ws_frame(bytes + n, FIN | GL_WS_TEXT, text, (size_t)len);
    }
    ws_say(&w, bytes, n);
    for (int i = 0; i < MANY; i++) {
        int len = snprintf(text, sizeof(text), "%d", i);

        if (!CHECK(ws_got(&w, GL_WS_TEXT, text, (size_t)len))) {
            break;
        }
    }
    ws_close_rig(&w);
}

static void
test_behind_the_handshake(void)
{
    char frame[64];
    size_t n = ws_frame(frame, FIN | GL_WS_TEXT, "early", 5);
    struct ws_rig w;

    check_case("behind the handshake");
    ws_init(&w);
    CHECK(ws_connect(&w, false));
    ws_shake(&w, frame, n);
    CHECK(ws_got(&w, GL_WS_TEXT, "early", 5));
    ws_close_rig(&w);
}

/* --- broken rules ------------------------------------------------------- */

struct fault {
    const char *name;
    const char *bytes;
    size_t n;
    int code;
};

#define FAULT(name, code, text) {name, text, sizeof(text) - 1, code}
#define M "\0\0\0\0" /* a mask that changes nothing */

static const struct fault faults[] = {
    FAULT("unmasked", 1002,
          "\x81\x01"
          "a"),
    FAULT("unmasked close", 1002, "\x88\x00"),
    FAULT("rsv1", 1002, "\xc1\x81" M "a"),
    FAULT("rsv2", 1002, "\xa1\x81" M "a"),
    FAULT("rsv3", 1002, "\x91\x81" M "a"),
    FAULT("rsv1 of a ping", 1002, "\xc9\x80" M),
    FAULT("opcode 3", 1002, "\x83\x80" M),
    FAULT("opcode 11", 1002, "\x8b\x80" M),
    FAULT("ping in parts", 1002, "\x09\x80" M),
    FAULT("long ping", 1002, "\x89\xfe\x00\x7e" M),
    FAULT("continuation of nothing", 1002, "\x80\x81" M "a"),
    FAULT("text within text", 1002,
          "\x01\x81" M "a"
          "\x81\x81" M "b"),
    FAULT("length with the top bit", 1002, "\x82\xff\x80\0\0\0\0\0\0\0" M),
    FAULT("length not the shortest", 1002, "\x82\xfe\x00\x7d" M),
    FAULT("length not the shortest, 8 bytes", 1002,
          "\x82\xff\0\0\0\0\0\0\xff\xff" M),
    FAULT("close of one byte", 1002, "\x88\x81" M "\x03"),
    FAULT("close 999", 1002, "\x88\x82" M "\x03\xe7"),
    FAULT("close 1005", 1002, "\x88\x82" M "\x03\xed"),
    FAULT("close 1006", 1002, "\x88\x82" M "\x03\xee"),
    FAULT("close 5000", 1002, "\x88\x82" M "\x13\x88"),
    FAULT("close reason", 1007, "\x88\x83" M "\x03\xe8\xff"),
    FAULT("text", 1007, "\x81\x82" M "a\xff"),
    FAULT("text cut", 1007, "\x81\x81" M "\xc3"),
    FAULT("text cut in parts", 1007,
          "\x01\x81" M "\xc3"
          "\x80\x80" M),
    FAULT("surrogate", 1007, "\x81\x83" M "\xed\xa0\x80"),
    /* Told by its first wrong byte: the rest has not come. */
    FAULT("text, at once", 1007, "\x81\x85" M "a\xff"),
    FAULT("text in parts, at once", 1007, "\x01\x83" M "ab\xc0"),
    FAULT("long text, at once", 1007, "\x81\xfe\x40\x00" M "\xc1"),
    FAULT("too long", 1009, "\x82\xff\0\0\0\0\0\x10\0\x01" M),
    FAULT("much too long", 1009,
          "\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff" M),
};

static void
check_fault(const struct fault *fault, bool exact, size_t most)
{
    struct ws_rig w;

    check_case("%s, exact %d, pieces of %zu", fault->name, exact, most);
    ws_open(&w, exact);
    for (size_t at = 0; at < fault->n; at += most) {
        ws_say(&w, fault->bytes + at,
               fault->n - at < most ? fault->n - at : most);
    }
    CHECK(ws_got_close(&w, fault->code));
    CHECK(ws_got_end(&w));
    CHECK(ws_closed_with(&w, fault->code));
    CHECK(w.received > 0);
    ws_close_rig(&w);
}

static void
test_continuation_after_the_end(void)
{
    struct ws_rig w;

    check_case("continuation after the end");
    ws_open(&w, false);
    ws_say_frame(&w, GL_WS_TEXT, "a", 1);
    ws_say_frame(&w, FIN, "b", 1);
    ws_say_frame(&w, FIN, "c", 1);
    CHECK(ws_got(&w, GL_WS_TEXT, "ab", 2));
    CHECK(ws_got_close(&w, 1002));
    ws_close_rig(&w);
}

static void
test_message_limit(void)
{
    struct ws_rig w;

    check_case("message limit");
    ws_init(&w);
    w.options.message_max_bytes = 10;
    ws_begin(&w);
    ws_send(&w, GL_WS_TEXT, "0123456789", 10);
    CHECK(ws_got(&w, GL_WS_TEXT, "0123456789", 10));
    ws_say_frame(&w, GL_WS_TEXT, "012345", 6);
    ws_say_frame(&w, FIN, "6789", 4);
    CHECK(ws_got(&w, GL_WS_TEXT, "0123456789", 10));
    ws_say_frame(&w, GL_WS_TEXT, "012345", 6);
    ws_say_frame(&w, FIN, "67890", 5);
    CHECK(ws_got_close(&w, 1009));
    CHECK(ws_closed_with(&w, 1009));
    ws_close_rig(&w);
}

/* --- deflate ------------------------------------------------------------ */

/* A codec that tests can read: inflating doubles each byte. */
struct doubler {
    unsigned ends; /* last pieces */
    bool fails;
};

static int
doubler_inflate(void *arg, struct gl_str in, bool last, struct gl_buf *out,
                uint64_t max)
{
    struct doubler *d = arg;

    d->ends += last;
    for (size_t i = 0; i < in.n; i++) {
        char two[2] = {in.p[i], in.p[i]};
        int error = gl_buf_append(out, two, 2, (size_t)max);

        if (in.p[i] == '!') {
            return -EPROTO;
        }
        if (error < 0) {
            return error == -ENOBUFS ? -EMSGSIZE : error;
        }
    }
    return 0;
}

static int
doubler_deflate(void *arg, struct gl_str in, struct gl_buf *out)
{
    if (((struct doubler *)arg)->fails) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < in.n; i += 2) {
        if (gl_buf_append(out, in.p + i, 1, SIZE_MAX) < 0) {
            return -ENOMEM;
        }
    }
    return 0;
}

static void
open_deflating(struct ws_rig *w, struct gl_ws_codec *codec, struct doubler *d)
{
    *d = (struct doubler){0};
    *codec = (struct gl_ws_codec){doubler_inflate, doubler_deflate, d};
    ws_init(w);
    w->codec = codec;
    w->options.message_max_bytes = 100;
    ws_begin(w);
}

static void
test_deflate(void)
{
    struct gl_ws_codec codec;
    struct doubler d;
    struct ws_rig w;
    struct gl_ws_frame frame;
    struct gl_str payload;
    char fifty[50];

    check_case("deflate");
    memset(fifty, 'x', sizeof(fifty));
    open_deflating(&w, &codec, &d);
    ws_say_frame(&w, FIN | RSV1 | GL_WS_TEXT, "abc", 3);
    CHECK(ws_take(&w, &frame, &payload) && frame.rsv1);
    CHECK(gl_str_eq(payload, GL_STR("abc")) && d.ends == 1);
    ws_send(&w, GL_WS_TEXT, "aabb", 4); /* may come plain */
    CHECK(ws_take(&w, &frame, &payload) && frame.rsv1);
    CHECK(gl_str_eq(payload, GL_STR("ab")) && d.ends == 1);
    ws_say_frame(&w, RSV1 | GL_WS_BINARY, "a", 1);
    ws_send(&w, GL_WS_PING, "p", 1);
    ws_say_frame(&w, GL_WS_CONTINUATION, "b", 1);
    ws_say_frame(&w, FIN, "", 0);
    CHECK(ws_got(&w, GL_WS_PONG, "p", 1));
    CHECK(ws_got(&w, GL_WS_BINARY, "ab", 2) && d.ends == 2);
    ws_say_frame(&w, FIN | RSV1 | GL_WS_TEXT, fifty, 50);
    CHECK(ws_got(&w, GL_WS_TEXT, fifty, 50)); /* 100 inflated */
    d.fails = true;
    ws_send(&w, GL_WS_TEXT, "aa", 2);
    CHECK(ws_got_end(&w)); /* its window would miss something */
    CHECK(ws_closed_with(&w, 1006));
    ws_close_rig(&w);
}

static void
check_deflate_fault(const char *name, unsigned first, unsigned second,
                    const char *payload, size_t n, int code)
{
    struct gl_ws_codec codec;
    struct doubler d;
    struct ws_rig w;

    check_case("deflate: %s", name);
    open_deflating(&w, &codec, &d);
    ws_say_frame(&w, first, payload, n);
    if (second != 0) {
        ws_say_frame(&w, second, "a", 1);
    }
    CHECK(ws_got_close(&w, code));
    CHECK(ws_closed_with(&w, code));
    ws_close_rig(&w);
}

static void
test_deflate_faults(void)
{
    char many[51];

    memset(many, 'x', sizeof(many));
    check_deflate_fault("rsv1 of a continuation", RSV1 | GL_WS_TEXT,
                        FIN | RSV1, "a", 1, 1002);
    check_deflate_fault("rsv1 of a ping", FIN | RSV1 | GL_WS_PING, 0, "a", 1,
                        1002);
    check_deflate_fault("bad data", FIN | RSV1 | GL_WS_TEXT, 0, "a!", 2,
                        1007);
    check_deflate_fault("not UTF-8 when inflated", RSV1 | GL_WS_TEXT, 0,
                        "\xc3", 1, 1007);
    check_deflate_fault("too long when inflated", FIN | RSV1 | GL_WS_BINARY,
                        0, many, 51, 1009);
    check_deflate_fault("too long in the second part", RSV1 | GL_WS_BINARY,
                        FIN, many, 50, 1009);
}

/* --- pings of the peer --------------------------------------------------- */

/* Answered while nobody receives, each one, in order. */
static void
test_pings(void)
{
    char bytes[2000], payload[GL_WS_CONTROL_MAX_BYTES];
    size_t n = 0;
    struct ws_rig w;

    check_case("pings");
    memset(payload, 'p', sizeof(payload));
    ws_init(&w);
    w.echo = false;
    ws_begin(&w);
    for (char i = 'a'; i < 'k'; i++) {
        n += ws_frame(bytes + n, FIN | GL_WS_PING, &i, 1);
    }
    n += ws_frame(bytes + n, FIN | GL_WS_PING, payload, sizeof(payload));
    n += ws_frame(bytes + n, FIN | GL_WS_PING, "", 0);
    ws_say(&w, bytes, n);
    for (char i = 'a'; i < 'k'; i++) {
        CHECK(ws_got(&w, GL_WS_PONG, &i, 1));
    }
    CHECK(ws_got(&w, GL_WS_PONG, payload, sizeof(payload)));
    CHECK(ws_got(&w, GL_WS_PONG, "", 0));
    ws_close_rig(&w);
}

/* A peer that asks and does not read costs a bound, and gets the newest. */
static void
test_ping_flood(void)
{
    enum { PINGS = 60000 };
    struct ws_rig w;
    struct gl_ws_frame frame;
    struct gl_str payload;
    char text[64] = "", last[64], bytes[128];
    size_t n;

    check_case("ping flood");
    ws_init(&w);
    w.rig.send_buffer_bytes = 4096;
    w.options.output_max_bytes = 8192;
    ws_begin(&w);
    for (int i = 0; i < PINGS; i++) {
        (void)snprintf(text, sizeof(text), "%-40d", i);
        n = ws_frame(bytes, FIN | GL_WS_PING, text, 40);
        CHECK(send(w.peer.fd, bytes, n, MSG_NOSIGNAL) == (ssize_t)n);
        if (i % 100 == 0) {
            rig_run(&w.rig);
        }
    }
    rig_run(&w.rig);
    memcpy(last, text, sizeof(last));
    CHECK(ws_take(&w, &frame, &payload));
    CHECK(payload.n == 40 && memcmp(payload.p, "0 ", 2) == 0);
    do {
        if (!CHECK(ws_take(&w, &frame, &payload))) {
            break;
        }
    } while (memcmp(payload.p, last, 40) != 0);
    CHECK(w.peer.n < 200 * 1024); /* far from all of them */
    ws_send(&w, GL_WS_TEXT, "x", 1);
    CHECK(ws_got(&w, GL_WS_TEXT, "x", 1));
    ws_close_rig(&w);
}

/* --- who reads, and how far --------------------------------------------- */

static int
unread_bytes(struct ws_rig *w)
{
    int n = -1;

    CHECK(ioctl(gl_request_fd(gl_ws_request(w->ws)), FIONREAD, &n) == 0);
    return n;
}

static bool
receives(struct ws_rig *w, enum gl_ws_opcode opcode, const char *text)
{
    struct gl_ws_message m;

    return gl_ws_receive(w->ws, &m) == 0 && m.opcode == opcode &&
           gl_str_eq(m.bytes, (struct gl_str){text, strlen(text)});
}

static bool
receives_nothing(struct ws_rig *w)
{
    struct gl_ws_message m;

    return gl_ws_receive(w->ws, &m) == -EAGAIN;
}

/* One whole message is read ahead; what comes later stays in the kernel, and
 * a peer that does not stop feels it. */
static void
test_reads_ahead(void)
{
    static char big[100000];
    size_t sent = 0;
    ssize_t n;
    struct ws_rig w;

    check_case("reads ahead");
    ws_init(&w);
    w.echo = false;
    ws_begin(&w);
    ws_say_frame(&w, GL_WS_TEXT, "on", 2);
    ws_say_frame(&w, FIN, "e", 1);
    CHECK(unread_bytes(&w) == 0);
    ws_send(&w, GL_WS_TEXT, "two", 3);
    ws_send(&w, GL_WS_PING, "p", 1);
    CHECK(unread_bytes(&w) == 16);
    CHECK(receives(&w, GL_WS_TEXT, "one"));
    rig_run(&w.rig); /* reads on without being asked */
    CHECK(unread_bytes(&w) == 0);
    CHECK(receives(&w, GL_WS_TEXT, "two"));
    CHECK(receives_nothing(&w));
    CHECK(ws_got(&w, GL_WS_PONG, "p", 1));
    do {
        n = send(w.peer.fd, big, ws_frame(big, FIN | GL_WS_TEXT, "z", 1),
                 MSG_NOSIGNAL);
        rig_run(&w.rig);
        sent += n > 0 ? 1 : 0;
    } while (n == 7 && sent < sizeof(big));
    CHECK(sent < sizeof(big)); /* the peer was stopped */
    for (size_t i = 0; i < sent; i++) {
        if (!CHECK(receives(&w, GL_WS_TEXT, "z"))) {
            break;
        }
    }
    ws_close_rig(&w);
}

static void
test_exact(void)
{
    char bytes[200], hundred[130];
    size_t n = 0;
    struct ws_rig w;
    struct pollfd poll_fd;

    check_case("exact");
    memset(hundred, 'h', sizeof(hundred) - 1);
    hundred[sizeof(hundred) - 1] = '\0';
    ws_init(&w);
    w.options.exact = true;
    w.echo = false;
    ws_begin(&w);
    n += ws_frame(bytes + n, FIN | GL_WS_PING, "p", 1);
    n += ws_frame(bytes + n, GL_WS_TEXT, "o", 1);
    n += ws_frame(bytes + n, FIN, "ne", 2);
    ws_say(&w, bytes, n);
    CHECK(unread_bytes(&w) == (int)n); /* nothing in the background */
    n = ws_frame(bytes, FIN | GL_WS_TEXT, hundred, 129);
    ws_say(&w, bytes, n);
    ws_send(&w, GL_WS_TEXT, "", 0);
    CHECK(receives(&w, GL_WS_TEXT, "one"));
    CHECK(unread_bytes(&w) == (int)n + 6);
    CHECK(ws_got(&w, GL_WS_PONG, "p", 1));
    poll_fd = (struct pollfd){gl_request_fd(gl_ws_request(w.ws)), POLLIN, 0};
    CHECK(poll(&poll_fd, 1, 0) == 1); /* who watches it is told */
    CHECK(receives(&w, GL_WS_TEXT, hundred));
    CHECK(unread_bytes(&w) == 6);
    CHECK(receives(&w, GL_WS_TEXT, ""));
    CHECK(poll(&poll_fd, 1, 0) == 0);
    CHECK(receives_nothing(&w));
    CHECK(gl_ws_wait_receive(w.ws, &w.receiver) == 0);
    rig_run(&w.rig);
    CHECK(w.received == 0);
    ws_send(&w, GL_WS_TEXT, "x", 1);
    CHECK(w.received == 1 && receives(&w, GL_WS_TEXT, "x"));
    ws_close_rig(&w);
}

/* Whatever the pieces, what is in memory alone is never held back. */
static void
check_exact_pieces(size_t large, size_t count)
{
    static char bytes[4096], payload[126];
    struct gl_ws_message m = {0};
    size_t n = 0, total = large * sizeof(payload) + count - large;
    int unread = 1;
    struct ws_rig w;

    check_case("exact, %zu large pieces of %zu", large, count);
    ws_init(&w);
    w.options.exact = true;
    w.echo = false;
    ws_begin(&w);
    for (size_t i = 0; i < count; i++) {
        unsigned bits = (i == 0 ? GL_WS_BINARY : GL_WS_CONTINUATION) |
                        (i == count - 1 ? FIN : 0);

        n += ws_frame(bytes + n, bits, payload,
                      i < large ? sizeof(payload) : 1);
    }
    ws_say(&w, bytes, n);
    while (unread > 0 && gl_ws_receive(w.ws, &m) == -EAGAIN) {
        unread = unread_bytes(&w);
    }
    CHECK(unread > 0 && m.bytes.n == total);
    ws_close_rig(&w);
}

/* Who begins to wait where something is there is woken, and one alone. */
static void
check_wait(bool exact)
{
    struct gl_waiter other = {.wake = ws_receiver_woken};
    struct ws_rig w;

    check_case("wait, exact %d", exact);
    ws_init(&w);
    w.options.exact = exact;
    w.echo = false;
    ws_begin(&w);
    CHECK(gl_ws_wait_receive(w.ws, &w.receiver) == 0);
    CHECK(gl_ws_wait_receive(w.ws, &other) == -EBUSY);
    gl_ws_forget(w.ws, &other);
    gl_ws_forget(w.ws, &w.receiver);
    ws_send(&w, GL_WS_TEXT, "x", 1);
    CHECK(w.received == 0);
    CHECK(gl_ws_wait_receive(w.ws, &w.receiver) == 0);
    CHECK(w.received == 0); /* not from within the call */
    rig_run(&w.rig);
    CHECK(w.received == 1 && receives(&w, GL_WS_TEXT, "x"));
    CHECK(receives_nothing(&w));
    CHECK(gl_ws_wait_receive(w.ws, &w.receiver) == 0);
    rig_run(&w.rig);
    CHECK(w.received == 1);
    ws_close_rig(&w);
}

int
main(void)
{
    (void)signal(SIGPIPE, SIG_IGN);
    check_echo(false);
    check_echo(true);
    for (size_t most = 1; most < 600; most = most * 2 + 1) {
        check_cuts(most, false);
        check_cuts(most, true);
    }
    test_many_at_once();
    test_behind_the_handshake();
    for (size_t i = 0; i < GL_ARRAY_LEN(faults); i++) {
        check_fault(&faults[i], false, 100);
        check_fault(&faults[i], false, 1);
        check_fault(&faults[i], true, 100);
    }
    test_continuation_after_the_end();
    test_message_limit();
    test_deflate();
    test_deflate_faults();
    test_pings();
    test_ping_flood();
    test_reads_ahead();
    test_exact();
    for (size_t count = 1; count < 30; count++) {
        check_exact_pieces(0, count);
        check_exact_pieces(count / 2, count);
    }
    check_wait(false);
    check_wait(true);
    return check_end();
}
