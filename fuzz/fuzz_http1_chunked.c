/* fuzz_http1_chunked.c - any bytes as a chunked body, however they are cut,
 * and any bytes chunked by ourselves.
 *
 * SPDX-License-Identifier: MIT
 */
#include "fuzz.h"
#include "proto/http1_chunked.h"
#include "proto/http1_write.h"

struct outcome {
    enum gl_chunk_event event;
    size_t used;
    size_t n;
    char *body; /* owned: room for all of the input */
};

/* Takes what is in one piece; checks what a step promises. */
static void
take_piece(struct gl_chunked *c, const char *piece, size_t len,
           struct outcome *out)
{
    struct gl_str in = {piece, len}, data = {NULL, 0};

    while ((out->event = gl_chunked_step(c, &in, &data)) == GL_CHUNK_DATA) {
        REQUIRE(data.n > 0 && data.p >= piece && data.p + data.n == in.p);
        REQUIRE(in.p + in.n == piece + len);
        memcpy(out->body + out->n, data.p, data.n);
        out->n += data.n;
    }
    REQUIRE(in.p + in.n == piece + len);
    REQUIRE(out->event != GL_CHUNK_MORE || in.n == 0);
    REQUIRE(out->n == c->body);
    out->used += len - in.n;
    if (out->event != GL_CHUNK_MORE) {
        struct gl_str again = in;

        REQUIRE(gl_chunked_step(c, &again, &data) == out->event);
        REQUIRE(again.n == in.n);
    }
}

/* Decodes input that comes in pieces of 1 to `most` bytes, or, with most = 0,
 * in one. */
static struct outcome
decode(const void *bytes, size_t n, size_t most)
{
    struct fuzz_cuts cuts = fuzz_cuts_of(bytes, n);
    struct outcome out = {.event = GL_CHUNK_MORE, .body = malloc(n + 1)};
    struct gl_chunked c = {0};

    REQUIRE(out.body != NULL);
    for (size_t at = 0, len; at < n && out.event == GL_CHUNK_MORE;
         at += len) {
        size_t want = most > 0 ? fuzz_cut(&cuts, most) : n;
        char *piece;

        len = want < n - at ? want : n - at;
        piece = fuzz_copy((const char *)bytes + at, len);
        take_piece(&c, piece, len, &out);
        free(piece);
    }
    return out;
}

static void
check_cut(const struct outcome *whole, const uint8_t *bytes, size_t n,
          size_t most)
{
    struct outcome cut = decode(bytes, n, most);

    REQUIRE(cut.event == whole->event && cut.used == whole->used);
    REQUIRE(cut.n == whole->n && memcmp(cut.body, whole->body, cut.n) == 0);
    free(cut.body);
}

static void
check_any_wire(const uint8_t *bytes, size_t n)
{
    struct outcome whole = decode(bytes, n, 0);

    REQUIRE(whole.used <= n && whole.n <= whole.used);
    check_cut(&whole, bytes, n, 1);
    check_cut(&whole, bytes, n, n / 4 + 1);
    free(whole.body);
}

/* What we chunk is read back, to the last byte, and nothing after it. */
static void
check_round_trip(const uint8_t *bytes, size_t n)
{
    struct fuzz_cuts cuts = fuzz_cuts_of(bytes, n);
    char *wire = malloc(n * (GL_CHUNK_HEAD_BYTES + 3) + 16), *end = wire;
    struct outcome back;

    REQUIRE(wire != NULL);
    for (size_t at = 0, len; at < n; at += len) {
        size_t want = fuzz_cut(&cuts, n / 2 + 1);

        len = want < n - at ? want : n - at;
        end += gl_http1_chunk_head(end, len);
        memcpy(end, bytes + at, len);
        end += len;
        memcpy(end, "\r\n", 2);
        end += 2;
    }
    memcpy(end, "0\r\n\r\nnext", 9);
    end += 9;
    back = decode(wire, (size_t)(end - wire), n / 3 + 1);
    REQUIRE(back.event == GL_CHUNK_END && back.n == n);
    REQUIRE(memcmp(back.body, bytes, n) == 0);
    REQUIRE(back.used <= (size_t)(end - wire) - 4);
    free(back.body);
    free(wire);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    check_any_wire(bytes, n);
    if (n > 0) {
        check_round_trip(bytes, n);
    }
    return 0;
}
