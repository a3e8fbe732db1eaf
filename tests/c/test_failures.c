/* test_failures.c - each allocation and each system call fails in turn.
 *
 * link: wraps of the system calls, see meson.build
 *
 * One scenario is played again and again; in the nth run the nth call of a
 * kind fails, once.  Whatever failed: nothing crashes, nothing stays behind,
 * no peer gets a damaged answer and then another, and each one either gets
 * its answers or sees its connection end.
 *
 * SPDX-License-Identifier: MIT
 */
#include "check.h"
#include "engine/fixed_answer.h"
#include "rig.h"
#include "ws_rig.h"

#include <sys/epoll.h>
#include <sys/timerfd.h>

#define RUNS_MAX 2000
#define DELAY_MS 5 /* of the fixed answer */
#define POST(length) \
    "POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: " length "\r\n\r\n"
#define CHUNKED \
    "POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"

/* --- system calls that fail ------------------------------------------- */

enum call {
    NONE,
    ACCEPT4,
    EPOLL_CREATE1,
    EPOLL_CTL,
    EPOLL_WAIT,
    RECV,
    SEND,
    SENDMSG,
    SHUTDOWN,
    TIMERFD_CREATE,
};

static struct {
    enum call call; /* which fails */
    unsigned long fails_in;
    int error;
} fault;

static bool
fails(enum call call)
{
    if (fault.call == call && fault.fails_in > 0 && --fault.fails_in == 0) {
        errno = fault.error;
        return true;
    }
    return false;
}

int __real_accept4(int fd, struct sockaddr *addr, socklen_t *n, int flags);
int __wrap_accept4(int fd, struct sockaddr *addr, socklen_t *n, int flags);
int __real_epoll_create1(int flags);
int __wrap_epoll_create1(int flags);
int __real_epoll_ctl(int fd, int op, int of, struct epoll_event *event);
int __wrap_epoll_ctl(int fd, int op, int of, struct epoll_event *event);
int __real_epoll_wait(int fd, struct epoll_event *events, int n, int ms);
int __wrap_epoll_wait(int fd, struct epoll_event *events, int n, int ms);
ssize_t __real_recv(int fd, void *dst, size_t n, int flags);
ssize_t __wrap_recv(int fd, void *dst, size_t n, int flags);
ssize_t __real_send(int fd, const void *bytes, size_t n, int flags);
ssize_t __wrap_send(int fd, const void *bytes, size_t n, int flags);
ssize_t __real_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);
int __real_shutdown(int fd, int how);
int __wrap_shutdown(int fd, int how);
int __real_timerfd_create(int clock, int flags);
int __wrap_timerfd_create(int clock, int flags);

int
__wrap_accept4(int fd, struct sockaddr *addr, socklen_t *n, int flags)
{
    return fails(ACCEPT4) ? -1 : __real_accept4(fd, addr, n, flags);
}

int
__wrap_epoll_create1(int flags)
{
    return fails(EPOLL_CREATE1) ? -1 : __real_epoll_create1(flags);
}

int
__wrap_epoll_ctl(int fd, int op, int of, struct epoll_event *event)
{
    /* Taking a descriptor out cannot fail while it is open. */
    return op != EPOLL_CTL_DEL && fails(EPOLL_CTL)
               ? -1
               : __real_epoll_ctl(fd, op, of, event);
}

int
__wrap_epoll_wait(int fd, struct epoll_event *events, int n, int ms)
{
    return fails(EPOLL_WAIT) ? -1 : __real_epoll_wait(fd, events, n, ms);
}

ssize_t
__wrap_recv(int fd, void *dst, size_t n, int flags)
{
    /* The peers of this program ask with MSG_DONTWAIT, the engine not. */
    return flags == 0 && fails(RECV) ? -1 : __real_recv(fd, dst, n, flags);
}

ssize_t
__wrap_send(int fd, const void *bytes, size_t n, int flags)
{
    return fails(SEND) ? -1 : __real_send(fd, bytes, n, flags);
}

ssize_t
__wrap_sendmsg(int fd, const struct msghdr *message, int flags)
{
    return fails(SENDMSG) ? -1 : __real_sendmsg(fd, message, flags);
}

int
__wrap_shutdown(int fd, int how)
{
    return fails(SHUTDOWN) ? -1 : __real_shutdown(fd, how);
}

int
__wrap_timerfd_create(int clock, int flags)
{
    return fails(TIMERFD_CREATE) ? -1 : __real_timerfd_create(clock, flags);
}

/* --- the scenario ----------------------------------------------------- */

enum { PEERS = 5 };

/* Says a text to the server, past the wrapped calls. */
static void
say(struct rig *rig, struct rig_peer *peer, const char *text)
{
    (void)!__real_send(peer->fd, text, strlen(text), MSG_NOSIGNAL);
    rig_run(rig);
}

/* What the peers say: a pipeline, bodies in pieces, a bad head, a queue. */
static void
converse(struct rig *rig, struct rig_peer peers[PEERS])
{
    rig->hold = true;
    say(rig, &peers[0], GET("/1") GET("/2") POST("5") "12345");
    say(rig, &peers[1], "GET / HTTP/1.1\r\nHo");
    say(rig, &peers[2], POST("5") "12");
    say(rig, &peers[3], "GET\r\n\r\n");
    say(rig, &peers[4], CHUNKED "3\r\nab");
    say(rig, &peers[1], "st: a\r\n\r\n" GET("/3"));
    rig->hold = false;
    while (rig_release(rig)) {
    }
    gl_engine_settle(rig->engine);
    rig_run(rig);
    say(rig, &peers[2], "345" GET("/4"));
    say(rig, &peers[4], "c\r\n0\r\n\r\n");
}

/* All answers, or fewer and then the end. */
static void
check_fate(struct rig_peer *peer, const char *statuses)
{
    char got[STATUSES_BYTES];
    size_t n;

    (void)snprintf(got, sizeof(got), "%s", peer_statuses(peer, false));
    if (strcmp(got, statuses) == 0) {
        return;
    }
    if (!CHECK(peer->ended || peer->reset)) {
        fprintf(stderr, "  got \"%s\"\n", got);
    }
    n = strlen(got);
    if (n >= 3 && strcmp(got + n - 3, "503") == 0) {
        return; /* for want of memory */
    }
    n -= n > 0 && got[n - 1] == '?'; /* cut by the end */
    CHECK(strncmp(got, statuses, n) == 0);
}

static const char *const fates[PEERS] = {"200 200 200", "200 200", "200 200",
                                         "400", "200"};

static void
play(void)
{
    struct rig rig;
    struct rig_peer peers[PEERS] = {{.fd = -1}};
    bool adopted[PEERS];

    rig_init(&rig);
    rig.options.cores = 2;
    rig.answer_bytes = 20000;
    rig.send_buffer_bytes = 4096;
    if (gl_engine_new(&rig_ops, &rig, &rig.options, &rig.log, NULL,
                      &rig.engine) < 0) {
        return;
    }
    for (int i = 0; i < PEERS; i++) {
        adopted[i] = rig_connect(&rig, &peers[i]);
    }
    converse(&rig, peers);
    for (int i = 0; i < PEERS; i++) {
        for (int j = 0; j < 50; j++) { /* as often as the peer has room */
            (void)peer_read(&peers[i]);
            rig_run(&rig);
        }
        check_fate(&peers[i], fates[i]);
        CHECK(adopted[i] || peers[i].n == 0);
        peer_close(&peers[i]);
    }
    rig_run(&rig);
    CHECK(rig_is_empty(&rig));
    rig_close(&rig);
}

static void
test_without_faults(const char *name, void (*scenario)(void))
{
    check_case("%s, no fault", name);
    scenario();
    CHECK(check_state.failures == 0);
}

static void
test_each_allocation_fails(const char *name, void (*scenario)(void))
{
    unsigned long n = 1;

    for (bool due = false; !due && n < RUNS_MAX; n++) {
        check_case("%s, allocation %lu", name, n);
        check_fail_allocation(n);
        scenario();
        due = check_failure_is_due();
        check_fail_allocation(0);
    }
    CHECK(n > 10 && n < RUNS_MAX);
}

static void
test_each_call_fails(const char *name, void (*scenario)(void), enum call call,
                     int error, unsigned long least)
{
    unsigned long n = 1;

    for (bool due = false; !due && n < RUNS_MAX; n++) {
        check_case("%s, call %d with errno %d, %lu", name, call, error, n);
        fault.call = call;
        fault.error = error;
        fault.fails_in = n;
        scenario();
        due = fault.fails_in > 0;
        fault.call = NONE;
    }
    CHECK(n > least && n < RUNS_MAX);
}

/* --- a WebSocket ------------------------------------------------------- */

#define LONG_BYTES 20000
#define WS_FATE "101 t5 t4 b20000 c"

/* Says frames past the wrapped calls, as many as the socket takes at once. */
static void
say_frame(struct ws_rig *w, unsigned bits, size_t n)
{
    static char payload[LONG_BYTES], frame[LONG_BYTES + 16];
    size_t size = ws_frame(frame, bits, payload, n);

    for (size_t at = 0; at < size; at += 3000) { /* in pieces */
        (void)!__real_send(w->peer.fd, frame + at,
                           size - at < 3000 ? size - at : 3000, MSG_NOSIGNAL);
        rig_run(&w->rig);
        (void)peer_read(&w->peer);
    }
}

static void
converse_ws(struct ws_rig *w)
{
    (void)!__real_send(w->peer.fd, WS_GET, sizeof(WS_GET) - 1, MSG_NOSIGNAL);
    rig_run(&w->rig);
    say_frame(w, 0x80u | GL_WS_TEXT, 5);
    say_frame(w, GL_WS_TEXT, 1);
    say_frame(w, 0x80u | GL_WS_PING, 2);
    say_frame(w, 0x80u, 3);
    say_frame(w, 0x80u | GL_WS_BINARY, LONG_BYTES);
    for (int i = 0; i < 50; i++) {
        (void)peer_read(&w->peer);
        rig_run(&w->rig);
    }
    if (w->ws != NULL) {
        CHECK(gl_ws_close(w->ws, 1000, (struct gl_str){"", 0}) == 0);
    }
    rig_run(&w->rig);
    say_frame(w, 0x80u | GL_WS_CLOSE, 0);
}

/* What the peer got, but for pongs, which may be left out: opcodes and
 * lengths; "?" is an end within a frame. */
static void
describe(const struct rig_peer *peer, char *text, size_t room)
{
    static const char names[] = "0tb34567cip";
    struct gl_str rest = {peer->got, peer->n};
    struct gl_ws_frame frame;
    size_t out = 0;
    int size = 1;

    text[0] = '\0';
    if (rest.n >= sizeof(WS_101) - 1) {
        (void)gl_str_take(&rest, sizeof(WS_101) - 1);
        out += (size_t)snprintf(text, room, "101");
    }
    while (rest.n > 0 && size > 0 && out + 16 < room) {
        size = gl_ws_frame_parse(rest, &frame);
        if (size <= 0 || frame.length > rest.n - (size_t)size) {
            (void)snprintf(text + out, room - out, " ?");
            return;
        }
        (void)gl_str_take(&rest, (size_t)size + (size_t)frame.length);
        if (frame.opcode == GL_WS_CLOSE) { /* of whatever code */
            out += (size_t)snprintf(text + out, room - out, " c");
        } else if (frame.opcode != GL_WS_PONG) {
            out += (size_t)snprintf(text + out, room - out, " %c%d",
                                    names[frame.opcode], (int)frame.length);
        }
    }
}

/* All messages in order, or fewer and then the end, with a close or not. */
static void
check_ws_fate(struct rig_peer *peer)
{
    char got[200];
    size_t n;

    describe(peer, got, sizeof(got));
    if (strcmp(got, WS_FATE) == 0) {
        return;
    }
    n = strlen(got);
    if (n > 2 && (strcmp(got + n - 2, " c") == 0 || got[n - 1] == '?')) {
        got[n - 2] = '\0';
    }
    if (!CHECK(peer->ended || peer->reset) ||
        !CHECK(strncmp(got, WS_FATE, strlen(got)) == 0)) {
        fprintf(stderr, "  got \"%s\"\n", got);
    }
}

static void
play_ws(void)
{
    struct ws_rig w;

    ws_init(&w);
    w.rig.send_buffer_bytes = 4096;
    w.options.ping_interval_ms = w.options.pong_timeout_ms = WAIT_MS;
    if (ws_connect(&w, false)) {
        converse_ws(&w);
        (void)peer_read(&w.peer);
        if (w.ws != NULL) {
            CHECK(gl_ws_closed(w.ws, NULL, NULL));
            gl_ws_forget(w.ws, &w.receiver);
            gl_ws_free(w.ws);
            w.ws = NULL;
        }
        rig_run(&w.rig);
        (void)peer_read(&w.peer);
        check_ws_fate(&w.peer);
    }
    ws_close_rig(&w);
}

/* --- accepting -------------------------------------------------------- */

static int
listen_somewhere(struct sockaddr_in *ret_addr)
{
    socklen_t n = sizeof(*ret_addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    *ret_addr = (struct sockaddr_in){.sin_family = AF_INET};
    ret_addr->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(fd, (void *)ret_addr, n) < 0 || listen(fd, 100) < 0 ||
        getsockname(fd, (void *)ret_addr, &n) < 0) {
        abort();
    }
    return fd;
}

/* Whatever accept() says, the peer is served in the end, and the loop does
 * not spin until then. */
static void
check_accept(int error, unsigned warnings)
{
    struct sockaddr_in addr;
    struct rig rig;
    struct rig_peer peer = {0};
    int fd = listen_somewhere(&addr);

    check_case("accept: errno %d", error);
    rig_init(&rig);
    rig_open(&rig);
    CHECK(gl_engine_listen(rig.engine, fd, rig.transport, rig.protocol,
                           NULL) == 0);
    peer.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(connect(peer.fd, (void *)&addr, sizeof(addr)) == 0);
    (void)!__real_send(peer.fd, GET("/"), strlen(GET("/")), 0);
    fault.call = ACCEPT4;
    fault.error = error;
    fault.fails_in = 1;
    RIG_UNTIL(&rig, strcmp(peer_statuses(&peer, false), "200") == 0);
    CHECK(fault.fails_in == 0);
    CHECK(rig.log_lines == 2 * warnings); /* it pauses, and goes on */
    CHECK(gl_engine_stats(rig.engine).turns < 200);
    peer_close(&peer);
    RIG_UNTIL(&rig, rig_is_empty(&rig));
    rig_close(&rig);
    close(fd);
}

/* What pauses a listener may also keep it from being watched again. */
static void
test_resuming_fails(void)
{
    struct sockaddr_in addr;
    struct rig rig;
    struct rig_peer peer = {0};
    int fd = listen_somewhere(&addr);

    check_case("resuming fails");
    rig_init(&rig);
    rig_open(&rig);
    CHECK(gl_engine_listen(rig.engine, fd, rig.transport, rig.protocol,
                           NULL) == 0);
    peer.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(connect(peer.fd, (void *)&addr, sizeof(addr)) == 0);
    (void)!__real_send(peer.fd, GET("/"), strlen(GET("/")), 0);
    fault.call = ACCEPT4;
    fault.error = ENFILE;
    fault.fails_in = 1;
    RIG_UNTIL(&rig, rig.log_lines == 1);
    fault.call = EPOLL_CTL;
    fault.error = ENOMEM;
    fault.fails_in = 1;
    RIG_UNTIL(&rig, strcmp(peer_statuses(&peer, false), "200") == 0);
    CHECK(fault.fails_in == 0 && rig.log_lines == 2);
    CHECK(gl_engine_stats(rig.engine).turns < 200);
    peer_close(&peer);
    RIG_UNTIL(&rig, rig_is_empty(&rig));
    rig_close(&rig);
    close(fd);
}

/* A listener that cannot accept any more does not keep the loop busy. */
static void
test_broken_listener(void)
{
    struct sockaddr_in addr;
    struct rig rig;
    int fd = listen_somewhere(&addr);
    uint64_t began = gl_clock_ms();

    check_case("broken listener");
    rig_init(&rig);
    rig_open(&rig);
    CHECK(gl_engine_listen(rig.engine, fd, rig.transport, rig.protocol,
                           NULL) == 0);
    CHECK(__real_shutdown(fd, SHUT_RDWR) == 0);
    RIG_UNTIL(&rig, gl_clock_ms() >= began + 200);
    CHECK(rig.log_lines == 1);
    CHECK(gl_engine_stats(rig.engine).turns < 50);
    rig_close(&rig);
    close(fd);
}

static void
test_listen_fails(void)
{
    struct sockaddr_in addr;
    struct rig rig;
    int fd = listen_somewhere(&addr);

    rig_init(&rig);
    rig_open(&rig);
    check_case("listen: no memory");
    check_fail_allocation(1);
    CHECK(gl_engine_listen(rig.engine, fd, rig.transport, rig.protocol,
                           NULL) == -ENOMEM);
    check_case("listen: no watch");
    fault.call = EPOLL_CTL;
    fault.error = ENOSPC;
    fault.fails_in = 1;
    CHECK(gl_engine_listen(rig.engine, fd, rig.transport, rig.protocol,
                           NULL) == -ENOSPC);
    CHECK(gl_engine_listen(rig.engine, fd, rig.transport, rig.protocol,
                           NULL) == 0);
    rig_close(&rig);
    close(fd);
}

/* --- a deadline without memory ---------------------------------------- */

static void
never_fire(struct gl_timer *self)
{
    (void)self;
    CHECK(false);
}

/* A request whose wait cannot have its deadline does not wait. */
static void
test_wait_without_deadline(void)
{
    enum { TIMERS = 16 }; /* all that the timers hold before they grow */
    struct gl_timer timers[TIMERS];
    struct rig rig;
    struct rig_peer peer;
    uint64_t now;

    check_case("a wait without its deadline");
    rig_init(&rig);
    rig.options.head_timeout_ms = 200;
    rig.hold = true;
    rig.answer_bytes = 1 << 20;
    rig_open(&rig);
    CHECK(rig_connect(&rig, &peer));
    say(&rig, &peer, GET("/"));
    if (CHECK(rig.started == 1)) {
        now = gl_clock_ms();
        RIG_UNTIL(&rig, gl_clock_ms() > now + 250); /* its timer idles */
        for (int i = 0; i < TIMERS; i++) {
            timers[i] = (struct gl_timer){.due_ms = now + 1000000,
                                          .fire = never_fire};
            CHECK(gl_engine_timer_start(rig.engine, &timers[i]) == 0);
        }
        check_fail_allocation(1);
        CHECK(rig_release(&rig));
        CHECK(!check_failure_is_due());
        CHECK(rig.failed == 1 && rig.last_error == -ECONNRESET);
        for (int i = 0; i < TIMERS; i++) {
            gl_engine_timer_stop(rig.engine, &timers[i]);
        }
    }
    check_fail_allocation(0);
    peer_close(&peer);
    RIG_UNTIL(&rig, rig_is_empty(&rig));
    rig_close(&rig);
}

/* --- the fixed answer ------------------------------------------------- */

/* Enough turns for two answers, each DELAY_MS late. */
static void
turn_for_answers(struct gl_engine *e, bool delayed)
{
    uint64_t until_ms = gl_clock_ms() + (delayed ? 3 * DELAY_MS : 0);

    for (int i = 0; i < 10; i++) {
        (void)gl_engine_turn(e, 0, &gl_budget_default);
    }
    while (gl_clock_ms() < until_ms) {
        (void)gl_engine_turn(e, 1, &gl_budget_default);
    }
}

static void
play_fixed_answer(bool delayed)
{
    static const struct gl_peer name;
    struct gl_fixed_answer answer;
    struct gl_options options;
    const struct gl_log log = {GL_LOG_ERROR, rig_log, &(struct rig){0}};
    struct gl_engine *e = NULL;
    struct rig_peer peer = {0};
    int fds[2];

    gl_options_init(&options);
    if (gl_fixed_answer_engine(&answer, &options, &log, &e) < 0) {
        return;
    }
    answer.delay_ms = delayed ? DELAY_MS : 0;
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0);
    peer.fd = fds[1];
    (void)gl_engine_adopt(e, fds[0], &name, &gl_transport_plain,
                          &gl_protocol_http1, NULL);
    (void)!__real_send(peer.fd, POST("5") "12", strlen(POST("5")) + 2,
                       MSG_NOSIGNAL);
    (void)gl_engine_turn(e, 0, &gl_budget_default);
    (void)!__real_send(peer.fd, "345" GET("/"), 3 + strlen(GET("/")),
                       MSG_NOSIGNAL);
    turn_for_answers(e, delayed);
    check_fate(&peer, "200 200");
    peer_close(&peer);
    (void)gl_engine_turn(e, 0, &gl_budget_default);
    gl_fixed_answer_fini(&answer);
    gl_engine_free(e);
}

static void
check_fixed_answer(bool delayed)
{
    unsigned long n = 1;

    for (bool due = false; !due && n < RUNS_MAX; n++) {
        check_case("fixed answer, allocation %lu", n);
        check_fail_allocation(n);
        play_fixed_answer(delayed);
        due = check_failure_is_due();
        check_fail_allocation(0);
    }
    CHECK(n > 5 && n < RUNS_MAX);
}

int
main(void)
{
    int before = dup(0), after;

    test_without_faults("requests", play);
    test_each_allocation_fails("requests", play);
    test_each_call_fails("requests", play, EPOLL_CREATE1, EMFILE, 1);
    test_each_call_fails("requests", play, TIMERFD_CREATE, EMFILE, 1);
    test_each_call_fails("requests", play, EPOLL_CTL, ENOMEM, 10);
    test_each_call_fails("requests", play, EPOLL_WAIT, EINTR, 10);
    test_each_call_fails("requests", play, RECV, ECONNRESET, 10);
    test_each_call_fails("requests", play, RECV, EINTR, 10);
    test_each_call_fails("requests", play, SEND, EPIPE, 2);
    test_each_call_fails("requests", play, SEND, EINTR, 2);
    test_each_call_fails("requests", play, SENDMSG, ENOBUFS, 5);
    test_each_call_fails("requests", play, SENDMSG, EINTR, 5);
    test_each_call_fails("requests", play, SHUTDOWN, ENOTCONN, 1);
    test_without_faults("websocket", play_ws);
    test_each_allocation_fails("websocket", play_ws);
    test_each_call_fails("websocket", play_ws, EPOLL_CTL, ENOMEM, 2);
    test_each_call_fails("websocket", play_ws, EPOLL_WAIT, EINTR, 10);
    test_each_call_fails("websocket", play_ws, RECV, ECONNRESET, 10);
    test_each_call_fails("websocket", play_ws, RECV, EINTR, 10);
    test_each_call_fails("websocket", play_ws, SEND, EPIPE, 2);
    test_each_call_fails("websocket", play_ws, SENDMSG, ENOBUFS, 2);
    test_each_call_fails("websocket", play_ws, SHUTDOWN, ENOTCONN, 1);
    check_accept(EINTR, 0);
    check_accept(ECONNABORTED, 0);
    check_accept(EMFILE, 1);
    check_accept(ENFILE, 1);
    check_accept(ENOBUFS, 1);
    check_accept(ENOMEM, 1);
    check_accept(EHOSTUNREACH, 0);
    test_resuming_fails();
    test_broken_listener();
    test_listen_fails();
    test_wait_without_deadline();
    check_fixed_answer(false);
    check_fixed_answer(true);
    after = dup(0);
    check_case("descriptors");
    CHECK(after == before + 1);
    return check_end();
}
