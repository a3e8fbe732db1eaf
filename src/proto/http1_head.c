/* http1_head.c - parser of an HTTP/1.x request head.
 *
 * Works line by line: a line is parsed once, when its end has come, and
 * the next call begins where this one stopped.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proto/http1_head.h"

#include "proto/http_tables.h"

#define METHOD_MAX_BYTES 32
#define VERSION_BYTES 8 /* "HTTP/1.1" */

/* Bits of head->seen. */
enum {
    SEEN_EMPTY_LINE = 1, /* before the request line */
    SEEN_REQUEST_LINE = 2,
    SEEN_HOST = 4,
    SEEN_LENGTH = 8,
    SEEN_CODING = 16,
    SEEN_CLOSE = 32,
    SEEN_KEEP_ALIVE = 64
};

void
gl_http1_head_init(struct gl_head *head)
{
    memset(head, 0, offsetof(struct gl_head, fields));
}

int
gl_http1_head_status(enum gl_head_result result)
{
    switch (result) {
    case GL_HEAD_LINE_TOO_LONG:
        return 414;
    case GL_HEAD_TOO_LARGE:
        return 431;
    case GL_HEAD_NOT_IMPLEMENTED:
        return 501;
    case GL_HEAD_VERSION:
        return 505;
    case GL_HEAD_BAD:
    case GL_HEAD_DONE:
    case GL_HEAD_MORE:
        break;
    }
    return 400;
}

static struct gl_span
span(size_t from, size_t to)
{
    return (struct gl_span){(uint32_t)from, (uint32_t)(to - from)};
}

static bool
has_class(char c, uint8_t mask)
{
    return gl_http_class[(uint8_t)c] & mask;
}

static bool
is_digit(char c)
{
    return has_class(c, GL_CLASS_DIGIT);
}

/* --- host and target -------------------------------------------------- */

/* Bytes of a reg-name at the start of s (RFC 3986, section 3.2.2). */
static size_t
reg_name(struct gl_str s)
{
    size_t n = 0;

    for (;;) {
        if (n < s.n && has_class(s.p[n], GL_CLASS_HOST)) {
            n++;
        } else if (s.n - n >= 3 && s.p[n] == '%' &&
                   has_class(s.p[n + 1], GL_CLASS_HEX) &&
                   has_class(s.p[n + 2], GL_CLASS_HEX)) {
            n += 3;
        } else {
            return n;
        }
    }
}

/* Bytes of "[<IPv6 address>]" at the start of s, or 0. */
static size_t
bracketed(struct gl_str s)
{
    size_t n = 1;

    while (n < s.n && (has_class(s.p[n], GL_CLASS_HEX) || s.p[n] == ':' ||
                       s.p[n] == '.')) {
        n++;
    }
    return n > 2 && n < s.n && s.p[n] == ']' ? n + 1 : 0;
}

bool
gl_http1_is_authority(struct gl_str s)
{
    size_t n = s.n > 0 && s.p[0] == '[' ? bracketed(s) : reg_name(s);

    if (n == 0) {
        return false;
    }
    if (n < s.n && s.p[n] == ':') {
        n++;
        while (n < s.n && is_digit(s.p[n])) {
            n++;
        }
    }
    return n == s.n;
}

/* Length of "http://" or "https://" at the start of s, or 0. */
static size_t
scheme_bytes(struct gl_str s)
{
    if (s.n >= 7 &&
        gl_http_equals((struct gl_str){s.p, 7}, GL_STR("http://"))) {
        return 7;
    }
    if (s.n >= 8 &&
        gl_http_equals((struct gl_str){s.p, 8}, GL_STR("https://"))) {
        return 8;
    }
    return 0;
}

/* Splits [at, end) into path and query. */
static void
split_path(struct gl_head *head, const char *bytes, size_t at, size_t end)
{
    const char *mark = memchr(bytes + at, '?', end - at);
    size_t path_end = mark != NULL ? (size_t)(mark - bytes) : end;

    head->path = span(at, path_end);
    head->query = mark != NULL ? span(path_end + 1, end) : span(end, end);
    head->path_escaped = memchr(bytes + at, '%', path_end - at) != NULL;
}

static enum gl_head_result
absolute_form(struct gl_head *head, const char *bytes, struct gl_str target)
{
    size_t scheme = scheme_bytes(target), n = scheme;
    struct gl_str authority;

    if (scheme == 0) {
        return GL_HEAD_BAD;
    }
    while (n < target.n && target.p[n] != '/' && target.p[n] != '?') {
        n++;
    }
    authority = (struct gl_str){target.p + scheme, n - scheme};
    if (!gl_http1_is_authority(authority)) {
        return GL_HEAD_BAD;
    }
    head->authority = span(head->target.at + scheme, head->target.at + n);
    split_path(head, bytes, head->target.at + n, head->target.at + target.n);
    return GL_HEAD_MORE;
}

static enum gl_head_result
parse_target(struct gl_head *head, const char *bytes)
{
    struct gl_str target = gl_span_str(bytes, head->target);

    if (target.p[0] == '/') {
        split_path(head, bytes, head->target.at, head->target.at + target.n);
        return GL_HEAD_MORE;
    }
    if (gl_str_eq(target, GL_STR("*"))) {
        head->path = head->target;
        return gl_str_eq(gl_span_str(bytes, head->method), GL_STR("OPTIONS"))
                   ? GL_HEAD_MORE
                   : GL_HEAD_BAD;
    }
    return absolute_form(head, bytes, target);
}

/* --- the request line ------------------------------------------------- */

static enum gl_head_result
parse_version(struct gl_head *head, const char *p, size_t n)
{
    if (n != VERSION_BYTES || memcmp(p, "HTTP/", 5) != 0 || !is_digit(p[5]) ||
        p[6] != '.' || !is_digit(p[7])) {
        return GL_HEAD_BAD;
    }
    if (p[5] != '1') {
        return GL_HEAD_VERSION;
    }
    head->minor = p[7] != '0';
    return GL_HEAD_MORE;
}

static size_t
class_run(const char *bytes, size_t at, size_t end, uint8_t mask)
{
    while (at < end && has_class(bytes[at], mask)) {
        at++;
    }
    return at;
}

/* method SP request-target SP HTTP-version (RFC 9112, section 3).  The first
 * byte is known to be a token's. */
static enum gl_head_result
request_line(struct gl_head *head, const char *bytes, size_t at, size_t end)
{
    size_t method_end = class_run(bytes, at, end, GL_CLASS_TOKEN);
    size_t target_end;
    enum gl_head_result result;

    if (method_end == end || bytes[method_end] != ' ') {
        return GL_HEAD_BAD;
    }
    target_end = class_run(bytes, method_end + 1, end, GL_CLASS_TARGET);
    if (target_end == method_end + 1 || target_end == end ||
        bytes[target_end] != ' ') {
        return GL_HEAD_BAD;
    }
    head->method = span(at, method_end);
    head->target = span(method_end + 1, target_end);
    result =
        parse_version(head, bytes + target_end + 1, end - target_end - 1);
    if (result != GL_HEAD_MORE) {
        return result;
    }
    if (head->method.n > METHOD_MAX_BYTES ||
        gl_str_eq(gl_span_str(bytes, head->method), GL_STR("CONNECT"))) {
        return GL_HEAD_NOT_IMPLEMENTED;
    }
    head->seen |= SEEN_REQUEST_LINE;
    return parse_target(head, bytes);
}

/* --- fields ----------------------------------------------------------- */

static enum gl_head_result
take_length(struct gl_head *head, struct gl_str value)
{
    uint64_t length = 0;

    if (value.n == 0 || (head->seen & SEEN_LENGTH)) {
        return GL_HEAD_BAD;
    }
    for (size_t i = 0; i < value.n; i++) {
        uint64_t digit = (uint64_t)(value.p[i] - '0');

        if (!is_digit(value.p[i]) || length > (INT64_MAX - digit) / 10) {
            return GL_HEAD_BAD;
        }
        length = length * 10 + digit;
    }
    head->seen |= SEEN_LENGTH;
    head->has_length = true;
    head->content_length = length;
    return GL_HEAD_MORE;
}

/* What to answer to a list of codings other than "chunked" alone: it may be
 * one that we lack, or one that two parsers would read differently. */
static enum gl_head_result
refuse_codings(struct gl_str list)
{
    struct gl_str item;

    if (list.p[list.n - 1] == ',') {
        return GL_HEAD_BAD; /* an empty element */
    }
    while (gl_http_list_next(&list, &item)) {
        bool last = list.n == 0;

        if (item.n == 0 || !has_class(item.p[0], GL_CLASS_TOKEN) ||
            (!last && gl_http_equals(item, GL_STR("chunked")))) {
            return GL_HEAD_BAD;
        }
    }
    return GL_HEAD_NOT_IMPLEMENTED;
}

/* RFC 9112, section 6.1. */
static enum gl_head_result
take_coding(struct gl_head *head, struct gl_str value)
{
    if (head->minor == 0 || value.n == 0 || (head->seen & SEEN_CODING)) {
        return GL_HEAD_BAD;
    }
    if (!gl_http_equals(value, GL_STR("chunked"))) {
        return refuse_codings(value);
    }
    head->seen |= SEEN_CODING;
    head->chunked = true;
    return GL_HEAD_MORE;
}

static enum gl_head_result
take_host(struct gl_head *head, struct gl_str value)
{
    if ((head->seen & SEEN_HOST) ||
        (value.n > 0 && !gl_http1_is_authority(value))) {
        return GL_HEAD_BAD;
    }
    head->seen |= SEEN_HOST;
    return GL_HEAD_MORE;
}

static void
take_connection(struct gl_head *head, struct gl_str list)
{
    struct gl_str item;

    while (gl_http_list_next(&list, &item)) {
        if (gl_http_equals(item, GL_STR("close"))) {
            head->seen |= SEEN_CLOSE;
        } else if (gl_http_equals(item, GL_STR("keep-alive"))) {
            head->seen |= SEEN_KEEP_ALIVE;
        }
    }
}

static enum gl_head_result
take_known_field(struct gl_head *head, enum gl_field_id id,
                 struct gl_str value)
{
    switch (id) {
    case GL_FIELD_CONTENT_LENGTH:
        return take_length(head, value);
    case GL_FIELD_TRANSFER_ENCODING:
        return take_coding(head, value);
    case GL_FIELD_HOST:
        return take_host(head, value);
    case GL_FIELD_CONNECTION:
        take_connection(head, value);
        return GL_HEAD_MORE;
    case GL_FIELD_EXPECT:
        head->expect_continue |=
            head->minor > 0 && gl_http_equals(value, GL_STR("100-continue"));
        return GL_HEAD_MORE;
    default:
        return GL_HEAD_MORE;
    }
}

static bool
is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* field-name ":" OWS field-value OWS at [head->at, end) (RFC 9112, section
 * 5). */
static enum gl_head_result
take_field(struct gl_head *head, const struct gl_head_limits *limits,
           const char *bytes, size_t end)
{
    size_t at = head->at, from;
    size_t colon = class_run(bytes, at, end, GL_CLASS_TOKEN);
    struct gl_field *field;
    struct gl_str value;

    if (colon == at || colon == end || bytes[colon] != ':') {
        return GL_HEAD_BAD; /* folding and a blank before ':' among them */
    }
    if (head->count >= limits->fields_max) {
        return GL_HEAD_TOO_LARGE;
    }
    from = colon + 1;
    while (from < end && is_blank(bytes[from])) {
        from++;
    }
    while (end > from && is_blank(bytes[end - 1])) {
        end--;
    }
    value = (struct gl_str){bytes + from, end - from};
    if (!gl_http_is_value(value)) {
        return GL_HEAD_BAD;
    }
    field = &head->fields[head->count++];
    field->name = span(at, colon);
    field->value = span(from, end);
    field->id = (uint16_t)gl_field_lookup(gl_span_str(bytes, field->name));
    return take_known_field(head, (enum gl_field_id)field->id, value);
}

/* The empty line has come: do the fields agree with each other? */
static enum gl_head_result
finish(struct gl_head *head, size_t size)
{
    if (!(head->seen & SEEN_HOST) && head->minor > 0) {
        return GL_HEAD_BAD;
    }
    if ((head->seen & SEEN_CODING) && (head->seen & SEEN_LENGTH)) {
        return GL_HEAD_BAD; /* RFC 9112, section 6.1 */
    }
    head->keep_alive = !(head->seen & SEEN_CLOSE) &&
                       (head->minor > 0 || (head->seen & SEEN_KEEP_ALIVE));
    head->size = (uint32_t)size;
    return GL_HEAD_DONE;
}

/* --- lines ------------------------------------------------------------ */

/* The first line, which is at [head->at, lf): the request line, or the one
 * empty line that may precede it (RFC 9112, section 2.2). */
static enum gl_head_result
first_line(struct gl_head *head, const struct gl_head_limits *limits,
           const char *bytes, size_t lf)
{
    size_t at = head->at;
    bool ends_in_crlf = lf > at && bytes[lf - 1] == '\r';
    size_t end = ends_in_crlf ? lf - 1 : lf;

    if (ends_in_crlf && end == at && !(head->seen & SEEN_EMPTY_LINE)) {
        head->seen |= SEEN_EMPTY_LINE;
        return GL_HEAD_MORE;
    }
    if (!has_class(bytes[at], GL_CLASS_TOKEN)) {
        return GL_HEAD_BAD;
    }
    if (end - at > limits->line_max_bytes) {
        return GL_HEAD_LINE_TOO_LONG;
    }
    return ends_in_crlf ? request_line(head, bytes, at, end) : GL_HEAD_BAD;
}

/* The first line as far as it has come, [head->at, end): may it go on?  It
 * is refused here for nothing that first_line() would let pass, and in the
 * same order, so that the answer does not depend on the cuts. */
static enum gl_head_result
first_line_so_far(const struct gl_head *head,
                  const struct gl_head_limits *limits, const char *bytes,
                  size_t end)
{
    size_t n = end - head->at;
    bool may_be_empty_line =
        n == 1 && !(head->seen & SEEN_EMPTY_LINE) && bytes[head->at] == '\r';

    if (n == 0 || may_be_empty_line) {
        return GL_HEAD_MORE;
    }
    if (!has_class(bytes[head->at], GL_CLASS_TOKEN)) {
        return GL_HEAD_BAD; /* TLS, or noise: no method begins so */
    }
    n -= bytes[end - 1] == '\r';
    return n > limits->line_max_bytes ? GL_HEAD_LINE_TOO_LONG : GL_HEAD_MORE;
}

/* A line after the first, [head->at, lf). */
static enum gl_head_result
later_line(struct gl_head *head, const struct gl_head_limits *limits,
           const char *bytes, size_t lf)
{
    if (lf == head->at || bytes[lf - 1] != '\r') {
        return GL_HEAD_BAD;
    }
    if (lf - 1 == head->at) {
        return finish(head, lf + 1);
    }
    return take_field(head, limits, bytes, lf - 1);
}

enum gl_head_result
gl_http1_head_parse(struct gl_head *head, const struct gl_head_limits *limits,
                    const char *bytes, size_t n)
{
    /* What lies beyond the limit is not looked at: how much of it has come
     * makes no difference. */
    size_t max = limits->head_max_bytes, end = n < max ? n : max;
    enum gl_head_result result = GL_HEAD_MORE;

    while (result == GL_HEAD_MORE && head->scanned < end) {
        bool first = !(head->seen & SEEN_REQUEST_LINE);
        const char *lf =
            memchr(bytes + head->scanned, '\n', end - head->scanned);

        if (lf == NULL) {
            head->scanned = (uint32_t)end;
            if (first) {
                result = first_line_so_far(head, limits, bytes, end);
            }
            break;
        }
        result = (first ? first_line : later_line)(head, limits, bytes,
                                                   (size_t)(lf - bytes));
        head->at = head->scanned = (uint32_t)(lf - bytes) + 1;
    }
    return result == GL_HEAD_MORE && n >= max ? GL_HEAD_TOO_LARGE : result;
}
