/* test_forwarded.c - what proxies say in fields, rightly and wrongly.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proto/forwarded.h"

#include "base/gl.h"
#include "check.h"
#include "proto/http1_head.h"

#define X_ALL                                                                \
    (GL_TRUST_X_FOR | GL_TRUST_X_PROTO | GL_TRUST_X_HOST | GL_TRUST_X_PORT | \
     GL_TRUST_X_SSL)
#define RFC GL_TRUST_FORWARDED

struct row {
    const char *lines; /* of the head, each with its LF */
    unsigned fields;
    const char *client; /* "address port", "" for the peer */
    const char *scheme; /* "" for none */
    const char *host;
    unsigned port;
};

#define FOR(value) "X-Forwarded-For: " value "\r\n"
#define PROTO(value) "X-Forwarded-Proto: " value "\r\n"
#define HOST(value) "X-Forwarded-Host: " value "\r\n"
#define PORT(value) "X-Forwarded-Port: " value "\r\n"
#define SSL(value) "X-Forwarded-Ssl: " value "\r\n"
#define FORWARDED(value) "Forwarded: " value "\r\n"
#define JUST_FOR(value, client) {FOR(value), X_ALL, client, "", "", 0}
#define JUST_RFC(value, client) {FORWARDED(value), RFC, client, "", "", 0}

/* Trusted are 10.0.0.0/8 and fd00::/8. */
static const struct row rows[] = {
    {"", X_ALL | RFC, "", "", "", 0},
    /* the client's address */
    JUST_FOR("192.0.2.1", "192.0.2.1 0"),
    JUST_FOR("192.0.2.1:81", "192.0.2.1 81"),
    JUST_FOR("2001:DB8::1", "2001:db8::1 0"),
    JUST_FOR("[2001:db8::1]", "2001:db8::1 0"),
    JUST_FOR("[2001:db8::1]:65535", "2001:db8::1 65535"),
    JUST_FOR("::ffff:192.0.2.1", "192.0.2.1 0"),
    JUST_FOR("6.6.6.6, 192.0.2.1", "192.0.2.1 0"),
    JUST_FOR("6.6.6.6,192.0.2.1 , 10.1.1.1", "192.0.2.1 0"),
    JUST_FOR("6.6.6.6,192.0.2.1,fd00::1,10.1.1.1", "192.0.2.1 0"),
    JUST_FOR("10.0.0.9, 10.0.0.8:80", "10.0.0.9 0"),
    JUST_FOR("evil \" [ %00, 192.0.2.1", "192.0.2.1 0"),
    JUST_FOR("unknown, 192.0.2.1,,", "192.0.2.1 0"),
    JUST_FOR(",\t192.0.2.1\t,", "192.0.2.1 0"),
    {FOR("6.6.6.6") FOR("192.0.2.1"), X_ALL, "192.0.2.1 0", "", "", 0},
    {FOR("192.0.2.1") FOR("10.0.0.1") FOR(""), X_ALL, "192.0.2.1 0", "", "",
     0},
    {"x-forwarded-FOR: 192.0.2.1\r\n", X_ALL, "192.0.2.1 0", "", "", 0},
    {"X-Forwarded-For-: 192.0.2.1\r\n", X_ALL, "", "", "", 0},
    {"X_Forwarded_For: 192.0.2.1\r\n", X_ALL, "", "", "", 0},
    {FOR("192.0.2.1"), X_ALL & ~GL_TRUST_X_FOR, "", "", "", 0},
    /* that say nothing */
    JUST_FOR("", ""),
    JUST_FOR(",", ""),
    JUST_FOR("unknown", ""),
    JUST_FOR("_hidden", ""),
    JUST_FOR("192.0.2.1, unknown", ""),
    JUST_FOR("192.0.2.1, evil, 10.0.0.1", ""),
    JUST_FOR("192.0.2.1.", ""),
    JUST_FOR("192.0.2.01", ""),
    JUST_FOR("192.0.2.1:", ""),
    JUST_FOR("192.0.2.1:0", ""),
    JUST_FOR("192.0.2.1:65536", ""),
    JUST_FOR("192.0.2.1:8a", ""),
    JUST_FOR("192.0.2.1 192.0.2.2", ""),
    JUST_FOR("\"192.0.2.1\"", ""),
    JUST_FOR("[192.0.2.1]", ""),
    JUST_FOR("[::1", ""),
    JUST_FOR("[]", ""),
    JUST_FOR("[", ""),
    JUST_FOR("[::1]80", ""),
    JUST_FOR("[::1]:", ""),
    JUST_FOR("fe80::1%lo", ""),
    JUST_FOR(":", ""),
    JUST_FOR("localhost", ""),
    /* the others of that family */
    {PROTO("https"), X_ALL, "", "https", "", 0},
    {PROTO("HTTP"), X_ALL, "", "http", "", 0},
    {PROTO("wss"), X_ALL, "", "https", "", 0},
    {PROTO("ws"), X_ALL, "", "http", "", 0},
    {PROTO("https, http"), X_ALL, "", "http", "", 0},
    {PROTO("http") PROTO("https"), X_ALL, "", "https", "", 0},
    {PROTO("https") PROTO("ftp"), X_ALL, "", "", "", 0},
    {PROTO("https://"), X_ALL, "", "", "", 0},
    {PROTO("https"), GL_TRUST_X_FOR, "", "", "", 0},
    {SSL("on"), X_ALL, "", "https", "", 0},
    {SSL("ON"), X_ALL, "", "https", "", 0},
    {SSL("off"), X_ALL, "", "", "", 0},
    {SSL("1"), X_ALL, "", "", "", 0},
    {SSL("on") PROTO("http"), X_ALL, "", "http", "", 0},
    {SSL("on"), GL_TRUST_DEFAULT, "", "", "", 0},
    {HOST("a.example"), X_ALL, "", "", "a.example", 0},
    {HOST("6.6.6.6, a.example:8443"), X_ALL, "", "", "a.example:8443", 0},
    {HOST("[::1]:80"), X_ALL, "", "", "[::1]:80", 0},
    {HOST("a.example:"), X_ALL, "", "", "", 0},
    {HOST("a.example:0"), X_ALL, "", "", "", 0},
    {HOST("a.example:65536"), X_ALL, "", "", "", 0},
    {HOST("a@b"), X_ALL, "", "", "", 0},
    {HOST("a/b"), X_ALL, "", "", "", 0},
    {HOST("a b"), X_ALL, "", "", "", 0},
    {HOST("\xc3\xa4"), X_ALL, "", "", "", 0},
    {HOST("a.example"), GL_TRUST_DEFAULT, "", "", "", 0},
    {PORT("8443"), X_ALL, "", "", "", 8443},
    {PORT("1, 443"), X_ALL, "", "", "", 443},
    {PORT("0"), X_ALL, "", "", "", 0},
    {PORT("65536"), X_ALL, "", "", "", 0},
    {PORT("-1"), X_ALL, "", "", "", 0},
    {PORT("443"), GL_TRUST_DEFAULT, "", "", "", 0},
    {FOR("192.0.2.1") PROTO("https") HOST("a:1") PORT("2"), X_ALL,
     "192.0.2.1 0", "https", "a:1", 2},
    /* RFC 7239 */
    JUST_RFC("for=192.0.2.1", "192.0.2.1 0"),
    JUST_RFC("For=192.0.2.1", "192.0.2.1 0"),
    JUST_RFC("for=\"192.0.2.1\"", "192.0.2.1 0"),
    JUST_RFC("for=\"192.0.2.1:4711\"", "192.0.2.1 4711"),
    JUST_RFC("for=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17 4711"),
    JUST_RFC("for=\"[2001:db8:cafe::17]\"", "2001:db8:cafe::17 0"),
    JUST_RFC("for=\"192.0.2.1:_secret\"", "192.0.2.1 0"),
    JUST_RFC("for=\"[2001:db8::1]:_secret\"", "2001:db8::1 0"),
    JUST_RFC("for=6.6.6.6, for=192.0.2.1", "192.0.2.1 0"),
    JUST_RFC("for=6.6.6.6, for=192.0.2.1,for=10.0.0.1", "192.0.2.1 0"),
    JUST_RFC("for=\"evil, for=192.0.2.1", "192.0.2.1 0"),
    JUST_RFC("for=\"e\\\"v,il, for=192.0.2.1", "192.0.2.1 0"),
    JUST_RFC("for=6.6.6.6, for=192.0.2.1;ext=\"a,b\"", "192.0.2.1 0"),
    JUST_RFC("for=6.6.6.6, for=192.0.2.1;ext=\"a\\\",b\"", "192.0.2.1 0"),
    JUST_RFC("for=10.0.0.2, for=10.0.0.1", "10.0.0.2 0"),
    JUST_RFC(";;for=192.0.2.1;", "192.0.2.1 0"),
    JUST_RFC("by=10.0.0.1; for=192.0.2.1", "192.0.2.1 0"),
    {FORWARDED("for=192.0.2.1;proto=https;host=a.example;by=10.0.0.1"), RFC,
     "192.0.2.1 0", "https", "a.example", 0},
    {FORWARDED("for=192.0.2.1;proto=https;host=\"a.example:8443\", "
               "for=10.0.0.1;proto=http;host=inner"),
     RFC, "192.0.2.1 0", "https", "a.example:8443", 0},
    {FORWARDED("for=6.6.6.6;proto=http;host=evil, for=192.0.2.1"), RFC,
     "192.0.2.1 0", "", "", 0},
    {FORWARDED("for=6.6.6.6") FORWARDED("for=192.0.2.1;proto=http"), RFC,
     "192.0.2.1 0", "http", "", 0},
    {FORWARDED("for=unknown;proto=https"), RFC, "", "https", "", 0},
    {FORWARDED("for=\"unknown:80\";proto=https"), RFC, "", "https", "", 0},
    {FORWARDED("for=_hidden;host=a"), RFC, "", "", "a", 0},
    {FORWARDED("proto=https;host=a"), RFC, "", "https", "a", 0},
    {FORWARDED("for=6.6.6.6, for=_gazonk, for=10.0.0.1"), RFC, "", "", "", 0},
    {FORWARDED("for=192.0.2.1;proto=gopher;host=\"a b\""), RFC, "192.0.2.1 0",
     "", "", 0},
    JUST_RFC("", ""),
    JUST_RFC("192.0.2.1", ""),
    JUST_RFC("for", ""),
    JUST_RFC("for=", ""),
    JUST_RFC("for=\"\"", ""),
    JUST_RFC("for=\"192.0.2.1", ""),
    JUST_RFC("for=192.0.2.1\"", ""),
    JUST_RFC("for=\"192.0.2.1\"x", ""),
    JUST_RFC("for=\"192.0.2.\\1\"", ""),
    JUST_RFC("for=192.0.2.1:80", ""), /* no token */
    JUST_RFC("for=2001:db8::1", ""),
    JUST_RFC("for=\"2001:db8::1\"", ""),
    JUST_RFC("for=[2001:db8::1]", ""),
    JUST_RFC("for =192.0.2.1", ""),
    JUST_RFC("for=192.0.2.1;for=192.0.2.2", ""),
    JUST_RFC("for=192.0.2.1;proto=http;PROTO=https", ""),
    JUST_RFC("for=192.0.2.1;junk", ""),
    JUST_RFC("for=192.0.2.1;a=b c", ""),
    JUST_RFC("for=192.0.2.1 for=192.0.2.2", ""),
    JUST_RFC("for=192.0.2.1;a=\"", ""),
    JUST_RFC("for=192.0.2.1;a=\"\\\"", ""),
    JUST_RFC("for=6.6.6.6, evil, for=10.0.0.1", ""),
    {FOR("6.6.6.6") FORWARDED("for=192.0.2.1"), RFC, "192.0.2.1 0", "", "",
     0},
    {FOR("192.0.2.1") FORWARDED("for=6.6.6.6"), X_ALL, "192.0.2.1 0", "", "",
     0},
};

static struct gl_trust
make_trust(unsigned fields)
{
    struct gl_trust trust = {.fields = fields};

    CHECK(gl_networks_add(&trust.proxies, GL_STR("10.0.0.0/8")) == 0);
    CHECK(gl_networks_add(&trust.proxies, GL_STR("fd00::/8")) == 0);
    return trust;
}

/* The head with these lines; bytes of exactly its size, owned. */
static char *
make_head(const char *lines, struct gl_head *head)
{
    static const struct gl_head_limits limits = {1 << 20, 1000, 100};
    size_t n = strlen(lines) + 64;
    char *text = __real_malloc(n), *exact;

    n = (size_t)snprintf(text, n, "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n",
                         lines);
    exact = check_copy(text, n);
    free(text);
    gl_http1_head_init(head);
    CHECK(gl_http1_head_parse(head, &limits, exact, n) == GL_HEAD_DONE);
    return exact;
}

static void
check_row(const struct row *row, const struct gl_forwarded *f)
{
    static const char *const schemes[] = {"", "http", "https"};
    char client[GL_ADDR_TEXT_BYTES + 8] = "";

    if (f->has_client) {
        gl_address_text(&f->client, client);
        (void)snprintf(client + strlen(client), 8, " %u",
                       (unsigned)f->client_port);
    }
    CHECK(strcmp(client, row->client) == 0);
    CHECK(strcmp(schemes[f->scheme], row->scheme) == 0);
    CHECK(gl_str_eq(f->host, (struct gl_str){row->host, strlen(row->host)}));
    CHECK(f->port == row->port);
}

static void
test_rows(void)
{
    static struct gl_head head;

    for (size_t i = 0; i < GL_ARRAY_LEN(rows); i++) {
        struct gl_trust trust = make_trust(rows[i].fields);
        struct gl_forwarded f;
        char *bytes;

        check_case("%s", rows[i].lines);
        bytes = make_head(rows[i].lines, &head);
        f = gl_forwarded_read(&trust, bytes, &head);
        check_row(&rows[i], &f);
        free(bytes);
        gl_networks_fini(&trust.proxies);
    }
}

/* Trusted addresses alone, and one more than are followed. */
static void
test_long_chains(void)
{
    static struct gl_head head;
    struct gl_trust trust = make_trust(X_ALL | RFC);

    for (unsigned hops = 62; hops <= 67; hops++) {
        char lines[2048];
        size_t n = (size_t)snprintf(lines, sizeof(lines),
                                    "X-Forwarded-For: 192.0.2.1");
        struct gl_forwarded f;
        char *bytes;

        for (unsigned i = 1; i < hops; i++) {
            n += (size_t)snprintf(lines + n, sizeof(lines) - n, ", 10.0.0.1");
        }
        (void)snprintf(lines + n, sizeof(lines) - n, "\r\n");
        check_case("%u hops", hops);
        bytes = make_head(lines, &head);
        f = gl_forwarded_read(&trust, bytes, &head);
        CHECK(f.has_client == (hops <= 64));
        free(bytes);
    }
    gl_networks_fini(&trust.proxies);
}

/* Nothing takes the square of the field's length: 600 KB of what has to be
 * looked at twice for each byte would take minutes. */
static void
test_hostile(void)
{
    static const char *const parts[] = {
        "\\\"", "\"", ",", "\",", "\\", "10.0.0.1,", "for=10.0.0.1,", "[:"};
    static char lines[700000];
    static struct gl_head head;
    struct gl_trust trust = make_trust(X_ALL | RFC);

    for (size_t i = 0; i < GL_ARRAY_LEN(parts); i++) {
        for (int rfc = 0; rfc < 2; rfc++) {
            size_t n = strlen(rfc ? "Forwarded: a" : "X-Forwarded-For: a");
            struct gl_forwarded f;
            char *bytes;

            memcpy(lines, rfc ? "Forwarded: a" : "X-Forwarded-For: a", n);
            while (n < 600000) {
                memcpy(lines + n, parts[i], strlen(parts[i]));
                n += strlen(parts[i]);
            }
            memcpy(lines + n, "\"\r\n", 4);
            check_case("many of %s", parts[i]);
            bytes = make_head(lines, &head);
            f = gl_forwarded_read(&trust, bytes, &head);
            CHECK(!f.has_client);
            free(bytes);
        }
    }
    gl_networks_fini(&trust.proxies);
}

static void
test_names(void)
{
    static const struct {
        const char *host, *name;
        unsigned port;
    } hosts[] = {
        {"a", "a", 0},
        {"a:80", "a", 80},
        {"[::1]", "[::1]", 0},
        {"[::1]:9", "[::1]", 9},
        {"1.2.3.4", "1.2.3.4", 0},
        {"a:", "a", 0},
    };

    check_case("names of fields");
    CHECK(gl_trust_field(GL_STR("x-forwarded-for")) == GL_TRUST_X_FOR);
    CHECK(gl_trust_field(GL_STR("X-Forwarded-PORT")) == GL_TRUST_X_PORT);
    CHECK(gl_trust_field(GL_STR("Forwarded")) == GL_TRUST_FORWARDED);
    CHECK(gl_trust_field(GL_STR("")) == 0);
    CHECK(gl_trust_field(GL_STR("x-forwarded")) == 0);
    for (size_t i = 0; i < GL_ARRAY_LEN(hosts); i++) {
        struct gl_str host = {hosts[i].host, strlen(hosts[i].host)}, name;

        check_case("%s", hosts[i].host);
        CHECK(gl_forwarded_host_port(host, &name) == hosts[i].port);
        CHECK(gl_str_eq(
            name, (struct gl_str){hosts[i].name, strlen(hosts[i].name)}));
    }
}

int
main(void)
{
    test_rows();
    test_long_chains();
    test_hostile();
    test_names();
    return check_end();
}
