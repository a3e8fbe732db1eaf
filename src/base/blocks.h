/* blocks.h - memory blocks of some hundred to some thousand bytes, of which
 * the last one given back is the next one taken.
 *
 * For memory that comes and goes in waves, as the stacks of parked requests
 * do: malloc() splits and joins blocks of these sizes each time, and hands
 * out those that nobody has touched for longest.
 *
 * One thread takes and gives; any other may ask gl_blocks_own() meanwhile.
 * Blocks are aligned to a cache line.  What a wave no longer needs goes back
 * to the system, but for a few slabs.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_BASE_BLOCKS_H
#define GL_BASE_BLOCKS_H

#include <stdbool.h>
#include <stddef.h>

#define GL_BLOCK_MIN_BYTES 513 /* smaller ones are others' business */
#define GL_BLOCK_MAX_BYTES 8192

struct gl_blocks; /* opaque; some 150 KiB, of which little is touched */

/* An empty store, or NULL without memory. */
struct gl_blocks *gl_blocks_new(void);
/* Frees the store and all its blocks.  NULL is fine. */
void gl_blocks_free(struct gl_blocks *blocks);
/* A block of at least n bytes (the caller's until it is given back); NULL for
 * a size outside the bounds and where there is no more memory. */
void *gl_blocks_take(struct gl_blocks *blocks, size_t n);
/* Gives back a block of this store. */
void gl_blocks_give(struct gl_blocks *blocks, void *block);
/* Whether `p` (any address) is a block of this store. */
bool gl_blocks_own(const struct gl_blocks *blocks, const void *p);
/* The bytes of a block of this store. */
size_t gl_blocks_size(const struct gl_blocks *blocks, const void *block);

#endif
