/* blocks.c - memory blocks of some hundred to some thousand bytes, of which
 * the last one given back is the next one taken.
 *
 * Slabs of 64 KiB, aligned to their size, each cut into blocks of one size.
 * What is known of a slab is beside it, so that an empty one's memory can go
 * back to the system.  A slab's addresses stay ours for ever: the table by
 * which an address is recognised only grows.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/blocks.h"

#include "base/gl.h"
#include "base/list.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#define SLAB_BYTES ((size_t)65536)
#define SLABS_MAX 4096           /* 256 MiB: then malloc() serves */
#define PLACES (2 * SLABS_MAX)   /* of the table: half of them stay free */
#define STEP GL_CACHE_LINE_BYTES /* sizes are multiples of it */
#define SIZES (GL_BLOCK_MAX_BYTES / STEP + 1)
#define EMPTY_SLABS_KEPT 16 /* with their memory */

struct block {
    struct block *next; /* of the slab's free ones; its own otherwise */
};

struct slab {
    struct gl_list link; /* in partial[size] or empty; none while full */
    char *base;          /* owned */
    struct block *free;  /* given back; the last one first */
    uint32_t cut;        /* bytes from base that were blocks once */
    uint32_t used;       /* blocks that are taken */
    uint32_t size;       /* bytes of its blocks */
};

struct gl_blocks {
    struct gl_list partial[SIZES]; /* slabs with free blocks, by size */
    struct gl_list empty;
    uint32_t empty_count;
    uint32_t count; /* slabs made */
    struct slab slabs[SLABS_MAX];
    /* A slab's base and, in the bits below its alignment, its index; 0 for
     * none.  Linear probing; nothing is ever removed. */
    _Atomic(uintptr_t) table[PLACES];
};

struct gl_blocks *
gl_blocks_new(void)
{
    struct gl_blocks *blocks = calloc(1, sizeof(*blocks));

    if (blocks == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < SIZES; i++) {
        gl_list_init(&blocks->partial[i]);
    }
    gl_list_init(&blocks->empty);
    return blocks;
}

void
gl_blocks_free(struct gl_blocks *blocks)
{
    if (blocks == NULL) {
        return;
    }
    for (uint32_t i = 0; i < blocks->count; i++) {
        munmap(blocks->slabs[i].base, SLAB_BYTES);
    }
    free(blocks);
}

/* --- the table -------------------------------------------------------- */

static size_t
place_of(uintptr_t base)
{
    /* Slabs lie side by side: their numbers spread by themselves. */
    return (base / SLAB_BYTES) % PLACES;
}

static void
remember(struct gl_blocks *blocks, uintptr_t base, uint32_t index)
{
    size_t at = place_of(base);

    while (atomic_load_explicit(&blocks->table[at], memory_order_relaxed)) {
        at = (at + 1) % PLACES;
    }
    atomic_store_explicit(&blocks->table[at], base | index,
                          memory_order_release);
}

/* The index of the slab that `p` lies in, or SLABS_MAX. */
static uint32_t
index_of(const struct gl_blocks *blocks, const void *p)
{
    const uintptr_t below = SLAB_BYTES - 1;
    uintptr_t base = (uintptr_t)p & ~below, found;

    for (size_t at = place_of(base);; at = (at + 1) % PLACES) {
        found =
            atomic_load_explicit(&blocks->table[at], memory_order_acquire);
        if (found == 0) {
            return SLABS_MAX;
        }
        if ((found & ~below) == base) {
            return (uint32_t)(found & below);
        }
    }
}

bool
gl_blocks_own(const struct gl_blocks *blocks, const void *p)
{
    return index_of(blocks, p) < SLABS_MAX;
}

size_t
gl_blocks_size(const struct gl_blocks *blocks, const void *block)
{
    return blocks->slabs[index_of(blocks, block)].size;
}

/* --- slabs ------------------------------------------------------------ */

/* SLAB_BYTES of memory, aligned to them, or NULL. */
static char *
map_slab(void)
{
    char *raw = mmap(NULL, 2 * SLAB_BYTES, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    size_t before;

    if (raw == MAP_FAILED) {
        return NULL;
    }
    before = -(uintptr_t)raw % SLAB_BYTES;
    if (before > 0) {
        munmap(raw, before);
    }
    munmap(raw + before + SLAB_BYTES, SLAB_BYTES - before);
    return raw + before;
}

static struct slab *
new_slab(struct gl_blocks *blocks)
{
    struct slab *slab = &blocks->slabs[blocks->count];

    static_assert(SLABS_MAX <= SLAB_BYTES, "an index fits below a base");
    if (blocks->count == SLABS_MAX) {
        return NULL;
    }
    slab->base = map_slab();
    if (slab->base == NULL) {
        return NULL;
    }
    remember(blocks, (uintptr_t)slab->base, blocks->count);
    blocks->count++;
    return slab;
}

/* A slab for blocks of `size` bytes, in its list, or NULL. */
static struct slab *
slab_for(struct gl_blocks *blocks, size_t size)
{
    struct gl_list *link = gl_list_pop(&blocks->empty);
    struct slab *slab;

    if (link != NULL) {
        slab = GL_CONTAINER_OF(link, struct slab, link);
        blocks->empty_count--;
    } else {
        slab = new_slab(blocks);
    }
    if (slab != NULL) {
        slab->free = NULL;
        slab->cut = 0;
        slab->used = 0;
        slab->size = (uint32_t)size;
        gl_list_push_front(&blocks->partial[size / STEP], &slab->link);
    }
    return slab;
}

static void
retire(struct gl_blocks *blocks, struct slab *slab)
{
    gl_list_remove(&slab->link);
    gl_list_push_front(&blocks->empty, &slab->link);
    blocks->empty_count++;
    if (blocks->empty_count > EMPTY_SLABS_KEPT) {
        /* A hint: where it fails the memory stays, unharmed. */
        (void)madvise(slab->base, SLAB_BYTES, MADV_DONTNEED);
    }
}

/* --- blocks ----------------------------------------------------------- */

void *
gl_blocks_take(struct gl_blocks *blocks, size_t n)
{
    size_t size = (n + STEP - 1) / STEP * STEP;
    struct gl_list *partial;
    struct slab *slab;
    struct block *block;

    if (n < GL_BLOCK_MIN_BYTES || n > GL_BLOCK_MAX_BYTES) {
        return NULL;
    }
    partial = &blocks->partial[size / STEP];
    slab = gl_list_empty(partial)
               ? slab_for(blocks, size)
               : GL_CONTAINER_OF(partial->next, struct slab, link);
    if (slab == NULL) {
        return NULL;
    }
    block = slab->free;
    if (block != NULL) {
        slab->free = block->next;
    } else {
        block = (void *)(slab->base + slab->cut);
        slab->cut += slab->size;
    }
    slab->used++;
    if (slab->free == NULL && slab->cut + slab->size > SLAB_BYTES) {
        gl_list_remove(&slab->link); /* full */
    }
    return block;
}

void
gl_blocks_give(struct gl_blocks *blocks, void *block)
{
    struct slab *slab = &blocks->slabs[index_of(blocks, block)];
    struct gl_list *partial = &blocks->partial[slab->size / STEP];
    struct block *first = block;

    first->next = slab->free;
    slab->free = first;
    slab->used--;
    if (slab->used == 0 && partial->next->next != partial) {
        retire(blocks, slab); /* another one has room */
    } else if (partial->next != &slab->link) {
        gl_list_remove(&slab->link);
        gl_list_push_front(partial, &slab->link); /* it is warm */
    }
}
