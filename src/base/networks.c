/* networks.c - IP addresses as text and bytes, and lists of IP networks.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/networks.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define IPV4_PREFIX_BITS 96 /* of ::ffff:0:0/96 */

static const uint8_t mapped_prefix[12] = {[10] = 0xff, [11] = 0xff};

/* --- addresses -------------------------------------------------------- */

bool
gl_address_is_ipv4(const struct gl_address *address)
{
    return memcmp(address->bytes, mapped_prefix, sizeof(mapped_prefix)) == 0;
}

bool
gl_address_parse(struct gl_str text, struct gl_address *ret_address)
{
    char copy[INET6_ADDRSTRLEN];
    struct gl_address found = {{0}};

    if (text.n == 0 || text.n >= sizeof(copy) ||
        memchr(text.p, '\0', text.n) != NULL) {
        return false;
    }
    memcpy(copy, text.p, text.n);
    copy[text.n] = '\0';
    if (strchr(copy, ':') != NULL) {
        if (inet_pton(AF_INET6, copy, found.bytes) != 1) {
            return false;
        }
    } else {
        memcpy(found.bytes, mapped_prefix, sizeof(mapped_prefix));
        if (inet_pton(AF_INET, copy, found.bytes + 12) != 1) {
            return false;
        }
    }
    *ret_address = found;
    return true;
}

void
gl_address_text(const struct gl_address *address,
                char dst[GL_ADDR_TEXT_BYTES])
{
    bool v4 = gl_address_is_ipv4(address);

    /* The room is enough for both families: it cannot fail. */
    (void)inet_ntop(v4 ? AF_INET : AF_INET6, address->bytes + (v4 ? 12 : 0),
                    dst, GL_ADDR_TEXT_BYTES);
}

/* --- networks --------------------------------------------------------- */

/* Whether the first `bits` bits of both are the same. */
static bool
same_prefix(const struct gl_address *a, const struct gl_address *b,
            unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;

    return memcmp(a->bytes, b->bytes, whole) == 0 &&
           (rest == 0 ||
            ((a->bytes[whole] ^ b->bytes[whole]) >> (8 - rest)) == 0);
}

/* Whether no bit is set after the first `bits`. */
static bool
ends_with_prefix(const struct gl_address *address, unsigned bits)
{
    for (unsigned i = bits; i < 128; i++) {
        if (address->bytes[i / 8] & (0x80U >> (i % 8))) {
            return false;
        }
    }
    return true;
}

/* Reads a decimal number up to `most`, without leading zeros; -1: none. */
static int
small_number(struct gl_str text, int most)
{
    int value = 0;

    if (text.n == 0 || text.n > 3 || (text.n > 1 && text.p[0] == '0')) {
        return -1;
    }
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9') {
            return -1;
        }
        value = value * 10 + (text.p[i] - '0');
    }
    return value <= most ? value : -1;
}

static int
parse_network(struct gl_str text, struct gl_network *ret_network)
{
    const char *slash = text.n > 0 ? memchr(text.p, '/', text.n) : NULL;
    size_t n = slash != NULL ? (size_t)(slash - text.p) : text.n;
    struct gl_network found = {.bits = 128};
    bool colon = n > 0 && memchr(text.p, ':', n) != NULL;
    int bits;

    if (!gl_address_parse((struct gl_str){text.p, n}, &found.first)) {
        return -EINVAL;
    }
    if (slash != NULL) {
        bits = small_number((struct gl_str){text.p + n + 1, text.n - n - 1},
                            colon ? 128 : 32);
        if (bits < 0) {
            return -ERANGE;
        }
        found.bits = (uint8_t)(colon ? bits : bits + IPV4_PREFIX_BITS);
    }
    if (!ends_with_prefix(&found.first, found.bits)) {
        return -EDOM;
    }
    *ret_network = found;
    return 0;
}

int
gl_networks_add(struct gl_networks *list, struct gl_str text)
{
    struct gl_network network, *rows;
    int error;

    if (gl_str_eq(text, GL_STR("unix"))) {
        list->local = true;
        return 0;
    }
    error = parse_network(text, &network);
    if (error < 0) {
        return error;
    }
    rows = realloc(list->rows, (list->count + 1) * sizeof(*rows));
    if (rows == NULL) {
        return -ENOMEM;
    }
    list->rows = rows;
    rows[list->count++] = network;
    return 0;
}

void
gl_networks_fini(struct gl_networks *list)
{
    free(list->rows);
    *list = (struct gl_networks){0};
}

bool
gl_networks_have(const struct gl_networks *list,
                 const struct gl_address *address)
{
    unsigned least = gl_address_is_ipv4(address) ? IPV4_PREFIX_BITS : 0;

    for (size_t i = 0; i < list->count; i++) {
        const struct gl_network *row = &list->rows[i];

        if (row->bits >= least &&
            same_prefix(&row->first, address, row->bits)) {
            return true;
        }
    }
    return false;
}

bool
gl_networks_have_peer(const struct gl_networks *list,
                      const struct gl_peer *peer)
{
    struct gl_address address;

    if (peer->text[0] == '\0') {
        return list->local;
    }
    return list->count > 0 &&
           gl_address_parse((struct gl_str){peer->text, strlen(peer->text)},
                            &address) &&
           gl_networks_have(list, &address);
}
