/* test_conn_flow.c - connections whose peers are slow: deadlines, full
 * sockets, answers that wait for room.
 *
 * SPDX-License-Identifier: MIT
 */
#include "check.h"
#include "rig.h"

#include <signal.h>
#include <stdint.h>
#include <time.h>

#define SOON_MS 40
#define MANY_BYTES (3 << 20) /* more than any socket takes */
#define POST(length) \
    "POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: " length "\r\n\r\n"

/* The answer that the peer got is whole and its bytes are in order. */
static bool
answer_is_right(const struct rig_peer *peer, size_t body)
{
    const char *end = memmem(peer->got, peer->n, "\r\n\r\n", 4);
    size_t head = end != NULL ? (size_t)(end - peer->got) + 4 : 0;

    if (end == NULL || peer->n != head + body) {
        return false;
    }
    for (size_t i = 0; i < body; i++) {
        if (peer->got[head + i] != rig_pattern(i)) {
            return false;
        }
    }
    return true;
}

static void
end_test(struct rig *rig, struct rig_peer *peer)
{
    peer_close(peer);
    RIG_UNTIL(rig, rig_is_empty(rig));
    rig_close(rig);
}

/* Sends one byte, if it is taken; not more often than each millisecond. */
static void
drip(struct rig_peer *peer)
{
    static uint64_t last_ms;

    if (gl_clock_ms() != last_ms) {
        last_ms = gl_clock_ms();
        (void)!send(peer->fd, "x", 1, MSG_NOSIGNAL);
    }
}

/* --- deadlines -------------------------------------------------------- */

static void
test_head_deadlines(void)
{
    struct rig rig;
    struct rig_peer silent, slow, kept;
    uint64_t began = gl_clock_ms();

    check_case("head deadline");
    rig_init(&rig);
    rig.options.head_timeout_ms = SOON_MS;
    rig.options.keepalive_timeout_ms = 4 * SOON_MS;
    rig_open(&rig);
    CHECK(rig_connect(&rig, &silent));
    CHECK(rig_connect(&rig, &slow));
    CHECK(rig_connect(&rig, &kept));
    peer_say(&rig, &kept, GET("/"));
    peer_say(&rig, &slow, "GET /");
    RIG_UNTIL(&rig, (peer_read(&silent), silent.ended));
    RIG_UNTIL(&rig, (peer_read(&slow), slow.ended));
    CHECK(gl_clock_ms() - began >= SOON_MS);
    CHECK(peer_got(&silent, "")); /* nothing was asked */
    CHECK(peer_got(&slow, "408"));
    CHECK(peer_got(&kept, "200"));
    CHECK(!kept.ended);
    RIG_UNTIL(&rig, (peer_read(&kept), kept.ended));
    CHECK(gl_clock_ms() - began >= 4 * SOON_MS);
    CHECK(peer_got(&kept, "200"));
    peer_close(&silent);
    peer_close(&slow);
    end_test(&rig, &kept);
}

/* The deadline of a head is that of its first byte: dripping on does not
 * move it.  A kept connection has the same time again. */
static void
test_dripping_head(void)
{
    struct rig rig;
    struct rig_peer peer;
    uint64_t began;

    check_case("dripping head");
    rig_init(&rig);
    rig.options.head_timeout_ms = 2 * SOON_MS;
    rig_open(&rig);
    CHECK(rig_connect(&rig, &peer));
    peer_say(&rig, &peer, GET("/"));
    began = gl_clock_ms();
    peer_say(&rig, &peer, "GET / HTTP/1.1\r\nA: ");
    RIG_WHILE(&rig, drip(&peer), (peer_read(&peer), peer.ended));
    CHECK(gl_clock_ms() - began >= 2 * SOON_MS);
    CHECK(peer_got(&peer, "200 408"));
    end_test(&rig, &peer);
}

static void
test_body_deadline(void)
{
    struct rig rig;
    struct rig_peer peer;

    check_case("body deadline");
    rig_init(&rig);
    rig.options.body_timeout_ms = SOON_MS;
    rig_open(&rig);
    CHECK(rig_connect(&rig, &peer));
    peer_say(&rig, &peer, POST("5") "1");
    CHECK(!gl_list_empty(&rig.waiting));
    RIG_UNTIL(&rig, rig.failed == 1);
    CHECK(rig.last_error == -ETIMEDOUT);
    RIG_UNTIL(&rig, (peer_read(&peer), peer.ended));
    end_test(&rig, &peer);
}

/* The peer has sent, and nobody looks before the deadline is over. */
static void
send_and_be_late(struct rig_peer *peer, const char *text)
{
    uint64_t until = gl_clock_ms() + 2 * SOON_MS;
    const struct timespec moment = {.tv_nsec = 1000000};

    CHECK(send(peer->fd, text, strlen(text), MSG_NOSIGNAL) ==
          (ssize_t)strlen(text));
    while (gl_clock_ms() <= until) {
        (void)nanosleep(&moment, NULL);
    }
}

/* An application may keep the loop busy for longer than a deadline: bytes
 * that came in time count, whatever is looked at first. */
static void
test_deadlines_of_a_busy_loop(void)
{
    struct rig rig;
    struct rig_peer fresh, kept, head, body, half;

    check_case("deadlines of a busy loop");
    rig_init(&rig);
    rig.options.head_timeout_ms = SOON_MS;
    rig.options.keepalive_timeout_ms = SOON_MS;
    rig.options.body_timeout_ms = SOON_MS;
    rig_open(&rig);
    CHECK(rig_connect(&rig, &fresh));
    CHECK(rig_connect(&rig, &kept));
    CHECK(rig_connect(&rig, &head));
    CHECK(rig_connect(&rig, &body));
    CHECK(rig_connect(&rig, &half));
    peer_say(&rig, &kept, GET("/"));
    peer_say(&rig, &head, "GET / HTTP/1.1\r\n");
    peer_say(&rig, &half, "GET / HTTP/1.1\r\n");
    peer_say(&rig, &body, POST("5") "1");
    send_and_be_late(&fresh, GET("/"));
    send_and_be_late(&kept, GET("/"));
    send_and_be_late(&head, "Host: a\r\n\r\n");
    send_and_be_late(&half, "Host: a\r\n");
    send_and_be_late(&body, "2345");
    RIG_UNTIL(&rig, (peer_read(&fresh), fresh.ended));
    RIG_UNTIL(&rig, (peer_read(&kept), kept.ended));
    RIG_UNTIL(&rig, (peer_read(&head), head.ended));
    RIG_UNTIL(&rig, (peer_read(&half), half.ended));
    RIG_UNTIL(&rig, (peer_read(&body), body.ended));
    CHECK(peer_got(&fresh, "200"));
    CHECK(peer_got(&kept, "200 200"));
    CHECK(peer_got(&head, "200"));
    CHECK(peer_got(&half, "408"));
    CHECK(peer_got(&body, "200"));
    peer_close(&fresh);
    peer_close(&kept);
    peer_close(&head);
    peer_close(&half);
    end_test(&rig, &body);
}

/* A body that nobody reads is not waited for without end. */
static void
test_discard_deadline(void)
{
    struct rig rig;
    struct rig_peer peer;

    check_case("discard deadline");
    rig_init(&rig);
    rig.options.body_timeout_ms = SOON_MS;
    rig.skip_body = true;
    rig_open(&rig);
    CHECK(rig_connect(&rig, &peer));
    peer_say(&rig, &peer, POST("5") "1");
    CHECK(peer_got(&peer, "200"));
    RIG_UNTIL(&rig, (peer_read(&peer), peer.ended));
    end_test(&rig, &peer);
}

static void
test_write_deadline(void)
{
    struct rig rig;
    struct rig_peer peer;

    check_case("write deadline");
    rig_init(&rig);
    rig.options.write_timeout_ms = SOON_MS;
    rig.answer_bytes = MANY_BYTES;
    rig_open(&rig);
    CHECK(rig_connect(&rig, &peer));
    peer_say(&rig, &peer, GET("/"));
    CHECK(!gl_list_empty(&rig.waiting));
    RIG_UNTIL(&rig, rig.failed == 1);
    CHECK(rig.last_error == -ETIMEDOUT);
    RIG_UNTIL(&rig, rig_is_empty(&rig));
    end_test(&rig, &peer);
}

/* The rest of an answer has the same deadline, and a peer that sends on but
 * takes nothing does not move it. */
static void
check_write_deadline_of_rest(bool close)
{
    struct rig rig;
    struct rig_peer peer;
    uint64_t began = gl_clock_ms();

    check_case("write deadline of the rest, close %d", close);
    rig_init(&rig);
    rig.options.write_timeout_ms = 3 * SOON_MS;
    rig.answer_bytes = 60000;
    rig.send_buffer_bytes = 4096;
    rig.close = close;
    rig_open(&rig);
    CHECK(rig_connect(&rig, &peer));
    peer_say(&rig, &peer, GET("/"));
    CHECK(rig.answered == 1);
    CHECK(gl_engine_stats(rig.engine).connections == 1);
    RIG_WHILE(&rig, drip(&peer),
              gl_engine_stats(rig.engine).connections == 0);
    CHECK(gl_clock_ms() - began >= 3 * SOON_MS);
    CHECK(gl_clock_ms() - began < 60 * SOON_MS);
    end_test(&rig, &peer);
}

/* A refused peer that neither goes on nor leaves is dropped. */
static void
test_linger_deadline(void)
{
    struct rig rig;
    struct rig_peer peer;
    uint64_t began = gl_clock_ms();

    check_case("linger deadline");
    rig_init(&rig);
    rig_open(&rig);
    CHECK(rig_connect(&rig, &peer));
    peer_say(&rig, &peer, "GET\r\n");
    CHECK(peer_got(&peer, "400") && peer.ended);
    CHECK(!rig_is_empty(&rig));
    RIG_WHILE(&rig, drip(&peer), rig_is_empty(&rig));
    CHECK(gl_clock_ms() - began >= 1000);
    end_test(&rig, &peer);
}

/* --- full sockets ----------------------------------------------------- */

static void
check_backpressure(size_t answer_bytes, int send_buffer_bytes)
{
    struct rig rig;
    struct rig_peer peer;

    check_case("backpressure, %zu bytes", answer_bytes);
    rig_init(&rig);
    rig.answer_bytes = answer_bytes;
    rig.send_buffer_bytes = send_buffer_bytes;
    rig_open(&rig);
    CHECK(rig_connect(&rig, &peer));
    peer_say(&rig, &peer, GET("/"));
    CHECK(rig.started == 1);
    RIG_UNTIL(&rig, (peer_read(&peer), answer_is_right(&peer, answer_bytes)));
    CHECK(rig.answered == 1);
    peer_forget(&peer);
    peer_say(&rig, &peer, GET("/")); /* it serves on */
    RIG_UNTIL(&rig, (peer_read(&peer), answer_is_right(&peer, answer_bytes)));
    end_test(&rig, &peer);
}

/* While an answer's rest waits for room, input of any kind is no work. */
static void
test_unread_input_is_no_work(void)
{
    struct rig rig;
    struct rig_peer peer;
    int turns = 0;

    check_case("unread input");
    rig_init(&rig);
    rig.answer_bytes = 60000;
    rig.send_buffer_bytes = 4096;
    rig_open(&rig);
    CHECK(rig_connect(&rig, &peer));
    peer_send(&peer, GET("/") GET("/") GET("/"), 3 * strlen(GET("/")));
    while (gl_engine_turn(rig.engine, 0, &gl_budget_default) > 0 &&
           turns < 100) {
        turns++;
    }
    CHECK(turns < 20);
    peer_send(&peer, GET("/"), strlen(GET("/")));
    for (turns = 0; turns < 100 &&
                    gl_engine_turn(rig.engine, 0, &gl_budget_default) > 0;) {
        turns++;
    }
    CHECK(turns < 20);
    RIG_UNTIL(&rig, (peer_read(&peer), rig.answered == 4));
    RIG_UNTIL(&rig,
              strcmp(peer_statuses(&peer, false), "200 200 200 200") == 0);
    end_test(&rig, &peer);
}

/* An answer leaves also while the body that nobody wants is still coming. */
static void
test_answer_leaves_before_the_body_came(void)
{
    static char body[100000];
    struct rig rig;
    struct rig_peer peer;

    check_case("answer before body");
    rig_init(&rig);
    rig.answer_bytes = 60000;
    rig.send_buffer_bytes = 4096;
    rig.skip_body = true;
    rig_open(&rig);
    CHECK(rig_connect(&rig, &peer));
    peer_say(&rig, &peer, POST("100000"));
    CHECK(rig.answered == 1);
    RIG_UNTIL(&rig, (peer_read(&peer), answer_is_right(&peer, 60000)));
    peer_forget(&peer);
    peer_send(&peer, body, sizeof(body));
    rig_run(&rig);
    peer_say(&rig, &peer, GET("/"));
    RIG_UNTIL(&rig, (peer_read(&peer), answer_is_right(&peer, 60000)));
    end_test(&rig, &peer);
}

/* What was sent last leaves although its request has not ended yet. */
static void
test_rest_leaves_before_the_end(void)
{
    static char bytes[50000];
    struct iovec iov = {bytes, sizeof(bytes)};
    struct rig rig;
    struct rig_peer peer;
    struct rig_exchange *x;

    check_case("rest before the end");
    rig_init(&rig);
    rig.hold = true;
    rig.send_buffer_bytes = 4096;
    rig_open(&rig);
    CHECK(rig_connect(&rig, &peer));
    peer_say(&rig, &peer, GET("/"));
    x = GL_CONTAINER_OF(rig.held.next, struct rig_exchange, link);
    CHECK(gl_request_send(x->req, &iov, 1, true) == sizeof(bytes));
    RIG_UNTIL(&rig, (peer_read(&peer), peer.n == sizeof(bytes)));
    CHECK(rig_release(&rig));
    end_test(&rig, &peer);
}

/* --- what an owner may ask -------------------------------------------- */

static void
ignore_wake(struct gl_waiter *self, int result)
{
    (void)self;
    (void)result;
}

static void
test_one_waiter_each(void)
{
    struct gl_waiter other = {.wake = ignore_wake};
    struct rig rig;
    struct rig_peer peer;
    struct rig_exchange *x;

    check_case("one waiter each");
    rig_init(&rig);
    rig_open(&rig);
    CHECK(rig_connect(&rig, &peer));
    peer_say(&rig, &peer, POST("5"));
    x = GL_CONTAINER_OF(rig.waiting.next, struct rig_exchange, link);
    CHECK(gl_request_wait_read(x->req, &other) == -EBUSY);
    CHECK(gl_request_wait_write(x->req, &other) == 0);
    CHECK(gl_request_wait_write(x->req, &x->waiter) == -EBUSY);
    gl_request_forget(x->req, &other);
    gl_request_forget(x->req, &other);
    CHECK(gl_request_listener_user(x->req) == NULL);
    CHECK(strcmp(gl_request_peer(x->req)->text, "10.0.0.7") == 0);
    CHECK(gl_request_has_sendfile(x->req));
    CHECK(gl_request_fd(x->req) >= 0);
    CHECK(!gl_request_departed(x->req));
    peer_say(&rig, &peer, "12345");
    CHECK(peer_got(&peer, "200"));
    end_test(&rig, &peer);
}

static void
test_sendfile(void)
{
    enum { BYTES = 300000 };
    struct rig rig;
    struct rig_peer peer;
    struct rig_exchange *x;
    FILE *file = tmpfile();
    off_t offset = 10;
    ssize_t n = 1;

    check_case("sendfile");
    for (size_t i = 0; i < BYTES + 10; i++) {
        CHECK(putc(rig_pattern(i), file) != EOF);
    }
    CHECK(fflush(file) == 0);
    rig_init(&rig);
    rig.hold = true;
    rig_open(&rig);
    CHECK(rig_connect(&rig, &peer));
    peer_say(&rig, &peer, GET("/"));
    x = GL_CONTAINER_OF(rig.held.next, struct rig_exchange, link);
    while (n > 0 || n == -EAGAIN) {
        n = gl_request_sendfile(x->req, fileno(file), &offset, BYTES);
        (void)peer_read(&peer);
    }
    CHECK(n == 0); /* the file's end */
    CHECK(offset == BYTES + 10 && peer.n == BYTES);
    for (size_t i = 0; i < peer.n; i++) {
        if (!CHECK(peer.got[i] == rig_pattern(i + 10))) {
            break;
        }
    }
    CHECK(x->req->sent_bytes == BYTES);
    peer_close(&peer);
    CHECK(gl_request_sendfile(x->req, fileno(file), &(off_t){0}, 1) ==
          -ECONNRESET);
    CHECK(rig_release(&rig));
    end_test(&rig, &peer);
    CHECK(fclose(file) == 0);
}

int
main(void)
{
    (void)signal(SIGPIPE, SIG_IGN);
    test_head_deadlines();
    test_dripping_head();
    test_body_deadline();
    test_deadlines_of_a_busy_loop();
    test_discard_deadline();
    test_write_deadline();
    check_write_deadline_of_rest(false);
    check_write_deadline_of_rest(true);
    test_linger_deadline();
    check_backpressure(MANY_BYTES, 0);
    check_backpressure(60000, 4096);
    check_backpressure(200000, 4096);
    test_unread_input_is_no_work();
    test_answer_leaves_before_the_body_came();
    test_rest_leaves_before_the_end();
    test_one_waiter_each();
    test_sendfile();
    return check_end();
}
