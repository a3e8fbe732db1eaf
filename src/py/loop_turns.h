/* loop_turns.h - how an asyncio loop runs an engine; see mounts.py.
 *
 * All functions are called with the GIL held, in the thread of the loop.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_PY_LOOP_TURNS_H
#define GL_PY_LOOP_TURNS_H

#include "py/engine_type.h"

/* One turn, after which the thread's running loop may still be hidden.
 * Returns the number of events, or -1 with an exception. */
int gl_loop_turn_once(GlEngine *self, int timeout_ms);
/* Shows the running loop again, after turns.  `error`: what they gave; if it
 * is negative their exception stays.  0 or -1 with an exception. */
int gl_loop_show(GlEngine *self, int error);
/* Takes the engine off the uvloop it is mounted on, if it is: unmount_uv(). */
void gl_loop_leave_uv(GlEngine *self);

/* --- loop_turns.c: methods of Engine --- */

PyObject *gl_loop_turn(PyObject *self, PyObject *unused);
extern const char gl_loop_turn_doc[];
PyObject *gl_loop_mount_select(PyObject *self, PyObject *args);
extern const char gl_loop_mount_select_doc[];
PyObject *gl_loop_select(PyObject *self, PyObject *const *args,
                         Py_ssize_t nargs);
extern const char gl_loop_select_doc[];

/* --- loop_uv.c: methods of Engine --- */

PyObject *gl_loop_mount_uv(PyObject *self, PyObject *args);
extern const char gl_loop_mount_uv_doc[];
PyObject *gl_loop_unmount_uv(PyObject *self, PyObject *unused);
extern const char gl_loop_unmount_uv_doc[];

#endif
