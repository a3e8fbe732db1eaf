/* proxy_intake.h - who a connection's peer is to be taken for: whether it is
 * a trusted proxy, and what it says of its client in a PROXY header.
 *
 * With the option proxy_protocol, a connection from a trusted proxy begins
 * with such a header, before TLS if there is any, and one from anybody else
 * is closed at once: the peer's bytes are either a header that is believed
 * or never read.  The client's address takes the place of the peer's.  From
 * then on that address decides whether fields like X-Forwarded-For are
 * believed: a proxy that passes bytes on has not looked at them.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_ENGINE_PROXY_INTAKE_H
#define GL_ENGINE_PROXY_INTAKE_H

#include <stdint.h>

struct gl_conn;

/* A message that a peer can cause as often as it likes. */
struct gl_proxy_complaint {
    uint64_t next_ms; /* not before */
    uint32_t unsaid;  /* since the last one */
};

/* Decides about a new connection, whose peer is set.  Returns 0, or -EACCES:
 * it is to be closed. */
int gl_proxy_admit(struct gl_conn *conn);
/* GL_CONN_PROXY: looks for the header, and goes on after it. */
void gl_proxy_intake(struct gl_conn *conn);
/* GL_CONN_PROXY: no header came in time. */
void gl_proxy_expire(struct gl_conn *conn);

#endif
