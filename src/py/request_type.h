/* request_type.h - what an application asks of the request that runs.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_PY_REQUEST_TYPE_H
#define GL_PY_REQUEST_TYPE_H

#include "py/state.h"

/* current_request() and cancel_on_disconnect(). */
extern PyMethodDef gl_request_methods[];
/* Adds the type Request to the module.  0 or -1. */
int gl_request_type_init(PyObject *module, struct gl_state *st);

#endif
