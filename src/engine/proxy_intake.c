/* proxy_intake.c - trusted peers, and their PROXY headers.
 *
 * The header is looked at where it is, in the kernel, and only its own bytes
 * are taken from there: what follows belongs to TLS or HTTP.  So nothing is
 * kept of a part of a header.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine/proxy_intake.h"

#include "engine/conn.h"
#include "engine/engine_private.h"
#include "proto/proxy_header.h"

#include <errno.h>
#include <stdio.h>

#define COMPLAINT_PAUSE_MS 10000

static_assert(GL_PROXY_HEADER_MAX <= GL_SCRATCH_BYTES,
              "a whole header is looked at in the scratch memory");

/* Logs why a connection is closed, unless that was logged just now. */
static void
complain(struct gl_conn *conn, struct gl_proxy_complaint *c, const char *why)
{
    const char *name = conn->peer.text;
    uint64_t now_ms = gl_clock_ms();
    char before[64] = "";

    if (now_ms < c->next_ms) {
        c->unsaid++;
        return;
    }
    if (c->unsaid > 0) {
        (void)snprintf(before, sizeof(before), " (and %u more before)",
                       (unsigned)c->unsaid);
    }
    c->next_ms = now_ms + COMPLAINT_PAUSE_MS;
    c->unsaid = 0;
    gl_log(&conn->engine->log, GL_LOG_WARNING,
           "PROXY protocol: a connection from %s was closed: %s%s",
           name[0] != '\0' ? name : "a Unix socket", why, before);
}

int
gl_proxy_admit(struct gl_conn *conn)
{
    struct gl_engine *e = conn->engine;

    conn->trusted = gl_networks_have_peer(&e->trust.proxies, &conn->peer);
    if (e->options.proxy_protocol == 0) {
        return 0;
    }
    if (!conn->trusted) {
        complain(conn, &e->strangers, "it is no trusted proxy");
        return -EACCES;
    }
    conn->state = GL_CONN_PROXY;
    return 0;
}

static void
fail(struct gl_conn *conn, const char *why)
{
    complain(conn, &conn->engine->bad_headers, why);
    gl_conn_close(conn);
}

static void
apply(struct gl_conn *conn, const struct gl_proxy_header *header)
{
    switch (header->source) {
    case GL_PROXY_LOCAL:
        break; /* the proxy itself is the client */
    case GL_PROXY_UNKNOWN:
        conn->trusted = false;
        break;
    case GL_PROXY_CLIENT:
        gl_address_text(&header->address, conn->peer.text);
        conn->peer.port = header->port;
        conn->trusted =
            gl_networks_have(&conn->engine->trust.proxies, &header->address);
        break;
    }
}

/* Takes the header, which was looked at already, from the socket. */
static void
take(struct gl_conn *conn, const struct gl_proxy_header *header)
{
    if (gl_sock_recv(conn->watch.fd, conn->engine->scratch, header->size) !=
        (ssize_t)header->size) {
        gl_conn_close(conn); /* a reset in between */
        return;
    }
    apply(conn, header);
    conn->state = GL_CONN_IDLE; /* in the time that is left of the first */
    gl_conn_continue(conn);
}

static void
await_rest(struct gl_conn *conn)
{
    conn->readable = false; /* each further byte is announced */
    if (conn->half_closed) {
        fail(conn, "its header was cut short");
    }
}

void
gl_proxy_intake(struct gl_conn *conn)
{
    struct gl_engine *e = conn->engine;
    struct gl_proxy_header header;
    ssize_t n;

    if (!conn->readable) {
        return;
    }
    n = gl_sock_peek(conn->watch.fd, e->scratch, GL_PROXY_HEADER_MAX);
    if (n == -EAGAIN && !e->draining) {
        conn->readable = false;
        return;
    }
    if (n <= 0) {
        gl_conn_close(conn); /* such as a health check that only connects */
        return;
    }
    switch (gl_proxy_header_parse((struct gl_str){e->scratch, (size_t)n},
                                  &header)) {
    case GL_PROXY_MORE:
        await_rest(conn);
        break;
    case GL_PROXY_DONE:
        take(conn, &header);
        break;
    case GL_PROXY_BAD:
        fail(conn, "it did not begin with a PROXY header");
        break;
    }
}

void
gl_proxy_expire(struct gl_conn *conn)
{
    fail(conn, "no PROXY header came in time");
}
