/* ws_load.c - WebSocket load for the benchmark: echo and broadcast.
 *
 *     ws_load echo|broadcast PORT PATH CONNECTIONS BYTES
 *
 * Opens the connections to 127.0.0.1 (RFC 6455, no extensions), prints
 * "ready", and then reads lines: each is a number of seconds of load, which
 * is answered by one line of JSON.  The end of the input ends the program.
 * So whoever measures the server counts neither handshakes nor closing.
 *
 *   echo       every connection has one masked text message of BYTES bytes
 *              in flight, which must come back as it is.
 *   broadcast  the server greets each connection with one message once it
 *              has joined.  Then the first connection sends, and the next
 *              message only when every connection, itself included, has the
 *              one before: each must get all of them, in order, once.
 *
 * Every other thing that a server may send or not send ends the program with
 * status 1 and a line on standard error; a PING is answered.  One thread,
 * bounded memory, no allocation after the start.
 *
 * SPDX-License-Identifier: MIT
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define EVENTS_MAX 512
#define BYTES_MIN 16 /* connection and sequence, eight digits each */
#define BYTES_MAX 4096
#define ROOM (2 * BYTES_MAX) /* for what has come and is not a frame yet */
#define CONNECTIONS_MAX 60000
#define SECONDS_MAX 3600
#define STALL_MS 15000
#define MASK_BYTES 4
#define CONTROL_MAX 125
#define NS_PER_S 1000000000ULL

/* The example key of RFC 6455, section 1.3, and what it must bring back. */
#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

enum { OP_TEXT = 1, OP_CLOSE = 8, OP_PING = 9, OP_PONG = 10 };

/* Buckets of a latency histogram: 32 for each power of two. */
#define FINE_BITS 5
#define BUCKETS (64 << FINE_BITS)

struct conn {
    int fd;
    uint32_t number;   /* index in load.conns */
    uint32_t sequence; /* echo: of the message in flight; broadcast: of the
                          last that came */
    uint64_t sent_ns;  /* echo: when it was sent */
    bool waits;        /* something must still come */
    size_t have;       /* bytes in `in` */
    char *in;          /* owned; ROOM bytes */
};

struct load {
    bool broadcast;
    const char *path; /* borrowed from argv */
    uint16_t port;
    size_t bytes;
    size_t conn_count;
    struct conn *conns; /* owned */
    int epoll_fd;
    uint32_t mask;     /* of the last frame that was sent */
    uint32_t sequence; /* broadcast: of the message in flight */
    uint64_t sent_ns;
    size_t waiting;       /* connections to which something must come */
    uint64_t deadline_ns; /* after it nothing more is sent */
    uint64_t messages;    /* that came in this phase */
    uint64_t histogram[BUCKETS];
    char expected[BYTES_MAX]; /* scratch of the message that must come */
};

/* A server that does not do its part leaves nothing to measure. */
static _Noreturn void
fail(const char *form, ...)
{
    va_list args;

    va_start(args, form);
    fputs("ws_load: ", stderr);
    vfprintf(stderr, form, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

static uint64_t
now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static void
count_latency(struct load *l, uint64_t ns)
{
    unsigned top, shift;

    l->messages++;
    ns = ns < (1 << FINE_BITS) ? 1 << FINE_BITS : ns;
    top = 63U - (unsigned)__builtin_clzll(ns);
    shift = top - FINE_BITS;
    l->histogram[(shift << FINE_BITS) + (ns >> shift)]++;
}

/* The latency below which the share of the messages lies, in microseconds. */
static double
percentile(const struct load *l, double share)
{
    uint64_t wanted = (uint64_t)((double)l->messages * share), seen = 0;
    size_t last = 0, shift;

    for (size_t i = 0; i < BUCKETS; i++) {
        if (l->histogram[i] > 0) {
            last = i;
            seen += l->histogram[i];
            if (seen > wanted) {
                break;
            }
        }
    }
    if (seen == 0) {
        return 0;
    }
    shift = (last >> FINE_BITS) - 1; /* as count_latency() has it */
    return (double)((last - (shift << FINE_BITS)) << shift) / 1000;
}

/* Sends one masked frame (section 5.2). */
static void
send_frame(struct load *l, struct conn *c, uint8_t opcode, const char *bytes,
           size_t n)
{
    char frame[8 + BYTES_MAX], mask[MASK_BYTES];
    size_t at = 2;

    frame[0] = (char)(0x80 | opcode);
    if (n < 126) {
        frame[1] = (char)(0x80 | n);
    } else {
        frame[1] = (char)(0x80 | 126);
        frame[at++] = (char)(n >> 8);
        frame[at++] = (char)(n & 0xff);
    }
    l->mask = l->mask * 1664525U + 1013904223U;
    memcpy(mask, &l->mask, MASK_BYTES);
    memcpy(frame + at, mask, MASK_BYTES);
    at += MASK_BYTES;
    for (size_t i = 0; i < n; i++) {
        frame[at + i] = (char)(bytes[i] ^ mask[i % MASK_BYTES]);
    }
    if (send(c->fd, frame, at + n, MSG_NOSIGNAL) != (ssize_t)(at + n)) {
        fail("connection %u: a frame could not be sent whole: %s", c->number,
             strerror(errno));
    }
}

static void
put_hex(char *dst, uint32_t value)
{
    for (int i = 7; i >= 0; i--) {
        dst[i] = "0123456789abcdef"[value & 15];
        value >>= 4;
    }
}

/* Writes message `sequence` of connection `number` to l->expected, whose
 * padding is there since the start. */
static void
set_expected(struct load *l, uint32_t number, uint32_t sequence)
{
    put_hex(l->expected, number);
    put_hex(l->expected + 8, sequence);
}

static void
send_echo(struct load *l, struct conn *c, uint64_t now)
{
    set_expected(l, c->number, ++c->sequence);
    c->sent_ns = now;
    c->waits = true;
    l->waiting++;
    send_frame(l, c, OP_TEXT, l->expected, l->bytes);
}

static void
send_broadcast(struct load *l)
{
    set_expected(l, 0, ++l->sequence);
    for (size_t i = 0; i < l->conn_count; i++) {
        l->conns[i].waits = true;
    }
    l->waiting = l->conn_count;
    l->sent_ns = now_ns();
    send_frame(l, &l->conns[0], OP_TEXT, l->expected, l->bytes);
}

static void
check_message(struct load *l, struct conn *c, const char *bytes, size_t n)
{
    if (!c->waits) {
        fail("connection %u: a message that nobody sent", c->number);
    }
    if (n != l->bytes || memcmp(bytes, l->expected, n) != 0) {
        fail("connection %u: \"%.*s\" instead of \"%.*s\"", c->number,
             (int)(n < 16 ? n : 16), bytes, 16, l->expected);
    }
    c->waits = false;
    l->waiting--;
}

static void
take_message(struct load *l, struct conn *c, const char *bytes, size_t n)
{
    uint64_t now = now_ns();

    if (l->broadcast) {
        check_message(l, c, bytes, n);
        c->sequence = l->sequence;
        count_latency(l, now - l->sent_ns);
        return;
    }
    set_expected(l, c->number, c->sequence);
    check_message(l, c, bytes, n);
    count_latency(l, now - c->sent_ns);
    if (now < l->deadline_ns) {
        send_echo(l, c, now);
    }
}

/* Takes the frame at the start of the n bytes.  Returns its size, or 0 while
 * it is not whole. */
static size_t
take_frame(struct load *l, struct conn *c, const char *in, size_t n)
{
    const uint8_t *head = (const uint8_t *)in;
    size_t size = 2, length;

    if (n < size) {
        return 0;
    }
    length = head[1];
    if (length == 126) {
        size = 4;
        if (n < size) {
            return 0;
        }
        length = (size_t)head[2] << 8 | head[3];
    }
    if (length > BYTES_MAX || head[1] > 126) {
        fail("connection %u: a masked or a large frame", c->number);
    }
    if (n < size + length) {
        return 0;
    }
    if (head[0] == (0x80 | OP_TEXT)) {
        take_message(l, c, in + size, length);
    } else if (head[0] == (0x80 | OP_PING) && length <= CONTROL_MAX) {
        send_frame(l, c, OP_PONG, in + size, length);
    } else {
        fail("connection %u: a frame with %#x in front", c->number, head[0]);
    }
    return size + length;
}

/* Takes what has come into c->in. */
static void
take_frames(struct load *l, struct conn *c)
{
    size_t at = 0, size;

    while ((size = take_frame(l, c, c->in + at, c->have - at)) > 0) {
        at += size;
    }
    c->have -= at;
    memmove(c->in, c->in + at, c->have);
}

static void
read_conn(struct load *l, struct conn *c)
{
    ssize_t n = recv(c->fd, c->in + c->have, ROOM - c->have, 0);

    if (n < 0 && errno == EAGAIN) {
        return;
    }
    if (n <= 0) {
        fail("connection %u: the server has closed it: %s", c->number,
             n < 0 ? strerror(errno) : "end of the stream");
    }
    c->have += (size_t)n;
    take_frames(l, c);
}

/* Waits for events once and handles them. */
static void
turn(struct load *l)
{
    struct epoll_event events[EVENTS_MAX];
    int n = epoll_wait(l->epoll_fd, events, EVENTS_MAX, STALL_MS);

    if (n == 0 || (n < 0 && errno != EINTR)) {
        fail("nothing came for %d s; %zu messages are missing",
             STALL_MS / 1000, l->waiting);
    }
    for (int i = 0; i < n; i++) {
        read_conn(l, (struct conn *)events[i].data.ptr);
    }
}

static void
run_echo(struct load *l)
{
    for (size_t i = 0; i < l->conn_count; i++) {
        send_echo(l, &l->conns[i], now_ns());
    }
    while (l->waiting > 0) {
        turn(l);
    }
}

static void
run_broadcast(struct load *l)
{
    do {
        send_broadcast(l);
        while (l->waiting > 0) {
            turn(l);
        }
    } while (now_ns() < l->deadline_ns);
    for (size_t i = 0; i < l->conn_count; i++) {
        if (l->conns[i].sequence != l->sequence) {
            fail("connection %zu has not got the last message", i);
        }
    }
}

/* One phase of load; all that was sent has come when it ends. */
static void
run(struct load *l, double seconds)
{
    uint64_t start = now_ns();

    l->messages = 0;
    memset(l->histogram, 0, sizeof(l->histogram));
    l->deadline_ns = start + (uint64_t)(seconds * (double)NS_PER_S);
    if (l->broadcast) {
        run_broadcast(l);
    } else {
        run_echo(l);
    }
    printf("{\"messages\": %" PRIu64 ", \"seconds\": %.6f, \"p50_us\": %.1f, "
           "\"p99_us\": %.1f, \"max_us\": %.1f}\n",
           l->messages, (double)(now_ns() - start) / (double)NS_PER_S,
           percentile(l, 0.5), percentile(l, 0.99), percentile(l, 1));
    fflush(stdout);
}

static int
connect_to(uint16_t port)
{
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_port = htons(port)};
    struct timeval patience = {.tv_sec = STALL_MS / 1000};
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) <
            0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) < 0) {
        fail("connect: %s", strerror(errno));
    }
    return fd;
}

static void
ask_upgrade(struct load *l, struct conn *c)
{
    char request[1024];
    int n = snprintf(request, sizeof(request),
                     "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n"
                     "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                     "Sec-WebSocket-Key: " KEY "\r\n"
                     "Sec-WebSocket-Version: 13\r\n\r\n",
                     l->path, (unsigned)l->port);

    if (n < 0 || (size_t)n >= sizeof(request)) {
        fail("the path is too long");
    }
    if (send(c->fd, request, (size_t)n, MSG_NOSIGNAL) != (ssize_t)n) {
        fail("handshake: %s", strerror(errno));
    }
}

/* Reads some more of what must come within the time of connect_to(). */
static void
read_more(struct conn *c)
{
    ssize_t n = recv(c->fd, c->in + c->have, ROOM - 1 - c->have, 0);

    if (n <= 0) {
        fail("connection %u: no answer: %s", c->number,
             n < 0 ? strerror(errno) : "end of the stream");
    }
    c->have += (size_t)n;
    c->in[c->have] = '\0';
}

static void
await_upgrade(struct conn *c)
{
    const char *end;
    size_t head;

    do {
        read_more(c);
        end = strstr(c->in, "\r\n\r\n");
    } while (end == NULL);
    if (strncmp(c->in, "HTTP/1.1 101", 12) != 0 ||
        strstr(c->in, ACCEPT) == NULL) {
        fail("refused: %.60s", c->in);
    }
    head = (size_t)(end - c->in) + 4;
    c->have -= head;
    memmove(c->in, c->in + head, c->have);
}

/* The greeting is a small text message of any content. */
static void
await_greeting(struct conn *c)
{
    size_t size;

    while (c->have < 2 || c->have < 2U + (uint8_t)c->in[1]) {
        read_more(c);
    }
    size = 2U + (uint8_t)c->in[1];
    if ((uint8_t)c->in[0] != (0x80 | OP_TEXT) || size != c->have) {
        fail("connection %u: no greeting", c->number);
    }
    c->have = 0;
}

static void
open_conn(struct load *l, uint32_t number)
{
    struct conn *c = &l->conns[number];
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};

    c->number = number;
    c->in = malloc(ROOM);
    if (c->in == NULL) {
        fail("no memory");
    }
    c->fd = connect_to(l->port);
    ask_upgrade(l, c);
    await_upgrade(c);
    if (l->broadcast) {
        await_greeting(c);
    }
    if (fcntl(c->fd, F_SETFL, O_NONBLOCK) < 0 ||
        epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, c->fd, &ev) < 0) {
        fail("epoll: %s", strerror(errno));
    }
}

static void
close_all(struct load *l)
{
    const char normal[] = {(char)(1000 >> 8), (char)(1000 & 0xff)};

    for (size_t i = 0; i < l->conn_count; i++) {
        send_frame(l, &l->conns[i], OP_CLOSE, normal, sizeof(normal));
        close(l->conns[i].fd);
        free(l->conns[i].in);
    }
    free(l->conns);
    close(l->epoll_fd);
}

/* A number within the bounds, or the end of the program. */
static size_t
number_from(const char *word, size_t min, size_t max, const char *what)
{
    char *end;
    unsigned long value = strtoul(word, &end, 10);

    if (*end != '\0' || value < min || value > max) {
        fail("%s: a number from %zu to %zu, not %s", what, min, max, word);
    }
    return value;
}

static void
init(struct load *l, char **argv)
{
    l->broadcast = strcmp(argv[1], "broadcast") == 0;
    if (!l->broadcast && strcmp(argv[1], "echo") != 0) {
        fail("%s: echo or broadcast", argv[1]);
    }
    l->port = (uint16_t)number_from(argv[2], 1, UINT16_MAX, "PORT");
    l->path = argv[3];
    l->conn_count = number_from(argv[4], 1, CONNECTIONS_MAX, "CONNECTIONS");
    l->bytes = number_from(argv[5], BYTES_MIN, BYTES_MAX, "BYTES");
    memset(l->expected, '.', sizeof(l->expected));
    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    l->conns = calloc(l->conn_count, sizeof(*l->conns));
    if (l->conns == NULL || l->epoll_fd < 0) {
        fail("out of memory or descriptors");
    }
}

int
main(int argc, char **argv)
{
    struct load l = {.mask = 0x5eed5eed};
    char line[32];

    if (argc != 6) {
        fail("usage: ws_load echo|broadcast PORT PATH CONNECTIONS BYTES");
    }
    init(&l, argv);
    for (uint32_t i = 0; i < l.conn_count; i++) {
        open_conn(&l, i);
    }
    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof(line), stdin) != NULL) {
        double seconds = strtod(line, NULL);

        if (!(seconds > 0 && seconds <= SECONDS_MAX)) {
            fail("seconds of load, not %s", line);
        }
        run(&l, seconds);
    }
    close_all(&l);
    return 0;
}
