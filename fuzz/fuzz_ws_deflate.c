/* fuzz_ws_deflate.c - any bytes as offers of permessage-deflate.
 *
 * The first two bytes are the server's policy, the others the offers.
 *
 * SPDX-License-Identifier: MIT
 */
#include "fuzz.h"
#include "proto/ws_deflate.h"

#define NAME "permessage-deflate"

struct outcome {
    size_t n;
    struct gl_ws_deflate agreed;
    char answer[GL_WS_DEFLATE_ANSWER_BYTES];
};

static struct outcome
negotiate(const void *offers, size_t n, const struct gl_ws_deflate *policy)
{
    char *copy = fuzz_copy(offers, n);
    char *dst = malloc(GL_WS_DEFLATE_ANSWER_BYTES);
    struct outcome out;

    REQUIRE(dst != NULL);
    memset(&out, 0xaa, sizeof(out));
    out.n = gl_ws_deflate_negotiate((struct gl_str){copy, n}, policy,
                                    &out.agreed, dst);
    REQUIRE(out.n < GL_WS_DEFLATE_ANSWER_BYTES);
    memcpy(out.answer, dst, out.n);
    free(dst);
    free(copy);
    return out;
}

static void
require_same(const struct outcome *a, const struct outcome *b)
{
    REQUIRE(a->n == b->n && memcmp(a->answer, b->answer, a->n) == 0);
    REQUIRE(a->agreed.on == b->agreed.on);
    REQUIRE(a->agreed.server_no_context == b->agreed.server_no_context);
    REQUIRE(a->agreed.client_no_context == b->agreed.client_no_context);
    REQUIRE(a->agreed.server_bits == b->agreed.server_bits);
    REQUIRE(a->agreed.client_bits == b->agreed.client_bits);
}

static void
check_nothing_agreed(const struct outcome *out)
{
    REQUIRE(out->n == 0 && !out->agreed.on);
    REQUIRE(!out->agreed.server_no_context && !out->agreed.client_no_context);
    REQUIRE(out->agreed.server_bits == 0 && out->agreed.client_bits == 0);
}

static bool
answers_with(const struct outcome *out, const char *text)
{
    return memmem(out->answer, out->n, text, strlen(text)) != NULL;
}

/* What was agreed keeps to the policy, the answer says it, and whoever would
 * offer just that is answered the same. */
static void
check_agreed(const struct outcome *out, const struct gl_ws_deflate *policy)
{
    const struct gl_ws_deflate *d = &out->agreed;
    struct outcome again = negotiate(out->answer, out->n, policy);

    REQUIRE(d->on && policy->on);
    REQUIRE(d->server_no_context || !policy->server_no_context);
    REQUIRE(d->client_no_context || !policy->client_no_context);
    REQUIRE(d->server_bits >= 9 && d->server_bits <= policy->server_bits);
    REQUIRE(d->client_bits >= 8 && d->client_bits <= 15);
    REQUIRE(d->client_bits <= policy->client_bits || d->client_bits == 15);
    REQUIRE(memcmp(out->answer, NAME, sizeof(NAME) - 1) == 0);
    REQUIRE(memchr(out->answer, '\0', out->n) == NULL);
    REQUIRE(memchr(out->answer, ',', out->n) == NULL);
    REQUIRE(answers_with(out, "; server_no_context_takeover") ==
            d->server_no_context);
    REQUIRE(answers_with(out, "; client_no_context_takeover") ==
            d->client_no_context);
    REQUIRE(d->server_bits == 15 ||
            answers_with(out, "; server_max_window_bits="));
    REQUIRE((d->client_bits < 15) ==
            answers_with(out, "; client_max_window_bits="));
    require_same(&again, out);
}

/* Answers to the offers with something before and after them. */
static struct outcome
negotiate_within(const char *before, const uint8_t *offers, size_t n,
                 const char *after, const struct gl_ws_deflate *policy)
{
    size_t head = strlen(before), tail = strlen(after);
    char *text = malloc(head + n + tail + 1);
    struct outcome out;

    REQUIRE(text != NULL);
    memcpy(text, before, head);
    if (n > 0) {
        memcpy(text + head, offers, n);
    }
    memcpy(text + head + n, after, tail);
    out = negotiate(text, head + n + tail, policy);
    free(text);
    return out;
}

static void
check_offers(const uint8_t *offers, size_t n,
             const struct gl_ws_deflate *policy)
{
    struct gl_ws_deflate off = {0};
    struct outcome out = negotiate(offers, n, policy), other;

    if (out.n > 0) {
        check_agreed(&out, policy);
    } else {
        check_nothing_agreed(&out);
    }
    other = negotiate(offers, n, &off);
    check_nothing_agreed(&other);
    /* an extension that nobody knows changes nothing; nor does a worse offer
     * that follows, but a malformed one takes all away */
    other = negotiate_within("x; y=\"z\" ,, ", offers, n, "", policy);
    require_same(&other, &out);
    other = negotiate_within("", offers, n, ", " NAME "; a, x", policy);
    require_same(&other, &out);
    other = negotiate_within("", offers, n, ", (", policy);
    check_nothing_agreed(&other);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct gl_ws_deflate policy = {.on = true};

    if (n < 2) {
        return 0;
    }
    policy.server_no_context = (bytes[0] & 0x80) != 0;
    policy.client_no_context = (bytes[1] & 0x80) != 0;
    policy.server_bits = (uint8_t)(9 + bytes[0] % 7);
    policy.client_bits = (uint8_t)(8 + bytes[1] % 8);
    check_offers(bytes + 2, n - 2, &policy);
    return 0;
}
