/* frame_memory.c - where CPython keeps the Python frames of a greenlet.
 *
 * A hook of the allocator of arenas, through which CPython also takes such
 * chunks.  What has another size, or belongs to another thread, comes from
 * the allocator that was there before; whose a chunk is, its head tells.
 * Threads of other interpreters may have a lock of their own: what the
 * installing thread took is given back by whoever holds the same lock.
 *
 * SPDX-License-Identifier: MIT
 */
#include "py/frame_memory.h"

#include "base/gl.h"
#include "py/pyutil.h"

#include <stdlib.h>
#include <sys/mman.h>

#define CHUNK_BYTES ((size_t)16384) /* as CPython has it */
#define PAGE_BYTES ((size_t)4096)
#define MAPPED_BYTES (CHUNK_BYTES + PAGE_BYTES)
#define KEPT_MAX 64 /* 1.25 MiB at most */

/* At the start of a mapping. */
struct head {
    struct frame_memory *owner; /* and with it, a mapping of ours */
    struct head *next;          /* of those that are kept */
};

/* The chunk follows, on a cache line of its own. */
#define HEAD_BYTES ((size_t)GL_CACHE_LINE_BYTES)

struct frame_memory {
    PyObjectArenaAllocator before;
    unsigned long thread; /* ident */
    struct head *kept;    /* the last one given back first */
    unsigned kept_count;
};

static void *
chunk_of(struct head *head)
{
    return (char *)head + HEAD_BYTES;
}

/* The head before a chunk; of somebody else's, only a place to look at. */
static struct head *
head_of(void *chunk)
{
    return (void *)((uintptr_t)chunk & ~(uintptr_t)(PAGE_BYTES - 1));
}

static void *
new_chunk(struct frame_memory *memory)
{
    struct head *head = mmap(NULL, MAPPED_BYTES, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (head == MAP_FAILED) {
        return NULL;
    }
    head->owner = memory;
    return chunk_of(head);
}

static void *
hook_alloc(void *state, size_t n)
{
    struct frame_memory *memory = state;
    struct head *head = memory->kept;

    if (n != CHUNK_BYTES || PyThread_get_thread_ident() != memory->thread) {
        return memory->before.alloc(memory->before.ctx, n);
    }
    if (head == NULL) {
        return new_chunk(memory);
    }
    memory->kept = head->next;
    memory->kept_count--;
    return chunk_of(head);
}

static void
hook_free(void *state, void *chunk, size_t n)
{
    struct frame_memory *memory = state;
    struct head *head = head_of(chunk);

    if (n != CHUNK_BYTES || chunk != chunk_of(head) ||
        head->owner != memory) {
        memory->before.free(memory->before.ctx, chunk, n);
    } else if (memory->kept_count < KEPT_MAX) {
        head->next = memory->kept;
        memory->kept = head;
        memory->kept_count++;
    } else {
        munmap(head, MAPPED_BYTES);
    }
}

int
gl_frame_memory_install(void)
{
    struct frame_memory *memory = calloc(1, sizeof(*memory));

    static_assert(sizeof(struct head) <= HEAD_BYTES, "a head has its place");
    if (memory == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    memory->thread = PyThread_get_thread_ident();
    PyObject_GetArenaAllocator(&memory->before);
    PyObject_SetArenaAllocator(
        &(PyObjectArenaAllocator){memory, hook_alloc, hook_free});
    return 0;
}
