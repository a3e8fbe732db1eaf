/* test_websocket_end.c - how a WebSocket ends, each way; its output and its
 * deadlines.
 *
 * SPDX-License-Identifier: MIT
 */
#include "check.h"
#include "engine/conn.h"
#include "rig.h"
#include "ws_rig.h"

#include <signal.h>

#define FIN 0x80u
#define SOON_MS 40
#define EMPTY ((struct gl_str){"", 0})

static bool
receives(struct ws_rig *w, const char *text)
{
    struct gl_ws_message m;

    return gl_ws_receive(w->ws, &m) == 0 &&
           gl_str_eq(m.bytes, (struct gl_str){text, strlen(text)});
}

static int
receive_error(struct ws_rig *w)
{
    struct gl_ws_message m;

    return gl_ws_receive(w->ws, &m);
}

static bool
reason_is(struct ws_rig *w, const char *text)
{
    struct gl_str reason = EMPTY;

    return gl_ws_closed(w->ws, NULL, &reason) &&
           gl_str_eq(reason, (struct gl_str){text, strlen(text)});
}

/* All calls on a closed WebSocket are harmless. */
static void
check_closed_calls(struct ws_rig *w, int code)
{
    unsigned before = w->received;

    CHECK(ws_closed_with(w, code));
    CHECK(receive_error(w) == -ESHUTDOWN);
    CHECK(gl_ws_send(w->ws, GL_WS_TEXT, GL_STR("x")) == -ESHUTDOWN);
    CHECK(gl_ws_close(w->ws, 1000, EMPTY) == 0);
    CHECK(ws_closed_with(w, code));
    CHECK(gl_ws_wait_send(w->ws, &w->sender) == 0);
    CHECK(gl_ws_wait_receive(w->ws, &w->receiver) == 0);
    CHECK(w->received == before && w->sent == 0);
    RIG_UNTIL(&w->rig, w->sent == 1 && w->received == before + 1);
}

/* A WebSocket whose owner is the test itself. */
static void
open_quiet(struct ws_rig *w)
{
    ws_init(w);
    w->echo = false;
    ws_begin(w);
}

/* --- the peer closes ---------------------------------------------------- */

static void
check_peer_closes(const char *payload, size_t n, int code, const char *reason,
                  bool exact)
{
    struct ws_rig w;

    check_case("peer closes with %d, exact %d", code, exact);
    ws_init(&w);
    w.options.exact = exact;
    w.echo = false;
    ws_begin(&w);
    CHECK(gl_ws_wait_receive(w.ws, &w.receiver) == 0);
    ws_send(&w, GL_WS_CLOSE, payload, n);
    CHECK(w.received == 1);
    CHECK(receive_error(&w) == -ESHUTDOWN);
    CHECK(ws_got_close(&w, code));
    CHECK(ws_got_end(&w)); /* the server ends first */
    CHECK(reason_is(&w, reason));
    w.received = 0;
    check_closed_calls(&w, code);
    peer_close(&w.peer);
    RIG_UNTIL(&w.rig, w.rig.departed > 0);
    CHECK(ws_closed_with(&w, code));
    ws_close_rig(&w);
}

/* What came before the close is received before it. */
static void
test_messages_before_the_close(void)
{
    char bytes[64];
    size_t n = 0;
    struct ws_rig w;

    check_case("messages before the close");
    open_quiet(&w);
    n += ws_frame(bytes + n, FIN | GL_WS_TEXT, "one", 3);
    n += ws_frame(bytes + n, FIN | GL_WS_TEXT, "two", 3);
    n += ws_frame(bytes + n, FIN | GL_WS_CLOSE, "\x03\xe9", 2);
    n += ws_frame(bytes + n, FIN | GL_WS_TEXT, "late", 4);
    ws_say(&w, bytes, n);
    CHECK(shutdown(w.peer.fd, SHUT_WR) == 0);
    rig_run(&w.rig);
    CHECK(!gl_ws_closed(w.ws, NULL, NULL));
    CHECK(receives(&w, "one"));
    CHECK(receives(&w, "two"));
    CHECK(receive_error(&w) == -ESHUTDOWN);
    CHECK(ws_closed_with(&w, 1001));
    CHECK(ws_got_close(&w, 1001));
    CHECK(ws_got_end(&w));
    ws_close_rig(&w);
}

static void
check_peer_vanishes(bool resets, bool waits)
{
    struct ws_rig w;

    check_case("peer vanishes, reset %d, waits %d", resets, waits);
    ws_init(&w);
    w.echo = false;
    CHECK(ws_connect(&w, true));
    ws_shake(&w, "", 0);
    if (waits) {
        CHECK(gl_ws_wait_receive(w.ws, &w.receiver) == 0);
    }
    if (resets) {
        peer_reset(&w.peer);
    } else {
        CHECK(shutdown(w.peer.fd, SHUT_WR) == 0);
    }
    if (waits) {
        RIG_UNTIL(&w.rig, w.received == 1);
        CHECK(receive_error(&w) == -ESHUTDOWN);
    } else {
        RIG_UNTIL(&w.rig, gl_ws_closed(w.ws, NULL, NULL));
    }
    CHECK(w.rig.departed >= 1);
    if (!resets) {
        CHECK(ws_got_end(&w)); /* without a close */
    }
    w.received = 0;
    check_closed_calls(&w, 1006);
    ws_close_rig(&w);
}

/* --- we close ----------------------------------------------------------- */

static void
test_we_close(void)
{
    struct ws_rig w;

    check_case("we close");
    open_quiet(&w);
    ws_send(&w, GL_WS_TEXT, "before", 6);
    ws_send(&w, GL_WS_TEXT, "unread", 6);
    CHECK(gl_ws_close(w.ws, 1005 + 1, EMPTY) == -EINVAL);
    CHECK(gl_ws_close(w.ws, 70000, EMPTY) == -EINVAL);
    CHECK(gl_ws_close(w.ws, 4001, GL_STR("bye")) == 0);
    CHECK(gl_ws_close(w.ws, 1000, EMPTY) == 0); /* does nothing */
    CHECK(gl_ws_send(w.ws, GL_WS_TEXT, GL_STR("x")) == -ESHUTDOWN);
    CHECK(ws_got_close(&w, 4001));
    CHECK(!gl_ws_closed(w.ws, NULL, NULL));
    ws_send(&w, GL_WS_PING, "p", 1); /* nothing is sent after a close */
    ws_say_frame(&w, GL_WS_TEXT, "dropped \xff", 9);
    ws_say_frame(&w, FIN, "too", 3);
    ws_send(&w, GL_WS_CLOSE, "\x0f\xa1", 2);
    CHECK(ws_closed_with(&w, 4001));
    CHECK(ws_got_end(&w));
    CHECK(receives(&w, "before"));
    w.received = 0;
    check_closed_calls(&w, 4001);
    ws_close_rig(&w);
}

/* The peer ends within a message that came too late: the one before it still
 * waits, and is whole. */
static void
check_we_close_amid_a_message(bool closes)
{
    struct ws_rig w;

    check_case("we close amid a message, peer closes %d", closes);
    open_quiet(&w);
    ws_send(&w, GL_WS_TEXT, "before", 6);
    CHECK(gl_ws_close(w.ws, 1001, EMPTY) == 0);
    ws_say_frame(&w, GL_WS_TEXT, "late", 4);
    if (closes) {
        ws_send(&w, GL_WS_CLOSE, "\x03\xe9", 2);
    } else {
        CHECK(shutdown(w.peer.fd, SHUT_WR) == 0);
    }
    RIG_UNTIL(&w.rig, gl_ws_closed(w.ws, NULL, NULL));
    CHECK(receives(&w, "before"));
    CHECK(receive_error(&w) == -ESHUTDOWN);
    ws_close_rig(&w);
}

static void
check_reason(size_t length, size_t sent)
{
    char reason[200], expected[GL_WS_CONTROL_MAX_BYTES] = "\x03\xe8";
    struct ws_rig w;

    check_case("reason of %zu bytes", length);
    for (size_t i = 0; i < length; i++) { /* of characters of two bytes */
        reason[i] = i % 2 == 0 ? '\xc3' : '\xa9';
    }
    memcpy(expected + 2, reason, sent);
    open_quiet(&w);
    CHECK(gl_ws_close(w.ws, 1000, (struct gl_str){reason, length}) == 0);
    CHECK(ws_got(&w, GL_WS_CLOSE, expected, 2 + sent));
    ws_close_rig(&w);
}

static void
test_we_close_without_code(void)
{
    struct ws_rig w;

    check_case("we close without a code");
    open_quiet(&w);
    CHECK(gl_ws_close(w.ws, 1005, EMPTY) == 0);
    CHECK(ws_got_close(&w, 1005));
    ws_send(&w, GL_WS_CLOSE, "", 0);
    CHECK(ws_closed_with(&w, 1005));
    CHECK(ws_got_end(&w));
    ws_close_rig(&w);
}

enum answer { NOTHING, THE_END, A_RESET, GARBAGE };

static void
check_no_close_in_return(enum answer answer, bool exact)
{
    uint64_t began = gl_clock_ms();
    struct ws_rig w;

    check_case("we close, the peer does %d, exact %d", answer, exact);
    ws_init(&w);
    w.options.close_timeout_ms = answer == NOTHING ? SOON_MS : WAIT_MS;
    w.options.exact = exact;
    w.echo = false;
    CHECK(ws_connect(&w, true));
    ws_shake(&w, "", 0);
    CHECK(gl_ws_wait_receive(w.ws, &w.receiver) == 0);
    CHECK(gl_ws_close(w.ws, 1001, EMPTY) == 0);
    CHECK(ws_got_close(&w, 1001));
    if (answer == THE_END) {
        CHECK(shutdown(w.peer.fd, SHUT_WR) == 0);
    } else if (answer == A_RESET) {
        peer_reset(&w.peer);
    } else if (answer == GARBAGE) {
        ws_say(&w, "\xff\xff\xff", 3);
    }
    RIG_UNTIL(&w.rig, w.received == 1);
    CHECK(answer != NOTHING || gl_clock_ms() - began >= SOON_MS);
    CHECK(ws_closed_with(&w, answer == GARBAGE ? 1002 : 1006));
    if (answer != A_RESET) {
        CHECK(ws_got_end(&w)); /* without a second close */
    }
    ws_close_rig(&w);
}

/* --- the owner, the engine ---------------------------------------------- */

static void
test_freed_open(void)
{
    struct ws_rig w;

    check_case("freed open");
    ws_open(&w, false);
    ws_send(&w, GL_WS_TEXT, "x", 1);
    CHECK(ws_got(&w, GL_WS_TEXT, "x", 1));
    gl_ws_forget(w.ws, &w.receiver);
    gl_ws_free(w.ws);
    w.ws = NULL;
    CHECK(ws_got_close(&w, 1001));
    CHECK(ws_got_end(&w));
    ws_close_rig(&w);
}

static void
check_freed_when_woken(bool by_close)
{
    struct ws_rig w;

    check_case("freed when woken, %d", by_close);
    ws_open(&w, false);
    if (by_close) { /* within a message the engine reads by itself */
        ws_say_frame(&w, GL_WS_TEXT, "x", 1);
    }
    w.frees = true;
    ws_send(&w, by_close ? GL_WS_CLOSE : GL_WS_TEXT, "", 0);
    CHECK(w.ws == NULL);
    CHECK(ws_got_close(&w, by_close ? 1005 : 1001));
    CHECK(ws_got_end(&w));
    ws_close_rig(&w);
}

static void
test_drain(void)
{
    struct ws_rig w;

    check_case("drain");
    ws_open(&w, false);
    gl_engine_drain(w.rig.engine);
    CHECK(ws_got_close(&w, 1001));
    CHECK(!gl_ws_closed(w.ws, NULL, NULL));
    ws_send(&w, GL_WS_CLOSE, "\x03\xe9", 2);
    CHECK(w.received > 0 && ws_closed_with(&w, 1001));
    CHECK(ws_got_end(&w));
    gl_ws_free(w.ws);
    w.ws = NULL;
    rig_run(&w.rig);
    CHECK(rig_is_empty(&w.rig));
    ws_close_rig(&w);
}

static void
test_opened_while_draining(void)
{
    struct ws_rig w;

    check_case("opened while draining");
    ws_init(&w);
    CHECK(ws_connect(&w, false));
    CHECK(send(w.peer.fd, WS_GET, sizeof(WS_GET) - 1, 0) > 0);
    gl_engine_drain(w.rig.engine); /* looks at it once more */
    RIG_UNTIL(&w.rig, w.ws != NULL);
    w.seen = sizeof(WS_101) - 1;
    CHECK(ws_got_close(&w, 1001));
    ws_close_rig(&w);
}

/* The engine goes first: the WebSocket is closed, and stays to be freed. */
static void
check_engine_ends(bool waits)
{
    struct ws_rig w;
    struct gl_waiter receiver;

    check_case("engine ends, waits %d", waits);
    ws_init(&w);
    w.echo = false;
    ws_begin(&w);
    receiver = w.receiver;
    if (waits) {
        CHECK(gl_ws_wait_receive(w.ws, &w.receiver) == 0);
    } else {
        ws_send(&w, GL_WS_TEXT, "lost", 4);
    }
    rig_close(&w.rig);
    CHECK(w.received == waits);
    CHECK(gl_ws_request(w.ws) == NULL);
    CHECK(ws_closed_with(&w, 1006));
    CHECK(receive_error(&w) == -ESHUTDOWN);
    CHECK(gl_ws_send(w.ws, GL_WS_TEXT, EMPTY) == -ESHUTDOWN);
    CHECK(gl_ws_close(w.ws, 1000, EMPTY) == 0);
    CHECK(!gl_ws_should_wait(w.ws));
    CHECK(gl_ws_wait_receive(w.ws, &receiver) == -ESHUTDOWN);
    CHECK(gl_ws_wait_send(w.ws, &w.sender) == -ESHUTDOWN);
    ws_close_rig(&w);
}

/* --- output ------------------------------------------------------------- */

static size_t
unsent(const struct ws_rig *w)
{
    return gl_buf_len(&gl_ws_request(w->ws)->conn->out);
}

/* Sends messages of n bytes until one is refused; returns how many. */
static size_t
fill(struct ws_rig *w, size_t n)
{
    static const char bytes[10000];
    size_t count = 0;
    int error;

    do {
        error = gl_ws_send(w->ws, GL_WS_BINARY, (struct gl_str){bytes, n});
        count += error == 0;
    } while (error == 0 && CHECK(count < 10000));
    CHECK(error == -EAGAIN);
    return count;
}

static void
open_slow(struct ws_rig *w)
{
    ws_init(w);
    w->echo = false;
    w->rig.send_buffer_bytes = 4096;
    w->options.output_max_bytes = 40000;
}

static void
test_backpressure(void)
{
    struct ws_rig w;
    struct gl_waiter second, third;
    struct gl_ws_frame frame;
    struct gl_str payload;
    size_t count;

    check_case("backpressure");
    open_slow(&w);
    ws_begin(&w);
    second = third = w.sender;
    CHECK(!gl_ws_should_wait(w.ws));
    count = fill(&w, 10000);
    CHECK(unsent(&w) > 40000 && unsent(&w) <= 50010);
    CHECK(gl_ws_should_wait(w.ws));
    CHECK(gl_ws_send(w.ws, GL_WS_PING, EMPTY) == -EAGAIN);
    CHECK(gl_ws_wait_send(w.ws, &w.sender) == 0);
    CHECK(gl_ws_wait_send(w.ws, &second) == 0);
    CHECK(gl_ws_wait_send(w.ws, &third) == 0);
    gl_ws_forget(w.ws, &second);
    gl_ws_forget(w.ws, &third);
    gl_ws_forget(w.ws, &second);
    rig_run(&w.rig);
    CHECK(w.sent == 0);
    for (size_t i = 0; i < count; i++) {
        CHECK(ws_take(&w, &frame, &payload) && payload.n == 10000);
    }
    CHECK(w.sent == 1 && unsent(&w) == 0 && !gl_ws_should_wait(w.ws));
    CHECK(gl_ws_wait_send(w.ws, &w.sender) == 0);
    CHECK(w.sent == 1);
    rig_run(&w.rig);
    CHECK(w.sent == 2); /* there was nothing to wait for */
    ws_close_rig(&w);
}

/* What was sent before a close leaves before it, and before the end. */
static void
check_output_leaves(bool freed)
{
    struct ws_rig w;
    struct gl_ws_frame frame;
    struct gl_str payload;
    size_t count;

    check_case("output leaves, freed %d", freed);
    open_slow(&w);
    ws_begin(&w);
    count = fill(&w, 3000);
    if (freed) {
        gl_ws_free(w.ws);
        w.ws = NULL;
    } else {
        ws_send(&w, GL_WS_CLOSE, "\x03\xe9", 2);
        CHECK(ws_closed_with(&w, 1001));
    }
    for (size_t i = 0; i < count; i++) {
        CHECK(ws_take(&w, &frame, &payload) && payload.n == 3000);
    }
    CHECK(ws_got_close(&w, 1001));
    CHECK(ws_got_end(&w));
    ws_close_rig(&w);
}

/* A peer that takes nothing is given up, whoever waits. */
static void
check_slow_reader(bool waits, bool closing)
{
    struct ws_rig w;

    check_case("slow reader, waits %d, closing %d", waits, closing);
    open_slow(&w);
    w.rig.options.write_timeout_ms = SOON_MS;
    ws_begin(&w);
    (void)fill(&w, 10000);
    if (waits) {
        CHECK(gl_ws_wait_send(w.ws, &w.sender) == 0);
    }
    if (closing) {
        CHECK(gl_ws_close(w.ws, 1000, EMPTY) == 0);
        CHECK(!gl_ws_should_wait(w.ws)); /* nothing can be sent */
    }
    RIG_UNTIL(&w.rig, gl_ws_closed(w.ws, NULL, NULL));
    CHECK(ws_closed_with(&w, 1006));
    RIG_UNTIL(&w.rig, w.sent == waits);
    ws_close_rig(&w);
}

static void
test_bad_sends(void)
{
    static const char bytes[126];
    struct ws_rig w;

    check_case("bad sends");
    open_quiet(&w);
    CHECK(gl_ws_send(w.ws, GL_WS_PING, (struct gl_str){bytes, 126}) ==
          -EINVAL);
    CHECK(gl_ws_send(w.ws, GL_WS_CLOSE, EMPTY) == -EINVAL);
    CHECK(gl_ws_send(w.ws, GL_WS_CONTINUATION, EMPTY) == -EINVAL);
    CHECK(gl_ws_send(w.ws, GL_WS_PING, (struct gl_str){bytes, 125}) == 0);
    CHECK(gl_ws_send(w.ws, GL_WS_PONG, EMPTY) == 0);
    CHECK(ws_got(&w, GL_WS_PING, bytes, 125));
    CHECK(ws_got(&w, GL_WS_PONG, "", 0));
    ws_close_rig(&w);
}

/* --- silence ------------------------------------------------------------ */

static void
open_pinging(struct ws_rig *w, bool exact)
{
    ws_init(w);
    w->echo = false;
    w->options.exact = exact;
    w->options.ping_interval_ms = w->options.pong_timeout_ms = SOON_MS;
    ws_begin(w);
}

static void
check_silence(bool exact)
{
    uint64_t began;
    struct ws_rig w;

    check_case("silence, exact %d", exact);
    open_pinging(&w, exact);
    began = gl_clock_ms();
    CHECK(gl_ws_wait_receive(w.ws, &w.receiver) == 0);
    CHECK(ws_got(&w, GL_WS_PING, "", 0));
    CHECK(gl_clock_ms() - began >= SOON_MS - 1);
    ws_send(&w, GL_WS_PONG, "", 0);
    if (exact) { /* the application asks again */
        CHECK(receive_error(&w) == -EAGAIN);
        CHECK(gl_ws_wait_receive(w.ws, &w.receiver) == 0);
    }
    CHECK(ws_got(&w, GL_WS_PING, "", 0)); /* the next: it was alive */
    CHECK(gl_clock_ms() - began >= 2 * (SOON_MS - 1));
    CHECK(!gl_ws_closed(w.ws, NULL, NULL));
    RIG_UNTIL(&w.rig, gl_ws_closed(w.ws, NULL, NULL));
    CHECK(gl_clock_ms() - began >= 3 * (SOON_MS - 1));
    CHECK(ws_closed_with(&w, 1006));
    RIG_UNTIL(&w.rig, w.received >= 1);
    CHECK(ws_got_end(&w));
    ws_close_rig(&w);
}

/* While bytes of it wait for the application a peer is not silent. */
static void
check_kept_waiting(bool exact)
{
    uint64_t began;
    struct ws_rig w;

    check_case("kept waiting, exact %d", exact);
    open_pinging(&w, exact);
    ws_send(&w, GL_WS_TEXT, "one", 3);
    began = gl_clock_ms();
    RIG_UNTIL(&w.rig, gl_clock_ms() > began + 5 * SOON_MS);
    CHECK(!gl_ws_closed(w.ws, NULL, NULL));
    CHECK(receives(&w, "one"));
    CHECK(receive_error(&w) == -EAGAIN);
    RIG_UNTIL(&w.rig, gl_ws_closed(w.ws, NULL, NULL)); /* now it is */
    CHECK(ws_got(&w, GL_WS_PING, "", 0));
    ws_close_rig(&w);
}

/* Any byte of the peer's counts, a message that never ends too. */
static void
test_talks_on(void)
{
    uint64_t began;
    struct ws_rig w;

    check_case("talks on");
    open_pinging(&w, false);
    w.peer.n = w.seen;
    ws_say(&w, "\x82\xfe\x40\x00" WS_MASK, 8);
    began = gl_clock_ms();
    RIG_WHILE(&w.rig, (void)!send(w.peer.fd, "x", 1, MSG_NOSIGNAL),
              gl_clock_ms() > began + 5 * SOON_MS);
    CHECK(!gl_ws_closed(w.ws, NULL, NULL));
    ws_close_rig(&w);
}

static void
test_pings_without_judgement(void)
{
    struct ws_rig w;

    check_case("pings without judgement");
    ws_init(&w);
    w.options.ping_interval_ms = SOON_MS / 4;
    ws_begin(&w);
    for (int i = 0; i < 4; i++) {
        CHECK(ws_got(&w, GL_WS_PING, "", 0));
    }
    CHECK(!gl_ws_closed(w.ws, NULL, NULL));
    ws_close_rig(&w);
}

static void
check_closes(void)
{
    for (int exact = 0; exact < 2; exact++) {
        check_peer_closes("\x03\xe8", 2, 1000, "", exact);
        check_peer_closes("\x0f\xa0"
                          "because",
                          9, 4000, "because", exact);
        check_peer_closes("", 0, 1005, "", exact);
        check_no_close_in_return(NOTHING, exact);
        check_no_close_in_return(THE_END, exact);
        check_no_close_in_return(A_RESET, exact);
        check_no_close_in_return(GARBAGE, exact);
    }
}

int
main(void)
{
    (void)signal(SIGPIPE, SIG_IGN);
    check_closes();
    test_messages_before_the_close();
    for (int i = 0; i < 4; i++) {
        check_peer_vanishes(i & 1, i & 2);
        check_slow_reader(i & 1, i & 2);
    }
    test_we_close();
    check_we_close_amid_a_message(false);
    check_we_close_amid_a_message(true);
    test_we_close_without_code();
    check_reason(0, 0);
    check_reason(122, 122);
    check_reason(123, 123);
    check_reason(124, 122);
    check_reason(200, 122);
    test_freed_open();
    check_freed_when_woken(false);
    check_freed_when_woken(true);
    test_drain();
    test_opened_while_draining();
    check_engine_ends(false);
    check_engine_ends(true);
    test_backpressure();
    check_output_leaves(false);
    check_output_leaves(true);
    test_bad_sends();
    for (int exact = 0; exact < 2; exact++) {
        check_silence(exact);
        check_kept_waiting(exact);
    }
    test_talks_on();
    test_pings_without_judgement();
    return check_end();
}
