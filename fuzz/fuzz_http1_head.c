/* fuzz_http1_head.c - any bytes as a request head, however they are cut.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/gl.h"
#include "fuzz.h"
#include "proto/http1_head.h"
#include "proto/http_tables.h"

static const struct gl_head_limits all_limits[] = {
    {32768, 8190, 100},
    {96, 24, 2}, /* so that small inputs reach them */
};

static void
check_span(const struct gl_head *head, struct gl_span s)
{
    REQUIRE(s.at <= head->size && s.n <= head->size - s.at);
}

static void
check_fields(const struct gl_head *head, const char *bytes)
{
    int hosts = 0, lengths = 0, codings = 0;

    for (int i = 0; i < head->count; i++) {
        const struct gl_field *field = &head->fields[i];
        struct gl_str value = gl_span_str(bytes, field->value);

        check_span(head, field->name);
        check_span(head, field->value);
        REQUIRE(gl_http_is_token(gl_span_str(bytes, field->name)));
        REQUIRE(gl_http_is_value(value));
        REQUIRE(value.n == 0 || (value.p[0] != ' ' && value.p[0] != '\t' &&
                                 value.p[value.n - 1] != ' ' &&
                                 value.p[value.n - 1] != '\t'));
        REQUIRE(field->id ==
                gl_field_lookup(gl_span_str(bytes, field->name)));
        hosts += field->id == GL_FIELD_HOST;
        lengths += field->id == GL_FIELD_CONTENT_LENGTH;
        codings += field->id == GL_FIELD_TRANSFER_ENCODING;
    }
    REQUIRE(hosts <= 1 && hosts >= head->minor);
    REQUIRE(lengths == head->has_length && codings == head->chunked);
    REQUIRE(lengths + codings <= 1 && codings <= head->minor);
}

/* What must hold of any head that is accepted. */
static void
check_head(const struct gl_head *head, const struct gl_head_limits *limits,
           const char *bytes, size_t n)
{
    REQUIRE(head->size <= n && head->size <= limits->head_max_bytes);
    REQUIRE(head->count <= limits->fields_max);
    REQUIRE(memcmp(bytes + head->size - 4, "\r\n\r\n", 4) == 0);
    for (size_t i = 0; i < head->size; i++) {
        bool is_lf = i + 1 < head->size && bytes[i + 1] == '\n';

        REQUIRE((bytes[i] == '\r') == is_lf); /* no bare CR or LF */
    }
    check_span(head, head->method);
    check_span(head, head->target);
    check_span(head, head->path);
    check_span(head, head->query);
    check_span(head, head->authority);
    REQUIRE(gl_http_is_token(gl_span_str(bytes, head->method)));
    REQUIRE(head->target.n > 0);
    REQUIRE(head->path.n > 0 || head->authority.n > 0);
    REQUIRE(head->has_length || head->content_length == 0);
    REQUIRE(head->content_length <= INT64_MAX);
    check_fields(head, bytes);
}

static bool
same_span(struct gl_span a, struct gl_span b)
{
    return a.at == b.at && a.n == b.n;
}

static bool
same_heads(const struct gl_head *a, const struct gl_head *b)
{
    for (int i = 0; i < a->count && i < b->count; i++) {
        if (!same_span(a->fields[i].name, b->fields[i].name) ||
            !same_span(a->fields[i].value, b->fields[i].value) ||
            a->fields[i].id != b->fields[i].id) {
            return false;
        }
    }
    return a->count == b->count && a->size == b->size &&
           same_span(a->method, b->method) &&
           same_span(a->target, b->target) && same_span(a->path, b->path) &&
           same_span(a->query, b->query) &&
           same_span(a->authority, b->authority) &&
           a->content_length == b->content_length &&
           a->has_length == b->has_length && a->chunked == b->chunked &&
           a->keep_alive == b->keep_alive &&
           a->expect_continue == b->expect_continue &&
           a->path_escaped == b->path_escaped && a->minor == b->minor;
}

/* Parses input that comes in pieces of 1 to `most` bytes, each time at a new
 * address if `move`. */
static enum gl_head_result
parse_pieces(struct gl_head *head, const struct gl_head_limits *limits,
             const uint8_t *bytes, size_t n, size_t most, bool move)
{
    struct fuzz_cuts cuts = fuzz_cuts_of(bytes, n);
    enum gl_head_result result = GL_HEAD_MORE;
    size_t got = 0;

    gl_http1_head_init(head);
    while (result == GL_HEAD_MORE && got < n) {
        size_t more = fuzz_cut(&cuts, most);
        char *copy;

        got = more < n - got ? got + more : n;
        copy = move ? fuzz_copy(bytes, got) : NULL;
        result = gl_http1_head_parse(head, limits,
                                     move ? copy : (const char *)bytes, got);
        free(copy);
    }
    return result;
}

static void
compare(const struct gl_head_limits *limits, const uint8_t *bytes, size_t n)
{
    static struct gl_head whole, cut;
    char *exact = fuzz_copy(bytes, n);
    enum gl_head_result result;

    gl_http1_head_init(&whole);
    result = gl_http1_head_parse(&whole, limits, exact, n);
    REQUIRE(parse_pieces(&cut, limits, bytes, n, 1, false) == result);
    REQUIRE(result != GL_HEAD_DONE || same_heads(&whole, &cut));
    REQUIRE(parse_pieces(&cut, limits, bytes, n, n / 4 + 1, true) == result);
    REQUIRE(result != GL_HEAD_DONE || same_heads(&whole, &cut));
    if (result == GL_HEAD_DONE) {
        check_head(&whole, limits, exact, n);
    } else if (result != GL_HEAD_MORE) {
        REQUIRE(gl_http1_head_status(result) >= 400);
    }
    free(exact);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < GL_ARRAY_LEN(all_limits); i++) {
        compare(&all_limits[i], bytes, n);
    }
    return 0;
}
