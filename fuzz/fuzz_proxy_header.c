/* fuzz_proxy_header.c - any bytes as a PROXY header.
 *
 * SPDX-License-Identifier: MIT
 */
#include "fuzz.h"
#include "proto/proxy_header.h"

static enum gl_proxy_result
parse(const uint8_t *bytes, size_t n, struct gl_proxy_header *h)
{
    char *copy = fuzz_copy(bytes, n);
    enum gl_proxy_result result =
        gl_proxy_header_parse((struct gl_str){copy, n}, h);

    free(copy);
    return result;
}

static void
check_done(const uint8_t *bytes, size_t n, const struct gl_proxy_header *h)
{
    struct gl_proxy_header again;
    struct gl_address address;
    char text[GL_ADDR_TEXT_BYTES];

    REQUIRE(h->size > 0 && h->size <= n && h->size <= GL_PROXY_HEADER_MAX);
    /* What follows makes no difference, and all of it is needed. */
    REQUIRE(parse(bytes, h->size, &again) == GL_PROXY_DONE);
    REQUIRE(again.size == h->size && again.source == h->source);
    REQUIRE(parse(bytes, h->size - 1, &again) == GL_PROXY_MORE);
    if (h->source == GL_PROXY_CLIENT) {
        gl_address_text(&h->address, text);
        REQUIRE(
            gl_address_parse((struct gl_str){text, strlen(text)}, &address));
        REQUIRE(memcmp(&address, &h->address, sizeof(address)) == 0);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct fuzz_cuts cuts = fuzz_cuts_of(bytes, n);
    struct gl_proxy_header h, part;
    enum gl_proxy_result result = parse(bytes, n, &h), before;
    size_t cut;

    if (result == GL_PROXY_DONE) {
        check_done(bytes, n, &h);
    }
    /* A decision, once made, stays. */
    if (n > 0) {
        cut = fuzz_cut(&cuts, n);
        before = parse(bytes, cut, &part);
        REQUIRE(before == GL_PROXY_MORE || before == result);
    }
    REQUIRE(result != GL_PROXY_MORE || n < GL_PROXY_HEADER_MAX);
    return 0;
}
