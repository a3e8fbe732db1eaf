/* api.h - what synchronous code calls to wait: await_, sleep, loop_visible.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_PY_API_H
#define GL_PY_API_H

#include "py/state.h"

struct gl_core;

/* Functions of the module: await_, sleep, in_request, request_loop. */
extern PyMethodDef gl_api_methods[];
/* Adds the types behind them.  0 or -1. */
int gl_api_init(PyObject *module, struct gl_state *st);

/* await_(awaitable) in the running request; NULL with RuntimeError outside of
 * one.  A new reference. */
PyObject *gl_api_await(struct gl_state *st, PyObject *awaitable);
/* A coroutine that was started eagerly runs inside the request's greenlet:
 * parking it there would leave the loop believing that its task still runs.
 * 0, or -1 with RuntimeError. */
int gl_api_refuse_in_task(struct gl_state *st, struct gl_core *core,
                          const char *what);
/* Makes a task of a coroutine, in the request's own context (3.11 and later;
 * a copy of it before).  A new reference or NULL. */
PyObject *gl_task_new(struct gl_state *st, struct gl_core *core,
                      PyObject *coroutine);

#endif
