/* test_uwsgi_packet.c - uwsgi packets: each case at each cut.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proto/uwsgi_packet.h"

#include "base/gl.h"
#include "check.h"
#include "packet.h"
#include "proto/http_tables.h"

#define TEXT_BYTES 1024
#define GET "REQUEST_METHOD=GET"

static const struct gl_packet_limits usual = {1024, 4};

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
    at = put(text, at, " ", bytes, head->target);
    at += (size_t)snprintf(text + at, TEXT_BYTES - at, " 1.%d%s%s",
                           head->minor, head->keep_alive ? " keep" : "",
                           head->chunked ? " chunked" : "");
    if (head->has_length) {
        at += (size_t)snprintf(text + at, TEXT_BYTES - at, " length %llu",
                               (unsigned long long)head->content_length);
    }
    for (int i = 0; i < head->count; i++) {
        at += (size_t)snprintf(text + at, TEXT_BYTES - at, "|%d ",
                               head->fields[i].var);
        at = put(text, at, "", bytes, head->fields[i].name);
        at = put(text, at, "=", bytes, head->fields[i].value);
    }
}

/* Parses n bytes that come in pieces of `step`, and a first one of `first`.
 * Every piece arrives at a new address. */
static enum gl_packet_result
parse(const struct gl_packet_limits *limits, const char *wire, size_t n,
      size_t first, size_t step, char text[TEXT_BYTES])
{
    struct gl_head head;
    enum gl_packet_result result = GL_PACKET_MORE;

    gl_uwsgi_packet_init(&head);
    text[0] = '\0';
    for (size_t got = first; result == GL_PACKET_MORE; got += step) {
        size_t len = got < n ? got : n;
        char *piece = check_copy(wire, len);

        result = gl_uwsgi_packet_parse(&head, limits, piece, len);
        if (result == GL_PACKET_DONE) {
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
check_every_cut(const struct gl_packet_limits *limits, const char *name,
                const char *wire, size_t n, enum gl_packet_result result,
                const char *text)
{
    char found[TEXT_BYTES];

    for (size_t step = 1; step <= n; step++) {
        check_case("%.60s: step %zu", name, step);
        CHECK(parse(limits, wire, n, step, step, found) == result);
        CHECK(strcmp(found, text) == 0);
        check_case("%.60s: cut %zu", name, step);
        CHECK(parse(limits, wire, n, step, n, found) == result);
        if (!CHECK(strcmp(found, text) == 0)) {
            fprintf(stderr, "found %s\n", found);
        }
    }
}

/* --- packets that are right ------------------------------------------- */

static const struct {
    const char *vars;
    const char *text;
} good[] = {
    {GET, "GET  ?  1.0|5 REQUEST_METHOD=GET"},
    {GET "|REQUEST_URI=/a%20b?c|PATH_INFO=/a b|QUERY_STRING=c"
         "|SERVER_PROTOCOL=HTTP/1.1|SCRIPT_NAME=/s",
     "GET /a b ?c /a%20b?c 1.1|5 REQUEST_METHOD=GET|6 REQUEST_URI=/a%20b?c"
     "|7 PATH_INFO=/a b|8 QUERY_STRING=c|12 SERVER_PROTOCOL=HTTP/1.1"
     "|9 SCRIPT_NAME=/s"},
    /* the last one of a name counts */
    {GET "|PATH_INFO=/a|REQUEST_METHOD=PUT|PATH_INFO=/b",
     "PUT /b ?  1.0|5 REQUEST_METHOD=GET|7 PATH_INFO=/a"
     "|5 REQUEST_METHOD=PUT|7 PATH_INFO=/b"},
    /* versions */
    {GET "|SERVER_PROTOCOL=HTTP/2.0",
     "GET  ?  1.1|5 REQUEST_METHOD=GET|12 SERVER_PROTOCOL=HTTP/2.0"},
    {GET "|SERVER_PROTOCOL=HTTP/3",
     "GET  ?  1.1|5 REQUEST_METHOD=GET|12 SERVER_PROTOCOL=HTTP/3"},
    {GET "|SERVER_PROTOCOL=HTTP/1.0",
     "GET  ?  1.0|5 REQUEST_METHOD=GET|12 SERVER_PROTOCOL=HTTP/1.0"},
    {GET "|SERVER_PROTOCOL=INCLUDED",
     "GET  ?  1.0|5 REQUEST_METHOD=GET|12 SERVER_PROTOCOL=INCLUDED"},
    {GET "|SERVER_PROTOCOL=HTTP/x",
     "GET  ?  1.0|5 REQUEST_METHOD=GET|12 SERVER_PROTOCOL=HTTP/x"},
    {GET "|SERVER_PROTOCOL=",
     "GET  ?  1.0|5 REQUEST_METHOD=GET|12 SERVER_PROTOCOL="},
    /* bodies */
    {GET "|CONTENT_LENGTH=12",
     "GET  ?  1.0 length 12|5 REQUEST_METHOD=GET|10 CONTENT_LENGTH=12"},
    {GET "|CONTENT_LENGTH=",
     "GET  ?  1.0|5 REQUEST_METHOD=GET|10 CONTENT_LENGTH="},
    {GET "|CONTENT_LENGTH=0|CONTENT_TYPE=",
     "GET  ?  1.0 length 0|5 REQUEST_METHOD=GET|10 CONTENT_LENGTH=0"
     "|11 CONTENT_TYPE="},
    {GET "|HTTP_TRANSFER_ENCODING=chunked|CONTENT_LENGTH=3",
     "GET  ?  1.0 length 3|5 REQUEST_METHOD=GET"
     "|3 HTTP_TRANSFER_ENCODING=chunked|10 CONTENT_LENGTH=3"},
    {GET "|HTTP_TRANSFER_ENCODING=chunked|CONTENT_LENGTH=",
     "GET  ?  1.0|5 REQUEST_METHOD=GET|3 HTTP_TRANSFER_ENCODING=chunked"
     "|10 CONTENT_LENGTH="},
    {GET "|HTTP_TRANSFER_ENCODING=",
     "GET  ?  1.0|5 REQUEST_METHOD=GET|3 HTTP_TRANSFER_ENCODING="},
    /* kinds of names */
    {GET "|HTTP_A=1|HTTP_COOKIE=2|HTTP_PROXY=3|X=4",
     "GET  ?  1.0|5 REQUEST_METHOD=GET|1 HTTP_A=1|2 HTTP_COOKIE=2"
     "|3 HTTP_PROXY=3|0 X=4"},
    {GET "|wsgi.input=1|uwsgi.core=2|greenloop.x=3|x-wsgiorg.y=4|WSGI.x=5",
     "GET  ?  1.0|5 REQUEST_METHOD=GET|4 wsgi.input=1|4 uwsgi.core=2"
     "|4 greenloop.x=3|4 x-wsgiorg.y=4|0 WSGI.x=5"},
    {GET "|PATH_INFO=/\n\xff|X=\x01",
     "GET /\n\xff ?  1.0|5 REQUEST_METHOD=GET|7 PATH_INFO=/\n\xff|0 X=\x01"},
    {GET "|HTTP_A=a\tb \xff",
     "GET  ?  1.0|5 REQUEST_METHOD=GET|1 HTTP_A=a\tb \xff"},
};

static void
test_good(void)
{
    char wire[PACKET_BYTES];

    for (size_t i = 0; i < GL_ARRAY_LEN(good); i++) {
        size_t n = packet_write(wire, 0, good[i].vars);

        check_every_cut(&usual, good[i].vars, wire, n, GL_PACKET_DONE,
                        good[i].text);
        wire[0] = GL_MODIFIER_SCRIPT_NAME;
        wire[3] = 7; /* modifier2 means nothing here */
        check_every_cut(&usual, good[i].vars, wire, n, GL_PACKET_DONE,
                        good[i].text);
    }
}

/* What follows the block is the body's, and is not looked at. */
static void
test_followed(void)
{
    char wire[PACKET_BYTES], text[TEXT_BYTES];
    size_t n = packet_write(wire, 0, GET "|CONTENT_LENGTH=3");

    memcpy(wire + n, "abc\xff\xff", 5);
    check_case("followed");
    CHECK(parse(&usual, wire, n + 5, n + 5, 1, text) == GL_PACKET_DONE);
    check_every_cut(&usual, "followed", wire, n + 5, GL_PACKET_DONE,
                    "GET  ?  1.0 length 3|5 REQUEST_METHOD=GET"
                    "|10 CONTENT_LENGTH=3");
}

/* --- packets that are not --------------------------------------------- */

static const struct {
    const char *vars;
    enum gl_packet_result result;
} bad[] = {
    {"A=b", GL_PACKET_NO_METHOD},
    {"request_method=GET", GL_PACKET_NO_METHOD},
    {"REQUEST_METHOD=", GL_PACKET_BAD_TEXT},
    {"REQUEST_METHOD=G T", GL_PACKET_BAD_TEXT},
    {GET "|REQUEST_URI=/\n", GL_PACKET_BAD_TEXT},
    {GET "|QUERY_STRING=\r", GL_PACKET_BAD_TEXT},
    {GET "|HTTP_A=a\r\nB: c", GL_PACKET_BAD_TEXT},
    {GET "|SERVER_PROTOCOL=\x7f", GL_PACKET_BAD_TEXT},
    {GET "|REMOTE_ADDR=\x1b", GL_PACKET_BAD_TEXT},
    {GET "|A b=c", GL_PACKET_BAD_TEXT},
    {GET "|A\xe9=c", GL_PACKET_BAD_TEXT},
    {GET "|A\x7f=c", GL_PACKET_BAD_TEXT},
    {GET "|CONTENT_LENGTH=1|CONTENT_LENGTH=1", GL_PACKET_BAD_LENGTH},
    {GET "|CONTENT_LENGTH=1|CONTENT_LENGTH=", GL_PACKET_BAD_LENGTH},
    {GET "|CONTENT_LENGTH=|CONTENT_LENGTH=1", GL_PACKET_BAD_LENGTH},
    {GET "|CONTENT_LENGTH=-1", GL_PACKET_BAD_LENGTH},
    {GET "|CONTENT_LENGTH=+1", GL_PACKET_BAD_LENGTH},
    {GET "|CONTENT_LENGTH=1 ", GL_PACKET_BAD_LENGTH},
    {GET "|CONTENT_LENGTH=1, 1", GL_PACKET_BAD_LENGTH},
    {GET "|CONTENT_LENGTH=0x1", GL_PACKET_BAD_LENGTH},
    {GET "|CONTENT_LENGTH=9223372036854775808", GL_PACKET_BAD_LENGTH},
    {GET "|CONTENT_LENGTH=99999999999999999999999999", GL_PACKET_BAD_LENGTH},
    {GET "|HTTP_TRANSFER_ENCODING=chunked", GL_PACKET_NO_LENGTH},
    {GET "|HTTP_TRANSFER_ENCODING=x", GL_PACKET_NO_LENGTH},
    {GET "|HTTP_A=1|HTTP_B=1|HTTP_C=1|HTTP_D=1|HTTP_E=1", GL_PACKET_TOO_MANY},
};

static void
test_bad(void)
{
    char wire[PACKET_BYTES];

    for (size_t i = 0; i < GL_ARRAY_LEN(bad); i++) {
        size_t n = packet_write(wire, 0, bad[i].vars);

        check_every_cut(&usual, bad[i].vars, wire, n, bad[i].result, "");
        CHECK(gl_uwsgi_packet_status(bad[i].result) >= 400);
    }
}

#define RAW(bytes, result) {bytes, sizeof(bytes) - 1, result}

static const struct {
    const char *wire;
    size_t n;
    enum gl_packet_result result;
} raw[] = {
    RAW("\0\0\0\0", GL_PACKET_EMPTY),
    RAW("\x1e\0\0\xff", GL_PACKET_EMPTY),
    RAW("\0\x01\0\0a", GL_PACKET_BAD_SIZES),
    RAW("\0\x03\0\0\x01\0a", GL_PACKET_BAD_SIZES),
    RAW("\0\x04\0\0\0\0\0\0", GL_PACKET_BAD_SIZES), /* an empty name */
    RAW("\0\x05\0\0\0\0\x01\0a", GL_PACKET_BAD_SIZES),
    RAW("\0\x05\0\0\x01\0a\x01\0", GL_PACKET_BAD_SIZES),
    RAW("\0\x05\0\0\x02\0ab\0", GL_PACKET_BAD_SIZES),
    RAW("\0\x05\0\0\xff\xff", GL_PACKET_BAD_SIZES),
    RAW("\0\x06\0\0\x01\0a\0\0x", GL_PACKET_BAD_SIZES),
    RAW("\0\x09\0\0\x01\0a\xff\xff", GL_PACKET_BAD_SIZES),
    RAW("\0\x06\0\0\x01\0\0\x01\0a", GL_PACKET_BAD_TEXT),
    RAW("\0\x06\0\0\x01\0a\x01\0\0", GL_PACKET_BAD_TEXT),
    RAW("\0\x05\0\0\x01\0a\0\0", GL_PACKET_NO_METHOD),
    RAW("\0\xff\xff\0", GL_PACKET_TOO_LARGE),
    RAW("\0\xfd\x03\0", GL_PACKET_TOO_LARGE),
    RAW("\0\xfc\x03\0", GL_PACKET_MORE), /* 1024 with the header */
    RAW("\0\0\0", GL_PACKET_MORE),
    RAW("\x64\0\0\0", GL_PACKET_PING),
    RAW("\x64\xff\xff\0", GL_PACKET_PING),
    RAW("\x64\0\0\x01", GL_PACKET_MODIFIER), /* a pong */
    RAW("\x05\0\0\0", GL_PACKET_MODIFIER),
    RAW("\x11\x04\0\0", GL_PACKET_MODIFIER),
    RAW("\xff\0\0\0", GL_PACKET_MODIFIER),
    RAW("\x16\x02\0\0", GL_PACKET_MODIFIER),
    RAW("\x16\x03\x01\0", GL_PACKET_OTHER_SPEECH),
    RAW("GET / HTTP/1.1\r\n", GL_PACKET_OTHER_SPEECH),
    RAW("POST", GL_PACKET_OTHER_SPEECH),
    RAW("PRI * HTTP/2", GL_PACKET_OTHER_SPEECH),
    RAW("GE T", GL_PACKET_MODIFIER),
    RAW("get ", GL_PACKET_MODIFIER),
};

static void
test_raw(void)
{
    for (size_t i = 0; i < GL_ARRAY_LEN(raw); i++) {
        char name[32];

        (void)snprintf(name, sizeof(name), "raw %zu", i);
        check_every_cut(&usual, name, raw[i].wire, raw[i].n, raw[i].result,
                        "");
    }
}

/* --- limits ----------------------------------------------------------- */

static size_t
many_vars(char wire[PACKET_BYTES], int count, const char *format)
{
    char text[PACKET_BYTES] = GET;
    size_t n = strlen(text);

    for (int i = 1; i < count; i++) {
        n += (size_t)snprintf(text + n, sizeof(text) - n, format, i);
    }
    return packet_write(wire, 0, text);
}

static enum gl_packet_result
parse_many(int count, const char *format)
{
    const struct gl_packet_limits wide = {65536, 100};
    static char wire[PACKET_BYTES];
    size_t n = many_vars(wire, count, format);
    struct gl_head head;

    gl_uwsgi_packet_init(&head);
    return gl_uwsgi_packet_parse(&head, &wide, wire, n);
}

static void
test_many(void)
{
    check_case("many");
    CHECK(parse_many(GL_HEAD_FIELDS_MAX, "|V%d=x") == GL_PACKET_DONE);
    CHECK(parse_many(GL_HEAD_FIELDS_MAX + 1, "|V%d=x") == GL_PACKET_TOO_MANY);
    CHECK(parse_many(101, "|HTTP_%d=x") == GL_PACKET_DONE);
    CHECK(parse_many(102, "|HTTP_%d=x") == GL_PACKET_TOO_MANY);
}

static void
test_fields_of_http(void)
{
    static char wire[PACKET_BYTES];
    const struct gl_packet_limits wide = {65536, 100};
    const enum gl_field_id ids[] = {
        GL_FIELD_HOST,    GL_FIELD_IF_RANGE, GL_FIELD_IF_UNMODIFIED_SINCE,
        GL_FIELD_UNKNOWN, GL_FIELD_UNKNOWN,  GL_FIELD_UNKNOWN};
    struct gl_head head;
    size_t n = packet_write(wire, 0,
                            GET "|HTTP_HOST=a|HTTP_IF_RANGE=b"
                                "|HTTP_IF_UNMODIFIED_SINCE=c|HTTP_X=d"
                                "|HTTP_=e|HOST=f");

    check_case("fields of HTTP");
    gl_uwsgi_packet_init(&head);
    CHECK(gl_uwsgi_packet_parse(&head, &wide, wire, n) == GL_PACKET_DONE);
    for (size_t i = 0; i < GL_ARRAY_LEN(ids); i++) {
        CHECK(head.fields[head.count - GL_ARRAY_LEN(ids) + i].id == ids[i]);
    }
}

static void
test_statuses(void)
{
    check_case("statuses");
    CHECK(gl_uwsgi_packet_status(GL_PACKET_TOO_LARGE) == 431);
    CHECK(gl_uwsgi_packet_status(GL_PACKET_TOO_MANY) == 431);
    CHECK(gl_uwsgi_packet_status(GL_PACKET_NO_LENGTH) == 411);
    CHECK(gl_uwsgi_packet_status(GL_PACKET_BAD_SIZES) == 400);
    CHECK(gl_uwsgi_packet_status(GL_PACKET_OTHER_SPEECH) == 400);
    CHECK(gl_uwsgi_packet_status(GL_PACKET_MODIFIER) == 0);
    CHECK(gl_uwsgi_packet_status(GL_PACKET_PING) == 0);
}

int
main(void)
{
    test_good();
    test_followed();
    test_bad();
    test_raw();
    test_many();
    test_fields_of_http();
    test_statuses();
    return check_end();
}
