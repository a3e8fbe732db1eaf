/* http_tables.c - byte classes, status texts and well-known fields of HTTP.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proto/http_tables.h"

#define LONGEST_NAME 25 /* "upgrade-insecure-requests" */

/* One number a byte: the sum of its GL_CLASS_ bits. */
const uint8_t gl_http_class[256] = {
    /* clang-format off */
     0,  0,  0,  0,  0,  0,  0,  0,  0,  2,  0,  0,  0,  0,  0,  0, /* 00 */
     0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0, /* 10 */
     2, 23,  6,  3, 23,  7, 23, 23, 22, 22, 23, 23, 22, 23, 23,  6, /* 20 */
    63, 63, 63, 63, 63, 63, 63, 63, 63, 63,  6, 22,  6, 22,  6,  6, /* 30 */
     6, 55, 55, 55, 55, 55, 55, 23, 23, 23, 23, 23, 23, 23, 23, 23, /* 40 */
    23, 23, 23, 23, 23, 23, 23, 23, 23, 23, 23,  6,  6,  6,  7, 23, /* 50 */
     7, 55, 55, 55, 55, 55, 55, 23, 23, 23, 23, 23, 23, 23, 23, 23, /* 60 */
    23, 23, 23, 23, 23, 23, 23, 23, 23, 23, 23,  6,  7,  6, 23,  0, /* 70 */
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
    [GL_FIELD_IF_MATCH] = {"if-match", 8},
    [GL_FIELD_IF_MODIFIED_SINCE] = {"if-modified-since", 17},
    [GL_FIELD_IF_NONE_MATCH] = {"if-none-match", 13},
    [GL_FIELD_IF_RANGE] = {"if-range", 8},
    [GL_FIELD_IF_UNMODIFIED_SINCE] = {"if-unmodified-since", 19},
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

/* The only known field whose name has this length, first and last byte. */
#define KEY(length, first, last) \
    ((uint32_t)(length) << 16 | (uint32_t)(first) << 8 | (uint32_t)(last))

static enum gl_field_id
candidate(struct gl_str name)
{
    switch (KEY(name.n, name.p[0] | 0x20, name.p[name.n - 1] | 0x20)) {
    case KEY(2, 't', 'e'):
        return GL_FIELD_TE;
    case KEY(4, 'd', 'e'):
        return GL_FIELD_DATE;
    case KEY(4, 'h', 't'):
        return GL_FIELD_HOST;
    case KEY(5, 'p', 'y'):
        return GL_FIELD_PROXY;
    case KEY(5, 'r', 'e'):
        return GL_FIELD_RANGE;
    case KEY(6, 'a', 't'):
        return GL_FIELD_ACCEPT;
    case KEY(6, 'c', 'e'):
        return GL_FIELD_COOKIE;
    case KEY(6, 'e', 't'):
        return GL_FIELD_EXPECT;
    case KEY(6, 'o', 'n'):
        return GL_FIELD_ORIGIN;
    case KEY(6, 'p', 'a'):
        return GL_FIELD_PRAGMA;
    case KEY(6, 's', 'r'):
        return GL_FIELD_SERVER;
    case KEY(7, 'r', 'r'):
        return GL_FIELD_REFERER;
    case KEY(7, 't', 'r'):
        return GL_FIELD_TRAILER;
    case KEY(7, 'u', 'e'):
        return GL_FIELD_UPGRADE;
    case KEY(8, 'i', 'e'):
        return GL_FIELD_IF_RANGE;
    case KEY(8, 'i', 'h'):
        return GL_FIELD_IF_MATCH;
    case KEY(9, 'x', 'p'):
        return GL_FIELD_X_REAL_IP;
    case KEY(10, 'c', 'n'):
        return GL_FIELD_CONNECTION;
    case KEY(10, 'k', 'e'):
        return GL_FIELD_KEEP_ALIVE;
    case KEY(10, 'u', 't'):
        return GL_FIELD_USER_AGENT;
    case KEY(12, 'c', 'e'):
        return GL_FIELD_CONTENT_TYPE;
    case KEY(12, 'x', 'd'):
        return GL_FIELD_X_REQUEST_ID;
    case KEY(13, 'a', 'n'):
        return GL_FIELD_AUTHORIZATION;
    case KEY(13, 'c', 'l'):
        return GL_FIELD_CACHE_CONTROL;
    case KEY(13, 'i', 'h'):
        return GL_FIELD_IF_NONE_MATCH;
    case KEY(14, 'a', 't'):
        return GL_FIELD_ACCEPT_CHARSET;
    case KEY(14, 'c', 'h'):
        return GL_FIELD_CONTENT_LENGTH;
    case KEY(15, 'a', 'g'):
        return GL_FIELD_ACCEPT_ENCODING;
    case KEY(15, 'a', 'e'):
        return GL_FIELD_ACCEPT_LANGUAGE;
    case KEY(15, 'x', 'r'):
        return GL_FIELD_X_FORWARDED_FOR;
    case KEY(16, 'x', 't'):
        return GL_FIELD_X_FORWARDED_HOST;
    case KEY(16, 'x', 'h'):
        return GL_FIELD_X_REQUESTED_WITH;
    case KEY(17, 'i', 'e'):
        return GL_FIELD_IF_MODIFIED_SINCE;
    case KEY(17, 't', 'g'):
        return GL_FIELD_TRANSFER_ENCODING;
    case KEY(17, 'x', 'o'):
        return GL_FIELD_X_FORWARDED_PROTO;
    case KEY(19, 'i', 'e'):
        return GL_FIELD_IF_UNMODIFIED_SINCE;
    case KEY(25, 'u', 's'):
        return GL_FIELD_UPGRADE_INSECURE_REQUESTS;
    default:
        return GL_FIELD_UNKNOWN;
    }
}
#undef KEY

static uint64_t
word_at(const char *p)
{
    uint64_t word;

    memcpy(&word, p, sizeof(word));
    return word;
}

/* Whether the token `a` and the field name `b` of n bytes differ at most in
 * bit 0x20 of some bytes.  Then they are equal in any case: the names are
 * lower-case letters and '-', which without that bit is no token byte. */
static bool
same_name(const char *a, const char *b, size_t n)
{
    const uint64_t case_bits = UINT64_C(0x2020202020202020);
    uint64_t difference = 0;

    if (n >= sizeof(difference)) {
        size_t last = n - sizeof(difference);

        for (size_t i = 0; i < last; i += sizeof(difference)) {
            difference |= word_at(a + i) ^ word_at(b + i);
        }
        difference |= word_at(a + last) ^ word_at(b + last);
    } else {
        for (size_t i = 0; i < n; i++) {
            difference |= (uint8_t)(a[i] ^ b[i]);
        }
    }
    return (difference & ~case_bits) == 0;
}

enum gl_field_id
gl_field_lookup(struct gl_str name)
{
    enum gl_field_id id;

    if (name.n == 0 || name.n > LONGEST_NAME) {
        return GL_FIELD_UNKNOWN;
    }
    id = candidate(name);
    return id != GL_FIELD_UNKNOWN &&
                   same_name(name.p, field_names[id].p, name.n)
               ? id
               : GL_FIELD_UNKNOWN;
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

/* Whether one of eight bytes is a control byte, or may be one. */
static bool
may_have_control(uint64_t w)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), tops = ones << 7;
    uint64_t del = w ^ (ones * 0x7f);

    return (((w - ones * 0x20) & ~w) | ((del - ones) & ~del)) & tops;
}

bool
gl_http_is_value(struct gl_str s)
{
    size_t last = s.n - sizeof(uint64_t);

    if (s.n < sizeof(uint64_t)) {
        return all_of_class(s, GL_CLASS_VALUE);
    }
    for (size_t i = 0; i < last; i += sizeof(uint64_t)) {
        if (may_have_control(word_at(s.p + i))) {
            return all_of_class(s, GL_CLASS_VALUE); /* perhaps just a tab */
        }
    }
    return !may_have_control(word_at(s.p + last)) ||
           all_of_class(s, GL_CLASS_VALUE);
}

static bool
is_blank(char c)
{
    return c == ' ' || c == '\t';
}

bool
gl_http_list_next(struct gl_str *list, struct gl_str *ret_item)
{
    const char *comma;
    struct gl_str item;

    if (list->n == 0) {
        return false;
    }
    comma = memchr(list->p, ',', list->n);
    item = gl_str_take(list, comma != NULL ? (size_t)(comma - list->p) + 1
                                           : list->n);
    item.n -= comma != NULL;
    while (item.n > 0 && is_blank(item.p[0])) {
        (void)gl_str_take(&item, 1);
    }
    while (item.n > 0 && is_blank(item.p[item.n - 1])) {
        item.n--;
    }
    *ret_item = item;
    return true;
}

bool
gl_http_list_has(struct gl_str s, struct gl_str text)
{
    struct gl_str item;

    while (gl_http_list_next(&s, &item)) {
        if (gl_http_equals(item, text)) {
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
        {103, "Early Hints"},
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {203, "Non-Authoritative Information"},
        {204, "No Content"},
        {205, "Reset Content"},
        {206, "Partial Content"},
        {207, "Multi-Status"},
        {208, "Already Reported"},
        {226, "IM Used"},
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
        {423, "Locked"},
        {424, "Failed Dependency"},
        {425, "Too Early"},
        {426, "Upgrade Required"},
        {428, "Precondition Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {451, "Unavailable For Legal Reasons"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
        {506, "Variant Also Negotiates"},
        {507, "Insufficient Storage"},
        {508, "Loop Detected"},
        {511, "Network Authentication Required"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (rows[i].status == status) {
            return rows[i].reason;
        }
    }
    return "Unknown";
}
