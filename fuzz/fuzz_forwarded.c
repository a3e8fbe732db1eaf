/* fuzz_forwarded.c - any fields of a request from a trusted proxy.
 *
 * The first byte of the input says which fields are believed; the rest are
 * the lines of a head.
 *
 * SPDX-License-Identifier: MIT
 */
#include "fuzz.h"
#include "proto/forwarded.h"
#include "proto/http1_head.h"

static const char begin[] = "GET / HTTP/1.1\r\nHost: a\r\n";

/* A head with these lines, of exactly *ret_n bytes; owned by the caller. */
static char *
make_head(const uint8_t *lines, size_t n, size_t *ret_n)
{
    size_t at = sizeof(begin) - 1;
    char *head = malloc(at + n + 4);

    REQUIRE(head != NULL);
    memcpy(head, begin, at);
    if (n > 0) {
        memcpy(head + at, lines, n);
    }
    memcpy(head + at + n, "\r\n\r\n", 4);
    *ret_n = at + n + 4;
    return head;
}

static void
check(const struct gl_trust *trust, const struct gl_forwarded *f,
      const char *bytes, size_t n)
{
    struct gl_str name;

    if (!(trust->fields & (GL_TRUST_X_FOR | GL_TRUST_FORWARDED))) {
        REQUIRE(!f->has_client);
    }
    REQUIRE(f->has_client || f->client_port == 0);
    if (f->host.n > 0) {
        REQUIRE(f->host.p >= bytes && f->host.p + f->host.n <= bytes + n);
        REQUIRE(gl_http1_is_authority(f->host));
        (void)gl_forwarded_host_port(f->host, &name);
        REQUIRE(name.n > 0 && name.n <= f->host.n);
    }
    REQUIRE((trust->fields & GL_TRUST_X_PORT) || f->port == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static const struct gl_head_limits limits = {1 << 20, 8190, 100};
    struct gl_trust trust = {.fields = n > 0 ? bytes[0] & 63U : 0};
    struct gl_head *head = malloc(sizeof(*head));
    size_t size;
    char *text = make_head(bytes + (n > 0), n - (n > 0), &size), *exact;

    REQUIRE(head != NULL);
    exact = fuzz_copy(text, size);
    free(text);
    REQUIRE(gl_networks_add(&trust.proxies, GL_STR("10.0.0.0/8")) == 0);
    gl_http1_head_init(head);
    if (gl_http1_head_parse(head, &limits, exact, size) == GL_HEAD_DONE) {
        struct gl_forwarded f = gl_forwarded_read(&trust, exact, head);

        check(&trust, &f, exact, size);
    }
    gl_networks_fini(&trust.proxies);
    free(exact);
    free(head);
    return 0;
}
