/* response.h - what the files that write an application's answer share.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_PY_RESPONSE_H
#define GL_PY_RESPONSE_H

#include "py/exchange.h"

/* Appends bytes to the head.  0 or -1. */
int gl_response_head_add(GlExchange *x, const char *bytes, size_t n);
/* All of the body is here, n bytes, which tells its length; before
 * gl_response_begin(). */
void gl_response_note_whole(GlExchange *x, uint64_t n);
/* Puts the head in front, if it was not sent and no file is sent in place of
 * the body.  0 or -1. */
int gl_response_begin(GlExchange *x, struct iovec *iov, int *count);
/* Completes the head with what depends on the body.  0 or -1. */
int gl_response_complete_head(GlExchange *x);
/* Adds a piece that is to be sent, unless it is empty. */
void gl_response_add_iov(struct iovec *iov, int *count, const char *bytes,
                         size_t n);
/* Begins a piece of the answer: until the caller clears x->writing nobody
 * else gets a byte in between, wherever it parks.  0, or -1 with RuntimeError
 * while another one does that, or if the request has ended. */
int gl_response_claim(GlExchange *x);
/* The piece that was claimed cannot be sent whole: what follows a part of it
 * would be taken for the rest, so nothing follows.  One of which nothing has
 * left never was. */
void gl_response_give_up(GlExchange *x);
/* gl_response_send() within a claim. */
int gl_response_send_claimed(GlExchange *x, const char *bytes, size_t n,
                             bool last);
/* Sends all of it, parking while the socket is full; within a claim.  0, or
 * -1: the piece is given up. */
int gl_response_send_all(GlExchange *x, struct iovec *iov, int count,
                         bool last);
/* 0 while bytes may follow; -1 with RuntimeError where the exchange is none
 * of HTTP any more, or a file is its rest. */
int gl_response_check_open(GlExchange *x);
/* What is sent from now on is dropped. */
void gl_response_end_output(GlExchange *x);
/* How many of n more bytes of the body the promised length allows. */
uint64_t gl_response_allowed(GlExchange *x, uint64_t n);

/* --- response_sendfile.c --- */

/* Takes a field of the application's if it is for the server: X-Sendfile.
 * 1 if it is, 0, or -1. */
int gl_sendfile_take_field(GlExchange *x, struct gl_str name,
                           struct gl_str value);
/* Puts the file that x->sendfile names in place of the body.  0 or -1. */
int gl_sendfile_begin(GlExchange *x);

#endif
