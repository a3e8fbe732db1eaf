/* uwsgi_packet.c - parser of a uwsgi packet that carries a request.
 *
 * Works variable by variable: one is looked at when all of it has come, and
 * the next call begins where this one stopped.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proto/uwsgi_packet.h"

#include "base/gl.h"
#include "proto/http_tables.h"

#define SIZE_BYTES 2 /* before each name and value */

/* Bits of head->seen. */
enum { SEEN_LENGTH = 1, SEEN_CODING = 2 };

static const struct {
    struct gl_str name;
    enum gl_var_id id;
} known[] = {
    {{"REQUEST_METHOD", 14}, GL_VAR_METHOD},
    {{"REQUEST_URI", 11}, GL_VAR_URI},
    {{"PATH_INFO", 9}, GL_VAR_PATH},
    {{"QUERY_STRING", 12}, GL_VAR_QUERY},
    {{"SCRIPT_NAME", 11}, GL_VAR_SCRIPT},
    {{"CONTENT_LENGTH", 14}, GL_VAR_LENGTH},
    {{"CONTENT_TYPE", 12}, GL_VAR_TYPE},
    {{"SERVER_PROTOCOL", 15}, GL_VAR_PROTOCOL},
    {{"REMOTE_ADDR", 11}, GL_VAR_ADDR},
    {{"REMOTE_PORT", 11}, GL_VAR_PORT},
    {{"REMOTE_USER", 11}, GL_VAR_USER},
    {{"UWSGI_SCHEME", 12}, GL_VAR_SCHEME},
    {{"HTTPS", 5}, GL_VAR_HTTPS},
    {{"HTTP_COOKIE", 11}, GL_VAR_COOKIE},
    /* Who reads it takes it for the environment's proxy setting. */
    {{"HTTP_PROXY", 10}, GL_VAR_DROPPED},
    /* CONTENT_LENGTH and CONTENT_TYPE say it, and may say otherwise. */
    {{"HTTP_CONTENT_LENGTH", 19}, GL_VAR_DROPPED},
    {{"HTTP_CONTENT_TYPE", 17}, GL_VAR_DROPPED},
    /* The proxy has taken the coding off. */
    {{"HTTP_TRANSFER_ENCODING", 22}, GL_VAR_DROPPED},
};

static const struct gl_str reserved[] = {
    {"wsgi.", 5},
    {"uwsgi.", 6},
    {"greenloop.", 10},
    {"x-wsgiorg.", 10},
};

void
gl_uwsgi_packet_init(struct gl_head *head)
{
    memset(head, 0, offsetof(struct gl_head, fields));
}

int
gl_uwsgi_packet_status(enum gl_packet_result result)
{
    switch (result) {
    case GL_PACKET_DONE:
    case GL_PACKET_MORE:
    case GL_PACKET_PING:
    case GL_PACKET_MODIFIER:
        return 0;
    case GL_PACKET_TOO_LARGE:
    case GL_PACKET_TOO_MANY:
        return 431;
    case GL_PACKET_NO_LENGTH:
        return 411;
    case GL_PACKET_OTHER_SPEECH:
    case GL_PACKET_EMPTY:
    case GL_PACKET_BAD_SIZES:
    case GL_PACKET_BAD_TEXT:
    case GL_PACKET_BAD_LENGTH:
    case GL_PACKET_NO_METHOD:
        break;
    }
    return 400;
}

static size_t
size_at(const char *p)
{
    return (size_t)(unsigned char)p[0] | (size_t)(unsigned char)p[1] << 8;
}

static bool
starts_with(struct gl_str s, struct gl_str start)
{
    return s.n >= start.n && memcmp(s.p, start.p, start.n) == 0;
}

/* --- the header ------------------------------------------------------- */

/* The first bytes of an HTTP request or a TLS handshake: their first byte is
 * no modifier1 that is served, so nothing is lost by telling. */
static bool
is_other_speech(const char *p)
{
    bool tls = p[0] == 0x16 && p[1] == 0x03;

    for (int i = 0; i < GL_PACKET_HEADER_BYTES; i++) {
        if (!(p[i] >= 'A' && p[i] <= 'Z') && !(i == 3 && p[i] == ' ')) {
            return tls;
        }
    }
    return true;
}

static enum gl_packet_result
parse_header(struct gl_head *head, const struct gl_packet_limits *limits,
             const char *bytes)
{
    uint32_t size = (uint32_t)size_at(bytes + 1);

    if (bytes[0] == GL_MODIFIER_PING && bytes[3] == 0) {
        return GL_PACKET_PING;
    }
    if (bytes[0] != GL_MODIFIER_WSGI && bytes[0] != GL_MODIFIER_SCRIPT_NAME) {
        return is_other_speech(bytes) ? GL_PACKET_OTHER_SPEECH
                                      : GL_PACKET_MODIFIER;
    }
    head->size = GL_PACKET_HEADER_BYTES + size;
    head->at = GL_PACKET_HEADER_BYTES;
    if (size == 0) {
        return GL_PACKET_EMPTY;
    }
    return head->size > limits->head_max_bytes ? GL_PACKET_TOO_LARGE
                                               : GL_PACKET_MORE;
}

/* --- one variable ----------------------------------------------------- */

static enum gl_var_id
id_of(struct gl_str name)
{
    for (size_t i = 0; i < GL_ARRAY_LEN(known); i++) {
        if (gl_str_eq(known[i].name, name)) {
            return known[i].id;
        }
    }
    if (starts_with(name, GL_STR("HTTP_"))) {
        return GL_VAR_FIELD;
    }
    for (size_t i = 0; i < GL_ARRAY_LEN(reserved); i++) {
        if (starts_with(name, reserved[i])) {
            return GL_VAR_RESERVED;
        }
    }
    return GL_VAR_OTHER;
}

/* Visible ASCII. */
static bool
is_name(struct gl_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] <= ' ' || s.p[i] > '~') {
            return false;
        }
    }
    return true;
}

/* A path is decoded and may hold anything but a NUL, and so may what a proxy
 * was configured to send; the rest came from an HTTP message. */
static bool
is_value(enum gl_var_id id, struct gl_str s)
{
    switch (id) {
    case GL_VAR_OTHER:
    case GL_VAR_PATH:
    case GL_VAR_SCRIPT:
        return s.n == 0 || memchr(s.p, '\0', s.n) == NULL;
    case GL_VAR_METHOD:
        return gl_http_is_token(s);
    default:
        return gl_http_is_value(s);
    }
}

static enum gl_packet_result
parse_length(struct gl_head *head, struct gl_str s)
{
    uint64_t length = 0;

    if (head->seen & SEEN_LENGTH) {
        return GL_PACKET_BAD_LENGTH;
    }
    head->seen |= SEEN_LENGTH;
    for (size_t i = 0; i < s.n; i++) {
        if (!(gl_http_class[(uint8_t)s.p[i]] & GL_CLASS_DIGIT) ||
            length > (INT64_MAX - 9) / 10) {
            return GL_PACKET_BAD_LENGTH;
        }
        length = length * 10 + (uint64_t)(s.p[i] - '0');
    }
    head->has_length = s.n > 0; /* a proxy sends "" where there is none */
    head->content_length = length;
    return GL_PACKET_DONE;
}

/* HTTP/1.0, or what is newer; anything else counts as the oldest. */
static uint8_t
minor_of(struct gl_str s)
{
    if (s.n < 6 || !starts_with(s, GL_STR("HTTP/"))) {
        return 0;
    }
    return s.p[5] > '1' ? s.p[5] <= '9' : gl_str_eq(s, GL_STR("HTTP/1.1"));
}

/* Notes what a variable means for the request. */
static enum gl_packet_result
note_var(struct gl_head *head, const char *bytes, const struct gl_field *var)
{
    struct gl_str name = gl_span_str(bytes, var->name);
    struct gl_str value = gl_span_str(bytes, var->value);

    switch ((enum gl_var_id)var->var) {
    case GL_VAR_METHOD:
        head->method = var->value;
        break;
    case GL_VAR_URI:
        head->target = var->value;
        break;
    case GL_VAR_PATH:
        head->path = var->value;
        break;
    case GL_VAR_QUERY:
        head->query = var->value;
        break;
    case GL_VAR_PROTOCOL:
        head->minor = minor_of(value);
        break;
    case GL_VAR_LENGTH:
        return parse_length(head, value);
    case GL_VAR_DROPPED:
        if (gl_str_eq(name, GL_STR("HTTP_TRANSFER_ENCODING")) &&
            value.n > 0) {
            head->seen |= SEEN_CODING;
        }
        break;
    default:
        break;
    }
    return GL_PACKET_DONE;
}

/* The field of the HTTP message that HTTP_NAME stands for. */
static enum gl_field_id
field_of(struct gl_str name)
{
    char text[32]; /* longer ones are unknown */
    struct gl_str field = {text, name.n - 5};

    if (field.n > sizeof(text)) {
        return GL_FIELD_UNKNOWN;
    }
    for (size_t i = 0; i < field.n; i++) {
        text[i] = name.p[5 + i] == '_' ? '-' : name.p[5 + i];
    }
    return gl_http_is_token(field) ? gl_field_lookup(field)
                                   : GL_FIELD_UNKNOWN;
}

static enum gl_packet_result
take_var(struct gl_head *head, const struct gl_packet_limits *limits,
         const char *bytes, struct gl_field var)
{
    struct gl_str name = gl_span_str(bytes, var.name);
    enum gl_var_id id = id_of(name);

    if (!is_name(name) || !is_value(id, gl_span_str(bytes, var.value))) {
        return GL_PACKET_BAD_TEXT;
    }
    if (id >= GL_VAR_FIELD && id <= GL_VAR_DROPPED &&
        ++head->scanned > limits->fields_max) {
        return GL_PACKET_TOO_MANY;
    }
    if (head->count == GL_HEAD_FIELDS_MAX) {
        return GL_PACKET_TOO_MANY;
    }
    var.var = (uint16_t)id;
    var.id = id == GL_VAR_FIELD ? (uint16_t)field_of(name) : 0;
    head->fields[head->count++] = var;
    return note_var(head, bytes, &var);
}

/* Parses the variable at head->at, of which bytes[0..n) may hold a part. */
static enum gl_packet_result
parse_var(struct gl_head *head, const struct gl_packet_limits *limits,
          const char *bytes, size_t n)
{
    size_t at = head->at, left = head->size - at, have = n - at;
    size_t name_n, value_n, value_at;
    struct gl_field var;

    if (left < 2 * SIZE_BYTES) {
        return GL_PACKET_BAD_SIZES;
    }
    if (have < SIZE_BYTES) {
        return GL_PACKET_MORE;
    }
    name_n = size_at(bytes + at);
    if (name_n == 0 || name_n > left - 2 * SIZE_BYTES) {
        return GL_PACKET_BAD_SIZES;
    }
    value_at = 2 * SIZE_BYTES + name_n;
    if (have < value_at) {
        return GL_PACKET_MORE;
    }
    value_n = size_at(bytes + at + value_at - SIZE_BYTES);
    if (value_n > left - value_at) {
        return GL_PACKET_BAD_SIZES;
    }
    if (have < value_at + value_n) {
        return GL_PACKET_MORE;
    }
    var = (struct gl_field){
        .name = {(uint32_t)(at + SIZE_BYTES), (uint32_t)name_n},
        .value = {(uint32_t)(at + value_at), (uint32_t)value_n},
    };
    head->at = (uint32_t)(at + value_at + value_n);
    return take_var(head, limits, bytes, var);
}

/* What only the whole block can say. */
static enum gl_packet_result
check_whole(const struct gl_head *head)
{
    if (head->method.n == 0) {
        return GL_PACKET_NO_METHOD;
    }
    /* An empty CONTENT_LENGTH is the proxy's word that there is no body. */
    return (head->seen & SEEN_CODING) && !(head->seen & SEEN_LENGTH)
               ? GL_PACKET_NO_LENGTH
               : GL_PACKET_DONE;
}

enum gl_packet_result
gl_uwsgi_packet_parse(struct gl_head *head,
                      const struct gl_packet_limits *limits,
                      const char *bytes, size_t n)
{
    enum gl_packet_result result;

    if (n < GL_PACKET_HEADER_BYTES) {
        return GL_PACKET_MORE;
    }
    if (head->size == 0) {
        result = parse_header(head, limits, bytes);
        if (result != GL_PACKET_MORE) {
            return result;
        }
    }
    while (head->at < head->size) {
        result = parse_var(head, limits, bytes, n);
        if (result != GL_PACKET_DONE) {
            return result;
        }
    }
    return check_whole(head);
}
