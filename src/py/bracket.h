/* bracket.h - what the loop must not see of a core, and a core not of it.
 *
 * Around every switch into a core: leave the current task, hide the running
 * loop | switch | show the loop, enter the task.  See docs/internals/cores.md
 * for why.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_PY_BRACKET_H
#define GL_PY_BRACKET_H

#include "py/state.h"

struct gl_hub;

/* Makes `view` (the hub's loop or None) the running loop of this thread, if
 * it is not that already.  During a turn of the engine the view stays as the
 * last core needed it, because each change costs a system call in CPython;
 * the end of the turn shows the loop again.  0 or -1. */
int gl_bracket_view(struct gl_hub *hub, PyObject *view);

/* Leaves the task that the loop is running, if any.  *ret_task is a new
 * reference or NULL.  The loop must be shown.  0 or -1. */
int gl_bracket_leave_task(struct gl_state *st, PyObject *loop,
                          PyObject **ret_task);
/* Enters it again; steals the reference; NULL is fine.  Keeps an exception
 * that is set; a failure of its own is reported as unraisable. */
void gl_bracket_enter_task(struct gl_state *st, PyObject *loop,
                           PyObject *task);

#endif
