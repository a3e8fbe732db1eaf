/* stack_memory.c - where greenlet keeps the C stacks of parked requests.
 *
 * A hook of PYMEM_DOMAIN_MEM, around the allocator that was there before.
 * Blocks of the store's sizes come from the store while it has any, all else
 * from before; whose a block is, its address tells.  Installed once, never
 * taken away.
 *
 * Only the thread that installed it takes blocks: another interpreter may
 * have a lock of its own.  What that thread took is given back by whoever
 * holds the same lock.
 *
 * SPDX-License-Identifier: MIT
 */
#include "py/stack_memory.h"

#include "base/blocks.h"
#include "py/frame_memory.h"

#include <stdlib.h>
#include <string.h>

struct gl_stack_memory {
    struct gl_blocks *blocks; /* owned */
    PyMemAllocatorEx before;
    unsigned long thread; /* ident */
    const void *last;     /* taken last; may be nobody's any more */
    size_t last_bytes;
};

static void *
take(struct gl_stack_memory *memory, size_t n)
{
    void *block;

    if (n < GL_BLOCK_MIN_BYTES || n > GL_BLOCK_MAX_BYTES ||
        PyThread_get_thread_ident() != memory->thread) {
        return NULL;
    }
    block = gl_blocks_take(memory->blocks, n);
    memory->last = block;
    memory->last_bytes = n;
    return block;
}

static void *
hook_malloc(void *state, size_t n)
{
    struct gl_stack_memory *memory = state;
    void *block = take(memory, n);

    return block != NULL ? block
                         : memory->before.malloc(memory->before.ctx, n);
}

static void *
hook_calloc(void *state, size_t count, size_t n)
{
    struct gl_stack_memory *memory = state;
    size_t bytes;
    void *block = NULL;

    if (!__builtin_mul_overflow(count, n, &bytes)) {
        block = take(memory, bytes);
    }
    return block != NULL
               ? memset(block, 0, bytes)
               : memory->before.calloc(memory->before.ctx, count, n);
}

static void
hook_free(void *state, void *p)
{
    struct gl_stack_memory *memory = state;

    if (gl_blocks_own(memory->blocks, p)) {
        gl_blocks_give(memory->blocks, p);
    } else {
        memory->before.free(memory->before.ctx, p);
    }
}

static void *
hook_realloc(void *state, void *p, size_t n)
{
    struct gl_stack_memory *memory = state;
    size_t have;
    void *moved;

    if (p == NULL) {
        return hook_malloc(memory, n); /* as greenlet takes its memory */
    }
    if (!gl_blocks_own(memory->blocks, p)) {
        return memory->before.realloc(memory->before.ctx, p, n);
    }
    have = gl_blocks_size(memory->blocks, p);
    if (n <= have && n >= have / 2) {
        return p;
    }
    moved = hook_malloc(memory, n);
    if (moved != NULL) {
        memcpy(moved, p, n < have ? n : have);
        gl_blocks_give(memory->blocks, p);
    }
    return moved;
}

struct gl_stack_memory *
gl_stack_memory_find(void)
{
    PyMemAllocatorEx here;

    PyMem_GetAllocator(PYMEM_DOMAIN_MEM, &here);
    return here.malloc == hook_malloc ? here.ctx : NULL;
}

const void *
gl_stack_memory_last(struct gl_stack_memory *memory, size_t *ret_bytes)
{
    const void *last = memory != NULL ? memory->last : NULL;

    if (last != NULL) {
        memory->last = NULL;
        *ret_bytes = memory->last_bytes;
    }
    return last;
}

/* 0 or -1 with an exception. */
static int
install(void)
{
    struct gl_stack_memory *memory = calloc(1, sizeof(*memory));

    if (memory != NULL) {
        memory->blocks = gl_blocks_new();
    }
    if (memory == NULL || memory->blocks == NULL) {
        free(memory);
        PyErr_NoMemory();
        return -1;
    }
    memory->thread = PyThread_get_thread_ident();
    PyMem_GetAllocator(PYMEM_DOMAIN_MEM, &memory->before);
    PyMem_SetAllocator(PYMEM_DOMAIN_MEM,
                       &(PyMemAllocatorEx){memory, hook_malloc, hook_calloc,
                                           hook_realloc, hook_free});
    return 0;
}

PyDoc_STRVAR(keep_stacks_warm_doc,
"keep_stacks_warm($module, /)\n--\n\n"
"Have stacks of parked requests, and frames, in memory used last.\n\n"
"For the process of a worker, before requests are served; for good, and\n"
"harmless when repeated.  Where Python has no global lock it does nothing.\n"
"Raises MemoryError.");

static PyObject *
keep_stacks_warm(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
#ifndef Py_GIL_DISABLED
    if (gl_stack_memory_find() == NULL &&
        (install() < 0 || gl_frame_memory_install() < 0)) {
        return NULL;
    }
#endif
    Py_RETURN_NONE;
}

PyMethodDef gl_stack_memory_methods[] = {
    {"keep_stacks_warm", keep_stacks_warm, METH_NOARGS, keep_stacks_warm_doc},
    {NULL, NULL, 0, NULL},
};
