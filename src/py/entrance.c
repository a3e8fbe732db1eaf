/* entrance.c - what the connections of one listener have in common.
 *
 * SPDX-License-Identifier: MIT
 */
#include "py/entrance.h"

#include "engine/transport.h"
#include "py/exchange.h"

#include <stdlib.h>

static int
set_tls(struct gl_entrance *entrance, PyObject *tls)
{
    PyObject *wrap, *describe;

    entrance->transport = &gl_transport_plain;
    if (tls == Py_None) {
        return 0;
    }
    entrance->transport = &gl_transport_tls;
    if (!PyArg_ParseTuple(tls, "OO:tls", &wrap, &describe)) {
        return -1;
    }
    return gl_tls_init(&entrance->tls, wrap, describe);
}

static int
set_environ(struct gl_entrance *entrance, const struct gl_entrance_args *args)
{
    entrance->environ =
        gl_environ_base(entrance->st, entrance->transport->scheme,
                        args->server_name, args->server_port, args->errors);
    if (entrance->environ == NULL) {
        return -1;
    }
    if (entrance->transport == &gl_transport_tls) {
        return PyDict_SetItemString(entrance->environ, "HTTPS",
                                    entrance->st->s_on);
    }
    return 0;
}

struct gl_entrance *
gl_entrance_new(struct gl_state *st, const struct gl_entrance_args *args)
{
    struct gl_entrance *entrance = calloc(1, sizeof(*entrance));

    if (entrance == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    entrance->st = st;
    if (set_tls(entrance, args->tls) < 0 || set_environ(entrance, args) < 0) {
        gl_entrance_free(entrance);
        return NULL;
    }
    return entrance;
}

void
gl_entrance_free(struct gl_entrance *entrance)
{
    gl_tls_fini(&entrance->tls);
    Py_XDECREF(entrance->environ);
    free(entrance);
}

int
gl_entrance_traverse(const struct gl_entrance *entrance, visitproc visit,
                     void *arg)
{
    Py_VISIT(entrance->environ);
    Py_VISIT(entrance->tls.wrap);
    Py_VISIT(entrance->tls.describe);
    return 0;
}
