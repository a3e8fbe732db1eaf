/* test_http1_chunked.c - chunked bodies: each case at each cut.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proto/http1_chunked.h"

#include "base/gl.h"
#include "check.h"

#define MORE GL_CHUNK_MORE
#define END GL_CHUNK_END
#define BAD GL_CHUNK_BAD
#define BODY_BYTES 65536
#define END_OF_BODY "0\r\n\r\n"

struct outcome {
    enum gl_chunk_event event;
    size_t used; /* bytes of the wire */
    size_t n;
    char body[BODY_BYTES];
};

/* Decodes n bytes that come in pieces of `step`, each at its own address. */
static void
decode(const char *wire, size_t n, size_t first, size_t step,
       struct outcome *ret)
{
    struct gl_chunked c = {0};
    size_t len;

    ret->event = MORE;
    ret->used = ret->n = 0;
    for (size_t at = 0; at < n && ret->event == MORE; at += len) {
        size_t want = at == 0 ? first : step;

        len = n - at < want ? n - at : want;
        char *piece = check_copy(wire + at, len);
        struct gl_str in = {piece, len}, data;

        while ((ret->event = gl_chunked_step(&c, &in, &data)) ==
               GL_CHUNK_DATA) {
            CHECK(data.n > 0);
            memcpy(ret->body + ret->n, data.p, data.n);
            ret->n += data.n;
        }
        ret->used = at + len - in.n;
        if (ret->event != MORE) {
            struct gl_str again = in;

            CHECK(gl_chunked_step(&c, &again, &data) == ret->event);
            CHECK(again.p == in.p && again.n == in.n);
        }
        free(piece);
    }
}

static bool
is_as_expected(const struct outcome *found, enum gl_chunk_event event,
               const char *body, size_t used)
{
    return found->event == event && found->used == used &&
           found->n == strlen(body) &&
           memcmp(found->body, body, found->n) == 0;
}

/* `used`: the bytes up to the end of the body or to what is wrong. */
static void
check_every_cut(const char *wire, size_t n, enum gl_chunk_event event,
                const char *body, size_t used)
{
    static struct outcome found;

    for (size_t step = 1; step <= n; step++) {
        check_case("%.60s: step %zu", wire, step);
        decode(wire, n, step, step, &found);
        CHECK(is_as_expected(&found, event, body, used));
        check_case("%.60s: cut %zu", wire, step);
        decode(wire, n, step, n, &found);
        CHECK(is_as_expected(&found, event, body, used));
    }
}

static const struct {
    const char *wire; /* used up to its end, or to the first '@' */
    const char *body;
    enum gl_chunk_event event;
} rows[] = {
    {"0\r\n\r\n", "", END},
    {"0\r\n\r\n@GET / HTTP/1.1\r\n", "", END},
    {"5\r\nhello\r\n0\r\n\r\n", "hello", END},
    {"5\r\nhello\r\n1\r\n \r\nA\r\n0123456789\r\n00\r\n\r\n@x",
     "hello 0123456789", END},
    {"a\r\n0123456789\r\n" END_OF_BODY, "0123456789", END},
    {"0000000000000002\r\nab\r\n" END_OF_BODY, "ab", END},
    {"2\r\n\r\n\r\n" END_OF_BODY, "\r\n", END},
    {"2\r\n0\r\r\n" END_OF_BODY, "0\r", END},
    {"", "", MORE},
    {"5", "", MORE},
    {"5\r\nhel", "hel", MORE},
    {"5\r\nhello\r\n", "hello", MORE},
    {"0\r\n", "", MORE},
    /* sizes */
    {"\r@\n", "", BAD},
    {";@", "", BAD},
    {" @5\r\n", "", BAD},
    {"+@5\r\n", "", BAD},
    {"-@5\r\n", "", BAD},
    {"0x@5\r\n", "", BAD},
    {"5 @\r\n", "", BAD},
    {"5\t@\r\n", "", BAD},
    {"g@", "", BAD},
    {"5_@", "", BAD},
    {"\n@", "", BAD},
    {"5\n@hello", "", BAD},
    {"5\rh@ello", "", BAD},
    {"5\r\r@\n", "", BAD},
    {"00000000000000000@2\r\nab\r\n", "", BAD},
    {"1000000000000000\r\nab", "ab", MORE},
    {"1000000000000001@\r\nab", "", BAD},
    {"ffffffffffffffff@", "", BAD},
    {"10000000000000000@", "", BAD},
    /* the end of a chunk */
    {"2\r\nabc@", "ab", BAD},
    {"2\r\nab\n@", "ab", BAD},
    {"2\r\nab\r0@", "ab", BAD},
    {"2\r\nab0@\r\n\r\n", "ab", BAD},
    /* extensions */
    {"2;a\r\nab\r\n0;b=c\r\n\r\n", "ab", END},
    {"2;a=\"b;\t\xc3\xa4\\\"\" ;c\r\nab\r\n" END_OF_BODY, "ab", END},
    {"2; a = b ;\tc= \"\"\t; d\r\nab\r\n" END_OF_BODY, "ab", END},
    {"2;a=\"\\\"\\\\;=\"\r\nab\r\n" END_OF_BODY, "ab", END},
    {"2;a=\"\xff\"\r\nab\r\n" END_OF_BODY, "ab", END},
    {"2;\r@\n", "", BAD},
    {"2; \r@\n", "", BAD},
    {"2;;@", "", BAD},
    {"2;=@", "", BAD},
    {"2;a;\r@", "", BAD},
    {"2;a=\r@", "", BAD},
    {"2;a= \r@", "", BAD},
    {"2;a=;@", "", BAD},
    {"2;a==@", "", BAD},
    {"2;a=b=@", "", BAD},
    {"2;a=b \r@", "", BAD},
    {"2;a=b =@", "", BAD},
    {"2;a b@", "", BAD},
    {"2;a \r@", "", BAD},
    {"2;a=b c@", "", BAD},
    {"2;a=\"b\"c@", "", BAD},
    {"2;a=\"b\"=@", "", BAD},
    {"2;a=b\"@", "", BAD},
    {"2;a\"@", "", BAD},
    {"2;\"@", "", BAD},
    {"2;\xe9@", "", BAD},
    {"2;a\xe9@", "", BAD},
    {"2;a=\xe9@", "", BAD},
    {"2;a=\"\r@\n\"", "", BAD},
    {"2;a=\"\n@\"", "", BAD},
    {"2;a=\"\\\r@", "", BAD},
    {"2;a=\"\x01@", "", BAD},
    {"2;a=\"b;c", "", MORE},
    {"2;\n@", "", BAD},
    {"2;a\n@", "", BAD},
    {"2;a\rb@", "", BAD},
    {"2;a\x01@", "", BAD},
    {"2;a\x7f@", "", BAD},
    /* trailers */
    {"0\r\nA: b\r\nC-d:\r\n\r\n@x", "", END},
    {"0\r\nA: \xff\tb\r\n\r\n", "", END},
    {"0\r\n\n@", "", BAD},
    {"0\r\n\rx@", "", BAD},
    {"0\r\n:@ a\r\n", "", BAD},
    {"0\r\n @a: b\r\n", "", BAD},
    {"0\r\nA: b\r\n\t@c\r\n", "", BAD},
    {"0\r\nA @: b\r\n", "", BAD},
    {"0\r\nA\r@\n", "", BAD},
    {"0\r\nA(@: b\r\n", "", BAD},
    {"0\r\nA: b\n@", "", BAD},
    {"0\r\nA: b\rc@", "", BAD},
    {"0\r\nA: \x01@\r\n", "", BAD},
};

static void
test_rows(void)
{
    for (size_t i = 0; i < GL_ARRAY_LEN(rows); i++) {
        const char *wire = rows[i].wire, *mark = strchr(wire, '@');
        size_t used = mark != NULL ? (size_t)(mark - wire) : strlen(wire);
        char bytes[128];
        size_t n = (size_t)snprintf(bytes, sizeof(bytes), "%.*s%s", (int)used,
                                    wire, mark != NULL ? mark + 1 : "");

        check_every_cut(bytes, n, rows[i].event, rows[i].body, used);
    }
    check_every_cut("2;\0", 3, BAD, "", 3);
}

static void
fill(char *at, char c, size_t n)
{
    memset(at, c, n);
    at[n] = '\0';
}

static enum gl_chunk_event
event_of(const char *wire, size_t step)
{
    static struct outcome found;

    decode(wire, strlen(wire), step, step, &found);
    return found.event;
}

static void
test_extension_limit(void)
{
    char wire[1024], text[300];

    for (size_t n = 255; n <= 257; n++) {
        check_case("extension of %zu bytes", n);
        fill(text, 'x', n);
        (void)snprintf(wire, sizeof(wire), "1;%s\r\na\r\n" END_OF_BODY, text);
        CHECK(event_of(wire, 1) == (n <= 256 ? END : BAD));
        CHECK(event_of(wire, 512) == (n <= 256 ? END : BAD));
    }
    check_case("each chunk has its own limit");
    fill(text, 'x', 200);
    (void)snprintf(wire, sizeof(wire), "1;%s\r\na\r\n1;%s\r\na\r\n", text,
                   text);
    CHECK(event_of(wire, 1) == MORE);
}

static void
test_trailer_limit(void)
{
    static char wire[32768];

    for (size_t n = 8000; n <= 8400; n += 400) {
        char *at = wire + sprintf(wire, "0\r\n");

        check_case("trailers of %zu bytes", n);
        for (size_t i = 0; i < n / 200; i++) {
            at += sprintf(at, "A: %0195d\r\n", 0);
        }
        (void)sprintf(at, "\r\n");
        CHECK(event_of(wire, 1) == (n <= 8192 ? END : BAD));
        CHECK(event_of(wire, sizeof(wire)) == (n <= 8192 ? END : BAD));
    }
}

/* Feeds `chunk` again and again; returns how often it was fine. */
static int
repeat(struct gl_str chunk, int times)
{
    struct gl_chunked c = {0};
    struct gl_str data;

    for (int i = 0; i < times; i++) {
        struct gl_str in = chunk;
        enum gl_chunk_event event;

        do {
            event = gl_chunked_step(&c, &in, &data);
        } while (event == GL_CHUNK_DATA);
        if (event != MORE) {
            return i;
        }
    }
    return times;
}

/* One-byte chunks are legal, however many; with an extension that outweighs
 * them they are an attack. */
static void
test_framing_limit(void)
{
    int padded = repeat(GL_STR("00000001;12345678\r\nx\r\n"), 100000);

    check_case("framing");
    CHECK(repeat(GL_STR("1\r\nx\r\n"), 1000000) == 1000000);
    CHECK(padded > 500 && padded < 5000);
}

int
main(void)
{
    test_rows();
    test_extension_limit();
    test_trailer_limit();
    test_framing_limit();
    return check_end();
}
