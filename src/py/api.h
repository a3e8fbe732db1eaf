/* api.h - what synchronous code calls to wait: await_, sleep, loop_visible.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_PY_API_H
#define GL_PY_API_H

#include "py/state.h"

/* Functions of the module: await_, sleep, in_request, request_loop. */
extern PyMethodDef gl_api_methods[];
/* Adds the types behind them.  0 or -1. */
int gl_api_init(PyObject *module, struct gl_state *st);

#endif
