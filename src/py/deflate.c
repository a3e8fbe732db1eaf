/* deflate.c - permessage-deflate (RFC 7692) by means of the zlib module.
 *
 * Raw deflate streams: the zlib module's objects with negative window bits.
 * The engine's calls come while it handles an event, with the GIL held; an
 * exception does not leave this file.
 *
 * SPDX-License-Identifier: MIT
 */
#include "py/deflate.h"

#include "base/gl.h"

#include <errno.h>
#include <stdlib.h>

struct gl_deflate {
    struct gl_state *st;  /* borrowed from the module */
    PyObject *compressor; /* strong; NULL: the next message begins anew */
    PyObject *inflater;   /* strong; the same */
    struct gl_ws_deflate agreed;
    unsigned ends; /* last blocks in the message that comes */
};

/* What the sender of a message left away (RFC 7692, 7.2.1). */
#define TAIL "\x00\x00\xff\xff"
#define TAIL_BYTES 4
#define DEFLATED 8 /* the method, for zlib's functions */
#define LEVEL_DEFAULT -1
/* A last block of two bytes costs a new inflater, and a copy of what follows
 * it: no sender needs more of them in a message. */
#define ENDS_MAX 100

bool
gl_deflate_is_available(const struct gl_state *st)
{
    return st->compressobj != NULL;
}

struct gl_deflate *
gl_deflate_new(struct gl_state *st, const struct gl_ws_deflate *agreed)
{
    struct gl_deflate *d = calloc(1, sizeof(*d));

    if (d == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    d->st = st;
    d->agreed = *agreed;
    return d;
}

void
gl_deflate_free(struct gl_deflate *d)
{
    if (d != NULL) {
        Py_XDECREF(d->compressor);
        Py_XDECREF(d->inflater);
        free(d);
    }
}

/* What the exception that is set means; clears it. */
static int
failure(struct gl_deflate *d)
{
    int error = PyErr_ExceptionMatches(d->st->zlib_error) ? -EPROTO : -ENOMEM;

    PyErr_Clear();
    return error;
}

static int
append(struct gl_buf *out, PyObject *bytes, size_t n)
{
    return gl_buf_append(out, PyBytes_AS_STRING(bytes), n, SIZE_MAX) < 0
               ? -ENOMEM
               : 0;
}

/* --- inflating -------------------------------------------------------- */

static int
make_inflater(struct gl_deflate *d)
{
    if (d->inflater == NULL) {
        d->inflater = PyObject_CallFunction(d->st->decompressobj, "i",
                                            -(int)d->agreed.client_bits);
    }
    return d->inflater != NULL ? 0 : failure(d);
}

/* Takes what the inflater made nothing of: what follows a last block, which
 * begins a new stream.  *ret_rest: a new reference; NULL: nothing. */
static int
take_rest(struct gl_deflate *d, PyObject **ret_rest)
{
    PyObject *eof = PyObject_GetAttr(d->inflater, d->st->s_eof);
    bool ended = eof == Py_True;
    PyObject *rest;

    if (eof == NULL) {
        return failure(d);
    }
    Py_DECREF(eof);
    if (!ended) {
        *ret_rest = NULL;
        return 0;
    }
    rest = PyObject_GetAttr(d->inflater, d->st->s_unused_data);
    if (rest == NULL) {
        return failure(d);
    }
    Py_CLEAR(d->inflater);
    if (++d->ends > ENDS_MAX) {
        Py_DECREF(rest);
        return -EPROTO;
    }
    if (PyBytes_GET_SIZE(rest) == 0) {
        Py_CLEAR(rest);
    }
    *ret_rest = rest;
    return 0;
}

/* Inflates a piece of one stream; room is what it may give at most. */
static int
inflate_bytes(struct gl_deflate *d, PyObject *piece, struct gl_buf *out,
              uint64_t room)
{
    /* One byte more than fits tells a full message from a larger one; zlib
     * takes 0 for no limit. */
    PyObject *most = PyLong_FromUnsignedLongLong(room + 1), *bytes = NULL;
    int error;

    if (most != NULL) {
        PyObject *args[] = {d->inflater, piece, most};

        bytes = PyObject_VectorcallMethod(d->st->s_decompress, args,
                                          3 | PY_VECTORCALL_ARGUMENTS_OFFSET,
                                          NULL);
    }
    if (bytes == NULL) {
        error = failure(d);
    } else if ((uint64_t)PyBytes_GET_SIZE(bytes) > room) {
        error = -EMSGSIZE;
    } else {
        error = append(out, bytes, (size_t)PyBytes_GET_SIZE(bytes));
    }
    Py_XDECREF(bytes);
    Py_XDECREF(most);
    return error;
}

/* Inflates one piece, however many streams it is of; `out` may have max
 * bytes. */
static int
inflate_piece(struct gl_deflate *d, struct gl_str in, struct gl_buf *out,
              uint64_t max)
{
    PyObject *piece = PyBytes_FromStringAndSize(in.p, (Py_ssize_t)in.n);
    int error = piece != NULL ? 0 : failure(d);

    while (piece != NULL && error == 0) {
        PyObject *rest = NULL;

        error = make_inflater(d);
        if (error == 0) {
            error = inflate_bytes(d, piece, out, max - gl_buf_len(out));
        }
        if (error == 0) {
            error = take_rest(d, &rest);
        }
        Py_SETREF(piece, rest);
    }
    Py_XDECREF(piece);
    return error;
}

static int
inflate_message(void *arg, struct gl_str in, bool last, struct gl_buf *out,
                uint64_t max)
{
    struct gl_deflate *d = arg;
    int error = in.n > 0 ? inflate_piece(d, in, out, max) : 0;

    /* Without an inflater nothing is open that the tail could end. */
    if (error == 0 && last && d->inflater != NULL) {
        error = inflate_piece(d, (struct gl_str){TAIL, TAIL_BYTES}, out, max);
    }
    if (last) {
        d->ends = 0;
    }
    if (last && d->agreed.client_no_context) {
        Py_CLEAR(d->inflater);
    }
    return error;
}

/* --- deflating -------------------------------------------------------- */

/* A window of 2^bits bytes is of little use with a hash table much larger or
 * smaller; zlib's own default is 8 for 15 bits. */
static int
memory_level(int bits)
{
    return bits > 9 ? bits - 7 : 2;
}

static int
make_compressor(struct gl_deflate *d)
{
    int bits = d->agreed.server_bits;

    if (d->compressor == NULL) {
        d->compressor =
            PyObject_CallFunction(d->st->compressobj, "iiii", LEVEL_DEFAULT,
                                  DEFLATED, -bits, memory_level(bits));
    }
    return d->compressor != NULL ? 0 : failure(d);
}

/* A message: its deflated bytes, flushed to a byte's end, without the tail
 * that every flush leaves. */
static int
deflate_message(void *arg, struct gl_str in, struct gl_buf *out)
{
    struct gl_deflate *d = arg;
    PyObject *bytes = PyBytes_FromStringAndSize(in.p, (Py_ssize_t)in.n);
    PyObject *first = NULL, *rest = NULL;
    int error = make_compressor(d);

    if (error == 0 && bytes != NULL) {
        first = gl_call_method_one(d->compressor, d->st->s_compress, bytes);
    }
    Py_XDECREF(bytes);
    if (error < 0) {
        return error;
    }
    if (first != NULL) {
        rest = gl_call_method_one(d->compressor, d->st->s_flush,
                                  d->st->zlib_sync_flush);
    }
    if (rest == NULL) {
        error = failure(d);
    } else {
        error = append(out, first, (size_t)PyBytes_GET_SIZE(first));
    }
    if (error == 0) {
        assert(PyBytes_GET_SIZE(rest) >= TAIL_BYTES);
        error =
            append(out, rest, (size_t)PyBytes_GET_SIZE(rest) - TAIL_BYTES);
    }
    Py_XDECREF(first);
    Py_XDECREF(rest);
    if (error < 0 || d->agreed.server_no_context) {
        Py_CLEAR(d->compressor); /* a message that is not sent must not be
                                  * referred to */
    }
    return error;
}

struct gl_ws_codec
gl_deflate_codec(struct gl_deflate *d)
{
    return (struct gl_ws_codec){
        .inflate = inflate_message, .deflate = deflate_message, .arg = d};
}
