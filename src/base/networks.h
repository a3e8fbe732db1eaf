/* networks.h - IP addresses as text and bytes, and lists of IP networks.
 *
 * Addresses are read strictly: four decimal numbers without leading zeros,
 * or IPv6 without a zone.  An IPv4 address and its IPv4-mapped IPv6 form are
 * one and the same, and are written as IPv4.  Such an address is in IPv4
 * networks only: ::/0 is every IPv6 address.
 *
 * A zeroed struct gl_networks is an empty list.  Membership costs a
 * comparison for each network of the list.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_BASE_NETWORKS_H
#define GL_BASE_NETWORKS_H

#include "base/sock.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gl_address {
    uint8_t bytes[16]; /* IPv4 as IPv4-mapped */
};

struct gl_network {
    struct gl_address first;
    uint8_t bits; /* of the prefix, 0 to 128; of IPv4 96 more */
};

struct gl_networks {
    struct gl_network *rows; /* owned */
    size_t count;
    bool local; /* peers of Unix sockets are in the list */
};

/* Reads an address.  Returns whether it is one. */
bool gl_address_parse(struct gl_str text, struct gl_address *ret_address);
/* Writes an address as text, NUL-terminated. */
void gl_address_text(const struct gl_address *address,
                     char dst[GL_ADDR_TEXT_BYTES]);
bool gl_address_is_ipv4(const struct gl_address *address);

/* Adds "10.0.0.0/8", "::1" or "unix" to the list.  Returns 0; -EINVAL: no
 * address; -ERANGE: no prefix length of its family; -EDOM: bits are set
 * beyond the prefix; -ENOMEM. */
int gl_networks_add(struct gl_networks *list, struct gl_str text);
void gl_networks_fini(struct gl_networks *list);
static inline bool
gl_networks_is_empty(const struct gl_networks *list)
{
    return list->count == 0 && !list->local;
}
bool gl_networks_have(const struct gl_networks *list,
                      const struct gl_address *address);
/* The same of a peer; one without an address is that of a Unix socket. */
bool gl_networks_have_peer(const struct gl_networks *list,
                           const struct gl_peer *peer);

#endif
