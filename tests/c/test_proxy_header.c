/* test_proxy_header.c - PROXY headers of both versions, at each cut.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proto/proxy_header.h"

#include "base/gl.h"
#include "check.h"

#define V2 "\r\n\r\n\0\r\nQUIT\n"
#define FOUR "\x0a\x00\x00\x01\xc0\xa8\x00\x02\x30\x39\x01\xbb"
#define SIX                                      \
    "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01" \
    "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\xff\xff\x01\xbb"
#define MAPPED                                     \
    "\0\0\0\0\0\0\0\0\0\0\xff\xff\x01\x02\x03\x04" \
    "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0"

struct row {
    const char *bytes;
    size_t n;
    enum gl_proxy_result result;
    enum gl_proxy_source source;
    const char *address; /* of a client */
    uint16_t port;
};

#define ROW(text, ...) {text, sizeof(text) - 1, __VA_ARGS__}
#define CLIENT GL_PROXY_DONE, GL_PROXY_CLIENT
#define UNKNOWN GL_PROXY_DONE, GL_PROXY_UNKNOWN, NULL, 0
#define LOCAL GL_PROXY_DONE, GL_PROXY_LOCAL, NULL, 0
#define BAD GL_PROXY_BAD, 0, NULL, 0
#define MORE GL_PROXY_MORE, 0, NULL, 0
#define LONG6 "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"

static const struct row rows[] = {
    ROW("PROXY TCP4 1.2.3.4 5.6.7.8 1234 80\r\n", CLIENT, "1.2.3.4", 1234),
    ROW("PROXY TCP4 255.255.255.255 0.0.0.0 65535 0\r\n", CLIENT,
        "255.255.255.255", 65535),
    ROW("PROXY TCP4 1.2.3.4 5.6.7.8 0 80\r\n", CLIENT, "1.2.3.4", 0),
    ROW("PROXY TCP6 2001:DB8::1 ::1 1 65535\r\n", CLIENT, "2001:db8::1", 1),
    ROW("PROXY TCP6 ::ffff:1.2.3.4 ::1 1 2\r\n", CLIENT, "1.2.3.4", 1),
    ROW("PROXY TCP6 " LONG6 " " LONG6 " 65535 65535\r\n", CLIENT, LONG6,
        65535),
    ROW("PROXY UNKNOWN\r\n", UNKNOWN),
    ROW("PROXY UNKNOWN " LONG6 " " LONG6 " 65535 65535\r\n", UNKNOWN),
    ROW("PROXY UNKNOWN what \xff ever\r\n", UNKNOWN),
    ROW("", MORE),
    ROW("PROXY TCP4 1.2.3.4 5.6.7.8 1234 80\r", MORE),
    ROW("PROXY TCP4 1.2.3.4 5.6.7.8 1234 80\n", BAD),
    ROW("PROXY TCP4 1.2.3.4 5.6.7.8 1234 80\r\r\n", BAD),
    ROW("PROXY TCP4 1.2.3.4 5.6.7.8 1234 80 \r\n", BAD),
    ROW("PROXY TCP4 1.2.3.4 5.6.7.8 1234\r\n", BAD),
    ROW("PROXY TCP4 1.2.3.4 5.6.7.8 1234 \r\n", BAD),
    ROW("PROXY TCP4 1.2.3.4 5.6.7.8 1234 80 1\r\n", BAD),
    ROW("PROXY TCP4 1.2.3.4  5.6.7.8 1234 80\r\n", BAD),
    ROW("PROXY  TCP4 1.2.3.4 5.6.7.8 1234 80\r\n", BAD),
    ROW("PROXY TCP4\t1.2.3.4 5.6.7.8 1234 80\r\n", BAD),
    ROW("PROXY TCP4 1.2.3.4 5.6.7.8 01 80\r\n", BAD),
    ROW("PROXY TCP4 1.2.3.4 5.6.7.8 1 080\r\n", BAD),
    ROW("PROXY TCP4 1.2.3.4 5.6.7.8 65536 80\r\n", BAD),
    ROW("PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n", BAD),
    ROW("PROXY TCP4 1.2.3.4 5.6.7.8 1 99999999999\r\n", BAD),
    ROW("PROXY TCP4 1.2.3.4 5.6.7.8 -1 80\r\n", BAD),
    ROW("PROXY TCP4 1.2.3.04 5.6.7.8 1 80\r\n", BAD),
    ROW("PROXY TCP4 1.2.3.4 5.6.7 1 80\r\n", BAD),
    ROW("PROXY TCP4 1.2.3.4 a.b.c.d 1 80\r\n", BAD),
    ROW("PROXY TCP4 ::1 ::1 1 80\r\n", BAD),
    ROW("PROXY TCP4 ::ffff:1.2.3.4 ::1 1 80\r\n", BAD),
    ROW("PROXY TCP6 1.2.3.4 5.6.7.8 1 80\r\n", BAD),
    ROW("PROXY TCP6 ::1 5.6.7.8 1 80\r\n", BAD),
    ROW("PROXY TCP6 [::1] [::1] 1 80\r\n", BAD),
    ROW("PROXY TCP6 fe80::1%lo ::1 1 80\r\n", BAD),
    ROW("PROXY TCP5 1.2.3.4 5.6.7.8 1 80\r\n", BAD),
    ROW("PROXY tcp4 1.2.3.4 5.6.7.8 1 80\r\n", BAD),
    ROW("PROXY UDP4 1.2.3.4 5.6.7.8 1 80\r\n", BAD),
    ROW("PROXY TCP4 \r\n", BAD),
    ROW("PROXY TCP4\r\n", BAD),
    ROW("PROXY UNKNOWNS\r\n", BAD),
    ROW("PROXY \r\n", BAD),
    ROW("PROXY\r\n", BAD),
    ROW("PROXY UNKNOWN \x01\r\n", BAD),
    ROW("PROXY UNKNOWN \0\r\n", BAD),
    ROW("Proxy TCP4 1.2.3.4 5.6.7.8 1 80\r\n", BAD),
    ROW(" PROXY TCP4 1.2.3.4 5.6.7.8 1 80\r\n", BAD),
    ROW("GET / HTTP/1.1\r\n\r\n", BAD),
    ROW("POST / HTTP/1.1\r\n\r\n", BAD),
    ROW("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", BAD),
    ROW("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", BAD),
    ROW("\r\n\r\n\r\n", BAD),
    ROW(V2 "\x21\x11\0\x0c" FOUR, CLIENT, "10.0.0.1", 12345),
    ROW(V2 "\x21\x11\0\x10" FOUR "\x04\0\x01\x09", CLIENT, "10.0.0.1", 12345),
    ROW(V2 "\x21\x11\0\x0f" FOUR "\xff\xff\xff", CLIENT, "10.0.0.1", 12345),
    ROW(V2 "\x21\x21\0\x24" SIX, CLIENT, "2001:db8::1", 65535),
    ROW(V2 "\x21\x21\0\x24" MAPPED, CLIENT, "1.2.3.4", 0),
    ROW(V2 "\x20\x00\0\0", LOCAL),
    ROW(V2 "\x20\x11\0\x0c" FOUR, LOCAL),
    ROW(V2 "\x20\xff\0\x01.", LOCAL),
    ROW(V2 "\x21\x00\0\0", UNKNOWN),
    ROW(V2 "\x21\x00\0\x05.....", UNKNOWN),
    ROW(V2 "\x21\x01\0\0", UNKNOWN),
    ROW(V2 "\x21\x10\0\x0c" FOUR, UNKNOWN),
    ROW(V2 "\x21\x12\0\x0c" FOUR, BAD), /* datagrams */
    ROW(V2 "\x21\x13\0\x0c" FOUR, BAD),
    ROW(V2 "\x21\x41\0\x0c" FOUR, BAD),
    ROW(V2 "\x21\x11\0\x0b" FOUR, BAD),
    ROW(V2 "\x21\x21\0\x23" SIX, BAD),
    ROW(V2 "\x21\x31\0\xd7", BAD),
    ROW(V2 "\x21\x31\0\xd8", MORE),
    ROW(V2 "\x22\x11\0\x0c" FOUR, BAD),
    ROW(V2 "\x11\x11\0\x0c" FOUR, BAD),
    ROW(V2 "\x31\x11\0\x0c" FOUR, BAD),
    ROW(V2 "\x21\x11\x0f\xf0", MORE),
    ROW(V2 "\x21\x11\x0f\xf1", BAD), /* more than GL_PROXY_HEADER_MAX */
    ROW(V2 "\x20\x00\xff\xff", BAD),
    ROW("\r\n\r\n\0\r\nQUIT\r", BAD),
    ROW("\r\n\r\nHTTP", BAD),
};

static enum gl_proxy_result
parse(const char *bytes, size_t n, struct gl_proxy_header *h)
{
    char *copy = check_copy(bytes, n);
    enum gl_proxy_result result =
        gl_proxy_header_parse((struct gl_str){copy, n}, h);

    free(copy);
    return result;
}

static void
check_header(const struct row *row, const struct gl_proxy_header *h)
{
    char text[GL_ADDR_TEXT_BYTES];

    CHECK(h->source == row->source);
    CHECK(h->size == row->n);
    if (row->source == GL_PROXY_CLIENT) {
        gl_address_text(&h->address, text);
        CHECK(strcmp(text, row->address) == 0);
        CHECK(h->port == row->port);
    }
}

/* Each part of a header asks for more; one that is bad is so at some byte
 * and from then on. */
static void
check_cuts(const struct row *row)
{
    enum gl_proxy_result before = GL_PROXY_MORE;

    for (size_t n = 0; n < row->n; n++) {
        struct gl_proxy_header h = {.size = 12345};
        enum gl_proxy_result result = parse(row->bytes, n, &h);

        CHECK(h.size == 12345);
        CHECK(result == GL_PROXY_MORE ||
              (result == GL_PROXY_BAD && row->result == GL_PROXY_BAD));
        CHECK(before != GL_PROXY_BAD || result == GL_PROXY_BAD);
        before = result;
    }
}

static void
test_rows(void)
{
    for (size_t i = 0; i < GL_ARRAY_LEN(rows); i++) {
        struct gl_proxy_header h = {0};

        check_case("row %zu: %s", i, rows[i].bytes);
        if (CHECK(parse(rows[i].bytes, rows[i].n, &h) == rows[i].result) &&
            rows[i].result == GL_PROXY_DONE) {
            check_header(&rows[i], &h);
        }
        check_cuts(&rows[i]);
    }
}

/* What follows is neither read nor counted. */
static void
test_followed(void)
{
    for (size_t i = 0; i < GL_ARRAY_LEN(rows); i++) {
        struct gl_proxy_header h = {0};
        char bytes[512];

        if (rows[i].result != GL_PROXY_DONE) {
            continue;
        }
        check_case("followed: row %zu", i);
        memset(bytes, '\xee', sizeof(bytes));
        memcpy(bytes, rows[i].bytes, rows[i].n);
        CHECK(parse(bytes, sizeof(bytes), &h) == GL_PROXY_DONE);
        check_header(&rows[i], &h);
    }
}

static void
test_long_line(void)
{
    struct gl_proxy_header h;
    char line[120];

    for (size_t n = 15; n <= 110; n++) { /* with its CRLF */
        enum gl_proxy_result expected =
            n <= 107 ? GL_PROXY_DONE : GL_PROXY_BAD;

        check_case("a line of %zu bytes", n);
        memset(line, 'x', sizeof(line));
        memcpy(line, "PROXY UNKNOWN ", n > 15 ? 14 : 13);
        memcpy(line + n - 2, "\r\n", 2);
        CHECK(parse(line, n, &h) == expected);
        CHECK(n >= 108 || parse(line, n - 1, &h) == GL_PROXY_MORE);
        CHECK(n >= 108 || parse(line, n - 2, &h) == GL_PROXY_MORE);
    }
    check_case("no line end");
    memset(line, 'x', sizeof(line));
    memcpy(line, "PROXY UNKNOWN ", 14);
    CHECK(parse(line, 106, &h) == GL_PROXY_MORE);
    CHECK(parse(line, 107, &h) == GL_PROXY_BAD);
}

static void
test_unix_and_large(void)
{
    static char bytes[GL_PROXY_HEADER_MAX];
    struct gl_proxy_header h;

    check_case("an address of a Unix socket");
    memset(bytes, 'p', sizeof(bytes));
    memcpy(bytes, V2 "\x21\x31\0\xd8", 16);
    CHECK(parse(bytes, 16 + 215, &h) == GL_PROXY_MORE);
    CHECK(parse(bytes, 16 + 216, &h) == GL_PROXY_DONE);
    CHECK(h.source == GL_PROXY_UNKNOWN && h.size == 16 + 216);
    check_case("the largest header");
    memcpy(bytes, V2 "\x21\x11\x0f\xf0" FOUR, 28);
    CHECK(parse(bytes, sizeof(bytes) - 1, &h) == GL_PROXY_MORE);
    CHECK(parse(bytes, sizeof(bytes), &h) == GL_PROXY_DONE);
    CHECK(h.source == GL_PROXY_CLIENT && h.size == sizeof(bytes));
}

int
main(void)
{
    test_rows();
    test_followed();
    test_long_line();
    test_unix_and_large();
    return check_end();
}
