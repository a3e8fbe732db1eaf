/* spawn.h - functions that run in a greenlet of their own, as futures.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_PY_SPAWN_H
#define GL_PY_SPAWN_H

#include "py/engine_type.h"

/* spawn(). */
extern PyMethodDef gl_spawn_methods[];

int gl_spawn_init(PyObject *module, struct gl_state *st);
/* Makes engine->job_pool, after engine->pool.  0 or -1. */
int gl_job_pool_init(GlEngine *engine, PyObject *loop);
/* Throws GreenletExit into what runs, and cancels what has not begun.  In
 * the hub. */
void gl_jobs_throw_exit(GlEngine *engine);
/* Cancels the futures of all that is left, before the pool's end. */
void gl_jobs_abandon(GlEngine *engine);

#endif
