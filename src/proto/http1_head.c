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
is_digit(char c)
{
    return gl_http_class[(uint8_t)c] & GL_CLASS_DIGIT;
}

/* --- host and target -------------------------------------------------- */

static bool
is_host_byte(char c)
{
    /* unreserved, sub-delims and '%' (RFC 3986, section 3.2.2) */
    return c != '\0' &&
           ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) ||
            strchr("-._~%!$&'()*+,;=", c) != NULL);
}

/* Bytes of "[...]" at the start of s, or 0. */
static size_t
bracketed(struct gl_str s)
{
    const char *end = memchr(s.p, ']', s.n);
    size_t n = end != NULL ? (size_t)(end - s.p) + 1 : 0;

    for (size_t i = 1; i + 1 < n; i++) {
        if (!is_host_byte(s.p[i]) && s.p[i] != ':') {
            return 0;
        }
    }
    return n > 2 ? n : 0;
}

/* uri-host [ ":" port ]; the host may be empty only if `may_be_empty`. */
static bool
is_authority(struct gl_str s, bool may_be_empty)
{
    size_t n = 0;

    if (s.n == 0) {
        return may_be_empty;
    }
    if (s.p[0] == '[') {
        n = bracketed(s);
    } else {
        while (n < s.n && is_host_byte(s.p[n])) {
            n++;
        }
    }
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
    head->path_escaped =
        memchr(bytes + at, '%', path_end - at) != NULL;
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
    if (!is_authority(authority, false)) {
        return GL_HEAD_BAD;
    }
    head->authority =
        span(head->target.at + scheme, head->target.at + n);
    split_path(head, bytes, head->target.at + n,
               head->target.at + target.n);
    return GL_HEAD_MORE;
}

static enum gl_head_result
parse_target(struct gl_head *head, const char *bytes)
{
    struct gl_str target = gl_span_str(bytes, head->target);

    if (target.p[0] == '/') {
        split_path(head, bytes, head->target.at,
                   head->target.at + target.n);
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
    if (n != VERSION_BYTES || memcmp(p, "HTTP/", 5) != 0 ||
        !is_digit(p[5]) || p[6] != '.' || !is_digit(p[7])) {
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
    while (at < end && (gl_http_class[(uint8_t)bytes[at]] & mask)) {
        at++;
    }
    return at;
}

/* method SP request-target SP HTTP-version (RFC 9112, section 3). */
static enum gl_head_result
parse_request_line(struct gl_head *head, const char *bytes, size_t at,
                   size_t end)
{
    size_t method_end = class_run(bytes, at, end, GL_CLASS_TOKEN);
    size_t target_end;
    enum gl_head_result result;

    if (method_end == at || method_end == end || bytes[method_end] != ' ') {
        return GL_HEAD_BAD;
    }
    target_end = class_run(bytes, method_end + 1, end, GL_CLASS_TARGET);
    if (target_end == method_end + 1 || target_end == end ||
        bytes[target_end] != ' ') {
        return GL_HEAD_BAD;
    }
    head->method = span(at, method_end);
    head->target = span(method_end + 1, target_end);
    result = parse_version(head, bytes + target_end + 1,
                           end - target_end - 1);
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
        if (!is_digit(value.p[i]) || length > (INT64_MAX - 9) / 10) {
            return GL_HEAD_BAD;
        }
        length = length * 10 + (uint64_t)(value.p[i] - '0');
    }
    head->seen |= SEEN_LENGTH;
    head->has_length = true;
    head->content_length = length;
    return GL_HEAD_MORE;
}

/* Only "chunked", once: everything else two parsers could read differently,
 * or is a coding that we do not have (RFC 9112, section 6.1). */
static enum gl_head_result
take_coding(struct gl_head *head, struct gl_str value)
{
    if (head->seen & SEEN_CODING) {
        return GL_HEAD_BAD;
    }
    head->seen |= SEEN_CODING;
    if (gl_http_equals(value, GL_STR("chunked"))) {
        head->chunked = true;
        return GL_HEAD_MORE;
    }
    return value.n == 0 || gl_http_list_has(value, GL_STR("chunked"))
               ? GL_HEAD_BAD
               : GL_HEAD_NOT_IMPLEMENTED;
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
        if ((head->seen & SEEN_HOST) || !is_authority(value, true)) {
            return GL_HEAD_BAD;
        }
        head->seen |= SEEN_HOST;
        return GL_HEAD_MORE;
    case GL_FIELD_CONNECTION:
        if (gl_http_list_has(value, GL_STR("close"))) {
            head->seen |= SEEN_CLOSE;
        }
        if (gl_http_list_has(value, GL_STR("keep-alive"))) {
            head->seen |= SEEN_KEEP_ALIVE;
        }
        return GL_HEAD_MORE;
    case GL_FIELD_EXPECT:
        head->expect_continue =
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

/* field-name ":" OWS field-value OWS (RFC 9112, section 5). */
static enum gl_head_result
parse_field(struct gl_head *head, const struct gl_head_limits *limits,
            const char *bytes, size_t at, size_t end)
{
    size_t colon = class_run(bytes, at, end, GL_CLASS_TOKEN), from;
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
    if ((head->seen & SEEN_CODING) &&
        (head->minor == 0 || (head->seen & SEEN_LENGTH))) {
        return GL_HEAD_BAD; /* RFC 9112, section 6.1 */
    }
    head->keep_alive =
        !(head->seen & SEEN_CLOSE) &&
        (head->minor > 0 || (head->seen & SEEN_KEEP_ALIVE));
    head->size = (uint32_t)size;
    return GL_HEAD_DONE;
}

/* --- lines ------------------------------------------------------------ */

static enum gl_head_result
parse_line(struct gl_head *head, const struct gl_head_limits *limits,
           const char *bytes, size_t end)
{
    size_t at = head->at;

    if (!(head->seen & SEEN_REQUEST_LINE)) {
        if (at == end && !(head->seen & SEEN_EMPTY_LINE)) {
            head->seen |= SEEN_EMPTY_LINE; /* RFC 9112, section 2.2 */
            return GL_HEAD_MORE;
        }
        if (end - at > limits->line_max_bytes) {
            return GL_HEAD_LINE_TOO_LONG;
        }
        return parse_request_line(head, bytes, at, end);
    }
    if (at == end) {
        return finish(head, end + 2);
    }
    return parse_field(head, limits, bytes, at, end);
}

/* The line at head->at has not ended yet: may it go on? */
static enum gl_head_result
check_unfinished(struct gl_head *head, const struct gl_head_limits *limits,
                 const char *bytes, size_t n)
{
    bool in_request_line = !(head->seen & SEEN_REQUEST_LINE);

    head->scanned = (uint32_t)n;
    if (in_request_line && n > head->at &&
        !(gl_http_class[(uint8_t)bytes[head->at]] & GL_CLASS_TOKEN) &&
        bytes[head->at] != '\r') {
        return GL_HEAD_BAD; /* TLS, or noise: no method begins so */
    }
    /* One byte more than the limit may be the line's CR. */
    if (in_request_line && n - head->at > (size_t)limits->line_max_bytes + 1) {
        return GL_HEAD_LINE_TOO_LONG;
    }
    return n >= limits->head_max_bytes ? GL_HEAD_TOO_LARGE : GL_HEAD_MORE;
}

enum gl_head_result
gl_http1_head_parse(struct gl_head *head,
                    const struct gl_head_limits *limits, const char *bytes,
                    size_t n)
{
    enum gl_head_result result = GL_HEAD_MORE;

    while (result == GL_HEAD_MORE) {
        size_t from = head->scanned > head->at ? head->scanned : head->at;
        const char *lf = memchr(bytes + from, '\n', n - from);
        size_t end;

        if (lf == NULL) {
            return check_unfinished(head, limits, bytes, n);
        }
        end = (size_t)(lf - bytes);
        if (end == head->at || bytes[end - 1] != '\r') {
            return GL_HEAD_BAD; /* a bare LF */
        }
        if (end + 1 > limits->head_max_bytes) {
            bool in_line = !(head->seen & SEEN_REQUEST_LINE);

            return in_line && end - 1 - head->at > limits->line_max_bytes
                       ? GL_HEAD_LINE_TOO_LONG
                       : GL_HEAD_TOO_LARGE;
        }
        result = parse_line(head, limits, bytes, end - 1);
        head->at = (uint32_t)end + 1;
    }
    return result;
}
