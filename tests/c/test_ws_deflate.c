/* test_ws_deflate.c - which offers of permessage-deflate are taken, and how.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proto/ws_deflate.h"

#include "base/gl.h"
#include "check.h"

#define P "permessage-deflate"
#define SERVER_PLAIN "; server_no_context_takeover"
#define CLIENT_PLAIN "; client_no_context_takeover"
#define SERVER "; server_max_window_bits"
#define CLIENT "; client_max_window_bits"

/* Policies, and agreements: server, then client: bits, 'n': no context. */
static const struct gl_ws_deflate largest = {true, false, false, 15, 15};
static const struct gl_ws_deflate small = {true, false, false, 11, 10};
static const struct gl_ws_deflate plain = {true, true, true, 15, 15};
static const struct gl_ws_deflate least = {true, true, true, 9, 8};

struct row {
    const char *offers;
    const char *answer; /* "": none */
    struct gl_ws_deflate agreed;
};

#define REFUSED "", {0}

/* With the policy `largest`. */
static const struct row rows[] = {
    /* RFC 7692, section 7.1.3 */
    {P, P, {true, false, false, 15, 15}},
    {P CLIENT SERVER "=10", P SERVER "=10", {true, false, false, 10, 15}},
    {P CLIENT SERVER "=10, " P CLIENT,
     P SERVER "=10",
     {true, false, false, 10, 15}},
    {P SERVER_PLAIN, P SERVER_PLAIN, {true, true, false, 15, 15}},
    {P CLIENT_PLAIN, P CLIENT_PLAIN, {true, false, true, 15, 15}},
    {P SERVER_PLAIN CLIENT_PLAIN SERVER "=9" CLIENT "=9",
     P SERVER_PLAIN CLIENT_PLAIN SERVER "=9" CLIENT "=9",
     {true, true, true, 9, 9}},
    /* each window */
    {P SERVER "=7", REFUSED},
    {P SERVER "=8", REFUSED}, /* zlib cannot */
    {P SERVER "=9", P SERVER "=9", {true, false, false, 9, 15}},
    {P SERVER "=14", P SERVER "=14", {true, false, false, 14, 15}},
    {P SERVER "=15", P SERVER "=15", {true, false, false, 15, 15}},
    {P SERVER "=16", REFUSED},
    {P CLIENT "=7", REFUSED},
    {P CLIENT "=8", P CLIENT "=8", {true, false, false, 15, 8}},
    {P CLIENT "=9", P CLIENT "=9", {true, false, false, 15, 9}},
    {P CLIENT "=10", P CLIENT "=10", {true, false, false, 15, 10}},
    {P CLIENT "=15", P, {true, false, false, 15, 15}},
    {P CLIENT "=16", REFUSED},
    {P CLIENT, P, {true, false, false, 15, 15}},
    /* values that are none */
    {P SERVER, REFUSED},
    {P SERVER "=010", REFUSED},
    {P SERVER "=09", REFUSED},
    {P SERVER "=0", REFUSED},
    {P SERVER "=1", REFUSED},
    {P SERVER "=100", REFUSED},
    {P SERVER "=1000000000000000000000000000000000012", REFUSED},
    {P SERVER "=4294967306", REFUSED},
    {P SERVER "=+9", REFUSED},
    {P SERVER "=a", REFUSED},
    {P SERVER "=1a", REFUSED},
    {P SERVER "=9.0", REFUSED},
    {P CLIENT "=08", REFUSED},
    {P CLIENT "=x", REFUSED},
    {P SERVER_PLAIN "=1", REFUSED},
    {P SERVER_PLAIN "=true", REFUSED},
    {P CLIENT_PLAIN "=10", REFUSED},
    /* twice, unknown, other names */
    {P SERVER_PLAIN SERVER_PLAIN, REFUSED},
    {P CLIENT CLIENT, REFUSED},
    {P CLIENT CLIENT "=9", REFUSED},
    {P SERVER "=9" SERVER "=9", REFUSED},
    {P "; mux", REFUSED},
    {P "; mux=1" SERVER "=9", REFUSED},
    {P CLIENT "; Client_max_window_bits", REFUSED},
    {"Permessage-Deflate", REFUSED},
    {"permessage-deflat", REFUSED},
    {P "e", REFUSED},
    {"x-webkit-deflate-frame", REFUSED},
    {"", REFUSED},
    {" \t", REFUSED},
    /* the first that is acceptable */
    {"x-webkit-deflate-frame, " P, P, {true, false, false, 15, 15}},
    {"a; b=\"c\"; d, " P CLIENT_PLAIN ", " P,
     P CLIENT_PLAIN,
     {true, false, true, 15, 15}},
    {P SERVER "=8, " P SERVER "=12, " P,
     P SERVER "=12",
     {true, false, false, 12, 15}},
    {P "; unknown," P CLIENT "=9",
     P CLIENT "=9",
     {true, false, false, 15, 9}},
    {P SERVER_PLAIN SERVER_PLAIN ", " P SERVER "=99," P,
     P,
     {true, false, false, 15, 15}},
    /* quotes */
    {P SERVER "=\"10\"", P SERVER "=10", {true, false, false, 10, 15}},
    {P CLIENT "=\"\\9\"", P CLIENT "=9", {true, false, false, 15, 9}},
    {P SERVER "=\"1\\0\" , a", P SERVER "=10", {true, false, false, 10, 15}},
    {P SERVER "=\"010\"", REFUSED},
    {P SERVER "=\"10000000\"", REFUSED},
    /* blanks, and elements that are empty */
    {" \t" P " ;\tclient_max_window_bits = 9 ",
     P CLIENT "=9",
     {true, false, false, 15, 9}},
    {P ";client_max_window_bits=9;server_max_window_bits=9",
     P SERVER "=9" CLIENT "=9",
     {true, false, false, 9, 9}},
    {",, ," P ", ,", P, {true, false, false, 15, 15}},
};

/* No element of a list that is malformed anywhere is taken. */
static const char *const malformed[] = {
    P ";",
    P "; ",
    P "; ;client_max_window_bits",
    P " client_max_window_bits",
    P "; =9",
    P "=9",
    P SERVER "=",
    P SERVER "= ",
    P SERVER "=, " P,
    P SERVER "==9",
    P SERVER "=9 9",
    P SERVER "=9\"",
    P SERVER "=\"",
    P SERVER "=\"9",
    P SERVER "=\"9\\",
    P SERVER "=\"9\\\"",
    P SERVER "=\"\"",
    P SERVER "=\"9 \"",
    P SERVER "=\"9\"9",
    P SERVER "=\"9,10\"",
    P SERVER "=\"9;\"",
    P ", a=",
    "a; b=\"\"",
    P ", \"" P "\"",
    P ", (",
    P "\x01",
    P ", \x80",
    P ", a;b=\"\x80\"",
    "; " P,
    "=, " P,
    "a b, " P,
};

static bool
is_agreed(const struct gl_ws_deflate *a, const struct gl_ws_deflate *b)
{
    return a->on == b->on && a->server_no_context == b->server_no_context &&
           a->client_no_context == b->client_no_context &&
           a->server_bits == b->server_bits &&
           a->client_bits == b->client_bits;
}

static void
check_answer(const char *offers, const struct gl_ws_deflate *policy,
             const char *answer, const struct gl_ws_deflate *agreed)
{
    size_t len = strlen(offers), n;
    char *copy = check_copy(offers, len);
    char dst[GL_WS_DEFLATE_ANSWER_BYTES];
    struct gl_ws_deflate found;

    memset(&found, 0xaa, sizeof(found));
    n = gl_ws_deflate_negotiate((struct gl_str){copy, len}, policy, &found,
                                dst);
    CHECK(n == strlen(answer) && memcmp(dst, answer, n) == 0);
    CHECK(is_agreed(&found, agreed));
    free(copy);
}

static void
test_rows(void)
{
    static const struct gl_ws_deflate off = {0};

    for (size_t i = 0; i < GL_ARRAY_LEN(rows); i++) {
        check_case("%s", rows[i].offers);
        check_answer(rows[i].offers, &largest, rows[i].answer,
                     &rows[i].agreed);
        check_case("off: %s", rows[i].offers);
        check_answer(rows[i].offers, &off, "", &off);
    }
    for (size_t i = 0; i < GL_ARRAY_LEN(malformed); i++) {
        char offers[128];

        (void)snprintf(offers, sizeof(offers), "%s, " P, malformed[i]);
        check_case("malformed: %s", malformed[i]);
        CHECK(!gl_ws_extensions_are_valid(
            (struct gl_str){malformed[i], strlen(malformed[i])}));
        check_answer(malformed[i], &largest, "", &off);
        check_answer(offers, &largest, "", &off);
    }
    check_case("nothing");
    CHECK(gl_ws_deflate_negotiate((struct gl_str){NULL, 0}, &largest,
                                  &(struct gl_ws_deflate){0}, NULL) == 0);
}

/* What the server wants beyond the offer. */
static void
test_policies(void)
{
    static const struct {
        const struct gl_ws_deflate *policy;
        struct row row;
    } cases[] = {
        {&small, {P, P SERVER "=11", {true, false, false, 11, 15}}},
        {&small,
         {P CLIENT,
          P SERVER "=11" CLIENT "=10",
          {true, false, false, 11, 10}}},
        {&small,
         {P CLIENT "=9",
          P SERVER "=11" CLIENT "=9",
          {true, false, false, 11, 9}}},
        {&small,
         {P CLIENT "=12" SERVER "=12",
          P SERVER "=11" CLIENT "=10",
          {true, false, false, 11, 10}}},
        {&small,
         {P SERVER "=10", P SERVER "=10", {true, false, false, 10, 15}}},
        {&plain,
         {P, P SERVER_PLAIN CLIENT_PLAIN, {true, true, true, 15, 15}}},
        {&plain,
         {P SERVER_PLAIN,
          P SERVER_PLAIN CLIENT_PLAIN,
          {true, true, true, 15, 15}}},
        {&least,
         {P CLIENT "=15" SERVER "=15",
          P SERVER_PLAIN CLIENT_PLAIN SERVER "=9" CLIENT "=8",
          {true, true, true, 9, 8}}},
    };

    for (size_t i = 0; i < GL_ARRAY_LEN(cases); i++) {
        check_case("policy %zu: %s", i, cases[i].row.offers);
        check_answer(cases[i].row.offers, cases[i].policy,
                     cases[i].row.answer, &cases[i].row.agreed);
    }
}

/* An answer of the server keeps to what it answers, whatever the policy and
 * the offer, and the longest one has room. */
static void
test_every_window(void)
{
    for (unsigned i = 0; i < 7 * 8 * 8 * 9; i++) {
        struct gl_ws_deflate policy = {true, true, true, 0, 0}, found;
        unsigned server = 8 + i / 7 / 8 % 8, client = 7 + i / 7 / 8 / 8;
        char offer[128], dst[GL_WS_DEFLATE_ANSWER_BYTES];
        size_t n;

        policy.server_bits = (uint8_t)(9 + i % 7);
        policy.client_bits = (uint8_t)(8 + i / 7 % 8);
        n = (size_t)snprintf(offer, sizeof(offer),
                             P SERVER "=%u" CLIENT "=%u", server, client);
        check_case("%s for %u, %u", offer, policy.server_bits,
                   policy.client_bits);
        n = gl_ws_deflate_negotiate((struct gl_str){offer, n}, &policy,
                                    &found, dst);
        CHECK((n > 0) == (server >= 9 && client >= 8));
        CHECK(n < sizeof(dst));
        if (n > 0) {
            CHECK(found.server_bits <= server && found.client_bits <= client);
            CHECK(found.server_bits <= policy.server_bits);
            CHECK(found.client_bits <= policy.client_bits);
            CHECK(found.server_bits == server ||
                  found.server_bits == policy.server_bits);
        }
    }
}

/* As long as a head may be, and each piece of it suspicious. */
static void
test_long(void)
{
    static char offers[65536];
    struct gl_ws_deflate found;
    char dst[GL_WS_DEFLATE_ANSWER_BYTES];

    check_case("long");
    for (size_t at = 0; at + 8 < sizeof(offers); at += 8) {
        memcpy(offers + at, "a;b=\"c\",", 8);
    }
    memset(offers + sizeof(offers) - 8, ' ', 8);
    CHECK(gl_ws_deflate_negotiate((struct gl_str){offers, sizeof(offers)},
                                  &largest, &found, dst) == 0);
    memcpy(offers + sizeof(offers) - 18, P, 18);
    memset(offers + sizeof(offers) - 24, ',', 6);
    CHECK(gl_ws_deflate_negotiate((struct gl_str){offers, sizeof(offers)},
                                  &largest, &found, dst) == 18);
}

int
main(void)
{
    test_rows();
    test_policies();
    test_every_window();
    test_long();
    return check_end();
}
