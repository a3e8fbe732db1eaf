/* fuzz_uwsgi_packet.c - any bytes as a uwsgi packet, however they are cut.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/gl.h"
#include "fuzz.h"
#include "proto/http_tables.h"
#include "proto/uwsgi_packet.h"

static const struct gl_packet_limits all_limits[] = {
    {32768, 100},
    {96, 2}, /* so that small inputs reach them */
};

/* The variables fill the block, in order and without a gap. */
static void
check_vars(const struct gl_head *head, const char *bytes)
{
    uint32_t at = GL_PACKET_HEADER_BYTES;

    for (int i = 0; i < head->count; i++) {
        const struct gl_field *var = &head->fields[i];

        REQUIRE(var->name.at == at + 2 && var->name.n > 0);
        REQUIRE(var->value.at == var->name.at + var->name.n + 2);
        at = var->value.at + var->value.n;
        REQUIRE(at <= head->size);
        REQUIRE(memchr(bytes + var->name.at, '\0', var->name.n) == NULL);
        REQUIRE(var->value.n == 0 ||
                memchr(bytes + var->value.at, '\0', var->value.n) == NULL);
        REQUIRE(var->var != GL_VAR_FIELD ||
                gl_http_is_value(gl_span_str(bytes, var->value)));
    }
    REQUIRE(at == head->size);
}

/* What must hold of any packet that is accepted. */
static void
check_head(const struct gl_head *head, const struct gl_packet_limits *limits,
           const char *bytes, size_t n)
{
    REQUIRE(head->size <= n && head->size <= limits->head_max_bytes);
    REQUIRE(head->count > 0 && head->count <= GL_HEAD_FIELDS_MAX);
    REQUIRE(bytes[0] == GL_MODIFIER_WSGI ||
            bytes[0] == GL_MODIFIER_SCRIPT_NAME);
    REQUIRE(gl_http_is_token(gl_span_str(bytes, head->method)));
    REQUIRE(head->has_length || head->content_length == 0);
    REQUIRE(head->content_length <= INT64_MAX);
    REQUIRE(!head->chunked && !head->keep_alive && !head->expect_continue);
    REQUIRE(head->path.at + head->path.n <= head->size);
    REQUIRE(head->target.at + head->target.n <= head->size);
    REQUIRE(head->query.at + head->query.n <= head->size);
    check_vars(head, bytes);
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
            a->fields[i].var != b->fields[i].var ||
            a->fields[i].id != b->fields[i].id) {
            return false;
        }
    }
    return a->count == b->count && a->size == b->size &&
           same_span(a->method, b->method) &&
           same_span(a->target, b->target) && same_span(a->path, b->path) &&
           same_span(a->query, b->query) &&
           a->content_length == b->content_length &&
           a->has_length == b->has_length && a->minor == b->minor;
}

/* Parses input that comes in pieces of 1 to `most` bytes, each time at a new
 * address. */
static enum gl_packet_result
parse_pieces(struct gl_head *head, const struct gl_packet_limits *limits,
             const uint8_t *bytes, size_t n, size_t most)
{
    struct fuzz_cuts cuts = fuzz_cuts_of(bytes, n);
    enum gl_packet_result result = GL_PACKET_MORE;
    size_t got = 0;

    gl_uwsgi_packet_init(head);
    while (result == GL_PACKET_MORE && got < n) {
        size_t more = fuzz_cut(&cuts, most);
        char *copy;

        got = more < n - got ? got + more : n;
        copy = fuzz_copy(bytes, got);
        result = gl_uwsgi_packet_parse(head, limits, copy, got);
        free(copy);
    }
    return result;
}

static void
compare(const struct gl_packet_limits *limits, const uint8_t *bytes, size_t n)
{
    static struct gl_head whole, cut;
    char *exact = fuzz_copy(bytes, n);
    enum gl_packet_result result;

    gl_uwsgi_packet_init(&whole);
    result = gl_uwsgi_packet_parse(&whole, limits, exact, n);
    REQUIRE(parse_pieces(&cut, limits, bytes, n, 1) == result);
    REQUIRE(result != GL_PACKET_DONE || same_heads(&whole, &cut));
    REQUIRE(parse_pieces(&cut, limits, bytes, n, n / 4 + 1) == result);
    REQUIRE(result != GL_PACKET_DONE || same_heads(&whole, &cut));
    if (result == GL_PACKET_DONE) {
        check_head(&whole, limits, exact, n);
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
