/* request.h - one exchange on a connection, as its owner sees it.
 *
 * The owner gets a struct gl_request through ops->start and ends it with
 * gl_request_finish(); until then it is valid, also when the peer has long
 * gone.  No function blocks: where the socket is full or empty the answer is
 * -EAGAIN, and a waiter is woken when it is worth trying again.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_ENGINE_REQUEST_H
#define GL_ENGINE_REQUEST_H

#include "base/list.h"
#include "base/sock.h"
#include "proto/head.h"
#include "proto/http1_chunked.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

struct gl_conn;
struct gl_protocol;

/* Embedded in what waits.  Woken once: with 0 (try again), -ECONNRESET (the
 * peer is gone) or -ETIMEDOUT. */
struct gl_waiter {
    void (*wake)(struct gl_waiter *self, int result);
    struct gl_waiter *next; /* private to who keeps several in line */
};

struct gl_request {
    struct gl_conn *conn; /* borrowed; outlives the request */
    struct gl_list link;  /* in a list of those that are to start */
    const char *bytes;    /* of the head; see ops->start */
    const struct gl_head *head;
    struct gl_head *kept;     /* owned copy of both, or NULL: not needed */
    struct gl_waiter *reader; /* borrowed; who waits for the body */
    struct gl_waiter *writer; /* borrowed; who waits to write */
    void *user;               /* the owner's */
    uint64_t body_left;       /* without chunked: bytes not yet taken */
    uint64_t body_bytes;      /* taken so far */
    struct gl_chunked chunked;
    uint64_t sent_bytes; /* of the answer, head included */
    uint64_t started_ns; /* CLOCK_MONOTONIC, when the head was whole */
    bool body_chunked;
    bool body_done;
    bool invite;     /* the peer waits for a 100 (Continue) */
    bool head_only;  /* the method is HEAD */
    bool peer_keeps; /* the peer may send more after this request */
    bool keep_alive; /* the peer's wish and ours; may be cleared */
    bool upgraded;   /* the connection carries another protocol */
    bool slotless;   /* its slot was given back already */
    bool quiet_end;  /* set by the owner: between its last send and the finish
                      * no code of the application runs */
    bool may_chunk;  /* the peer takes an answer in chunks */
    bool cut;        /* the answer ended early, and the peer shall see it */
    uint8_t minor;   /* HTTP/1.minor */
};

/* The head has been read: `bytes` and `head` go.  Their copy, which a request
 * has that could not start at once, would otherwise stay until its end. */
void gl_request_drop_head(struct gl_request *req);
/* Moves up to n > 0 bytes of the body to dst.  Returns the bytes moved; 0 at
 * the end of the body; -EAGAIN; -ECONNRESET (the peer left early); -EBADMSG
 * (malformed: 400); -EMSGSIZE (over body_max_bytes: 413).  After an upgrade:
 * of the peer's stream, 0 at its orderly end, -EAGAIN, or -ECONNRESET. */
ssize_t gl_request_read(struct gl_request *req, void *dst, size_t n);
/* Has the next read ask the socket, whatever the engine has heard of it: who
 * watches the descriptor himself may know of bytes, or of a reset, first. */
void gl_request_look_again(struct gl_request *req);
/* Wakes `waiter` when reading is worth trying or body_timeout_ms passed
 * without a byte.  Returns 0, or a negative errno such as -EBUSY if another
 * one waits.  After an upgrade there is no deadline, and what came already
 * wakes it when the engine settles next. */
int gl_request_wait_read(struct gl_request *req, struct gl_waiter *waiter);
/* Sends bytes of the answer.  Returns how many were taken (fewer than all:
 * wait and call again with the rest), -EAGAIN for none, or -ECONNRESET and
 * other errors after which nothing more can be sent.  With `last` a rest of
 * at most GL_OUTPUT_REST_BYTES is copied and sent by the engine. */
ssize_t gl_request_send(struct gl_request *req, const struct iovec *iov,
                        int count, bool last);
/* The same from a file; advances *offset.  0 means the file ended early.
 * -ENOSYS: this transport cannot. */
ssize_t gl_request_sendfile(struct gl_request *req, int file_fd,
                            off_t *offset, size_t n);
/* Wakes `waiter` when sending is worth trying or write_timeout_ms passed
 * without progress.  Returns 0, or a negative errno such as -EBUSY. */
int gl_request_wait_write(struct gl_request *req, struct gl_waiter *waiter);
/* From now on the connection carries another protocol: gl_request_read gives
 * the peer's bytes as they are, without bound, only a waiting writer has a
 * deadline, and gl_request_finish closes.  To be called when the 101 was
 * handed to gl_request_send.  Returns 0, or -EBUSY while a body is unread. */
int gl_request_upgrade(struct gl_request *req);
/* Gives the request's slot back while the request goes on, once: another
 * request may start in it, from the engine's next settle on. */
void gl_request_release_slot(struct gl_request *req);
/* Forgets a waiter that was not woken; harmless otherwise. */
void gl_request_forget(struct gl_request *req, struct gl_waiter *waiter);
/* Whether the peer half-closed or reset the connection, as far as known. */
bool gl_request_departed(const struct gl_request *req);
/* Whether the connection is to be kept after this answer; settled when the
 * answer's head is written, because the head says it. */
bool gl_request_keeps(struct gl_request *req);
/* The far end, or the client that a PROXY header named (borrowed for the
 * request's life). */
const struct gl_peer *gl_request_peer(const struct gl_request *req);
/* Whether that is a trusted proxy, whose fields tell of its own client. */
bool gl_request_peer_is_trusted(const struct gl_request *req);
/* How the request came (const, static). */
const struct gl_protocol *gl_request_protocol(const struct gl_request *req);
/* The `user` of the listener that the connection came through, or NULL. */
void *gl_request_listener_user(const struct gl_request *req);
/* Whether gl_request_sendfile() can work here. */
bool gl_request_has_sendfile(const struct gl_request *req);
/* The request's descriptor (borrowed). */
int gl_request_fd(const struct gl_request *req);
/* Ends our side of the stream, after what was sent, while the request goes on:
 * nothing more can be sent.  0; -EAGAIN: wait for writing and call again; or
 * -ECONNRESET. */
int gl_request_shutdown(struct gl_request *req);
/* Ends the request and frees its slot, if it still has one.  With keep and
 * the peer's consent the connection serves on; else it is closed after what
 * was sent has left.  No waiter may be left; req is invalid afterwards. */
void gl_request_finish(struct gl_request *req, bool keep);

#define GL_OUTPUT_REST_BYTES 65536

#endif
