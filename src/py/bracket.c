/* bracket.c - what the loop must not see of a core, and a core not of it.
 *
 * The three hooks are asyncio's "extending asyncio" functions.  Of what is
 * not public in asyncio only loop_rests() in loop_turns.c uses more.
 *
 * SPDX-License-Identifier: MIT
 */
#include "py/bracket.h"

#include "py/core.h"

/* For want of memory, which may be a moment's; a loop that does not know
 * that it runs stops all its tasks. */
#define VIEW_ATTEMPTS 3

int
gl_bracket_view(struct gl_hub *hub, PyObject *view)
{
    PyObject *done = NULL;

    if (hub->view == view) {
        return 0;
    }
    for (int i = 0; i < VIEW_ATTEMPTS && done == NULL; i++) {
        if (i > 0) {
            PyErr_Clear();
        }
        done = PyObject_CallOneArg(hub->st->set_running_loop, view);
    }
    if (done == NULL) {
        return -1;
    }
    Py_DECREF(done);
    hub->view = view;
    return 0;
}

int
gl_bracket_leave_task(struct gl_state *st, PyObject *loop,
                      PyObject **ret_task)
{
    PyObject *task = PyObject_CallOneArg(st->current_task, loop);
    PyObject *done;

    if (task == NULL) {
        return -1;
    }
    if (task == Py_None) {
        Py_DECREF(task);
        *ret_task = NULL;
        return 0;
    }
    done = PyObject_CallFunctionObjArgs(st->leave_task, loop, task, NULL);
    if (done == NULL) {
        Py_DECREF(task);
        return -1;
    }
    Py_DECREF(done);
    *ret_task = task;
    return 0;
}

void
gl_bracket_enter_task(struct gl_state *st, PyObject *loop, PyObject *task)
{
    struct gl_exc exc;
    PyObject *done;

    if (task == NULL) {
        return;
    }
    exc = gl_exc_take();
    done = PyObject_CallFunctionObjArgs(st->enter_task, loop, task, NULL);
    if (done == NULL) {
        gl_unraisable(task);
    }
    Py_XDECREF(done);
    Py_DECREF(task);
    if (exc.value != NULL) {
        gl_exc_restore(&exc);
    }
}
