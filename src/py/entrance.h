/* entrance.h - what the connections of one listener have in common.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_PY_ENTRANCE_H
#define GL_PY_ENTRANCE_H

#include "py/state.h"
#include "py/tls.h"

/* What a listener carries as `user`. */
struct gl_entrance {
    struct gl_state *st; /* borrowed from the module */
    PyObject *environ;   /* strong: the base of its requests' environs */
    struct gl_tls tls;   /* empty for plain connections */
    const struct gl_transport *transport;
};

struct gl_entrance_args {
    const char *server_name, *server_port;
    PyObject *errors; /* wsgi.errors */
    PyObject *tls;    /* None, or a tuple (wrap, describe) */
};

/* A new one (the caller's), or NULL with an exception. */
struct gl_entrance *gl_entrance_new(struct gl_state *st,
                                    const struct gl_entrance_args *args);
void gl_entrance_free(struct gl_entrance *entrance);
/* For the garbage collector; as tp_traverse. */
int gl_entrance_traverse(const struct gl_entrance *entrance, visitproc visit,
                         void *arg);

#endif
