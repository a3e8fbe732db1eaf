/* frame_memory.h - where CPython keeps the Python frames of a greenlet.
 *
 * Since 3.11 each greenlet that runs Python code has a chunk of 16 KiB for
 * its frames, mapped at its first call and unmapped at its end: 13 µs.  In
 * the worker process some that were given back are kept for the next one.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_PY_FRAME_MEMORY_H
#define GL_PY_FRAME_MEMORY_H

/* Hooks the calling thread's chunks, for good; called once.  Returns 0, or
 * -1 with MemoryError. */
int gl_frame_memory_install(void);

#endif
