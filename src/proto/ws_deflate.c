/* ws_deflate.c - agreeing on permessage-deflate (RFC 7692, section 7.1).
 *
 * The header's grammar is that of RFC 6455, section 9.1.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proto/ws_deflate.h"

#include "base/gl.h"
#include "proto/http_tables.h"

#define NAME "permessage-deflate"
#define VALUE_BYTES 4 /* kept of a parameter's value; no valid one has more */

enum {
    SERVER_NO_CONTEXT,
    CLIENT_NO_CONTEXT,
    SERVER_BITS,
    CLIENT_BITS,
    PARAM_COUNT /* not one of ours */
};

static const struct gl_str param_names[PARAM_COUNT] = {
    [SERVER_NO_CONTEXT] = {"server_no_context_takeover", 26},
    [CLIENT_NO_CONTEXT] = {"client_no_context_takeover", 26},
    [SERVER_BITS] = {"server_max_window_bits", 22},
    [CLIENT_BITS] = {"client_max_window_bits", 22},
};

struct param {
    struct gl_str name;
    bool has_value;
    size_t n;                /* bytes of the value */
    char value[VALUE_BYTES]; /* its first ones, without quotes */
};

struct offer {
    bool acceptable;
    bool seen[PARAM_COUNT];
    uint8_t server_bits; /* 0: not offered */
    uint8_t client_bits; /* 0: not offered, or without a value */
};

/* --- the grammar ------------------------------------------------------- */

static void
skip_blanks(struct gl_str *in)
{
    while (in->n > 0 && (in->p[0] == ' ' || in->p[0] == '\t')) {
        (void)gl_str_take(in, 1);
    }
}

/* Takes `c`, with the blanks around it. */
static bool
take_mark(struct gl_str *in, char c)
{
    skip_blanks(in);
    if (in->n == 0 || in->p[0] != c) {
        return false;
    }
    (void)gl_str_take(in, 1);
    skip_blanks(in);
    return true;
}

static bool
is_token_byte(char c)
{
    return (gl_http_class[(unsigned char)c] & GL_CLASS_TOKEN) != 0;
}

/* Empty: no token here. */
static struct gl_str
take_token(struct gl_str *in)
{
    size_t n = 0;

    while (n < in->n && is_token_byte(in->p[n])) {
        n++;
    }
    return gl_str_take(in, n);
}

static void
keep_value_byte(struct param *param, char c)
{
    if (param->n < VALUE_BYTES) {
        param->value[param->n] = c;
    }
    param->n++;
}

/* The rest of a quoted string, which must hold a token. */
static bool
take_quoted(struct gl_str *in, struct param *param)
{
    while (in->n > 0) {
        char c = *gl_str_take(in, 1).p;

        if (c == '"') {
            return param->n > 0;
        }
        if (c == '\\' && in->n > 0) {
            c = *gl_str_take(in, 1).p;
        }
        if (!is_token_byte(c)) {
            return false;
        }
        keep_value_byte(param, c);
    }
    return false;
}

static bool
take_value(struct gl_str *in, struct param *param)
{
    struct gl_str token;

    if (in->n > 0 && in->p[0] == '"') {
        (void)gl_str_take(in, 1);
        return take_quoted(in, param);
    }
    token = take_token(in);
    for (size_t i = 0; i < token.n; i++) {
        keep_value_byte(param, token.p[i]);
    }
    return token.n > 0;
}

static bool
take_param(struct gl_str *in, struct param *param)
{
    *param = (struct param){.name = take_token(in)};
    if (param->name.n == 0) {
        return false;
    }
    param->has_value = take_mark(in, '=');
    return !param->has_value || take_value(in, param);
}

/* --- the offers -------------------------------------------------------- */

/* The value as a window's bits: a number without leading zeros (section
 * 7.1.2).  0: it is none. */
static uint8_t
window_bits(const struct param *param)
{
    int bits = 0;

    if (param->n == 0 || param->n > 2 || param->value[0] == '0') {
        return 0;
    }
    for (size_t i = 0; i < param->n; i++) {
        if (param->value[i] < '0' || param->value[i] > '9') {
            return 0;
        }
        bits = bits * 10 + (param->value[i] - '0');
    }
    return bits >= GL_WS_CLIENT_BITS_MIN && bits <= GL_WS_BITS_MAX
               ? (uint8_t)bits
               : 0;
}

static bool
add_param(struct offer *offer, const struct param *param)
{
    size_t id = 0;

    while (id < PARAM_COUNT && !gl_str_eq(param->name, param_names[id])) {
        id++;
    }
    if (id == PARAM_COUNT || offer->seen[id]) {
        return false;
    }
    offer->seen[id] = true;
    switch (id) {
    case SERVER_BITS:
        offer->server_bits = window_bits(param);
        return offer->server_bits >= GL_WS_SERVER_BITS_MIN;
    case CLIENT_BITS:
        offer->client_bits = window_bits(param);
        return !param->has_value || offer->client_bits > 0;
    default:
        return !param->has_value;
    }
}

/* One element of the list; false: malformed. */
static bool
take_offer(struct gl_str *in, struct offer *ret)
{
    struct gl_str name = take_token(in);
    struct offer offer = {.acceptable = gl_str_eq(name, GL_STR(NAME))};

    if (name.n == 0) {
        return false;
    }
    while (take_mark(in, ';')) {
        struct param param;

        if (!take_param(in, &param)) {
            return false;
        }
        if (offer.acceptable) {
            offer.acceptable = add_param(&offer, &param);
        }
    }
    *ret = offer;
    return true;
}

/* Reads the list up to its end; false: malformed.  *ret: its first acceptable
 * offer, or one that is not. */
static bool
read_offers(struct gl_str in, struct offer *ret)
{
    struct offer first = {0};

    skip_blanks(&in);
    while (in.n > 0) {
        struct offer offer;

        if (take_mark(&in, ',')) {
            continue; /* an empty element (RFC 9110, section 5.6.1) */
        }
        if (!take_offer(&in, &offer)) {
            return false;
        }
        if (in.n > 0 && !take_mark(&in, ',')) {
            return false;
        }
        if (offer.acceptable && !first.acceptable) {
            first = offer;
        }
    }
    *ret = first;
    return true;
}

bool
gl_ws_extensions_are_valid(struct gl_str offers)
{
    struct offer ignored;

    return read_offers(offers, &ignored);
}

static uint8_t
smaller(uint8_t a, uint8_t b)
{
    return a < b ? a : b;
}

static struct gl_ws_deflate
agree(const struct offer *offer, const struct gl_ws_deflate *policy)
{
    struct gl_ws_deflate d = {
        .on = true,
        .server_no_context =
            policy->server_no_context || offer->seen[SERVER_NO_CONTEXT],
        .client_no_context =
            policy->client_no_context || offer->seen[CLIENT_NO_CONTEXT],
        .server_bits = policy->server_bits,
        .client_bits = GL_WS_BITS_MAX,
    };

    if (offer->server_bits > 0) {
        d.server_bits = smaller(d.server_bits, offer->server_bits);
    }
    if (offer->seen[CLIENT_BITS]) {
        d.client_bits = policy->client_bits;
    }
    if (offer->client_bits > 0) {
        d.client_bits = smaller(d.client_bits, offer->client_bits);
    }
    return d;
}

/* --- the answer -------------------------------------------------------- */

struct answer {
    char *dst;
    size_t n;
};

static void
add_text(struct answer *a, struct gl_str text)
{
    assert(a->n + text.n <= GL_WS_DEFLATE_ANSWER_BYTES);
    memcpy(a->dst + a->n, text.p, text.n);
    a->n += text.n;
}

static void
answer_flag(struct answer *a, int id)
{
    add_text(a, GL_STR("; "));
    add_text(a, param_names[id]);
}

static void
answer_bits(struct answer *a, int id, uint8_t bits)
{
    char digits[3] = {'=', (char)('0' + bits / 10), (char)('0' + bits % 10)};

    if (bits < 10) {
        digits[1] = digits[2];
    }
    answer_flag(a, id);
    add_text(a, (struct gl_str){digits, bits < 10 ? 2 : 3});
}

size_t
gl_ws_deflate_negotiate(struct gl_str offers,
                        const struct gl_ws_deflate *policy,
                        struct gl_ws_deflate *ret, char *dst)
{
    struct answer answer = {dst, 0};
    struct offer offer = {0};

    *ret = (struct gl_ws_deflate){0};
    if (!policy->on || !read_offers(offers, &offer) || !offer.acceptable) {
        return 0;
    }
    assert(policy->server_bits >= GL_WS_SERVER_BITS_MIN &&
           policy->server_bits <= GL_WS_BITS_MAX);
    assert(policy->client_bits >= GL_WS_CLIENT_BITS_MIN &&
           policy->client_bits <= GL_WS_BITS_MAX);
    *ret = agree(&offer, policy);
    add_text(&answer, GL_STR(NAME));
    if (ret->server_no_context) {
        answer_flag(&answer, SERVER_NO_CONTEXT);
    }
    if (ret->client_no_context) {
        answer_flag(&answer, CLIENT_NO_CONTEXT);
    }
    if (offer.server_bits > 0 || ret->server_bits < GL_WS_BITS_MAX) {
        answer_bits(&answer, SERVER_BITS, ret->server_bits);
    }
    if (ret->client_bits < GL_WS_BITS_MAX) {
        answer_bits(&answer, CLIENT_BITS, ret->client_bits);
    }
    return answer.n;
}
