/* http_tables.c - byte classes, status texts and well-known fields of HTTP.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proto/http_tables.h"

/* One number a byte: the sum of its GL_CLASS_ bits. */
const uint8_t gl_http_class[256] = {
    /* clang-format off */
     0,  0,  0,  0,  0,  0,  0,  0,  0,  2,  0,  0,  0,  0,  0,  0, /* 00 */
     0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0, /* 10 */
     2,  7,  6,  3,  7,  7,  7,  7,  6,  6,  7,  7,  6,  7,  7,  6, /* 20 */
    15, 15, 15, 15, 15, 15, 15, 15, 15, 15,  6,  6,  6,  6,  6,  6, /* 30 */
     6,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7, /* 40 */
     7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  6,  6,  6,  7,  7, /* 50 */
     7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7, /* 60 */
     7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  6,  7,  6,  7,  0, /* 70 */
     2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2, /* 80 */
     2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2, /* 90 */
     2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2, /* a0 */
     2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2, /* b0 */
     2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2, /* c0 */
     2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2, /* d0 */
     2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2, /* e0 */
     2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2, /* f0 */
    /* clang-format on */
};

static const struct gl_str field_names[GL_FIELD_COUNT] = {
    [GL_FIELD_UNKNOWN] = {"", 0},
    [GL_FIELD_ACCEPT] = {"accept", 6},
    [GL_FIELD_ACCEPT_CHARSET] = {"accept-charset", 14},
    [GL_FIELD_ACCEPT_ENCODING] = {"accept-encoding", 15},
    [GL_FIELD_ACCEPT_LANGUAGE] = {"accept-language", 15},
    [GL_FIELD_AUTHORIZATION] = {"authorization", 13},
    [GL_FIELD_CACHE_CONTROL] = {"cache-control", 13},
    [GL_FIELD_CONNECTION] = {"connection", 10},
    [GL_FIELD_CONTENT_LENGTH] = {"content-length", 14},
    [GL_FIELD_CONTENT_TYPE] = {"content-type", 12},
    [GL_FIELD_COOKIE] = {"cookie", 6},
    [GL_FIELD_DATE] = {"date", 4},
    [GL_FIELD_EXPECT] = {"expect", 6},
    [GL_FIELD_HOST] = {"host", 4},
    [GL_FIELD_IF_MODIFIED_SINCE] = {"if-modified-since", 17},
    [GL_FIELD_IF_NONE_MATCH] = {"if-none-match", 13},
    [GL_FIELD_KEEP_ALIVE] = {"keep-alive", 10},
    [GL_FIELD_ORIGIN] = {"origin", 6},
    [GL_FIELD_PRAGMA] = {"pragma", 6},
    [GL_FIELD_PROXY] = {"proxy", 5},
    [GL_FIELD_RANGE] = {"range", 5},
    [GL_FIELD_REFERER] = {"referer", 7},
    [GL_FIELD_SERVER] = {"server", 6},
    [GL_FIELD_TE] = {"te", 2},
    [GL_FIELD_TRAILER] = {"trailer", 7},
    [GL_FIELD_TRANSFER_ENCODING] = {"transfer-encoding", 17},
    [GL_FIELD_UPGRADE] = {"upgrade", 7},
    [GL_FIELD_UPGRADE_INSECURE_REQUESTS] = {"upgrade-insecure-requests", 25},
    [GL_FIELD_USER_AGENT] = {"user-agent", 10},
    [GL_FIELD_X_FORWARDED_FOR] = {"x-forwarded-for", 15},
    [GL_FIELD_X_FORWARDED_HOST] = {"x-forwarded-host", 16},
    [GL_FIELD_X_FORWARDED_PROTO] = {"x-forwarded-proto", 17},
    [GL_FIELD_X_REAL_IP] = {"x-real-ip", 9},
    [GL_FIELD_X_REQUEST_ID] = {"x-request-id", 12},
    [GL_FIELD_X_REQUESTED_WITH] = {"x-requested-with", 16},
};

struct gl_str
gl_field_name(enum gl_field_id id)
{
    return field_names[id];
}

static unsigned char
lower(char c)
{
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
}

bool
gl_http_equals(struct gl_str s, struct gl_str text)
{
    if (s.n != text.n) {
        return false;
    }
    for (size_t i = 0; i < s.n; i++) {
        if (lower(s.p[i]) != (unsigned char)text.p[i]) {
            return false;
        }
    }
    return true;
}

/* The id among `ids` (ended by 0, all of name's length) that name has. */
static enum gl_field_id
one_of(struct gl_str name, const uint8_t *ids)
{
    for (; *ids != 0; ids++) {
        if (gl_http_equals(name, field_names[*ids])) {
            return (enum gl_field_id)*ids;
        }
    }
    return GL_FIELD_UNKNOWN;
}

enum gl_field_id
gl_field_lookup(struct gl_str name)
{
    switch (name.n) {
    case 2:
        return one_of(name, (const uint8_t[]){GL_FIELD_TE, 0});
    case 4:
        return one_of(
            name,
            (const uint8_t[]){
                GL_FIELD_DATE,
                GL_FIELD_HOST,
                0});
    case 5:
        return one_of(
            name,
            (const uint8_t[]){
                GL_FIELD_PROXY,
                GL_FIELD_RANGE,
                0});
    case 6:
        return one_of(
            name,
            (const uint8_t[]){
                GL_FIELD_ACCEPT,
                GL_FIELD_COOKIE,
                GL_FIELD_EXPECT,
                GL_FIELD_ORIGIN,
                GL_FIELD_PRAGMA,
                GL_FIELD_SERVER,
                0});
    case 7:
        return one_of(
            name,
            (const uint8_t[]){
                GL_FIELD_REFERER,
                GL_FIELD_TRAILER,
                GL_FIELD_UPGRADE,
                0});
    case 9:
        return one_of(name, (const uint8_t[]){GL_FIELD_X_REAL_IP, 0});
    case 10:
        return one_of(
            name,
            (const uint8_t[]){
                GL_FIELD_CONNECTION,
                GL_FIELD_KEEP_ALIVE,
                GL_FIELD_USER_AGENT,
                0});
    case 12:
        return one_of(
            name,
            (const uint8_t[]){
                GL_FIELD_CONTENT_TYPE,
                GL_FIELD_X_REQUEST_ID,
                0});
    case 13:
        return one_of(
            name,
            (const uint8_t[]){
                GL_FIELD_AUTHORIZATION,
                GL_FIELD_CACHE_CONTROL,
                GL_FIELD_IF_NONE_MATCH,
                0});
    case 14:
        return one_of(
            name,
            (const uint8_t[]){
                GL_FIELD_ACCEPT_CHARSET,
                GL_FIELD_CONTENT_LENGTH,
                0});
    case 15:
        return one_of(
            name,
            (const uint8_t[]){
                GL_FIELD_ACCEPT_ENCODING,
                GL_FIELD_ACCEPT_LANGUAGE,
                GL_FIELD_X_FORWARDED_FOR,
                0});
    case 16:
        return one_of(
            name,
            (const uint8_t[]){
                GL_FIELD_X_FORWARDED_HOST,
                GL_FIELD_X_REQUESTED_WITH,
                0});
    case 17:
        return one_of(
            name,
            (const uint8_t[]){
                GL_FIELD_IF_MODIFIED_SINCE,
                GL_FIELD_TRANSFER_ENCODING,
                GL_FIELD_X_FORWARDED_PROTO,
                0});
    case 25:
        return one_of(
            name,
            (const uint8_t[]){
                GL_FIELD_UPGRADE_INSECURE_REQUESTS,
                0});
    default:
        return GL_FIELD_UNKNOWN;
    }
}

static bool
all_of_class(struct gl_str s, uint8_t mask)
{
    for (size_t i = 0; i < s.n; i++) {
        if (!(gl_http_class[(uint8_t)s.p[i]] & mask)) {
            return false;
        }
    }
    return true;
}

bool
gl_http_is_token(struct gl_str s)
{
    return s.n > 0 && all_of_class(s, GL_CLASS_TOKEN);
}

/* Eight bytes at a time: whether one of them is a control byte. */
static bool
word_has_control(uint64_t w)
{
    const uint64_t ones = 0x0101010101010101U, tops = ones << 7;
    uint64_t del = w ^ (ones * 0x7f);

    return (((w - ones * 0x20) & ~w) | ((del - ones) & ~del)) & tops;
}

bool
gl_http_is_value(struct gl_str s)
{
    uint64_t w;

    while (s.n >= sizeof(w)) {
        struct gl_str word = gl_str_take(&s, sizeof(w));

        memcpy(&w, word.p, sizeof(w));
        if (word_has_control(w) && !all_of_class(word, GL_CLASS_VALUE)) {
            return false; /* not just a tab */
        }
    }
    return all_of_class(s, GL_CLASS_VALUE);
}

bool
gl_http_list_has(struct gl_str s, struct gl_str token)
{
    while (s.n > 0) {
        const char *comma = memchr(s.p, ',', s.n);
        size_t n = comma != NULL ? (size_t)(comma - s.p) : s.n;
        struct gl_str item = gl_str_take(&s, n);

        if (comma != NULL) {
            (void)gl_str_take(&s, 1);
        }
        while (item.n > 0 && (item.p[0] == ' ' || item.p[0] == '\t')) {
            (void)gl_str_take(&item, 1);
        }
        while (item.n > 0 && (item.p[item.n - 1] == ' ' ||
                              item.p[item.n - 1] == '\t')) {
            item.n--;
        }
        if (gl_http_equals(item, token)) {
            return true;
        }
    }
    return false;
}

const char *
gl_http_reason(int status)
{
    static const struct {
        int status;
        const char *reason;
    } rows[] = {
        {100, "Continue"},
        {101, "Switching Protocols"},
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {203, "Non-Authoritative Information"},
        {204, "No Content"},
        {205, "Reset Content"},
        {206, "Partial Content"},
        {300, "Multiple Choices"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {303, "See Other"},
        {304, "Not Modified"},
        {305, "Use Proxy"},
        {307, "Temporary Redirect"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {402, "Payment Required"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {407, "Proxy Authentication Required"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {410, "Gone"},
        {411, "Length Required"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {416, "Range Not Satisfiable"},
        {417, "Expectation Failed"},
        {421, "Misdirected Request"},
        {422, "Unprocessable Content"},
        {426, "Upgrade Required"},
        {428, "Precondition Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (rows[i].status == status) {
            return rows[i].reason;
        }
    }
    return "Unknown";
}
