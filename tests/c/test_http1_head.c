/* test_http1_head.c - request heads: each case at each cut.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proto/http1_head.h"

#include "base/gl.h"
#include "check.h"
#include "proto/http_tables.h"

#define TEXT_BYTES 1024

static const struct gl_head_limits usual = {1024, 128, 8};

static size_t
put(char *text, size_t at, const char *label, const char *bytes,
    struct gl_span s)
{
    int n = snprintf(text + at, TEXT_BYTES - at, "%s%.*s", label, (int)s.n,
                     bytes + s.at);

    return at + (size_t)n;
}

/* What was understood, as one line of text. */
static void
describe(char text[TEXT_BYTES], const struct gl_head *head, const char *bytes)
{
    size_t at = put(text, 0, "", bytes, head->method);

    at = put(text, at, " ", bytes, head->path);
    at = put(text, at, " ?", bytes, head->query);
    at = put(text, at, " @", bytes, head->authority);
    at += (size_t)snprintf(text + at, TEXT_BYTES - at, " 1.%d%s%s%s%s",
                           head->minor, head->keep_alive ? " keep" : "",
                           head->chunked ? " chunked" : "",
                           head->expect_continue ? " expect" : "",
                           head->path_escaped ? " escaped" : "");
    if (head->has_length) {
        at += (size_t)snprintf(text + at, TEXT_BYTES - at, " length %llu",
                               (unsigned long long)head->content_length);
    }
    for (int i = 0; i < head->count; i++) {
        at = put(text, at, "|", bytes, head->fields[i].name);
        at = put(text, at, "=", bytes, head->fields[i].value);
    }
}

/* Parses n bytes that come in pieces of `step`, and a first one of `first`.
 * Every piece arrives at a new address. */
static enum gl_head_result
parse(const struct gl_head_limits *limits, const char *wire, size_t n,
      size_t first, size_t step, char text[TEXT_BYTES])
{
    struct gl_head head;
    enum gl_head_result result = GL_HEAD_MORE;

    gl_http1_head_init(&head);
    text[0] = '\0';
    for (size_t got = first; result == GL_HEAD_MORE; got += step) {
        size_t len = got < n ? got : n;
        char *piece = check_copy(wire, len);

        result = gl_http1_head_parse(&head, limits, piece, len);
        if (result == GL_HEAD_DONE) {
            CHECK(head.size <= len);
            describe(text, &head, piece);
        }
        free(piece);
        if (got >= n) {
            break;
        }
    }
    return result;
}

static void
check_every_cut(const struct gl_head_limits *limits, const char *wire,
                size_t n, enum gl_head_result result, const char *text)
{
    char found[TEXT_BYTES];

    for (size_t step = 1; step <= n; step++) {
        check_case("%.60s: step %zu", wire, step);
        CHECK(parse(limits, wire, n, step, step, found) == result);
        CHECK(strcmp(found, text) == 0);
        check_case("%.60s: cut %zu", wire, step);
        CHECK(parse(limits, wire, n, step, n, found) == result);
        if (!CHECK(strcmp(found, text) == 0)) {
            fprintf(stderr, "found %s\n", found);
        }
    }
}

/* --- heads that are right --------------------------------------------- */

#define H "Host: a\r\n"

static const struct {
    const char *wire;
    const char *text;
} good[] = {
    {"GET / HTTP/1.1\r\n" H "\r\n", "GET / ? @ 1.1 keep|Host=a"},
    {"GET / HTTP/1.0\r\n\r\n", "GET / ? @ 1.0"},
    {"GET / HTTP/1.0\r\n" H "\r\n", "GET / ? @ 1.0|Host=a"},
    {"GET / HTTP/1.7\r\n" H "\r\n", "GET / ? @ 1.1 keep|Host=a"},
    {"\r\nGET / HTTP/1.0\r\n\r\n", "GET / ? @ 1.0"},
    {"get /a?b?c%20 HTTP/1.0\r\n\r\n", "get /a ?b?c%20 @ 1.0"},
    {"GET /a%20?b HTTP/1.0\r\n\r\n", "GET /a%20 ?b @ 1.0 escaped"},
    {"GET /a? HTTP/1.0\r\n\r\n", "GET /a ? @ 1.0"},
    {"GET //a/../b HTTP/1.0\r\n\r\n", "GET //a/../b ? @ 1.0"},
    {"GET /\"<>\\^`{|}~ HTTP/1.0\r\n\r\n", "GET /\"<>\\^`{|}~ ? @ 1.0"},
    {"M!#$%&'*+-.^_`|~09azAZ / HTTP/1.0\r\n\r\n",
     "M!#$%&'*+-.^_`|~09azAZ / ? @ 1.0"},
    {"OPTIONS * HTTP/1.1\r\n" H "\r\n", "OPTIONS * ? @ 1.1 keep|Host=a"},
    {"GET http://h/p?q HTTP/1.1\r\n" H "\r\n",
     "GET /p ?q @h 1.1 keep|Host=a"},
    {"GET HTTPS://h:8 HTTP/1.1\r\n" H "\r\n", "GET  ? @h:8 1.1 keep|Host=a"},
    {"GET http://[::1]:80?q HTTP/1.1\r\n" H "\r\n",
     "GET  ?q @[::1]:80 1.1 keep|Host=a"},
    /* Host */
    {"GET / HTTP/1.1\r\nHost:\r\n\r\n", "GET / ? @ 1.1 keep|Host="},
    {"GET / HTTP/1.1\r\nHOST:a.b-c_d~%41:\r\n\r\n",
     "GET / ? @ 1.1 keep|HOST=a.b-c_d~%41:"},
    {"GET / HTTP/1.1\r\nhost: [::ffff:1.2.3.4]:80\r\n\r\n",
     "GET / ? @ 1.1 keep|host=[::ffff:1.2.3.4]:80"},
    /* values */
    {"GET / HTTP/1.0\r\nA: \t b\tc \xff\t \r\nB:\r\nC: \r\n\r\n",
     "GET / ? @ 1.0|A=b\tc \xff|B=|C="},
    {"GET / HTTP/1.0\r\nA: b: c\r\nA:a\r\n\r\n", "GET / ? @ 1.0|A=b: c|A=a"},
    {"GET / HTTP/1.0\r\nA_b: c\r\n\r\n", "GET / ? @ 1.0|A_b=c"},
    /* keeping alive */
    {"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n",
     "GET / ? @ 1.0 keep|Connection=Keep-Alive"},
    {"GET / HTTP/1.1\r\n" H "Connection: a, CLOSE ,b\r\n\r\n",
     "GET / ? @ 1.1|Host=a|Connection=a, CLOSE ,b"},
    {"GET / HTTP/1.1\r\n" H "Connection: closed\r\n\r\n",
     "GET / ? @ 1.1 keep|Host=a|Connection=closed"},
    {"GET / HTTP/1.0\r\nConnection: close, keep-alive\r\n\r\n",
     "GET / ? @ 1.0|Connection=close, keep-alive"},
    {"GET / HTTP/1.0\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n",
     "GET / ? @ 1.0|Connection=keep-alive|Connection=close"},
    /* bodies */
    {"PUT / HTTP/1.0\r\nContent-Length: 007\r\n\r\n",
     "PUT / ? @ 1.0 length 7|Content-Length=007"},
    {"PUT / HTTP/1.0\r\nContent-Length: 9223372036854775807\r\n\r\n",
     "PUT / ? @ 1.0 length 9223372036854775807"
     "|Content-Length=9223372036854775807"},
    {"PUT / HTTP/1.1\r\n" H "Transfer-Encoding: CHUNKED\r\n\r\n",
     "PUT / ? @ 1.1 keep chunked|Host=a|Transfer-Encoding=CHUNKED"},
    {"PUT / HTTP/1.1\r\n" H "Expect: 100-Continue\r\n\r\n",
     "PUT / ? @ 1.1 keep expect|Host=a|Expect=100-Continue"},
    {"PUT / HTTP/1.1\r\n" H "Expect: 100-continue\r\nExpect: x\r\n\r\n",
     "PUT / ? @ 1.1 keep expect|Host=a|Expect=100-continue|Expect=x"},
    {"PUT / HTTP/1.1\r\n" H "Expect: tea\r\n\r\n",
     "PUT / ? @ 1.1 keep|Host=a|Expect=tea"},
    {"PUT / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n",
     "PUT / ? @ 1.0|Expect=100-continue"},
};

static void
test_good(void)
{
    for (size_t i = 0; i < GL_ARRAY_LEN(good); i++) {
        size_t n = strlen(good[i].wire);
        char more[512], text[TEXT_BYTES];

        check_every_cut(&usual, good[i].wire, n, GL_HEAD_DONE, good[i].text);
        /* What follows the head is not part of it. */
        (void)snprintf(more, sizeof(more), "%s\nGET", good[i].wire);
        check_case("%s and more", good[i].wire);
        CHECK(parse(&usual, more, n + 4, n + 4, 1, text) == GL_HEAD_DONE);
        CHECK(strcmp(text, good[i].text) == 0);
    }
}

/* --- heads that are not ----------------------------------------------- */

#define NO_METHOD GL_HEAD_NOT_IMPLEMENTED
#define G0 "GET / HTTP/1.0\r\n"
#define P1 "PUT / HTTP/1.1\r\n" H

static const struct {
    const char *wire;
    enum gl_head_result result;
} refused[] = {
    /* the request line */
    {"\r\n\r\nGET / HTTP/1.0\r\n\r\n", GL_HEAD_BAD},
    {"\nGET / HTTP/1.0\r\n\r\n", GL_HEAD_BAD},
    {"\r\rGET / HTTP/1.0\r\n\r\n", GL_HEAD_BAD},
    {"\rG", GL_HEAD_BAD},
    {" GET / HTTP/1.0\r\n\r\n", GL_HEAD_BAD},
    {"\x16\x03\x01", GL_HEAD_BAD},
    {"GET / HTTP/1.0\n\r\n", GL_HEAD_BAD},
    {"GET /\rHTTP/1.0\r\n\r\n", GL_HEAD_BAD},
    {"GET / HTTP/1.0\r\r\n\r\n", GL_HEAD_BAD},
    {"GET\r\n\r\n", GL_HEAD_BAD},
    {"GET \r\n\r\n", GL_HEAD_BAD},
    {"GET /\r\n\r\n", GL_HEAD_BAD},
    {"GET / \r\n\r\n", GL_HEAD_BAD},
    {"GET  / HTTP/1.0\r\n\r\n", GL_HEAD_BAD},
    {"GET  HTTP/1.0\r\n\r\n", GL_HEAD_BAD},
    {"GET /  HTTP/1.0\r\n\r\n", GL_HEAD_BAD},
    {"GET\t/ HTTP/1.0\r\n\r\n", GL_HEAD_BAD},
    {"GET / HTTP/1.0 \r\n\r\n", GL_HEAD_BAD},
    {"GET / a HTTP/1.0\r\n\r\n", GL_HEAD_BAD},
    {"GET /#a HTTP/1.0\r\n\r\n", GL_HEAD_BAD},
    {"GET /\x7f HTTP/1.0\r\n\r\n", GL_HEAD_BAD},
    {"GET /\xc3\xa4 HTTP/1.0\r\n\r\n", GL_HEAD_BAD},
    {"GET a HTTP/1.0\r\n\r\n", GL_HEAD_BAD},
    {"GET * HTTP/1.0\r\n\r\n", GL_HEAD_BAD},
    {"OPTIONS ** HTTP/1.0\r\n\r\n", GL_HEAD_BAD},
    {"GET ftp://a/ HTTP/1.0\r\n\r\n", GL_HEAD_BAD},
    {"GET http:/a HTTP/1.0\r\n\r\n", GL_HEAD_BAD},
    {"GET http:/// HTTP/1.0\r\n\r\n", GL_HEAD_BAD},
    {"GET http://?a HTTP/1.0\r\n\r\n", GL_HEAD_BAD},
    {"GET http://:80/ HTTP/1.0\r\n\r\n", GL_HEAD_BAD},
    {"GET http://u@h/ HTTP/1.0\r\n\r\n", GL_HEAD_BAD},
    {"GET http://h:x/ HTTP/1.0\r\n\r\n", GL_HEAD_BAD},
    {"GET http://[::1/ HTTP/1.0\r\n\r\n", GL_HEAD_BAD},
    {"GET http://[]/ HTTP/1.0\r\n\r\n", GL_HEAD_BAD},
    {"GET http://[::1]a/ HTTP/1.0\r\n\r\n", GL_HEAD_BAD},
    /* versions */
    {"GET / http/1.1\r\n\r\n", GL_HEAD_BAD},
    {"GET / HTTP/1.\r\n\r\n", GL_HEAD_BAD},
    {"GET / HTTP/1.10\r\n\r\n", GL_HEAD_BAD},
    {"GET / HTTP/11\r\n\r\n", GL_HEAD_BAD},
    {"GET / HTTP/1,0\r\n\r\n", GL_HEAD_BAD},
    {"GET / HTTP/x.1\r\n\r\n", GL_HEAD_BAD},
    {"GET / HTTP/0.9\r\n\r\n", GL_HEAD_VERSION},
    {"GET / HTTP/2.0\r\n\r\n", GL_HEAD_VERSION},
    {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", GL_HEAD_VERSION},
    /* methods */
    {"CONNECT a:1 HTTP/1.1\r\n" H "\r\n", NO_METHOD},
    {"ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1\r\n\r\n", NO_METHOD},
    {"G@T / HTTP/1.0\r\n\r\n", GL_HEAD_BAD},
    /* field lines */
    {G0 "A : b\r\n\r\n", GL_HEAD_BAD},
    {G0 ": b\r\n\r\n", GL_HEAD_BAD},
    {G0 "A\r\n\r\n", GL_HEAD_BAD},
    {G0 " A: b\r\n\r\n", GL_HEAD_BAD},
    {G0 "A: b\r\n c\r\n\r\n", GL_HEAD_BAD},
    {G0 "A: b\r\n\tc\r\n\r\n", GL_HEAD_BAD},
    {G0 "A: b\n\r\n", GL_HEAD_BAD},
    {G0 "\n", GL_HEAD_BAD},
    {G0 "A: b\rc\r\n\r\n", GL_HEAD_BAD},
    {G0 "A: bbbbbbbbb\x01\r\n\r\n", GL_HEAD_BAD},
    {G0 "A: bbbbbbbbbbbbbb\x7f"
        "bbb\r\n\r\n",
     GL_HEAD_BAD},
    {G0 "A\xc3: b\r\n\r\n", GL_HEAD_BAD},
    {G0 "A(: b\r\n\r\n", GL_HEAD_BAD},
    /* Host */
    {"GET / HTTP/1.1\r\n\r\n", GL_HEAD_BAD},
    {"GET http://a/ HTTP/1.1\r\n\r\n", GL_HEAD_BAD},
    {"GET / HTTP/1.1\r\n" H H "\r\n", GL_HEAD_BAD},
    {G0 H H "\r\n", GL_HEAD_BAD},
    {G0 "Host: a b\r\n\r\n", GL_HEAD_BAD},
    {G0 "Host: a/b\r\n\r\n", GL_HEAD_BAD},
    {G0 "Host: u@a\r\n\r\n", GL_HEAD_BAD},
    {G0 "Host: a:b\r\n\r\n", GL_HEAD_BAD},
    {G0 "Host: a:1:2\r\n\r\n", GL_HEAD_BAD},
    {G0 "Host: ::1\r\n\r\n", GL_HEAD_BAD},
    {G0 "Host: [::1\r\n\r\n", GL_HEAD_BAD},
    {G0 "Host: [a]\r\n\r\n", GL_HEAD_BAD},
    {G0 "Host: [::1%25a]\r\n\r\n", GL_HEAD_BAD},
    {G0 "Host: a%4\r\n\r\n", GL_HEAD_BAD},
    {G0 "Host: :80\r\n\r\n", GL_HEAD_BAD},
    /* Content-Length */
    {P1 "Content-Length:\r\n\r\n", GL_HEAD_BAD},
    {P1 "Content-Length: +1\r\n\r\n", GL_HEAD_BAD},
    {P1 "Content-Length: -1\r\n\r\n", GL_HEAD_BAD},
    {P1 "Content-Length: 0x1\r\n\r\n", GL_HEAD_BAD},
    {P1 "Content-Length: 1 1\r\n\r\n", GL_HEAD_BAD},
    {P1 "Content-Length: 1, 1\r\n\r\n", GL_HEAD_BAD},
    {P1 "Content-Length: 9223372036854775808\r\n\r\n", GL_HEAD_BAD},
    {P1 "Content-Length: 18446744073709551617\r\n\r\n", GL_HEAD_BAD},
    {P1 "Content-Length: 1\r\nContent-Length: 1\r\n\r\n", GL_HEAD_BAD},
    /* Transfer-Encoding */
    {P1 "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
     GL_HEAD_BAD},
    {P1 "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
     GL_HEAD_BAD},
    {P1 "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
     GL_HEAD_BAD},
    {P1 "Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n\r\n",
     GL_HEAD_BAD},
    {P1 "Transfer-Encoding: chunked, chunked\r\n\r\n", GL_HEAD_BAD},
    {P1 "Transfer-Encoding: chunked, gzip\r\n\r\n", GL_HEAD_BAD},
    {P1 "Transfer-Encoding: chunked,\r\n\r\n", GL_HEAD_BAD},
    {P1 "Transfer-Encoding: , chunked\r\n\r\n", GL_HEAD_BAD},
    {P1 "Transfer-Encoding: \"chunked\"\r\n\r\n", GL_HEAD_BAD},
    {P1 "Transfer-Encoding:\r\n\r\n", GL_HEAD_BAD},
    {G0 "Transfer-Encoding: chunked\r\n\r\n", GL_HEAD_BAD},
    {G0 "Transfer-Encoding: gzip\r\n\r\n", GL_HEAD_BAD},
    {P1 "Transfer-Encoding: gzip, chunked\r\n\r\n", GL_HEAD_NOT_IMPLEMENTED},
    {P1 "Transfer-Encoding: identity\r\n\r\n", GL_HEAD_NOT_IMPLEMENTED},
    {P1 "Transfer-Encoding: xchunked\r\n\r\n", GL_HEAD_NOT_IMPLEMENTED},
    {P1 "Transfer-Encoding: chunked;a=b\r\n\r\n", GL_HEAD_NOT_IMPLEMENTED},
};

static void
test_refused(void)
{
    for (size_t i = 0; i < GL_ARRAY_LEN(refused); i++) {
        check_every_cut(&usual, refused[i].wire, strlen(refused[i].wire),
                        refused[i].result, "");
    }
    check_every_cut(&usual, "GET /\0 HTTP/1.0\r\n\r\n", 19, GL_HEAD_BAD, "");
    check_every_cut(&usual, G0 "A: b\0c\r\n\r\n", 26, GL_HEAD_BAD, "");
}

/* Every byte at every place of a field line: as the classes say. */
static void
test_bytes(void)
{
    char wire[] = G0 "xx: 12345678x\r\n\r\n", text[TEXT_BYTES];
    const size_t name = sizeof(G0) - 1, value = name + 12;

    for (int b = 0; b < 256; b++) {
        bool token = gl_http_class[b] & GL_CLASS_TOKEN;
        bool text_byte = gl_http_class[b] & GL_CLASS_VALUE;

        check_case("byte %d", b);
        wire[name] = (char)b;
        CHECK((parse(&usual, wire, sizeof(wire) - 1, sizeof(wire), 1, text) ==
               GL_HEAD_DONE) == token);
        wire[name] = 'x';
        wire[value] = (char)b;
        CHECK((parse(&usual, wire, sizeof(wire) - 1, sizeof(wire), 1, text) ==
               GL_HEAD_DONE) == text_byte);
        wire[value] = 'x';
    }
}

/* --- limits ------------------------------------------------------------ */

static void
test_line_limit(void)
{
    const struct gl_head_limits limits = {100, 16, 8};

    check_every_cut(&limits, "GET /ab HTTP/1.0\r\n\r\n", 20, GL_HEAD_DONE,
                    "GET /ab ? @ 1.0");
    check_every_cut(&limits, "\r\nGET /ab HTTP/1.0\r\n\r\n", 22, GL_HEAD_DONE,
                    "GET /ab ? @ 1.0");
    check_every_cut(&limits, "GET /abc HTTP/1.0\r\n\r\n", 21,
                    GL_HEAD_LINE_TOO_LONG, "");
    check_every_cut(&limits, "GET /abcdefgh HTT", 17, GL_HEAD_LINE_TOO_LONG,
                    "");
    check_every_cut(&limits, "GET /abcdefgh HT", 16, GL_HEAD_MORE, "");
    check_every_cut(&limits, "GET /abcdefgh HT\r", 17, GL_HEAD_MORE, "");
    check_every_cut(&limits, "GET /abcdefgh HT\r\r", 18,
                    GL_HEAD_LINE_TOO_LONG, "");
    /* What is no request line at all is not too long a one. */
    check_every_cut(&limits, " GET /abcdefghijkl HTTP/1.0\r\n\r\n", 31,
                    GL_HEAD_BAD, "");
    check_every_cut(&limits, "GET /abcdefgh HT\n", 17, GL_HEAD_BAD, "");
    check_every_cut(&limits, "GET /abcdefgh HTT\n", 18, GL_HEAD_LINE_TOO_LONG,
                    "");
}

static void
test_head_limit(void)
{
    const char wire[] = G0 "A: b\r\n\r\nmore"; /* a head of 24 bytes */
    struct gl_head_limits limits = {24, 16, 8};

    check_every_cut(&limits, wire, 28, GL_HEAD_DONE, "GET / ? @ 1.0|A=b");
    limits.head_max_bytes = 23;
    check_every_cut(&limits, wire, 28, GL_HEAD_TOO_LARGE, "");
    check_every_cut(&limits, wire, 22, GL_HEAD_MORE, "");
    check_every_cut(&limits, G0 "A: bbb", 22, GL_HEAD_MORE, "");
    check_every_cut(&limits, G0 "A: bbbb", 23, GL_HEAD_TOO_LARGE, "");
    check_every_cut(&limits, G0 "A: bbbbbbbbbb", 29, GL_HEAD_TOO_LARGE, "");
    /* The line beyond the limit is not judged. */
    check_every_cut(&limits, G0 "A: b\r\n\n", 23, GL_HEAD_BAD, "");
    limits.head_max_bytes = 22;
    check_every_cut(&limits, G0 "A: b\r\n\n", 23, GL_HEAD_TOO_LARGE, "");
    limits.line_max_bytes = 64;
    check_every_cut(&limits, "GET /abcdefghijklmnop HTTP/1.0", 30,
                    GL_HEAD_TOO_LARGE, "");
}

static void
test_field_limit(void)
{
    struct gl_head_limits limits = {1024, 16, 2};

    check_every_cut(&limits, G0 "A:\r\nB:\r\n\r\n", 26, GL_HEAD_DONE,
                    "GET / ? @ 1.0|A=|B=");
    limits.fields_max = 1;
    check_every_cut(&limits, G0 "A:\r\nB:\r\n\r\n", 26, GL_HEAD_TOO_LARGE,
                    "");
}

/* A table full of fields, each with its id. */
static void
test_full_table(void)
{
    static struct gl_head head;
    const struct gl_head_limits limits = {8192, 64, GL_HEAD_FIELDS_MAX};
    char wire[8192];
    size_t n = (size_t)snprintf(wire, sizeof(wire), G0);

    for (int i = 0; i < GL_HEAD_FIELDS_MAX; i++) {
        n += (size_t)snprintf(wire + n, sizeof(wire) - n, "%s: %d\r\n",
                              i % 2 ? "cookie" : "ACCEPT", i);
    }
    n += (size_t)snprintf(wire + n, sizeof(wire) - n, "\r\n");
    check_case("full table");
    gl_http1_head_init(&head);
    CHECK(gl_http1_head_parse(&head, &limits, wire, n) == GL_HEAD_DONE);
    CHECK(head.count == GL_HEAD_FIELDS_MAX && head.size == n);
    for (int i = 0; i < head.count; i++) {
        CHECK(head.fields[i].id ==
              (i % 2 ? GL_FIELD_COOKIE : GL_FIELD_ACCEPT));
    }
}

/* A slow peer's bytes are not searched again with each one that comes. */
static void
test_linear(void)
{
    const char wire[] = G0 "A: bbbbbbbbbbbbbbbb";
    struct gl_head head;

    gl_http1_head_init(&head);
    for (size_t n = 1; n < sizeof(wire); n++) {
        check_case("%zu bytes", n);
        CHECK(gl_http1_head_parse(&head, &usual, wire, n) == GL_HEAD_MORE);
        CHECK(head.scanned == n);
    }
}

static void
test_status(void)
{
    check_case("status");
    CHECK(gl_http1_head_status(GL_HEAD_BAD) == 400);
    CHECK(gl_http1_head_status(GL_HEAD_LINE_TOO_LONG) == 414);
    CHECK(gl_http1_head_status(GL_HEAD_TOO_LARGE) == 431);
    CHECK(gl_http1_head_status(GL_HEAD_NOT_IMPLEMENTED) == 501);
    CHECK(gl_http1_head_status(GL_HEAD_VERSION) == 505);
}

int
main(void)
{
    test_good();
    test_refused();
    test_bytes();
    test_line_limit();
    test_head_limit();
    test_field_limit();
    test_full_table();
    test_linear();
    test_status();
    return check_end();
}
