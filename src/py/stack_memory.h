/* stack_memory.h - where greenlet keeps the C stacks of parked requests.
 *
 * greenlet copies a parked stack to memory of PyMem_Malloc(): 1 to 2 KiB for
 * each parked request, taken at its park and given back when it resumes.  In
 * the worker process such memory comes from a store of its own (blocks.h).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_PY_STACK_MEMORY_H
#define GL_PY_STACK_MEMORY_H

#include "py/state.h"

struct gl_stack_memory; /* lives as long as the process */

/* The process's store, or NULL where there is none. */
struct gl_stack_memory *gl_stack_memory_find(void);
/* The block that was taken last, or NULL if none was since the last call, or
 * there is no store.  For prefetching alone: it may be anybody's, and may
 * have been given back.  *ret_bytes is set with it. */
const void *gl_stack_memory_last(struct gl_stack_memory *memory,
                                 size_t *ret_bytes);

extern PyMethodDef gl_stack_memory_methods[];

#endif
